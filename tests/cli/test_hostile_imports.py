"""Hostile and damaged files: one sentence, exit 2, nothing executed, nothing left behind."""

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from mechgrok.models import HookedMLP, MLPConfig

#: A task that the state below fits, so that nothing but the file is at fault.
P = 13


def state() -> dict[str, Tensor]:
    model = HookedMLP(MLPConfig(d_model=12, d_mlp=8), d_vocab=P, d_output=P)
    return {name: weight.detach() for name, weight in model.named_parameters()}


class Call:
    """Pickles into a call that makes a file, if it is ever made."""

    def __init__(self, proof: Path, how: str) -> None:
        self.call: tuple[Any, ...] = {
            "system": (os.system, (f": > {proof}",)),
            "eval": (eval, (f"open({str(proof)!r}, 'w')",)),
            "open": (open, (str(proof), "w")),
            "getattr": (getattr, (str, "format")),
            "hub": (torch.hub.load, ("x/y", "z")),
        }[how]

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class Whole(nn.Module):
    """A module, to be pickled with its class."""

    def __init__(self) -> None:
        super().__init__()
        self.W_E = nn.Parameter(torch.ones(2))


def hostile_pickles(folder: Path, proof: Path) -> Iterator[tuple[str, Path]]:
    """Pickles that would execute something, in every place where it can stand."""

    def saved(name: str, content: Any, **how: Any) -> tuple[str, Path]:
        torch.save(content, file := folder / f"{name}.pth", **how)
        return name, file

    def written(name: str, content: bytes) -> tuple[str, Path]:
        (file := folder / f"{name}.pth").write_bytes(content)
        return name, file

    for how in ("system", "eval", "open", "getattr", "hub"):
        call = Call(proof, how)
        for protocol in (0, 2, 4):
            yield written(f"{how}-{protocol}", pickle.dumps({"W_E": call}, protocol=protocol))
        yield saved(f"{how}-zip", {**state(), "x": call})
        yield saved(f"{how}-legacy", {**state(), "x": call}, _use_new_zipfile_serialization=False)
        yield saved(f"{how}-nested", {"model": state(), "config": {"deep": [[{"a": call}]]}})
        yield saved(f"{how}-listed", {"checkpoints": [state(), {"a": call}]})
    yield saved("module", Whole())

    class ByName(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return Call(proof, "system") if value == "ID" else None

    ByName(buffer := io.BytesIO(), 2).dump({"W_E": "ID"})
    yield written("persistent-id", buffer.getvalue())
    file = folder / "zip-persistent-id.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", buffer.getvalue())
        archive.writestr("a/version", "3\n")
    yield file.stem, file


