"""MNIST's four files and scikit-learn's digits become vectors with labels and a split."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.tasks import images, make_task

#: Real digits that may lie beside a checkout of the project.
REAL = Path(__file__).parents[2].parent / "shared" / "mnist"


@pytest.fixture
def folder(tmp_path: Path, idx: Callable[..., bytes]) -> Path:
    """Random images of 3 × 3 pixels: 12 to train on, gzipped, and 5 to test on, not gzipped."""
    random = np.random.default_rng(0)
    for part, count, pack in (("train", 12, gzip.compress), ("t10k", 5, bytes)):
        suffix = ".gz" if part == "train" else ""
        pixels = random.integers(256, size=(count, 3, 3), dtype=np.uint8)
        labels = random.integers(10, size=count, dtype=np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(pixels)))
        (tmp_path / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))
    return tmp_path


def test_the_split_is_the_data_sets_own(folder: Path) -> None:
    task = make_task("mnist", folder=folder, limit=7)
    assert (task.train.inputs.shape, task.test.inputs.shape) == ((7, 9), (5, 9))
    assert (task.d_vocab, task.d_output, task.n_train) == (9, 10, 7)
    assert 0 <= task.examples.inputs.min() < task.examples.inputs.max() <= 1
    every = make_task("mnist", folder=folder, limit=None)
    assert (every.n_train, len(every.test.labels)) == (12, 5)
    # Another seed chooses other training images and leaves the test set alone.
    other = make_task("mnist", folder=folder, limit=7, split_seed=1)
    assert torch.equal(task.test.inputs, other.test.inputs)
    assert not torch.equal(task.train.inputs, other.train.inputs)


def test_pixels_and_labels_are_those_of_the_file(folder: Path) -> None:
    task = make_task("mnist", folder=folder, limit=None)
    images_file = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    labels_file = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    rows = {
        (tuple(np.rint(row * 255).astype(int)), int(label))
        for row, label in zip(task.train.inputs.numpy(), task.train.labels, strict=True)
    }
    expected = {(tuple(images_file[9 * i : 9 * i + 9]), labels_file[i]) for i in range(12)}
    assert rows == expected


IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("file", "array", "complaint"),
    [
        (IMAGES, None, "t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz"),
        (IMAGES, np.zeros(5, dtype=np.uint8), "8-bit images"),
        (IMAGES, np.zeros((5, 4, 4), dtype=np.uint8), "t10k-images-idx3-ubyte|data sets"),
        (IMAGES, np.zeros((0, 3, 3), dtype=np.uint8), "0 images.* 5 labels"),
        (LABELS, np.zeros(4, dtype=np.uint8), "5 images.* 4 labels"),
        (LABELS, np.zeros((5, 1), dtype=np.uint8), "labels"),
        (LABELS, np.full(5, 11, dtype=np.uint8), "0 to 9"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    folder: Path, idx: Callable[..., bytes], file: str, array: np.ndarray | None, complaint: str
) -> None:
    if array is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(idx(array))
    with pytest.raises(UserError, match=complaint):
        _ = make_task("mnist", folder=folder, limit=7).examples


def test_a_truncated_file_is_named(folder: Path) -> None:
    file = folder / IMAGES
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match=IMAGES):
        _ = make_task("mnist", folder=folder, limit=7).examples


def test_more_images_than_there_are(folder: Path) -> None:
    with pytest.raises(UserError, match=r"12 images.* 13"):
        _ = make_task("mnist", folder=folder, limit=13).examples


def test_a_train_fraction_means_nothing_here() -> None:
    with pytest.raises(UserError, match="limit"):
        make_task("mnist", train_fraction=0.3)


def test_without_a_network_the_person_is_told_where_to_place_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHGROK_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(images, "MNIST_MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(UserError) as refused:
        images.download_mnist()
    for word in (*images.MNIST_FILES, str(tmp_path / "cache" / "mnist"), "--folder"):
        assert word in str(refused.value)


def _serve(folder: Path) -> Any:
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_download_is_checked_and_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    served = tmp_path / "served"
    served.mkdir()
    sums = {}
    for name in images.MNIST_FILES:
        file = next(folder.glob(f"{name}*"))
        content = file.read_bytes()
        content = content if file.suffix == ".gz" else gzip.compress(content)
        (served / f"{name}.gz").write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    server = _serve(served)
    monkeypatch.setenv("MECHGROK_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(images, "MNIST_MIRROR", f"http://127.0.0.1:{server.server_port}/")
    try:
        # What is served now is not the published data set.
        with pytest.raises(UserError, match="--folder"):
            images.download_mnist()
        assert not list((tmp_path / "cache").rglob("*.gz"))
        monkeypatch.setattr(images, "MNIST_FILES", sums)
        assert make_task("mnist", limit=12).train.inputs.shape == (12, 9)
    finally:
        server.shutdown()
        server.server_close()
    # The second time the files in the cache suffice.
    assert make_task("mnist", limit=12).test.inputs.shape == (5, 9)


def test_the_digits_of_scikit_learn() -> None:
    task = make_task("digits", train_fraction=0.1)
    assert task.examples.inputs.shape == (1797, 64)
    assert task.n_train == 179
    assert task.examples.inputs.max() == 1
    perfect = torch.nn.functional.one_hot(task.test.labels, 10).float()
    assert task.loss(perfect, task.test.labels) == 0
    assert task.accuracy(perfect, task.test.labels) == 1
    entropy = make_task("digits", objective="cross-entropy")
    assert entropy.loss(torch.zeros(2, 10), torch.tensor([1, 2])).item() == pytest.approx(
        np.log(10)
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="real MNIST files are not beside the checkout")
def test_real_digits_are_read() -> None:
    task = make_task("mnist", folder=REAL)
    assert task.train.inputs.shape == (1000, 784)
    assert task.test.inputs.shape == (5000, 784)
    # Each digit is about a tenth, and ink covers about 13 % of MNIST's pixels.
    assert task.test.labels.bincount().min() > 400
    assert task.test.inputs.mean().item() == pytest.approx(0.13, abs=0.02)
