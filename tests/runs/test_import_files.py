"""What a file is, its first bytes say: numbers are read, and all else is called by its name."""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from mechgrok.errors import UserError
from mechgrok.exchange.importing import import_run
from mechgrok.exchange.importing.content import read_content

P = 7


def weights() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {"W_E": (P, 8), "W_in": (8, 16), "W_out": (16, 8), "W_U": (8, P)}
    return {name: generator.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("dtype", ["<f8", ">f8", ">f4", "<f2", "g", ">i8", ">i2", "u1", "u2", "u4"])
def test_numbers_of_any_size_and_byte_order_are_read(tmp_path: Path, dtype: str) -> None:
    saved = {name: (8 * array).astype(dtype) for name, array in weights().items()}
    if dtype.startswith("u"):
        saved = {name: np.abs(8 * array).astype(dtype) for name, array in weights().items()}
    np.savez(tmp_path / "w.npz", **saved)
    run = import_run([tmp_path / "w.npz"], tmp_path / "run")
    for name, array in saved.items():
        assert np.array_equal(run.weights(name)[0].numpy(), array.astype("f4"))


BESIDE: dict[str, tuple[Any, str]] = {
    "texts": (np.array(["a", "b"]), "text"),
    "bytes": (np.array(b"run 1"), "bytes"),
    "a date": (np.array("2020-01-01", "M8[D]"), "dates"),
    "a duration": (np.array(5, "m8[s]"), "durations"),
    "records": (np.zeros(2, [("a", "f8")]), "records"),
    "objects": (np.array([{}, []], dtype=object), "Python objects"),
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_stands_beside_weights_and_is_no_number_is_ignored_and_said_so(
    tmp_path: Path, what: str
) -> None:
    value, called = BESIDE[what]
    np.savez(tmp_path / "w.npz", **weights(), beside=value)
    with pytest.warns(UserWarning, match=rf"beside \({called}"):
        run = import_run([tmp_path / "w.npz"], tmp_path / "run")
    assert np.array_equal(run.weights("W_in")[0].numpy(), weights()["W_in"].astype("f4"))


def test_single_values_in_an_archive_are_facts(tmp_path: Path) -> None:
    facts = {"step": 500, "fn_name": "mul", "lr": np.longdouble(0.25), "name": "run 1"}
    np.savez(tmp_path / "w.npz", **weights(), **facts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = import_run([tmp_path / "w.npz"], tmp_path / "run")
    assert run.imported is not None
    assert (run.steps, run.task.name) == ([500], "mul")
    assert run.imported.known == {"learning_rate": 0.25}


@pytest.mark.parametrize("what", BESIDE)
def test_what_is_no_number_in_place_of_a_weight_or_a_split_is_named(
    tmp_path: Path, what: str
) -> None:
    value, called = BESIDE[what]
    np.savez(tmp_path / "w.npz", **(weights() | {"W_E": value}))
    with pytest.raises(UserError, match=rf"W_E \({called}"):
        import_run([tmp_path / "w.npz"], tmp_path / "run")
    np.savez(tmp_path / "w.npz", **weights())
    np.save(tmp_path / "split.npy", value)
    with pytest.raises(UserError, match=rf"split\.npy .*{called}"):
        import_run([tmp_path / "w.npz"], tmp_path / "run", split=tmp_path / "split.npy")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".npz", ""])
def test_a_name_does_not_matter(tmp_path: Path, suffix: str) -> None:
    """Weights are read whatever their file is called."""
    tensors = {name: torch.from_numpy(array) for name, array in weights().items()}
    torch.save(tensors, file := tmp_path / f"w{suffix}")
    assert torch.equal(read_content(file)["W_E"], tensors["W_E"])
    with file.open("wb") as opened:
        np.savez(opened, **weights())
    assert torch.equal(read_content(file)["W_E"], tensors["W_E"])


@pytest.mark.parametrize("start", ["{", "[", "<", " "])
def test_a_safetensors_file_may_begin_with_any_byte(tmp_path: Path, start: str) -> None:
    """Its first byte is the last digit of its header's length, which another form begins with."""
    tensors = {name: torch.from_numpy(array) for name, array in weights().items()}
    whole = save(tensors)
    (size,) = struct.unpack("<Q", whole[:8])
    longer = size + (ord(start) - size) % 256
    header = whole[8 : 8 + size].ljust(longer)
    (tmp_path / "w.bin").write_bytes(struct.pack("<Q", longer) + header + whole[8 + size :])
    assert torch.equal(read_content(tmp_path / "w.bin")["W_E"], tensors["W_E"])