def damaged_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files that are no file of weights, or no longer one."""

    def written(name: str, content: bytes) -> tuple[str, Path]:
        (file := folder / name).write_bytes(content)
        return name, file

    whole = save(state())
    size = struct.unpack("<Q", whole[:8])[0]
    for at in (0, 4, 8, 9, 8 + size // 2, 8 + size, len(whole) - 1):
        yield written(f"cut-{at}.safetensors", whole[:at])
    yield written("long-header.safetensors", struct.pack("<Q", 2**62) + whole[8:])
    yield written("no-json.safetensors", struct.pack("<Q", 8) + b"{{{{{{{{" + whole[8:])
    for name, header in {
        "type": {"W_E": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}},
        "overlap": {"W_E": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        "negative": {"W_E": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        "huge": {"W_E": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}},
        "no-tensor": {"W_E": 3},
        "metadata": {"__metadata__": {"step": 3}},
    }.items():
        text = json.dumps(header).encode()
        yield written(f"{name}.safetensors", struct.pack("<Q", len(text)) + text + bytes(8))
    torch.save(state(), buffer := io.BytesIO())
    for share in (0.0, 0.3, 0.6, 0.95):
        cut = buffer.getvalue()[: int(share * len(buffer.getvalue()))]
        yield written(f"cut-{share}.pth", cut)
    yield written("deep.pth", b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    yield written("announced.pth", b"\x80\x02X" + struct.pack("<I", 2**31 - 1) + b"a.")
    yield written("negative.pth", b"\x80\x02\x8b" + struct.pack("<i", -5) + b".")
    yield written("empty.pth", b"")
    yield written("table.csv", b"step,train_loss\n0,1.5\n")
    yield written("text.json", b"{" * 100_000)
    yield written("list.json", b"[1, 2]")
    file = folder / "outside.pth"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"W_E": 1}, 2))
        archive.writestr("a/version", "3\n")
        archive.writestr("../../../../outside", "x")
    yield "outside.pth", file


def unusual_contents() -> dict[str, Any]:
    """What can be loaded and is no network: by what is wrong with it."""
    weights = state()

    def each(change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        return {name: change(weight) for name, weight in weights.items()}

    nothing: dict[str, Any] = {
        "a list": [],
        "a tensor": weights["W_E"],
        "a number": 3,
        "names that are numbers": {1: weights["W_E"]},
        "no checkpoints": {"checkpoints": []},
        "a number among checkpoints": {"checkpoints": [weights, 3]},
        "equal epochs": {"checkpoints": [weights, weights], "epochs": [5, 5]},
        "a negative epoch": {"checkpoints": [weights, weights], "epochs": [5, -6]},
        "sparse": each(Tensor.to_sparse),
        "quantized": each(lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8)),
        "without data": each(lambda w: w.to("meta")),
        "complex": each(lambda w: w.to(torch.complex64)),
        "empty": each(lambda w: w[:0]),
        "NaN": each(lambda w: w * float("nan")),
        "infinite": each(lambda w: w / 0),
        "too large for float32": each(lambda w: w.double() * 1e300),
        "repeated without end": weights | {"W_E": torch.ones(1, 1).expand(10**6, 10**6)},
        "one-dimensional": {"W_in": torch.ones(5), "W_out": torch.ones(5)},
        "no dimensions": {"W_in": torch.tensor(1.0), "W_out": torch.tensor(1.0)},
        "one layer": {"0.weight": torch.ones(8, P)},
        "only biases": {"0.bias": torch.ones(8), "1.bias": torch.ones(8)},
        "only W_Q": {"blocks.0.attn.W_Q": torch.ones(3)},
        "widths that differ": {
            "0.weight": torch.ones(8, P),
            "1.weight": torch.ones(6, 8),
            "2.weight": torch.ones(P, 6),
        },
        "a transformer of vectors": {
            f"{name}": torch.ones(3)
            for name in (
                "embed.W_E", "pos_embed.W_pos", "blocks.0.attn.W_Q", "blocks.0.mlp.W_in",
                "blocks.0.attn.W_O", "unembed.W_U",
            )
        },
        "layers of endless numbers": weights | {f"W_hidden_{'9' * 5000}": torch.ones(8, 8)},
        "names outside": weights | {"../x": torch.ones(2, 2)},
        "three dimensions": weights | {"W_in": torch.ones(12, 8, 1)},
        "a task that is a number": {"model": weights, "task": 3, "fn_name": 3},
        "ours, of no kind": {"model": weights, "mechgrok": {"model": {"kind": "gpt"}}},
        "ours, of an own kind": {"model": weights, "mechgrok": {"model": {"kind": "evil.py:M"}}},
        "half transposed": weights | {"W_E": weights["W_E"].T, "W_in": weights["W_in"].T},
        "ours, with no task": {"model": weights, "mechgrok": {"model": {"kind": "mlp"}}},
        "ours, with a mask of nothing": {
            "model": weights,
            "mechgrok": {
                "model": {"kind": "mlp", "d_model": 12, "d_mlp": 8},
                "task": {"name": "add", "p": P},
                "mask": {"W_X": "oA=="},
            },
        },
        "ours, with a mask of another size": {
            "model": weights,
            "mechgrok": {
                "model": {"kind": "mlp", "d_model": 12, "d_mlp": 8},
                "task": {"name": "add", "p": P},
                "mask": {"W_in": "oA=="},
            },
        },
    }  # fmt: skip
    return nothing


def other_formats(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Files of other programs, whatever they are called, with the remedy for each."""

    def zipped(*members: str) -> bytes:
        with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
            for member in members:
                archive.writestr(member, b"{}")
        return buffer.getvalue()

    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), script := io.BytesIO())
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    contents = {
        "an LFS pointer": (pointer, "git lfs pull"),
        "an annex pointer": (b"/annex/objects/SHA256E-s12--ab.pth\n", "git annex get"),
        "a web page": (b"\n<!DOCTYPE html><html>404</html>", "the file itself"),
        "JSON": (b'{"message": "Not Found"}', "the file of the weights"),
        "a table": (b"step,train_loss\n0,1.5\n", "the file of the weights"),
        "prose": (b"hello", "the file of the weights"),
        "gzip": (gzip.compress(b"x"), "decompress it"),
        "a ZIP archive": (zipped("readme.md"), "unpack it"),
        "Keras": (zipped("config.json", "model.weights.h5"), "numpy.savez"),
        "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "numpy.savez"),
        "TorchScript": (script.getvalue(), "state_dict()"),
        "nothing": (b"", "it again"),
    }
    for name, (content, remedy) in contents.items():
        for suffix in ("pth", "safetensors", "npz", "ckpt"):
            (file := folder / f"{name}.{suffix}").write_bytes(content)
            yield f"{name}.{suffix}", file, remedy


