"""Images of digits: MNIST, and scikit-learn's small digits."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.files import cache_folder
from mechgrok.tasks.base import Examples, Task
from mechgrok.tasks.idx import read_idx
from mechgrok.tasks.objectives import OBJECTIVES, Criterion, Objective, ObjectiveName

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor

#: The files of MNIST with their published MD5 checksums.
MNIST_FILES = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"


class Images(Task):
    """Ten classes of images as vectors of pixels in [0, 1], with Omnigrok's loss by default."""

    input_kind = "vectors"

    objective: ObjectiveName = Field(
        default="mse",
        description="Loss: mse (on one-hot labels), cross-entropy, hinge (parity).",
    )

    @property
    def training_objective(self) -> Objective:
        return OBJECTIVES.load(self.objective)

    @property
    def d_output(self) -> int:
        return self.training_objective.d_output(10)


class Digits(Images):
    """scikit-learn's 1,797 handwritten digits of 8 × 8 pixels, which need no download.

    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI.
    """

    criterion = Criterion("accuracy", 0.9)

    name: str = "digits"
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2

    @cached_property
    def examples(self) -> Examples:
        import torch
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        return Examples(torch.from_numpy(pixels / 16).float(), torch.from_numpy(labels).long())

    @property
    def d_vocab(self) -> int:
        return 64

    def __str__(self) -> str:
        return f"8 × 8 digits, {self.n_train} for training"


class MNIST(Images):
    """Handwritten digits of 28 × 28 pixels, or any data set in MNIST's four files.

    ``split_seed`` selects the training images. The test set is the data set's own, so there is no
    ``train_fraction``. Downloads are cached (in ``MECHGROK_DATA``, or the user's cache folder).

    Source: LeCun, Cortes and Burges; the grokking set-up is that of Liu et al. 2022
    (arXiv 2210.01117, Omnigrok).
    """

    criterion = Criterion("accuracy", 0.85)

    name: str = "mnist"
    train_fraction: None = None  # type: ignore[assignment]
    limit: Annotated[int, Field(ge=1)] | None = Field(
        default=1000, description="Number of training images (mnist); none for all."
    )
    folder: Path | None = Field(
        default=None, description="Folder of IDX files to use instead of a download (mnist)."
    )

    @model_validator(mode="before")
    @classmethod
    def _has_its_own_split(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("train_fraction") is not None:
            raise UserError(
                f"mnist has its own test set, so a train fraction of {fields['train_fraction']} "
                "does not apply: choose the number of training images with limit."
            )
        if fields.get("folder") is not None:
            fields = fields | {"folder": Path(fields["folder"]).expanduser().resolve()}
        return fields

    @cached_property
    def examples(self) -> Examples:
        import torch

        files = download_mnist() if self.folder is None else find_mnist(self.folder)
        train_images, train_labels, test_images, test_labels = (read_idx(file) for file in files)
        _check_pair(train_images, train_labels, files[0], files[1])
        _check_pair(test_images, test_labels, files[2], files[3])
        if train_images.shape[1:] != test_images.shape[1:]:
            raise UserError(
                f"{files[0]} has images of {train_images.shape[1:]} pixels and {files[2]} of "
                f"{test_images.shape[1:]}: they belong to different data sets."
            )
        n = len(train_images)
        if self.limit is not None and self.limit > n:
            raise UserError(f"{files[0]} has {n} images, fewer than the limit of {self.limit}.")
        generator = torch.Generator().manual_seed(self.split_seed or 0)
        chosen = torch.randperm(n, generator=generator)[: self.limit].numpy()
        pixels = np.concatenate([train_images[chosen], test_images])
        labels = np.concatenate([train_labels[chosen], test_labels])
        vectors = torch.from_numpy(pixels.reshape(len(pixels), -1).astype(np.float32) / 255)
        return Examples(vectors, torch.from_numpy(labels.astype(np.int64)))

    @cached_property
    def n_train(self) -> int:
        """The number of training images: the limit, or all."""
        if self.limit is not None:
            return self.limit
        files = download_mnist() if self.folder is None else find_mnist(self.folder)
        return len(read_idx(files[1]))

    @property
    def train_index(self) -> Integer[Tensor, " n_train"]:
        import torch

        return torch.arange(self.n_train)

    @property
    def test_index(self) -> Integer[Tensor, " n_test"]:
        import torch

        return torch.arange(self.n_train, len(self.examples.labels))

    @property
    def d_vocab(self) -> int:
        return self.examples.inputs.shape[1]

    def __str__(self) -> str:
        return f"MNIST, {self.limit or 'all'} images for training"


def _check_pair(images: np.ndarray, labels: np.ndarray, image_file: Path, label_file: Path) -> None:
    """Raise an error for images and labels that do not belong together."""
    if images.ndim != 3 or images.dtype != np.uint8:
        raise UserError(f"{image_file} has no 8-bit images: its array is {_describe(images)}.")
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise UserError(f"{label_file} has no labels: its array is {_describe(labels)}.")
    if len(images) != len(labels):
        raise UserError(
            f"{image_file} has {len(images)} images, but {label_file} {len(labels)} labels: "
            "they do not belong together."
        )
    if not len(labels):
        raise UserError(f"{image_file} has no images.")
    if labels.min() < 0 or labels.max() > 9:
        raise UserError(
            f"{label_file} has labels from {labels.min()} to {labels.max()}, but digits are 0 to 9."
        )


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"


def find_mnist(folder: Path) -> list[Path]:
    """The four IDX files in ``folder``: training images and labels, then test images and labels.

    Raises:
        UserError: a file is missing.
    """
    paths = []
    for name in MNIST_FILES:
        spellings = [name, f"{name}.gz", dotted := name.replace("-idx", ".idx"), f"{dotted}.gz"]
        existing = [folder / spelling for spelling in spellings if (folder / spelling).is_file()]
        if not existing:
            raise UserError(
                f"{folder} has no {name} or {name}.gz: it must have the four files "
                f"{', '.join(MNIST_FILES)}, gzipped or not."
            )
        paths.append(existing[0])
    return paths


def download_mnist() -> list[Path]:
    """The four files of MNIST in the cache, downloaded and checked against their MD5 checksums.

    Raises:
        UserError: a file cannot be downloaded, or differs from the published one.
    """
    import pooch

    folder = cache_folder()
    downloader: Any = pooch.HTTPDownloader(timeout=30)
    paths = []
    for name, checksum in MNIST_FILES.items():
        url = f"{MNIST_MIRROR}{name}.gz"
        try:
            path = pooch.retrieve(
                url, f"md5:{checksum}", f"{name}.gz", folder / "mnist", downloader=downloader
            )
        except OSError as error:
            files = ", ".join(f"{name}.gz" for name in MNIST_FILES)
            raise UserError(
                f"MNIST could not be downloaded from {url} ({type(error).__name__}): place {files} "
                f"in {folder / 'mnist'}, or choose their folder with --folder."
            ) from None
        except ValueError as error:
            raise UserError(
                f"The download from {url} is not the published MNIST ({error}): place the four "
                "files in a folder and choose it with --folder."
            ) from None
        paths.append(Path(path))
    return paths