class NumPyCall:
    """Pickles as a call of one of NumPy's functions, as a hostile file would have it."""

    def __init__(self, function: Any, *given: Any, state: Any = None) -> None:
        self.call = (function, given) if state is None else (function, given, state)

    def __reduce__(self) -> Any:
        return self.call


_scalar = np.float64(0).__reduce__()[0]
#: What NumPy can pickle, or a file could say that it did, and is no plain number.
NUMPY_OBJECTS = {
    "an array": np.ones(3),
    "an object as a number": NumPyCall(_scalar, np.dtype("O"), "x"),
    "a type of objects": np.dtype("O"),
    "a type of records": np.dtype([("a", "f8")]),
    "a type by words": NumPyCall(np.dtype, "float64, (1000000000,)i8"),
    "a type from a dictionary": NumPyCall(np.dtype, {"names": ["a"], "formats": ["O"]}),
    "a type with another state": NumPyCall(np.dtype, "f8", state=(3, "|O", None)),
    "a type with a dictionary for state": NumPyCall(np.dtype, "f8", state={"name": "O"}),
    "a number of too few bytes": NumPyCall(_scalar, np.dtype("f8"), b"123"),
    "a number of no type": NumPyCall(_scalar, "f8", b"12345678"),
    "a number of nothing": NumPyCall(_scalar),
    "a text": np.str_("words"),
    "a date": np.datetime64("2020-01-01"),
}
_UNCODED = "torch.save(model.state_dict()"


def hostile_files(folder: Path, proof: Path) -> Iterator[tuple[str, Path, str]]:
    """Every file that is refused because of what it is, with the remedy."""
    for name, file in hostile_pickles(folder, proof):
        yield name, file, _UNCODED if not name.endswith("-0") else "the file of the weights"
    for name, file in damaged_files(folder):
        others = {"negative.pth": _UNCODED, "table.csv": "name the", "list.json": "name the"}
        yield name, file, others.get(name, "it again")
    yield from other_formats(folder)
    for name, value in (NUMPY_OBJECTS | {"an array of calls": None}).items():
        if value is None:
            value = np.array([Call(proof, "system")], dtype=object)
        torch.save({**state(), "x": value}, file := folder / f"{name}.pth")
        yield name, file, _UNCODED
    for name, content in unusual_contents().items():
        torch.save(content, file := folder / "file.pth")
        yield name, file, ""


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hostile_files_are_refused_with_a_remedy(mechgrok: Any, tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    for name, file, remedy in hostile_files(tmp_path, proof):
        ended = mechgrok("import", file, "--out", "run", "--p", P)
        assert (ended.code, ended.err.count("\n")) == (2, 1), f"{name}: {ended.code} {ended.err}"
        assert ended.err.startswith("mechgrok: "), name
        assert remedy in ended.err, f"{name}: {ended.err}"
        assert not Path("run").exists(), name
        assert not proof.exists(), name


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_the_hostile_pickles_are_as_hostile_as_they_are_meant_to_be(
    tmp_path: Path, form: str
) -> None:
    proof = tmp_path / "executed"
    files = dict(hostile_pickles(tmp_path, proof))
    torch.load(files[f"system-{form}"], weights_only=False)
    assert proof.exists()


@pytest.mark.parametrize(
    ("metadata", "step"),
    [({"step": "9" * 400}, 0), ({"step": "４"}, 0), ({"step": "²"}, 0), ({"step": "7"}, 7)],
)
def test_a_step_in_metadata_is_a_number_or_not_believed(
    mechgrok: Any, tmp_path: Path, metadata: dict[str, str], step: int
) -> None:
    save_file(state(), file := tmp_path / "w.safetensors", metadata=metadata)
    ended = mechgrok("import", file, "--out", "run", "--p", P)
    assert ended.code == 0, ended.err
    assert Path(f"run/step_{step:08d}.safetensors").is_file()


def test_an_origin_that_is_none_is_not_believed(mechgrok: Any, tmp_path: Path) -> None:
    model = {"kind": "mlp", "d_model": 12, "d_mlp": 8}
    origin = {"kind": "import", "known": 3, "assumed": 3}
    content = {"model": state(), "mechgrok": {"model": model, "origin": origin}}
    torch.save(content, file := tmp_path / "w.pth")
    ended = mechgrok("import", file, "--out", "run", "--p", P)
    assert ended.code == 0, ended.err
    assert json.loads(Path("run/config.json").read_text())["origin"]["known"] == {}
