"""Reading safetensors, NumPy archives, PyTorch pickles and JSON.

The first bytes of a file determine its format, not its name. Pickles may hold only tensors,
dictionaries, lists, text and numbers (`mechgrok.exchange.importing.numbers`), and none of their
code is executed.
"""

import json
import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.exchange.importing.numbers import NUMBERS
from mechgrok.files import check_plain, open_plain, read_text
from mechgrok.tensors import DIGEST, digest

Kind = Literal["safetensors", "json", "npy", "npz", "pickle"]
#: Number of bytes that identify a format.
_START = 512
#: First bytes of other formats, their description and the remedy.
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer to the file", "get the file with git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer to the file", "get the file with git annex get"),
    (b"<", "a web page or XML", "download the file itself (the raw one)"),
    (b"\x1f\x8b", "compressed with gzip", "decompress it"),
    (b"\x89HDF", "an HDF5 file, as Keras writes", "save its weights with numpy.savez"),
)
#: Members of other ZIP archives, in order of precedence.
_FOREIGN_ZIP = (
    ("constants.pkl", "a TorchScript module, which holds code", "save its state_dict() instead"),
    ("model.weights.h5", "a Keras model", "save its weights with numpy.savez"),
)
#: NumPy's non-numeric kinds of arrays.
_NOT_NUMBERS = {
    "U": "text",
    "S": "bytes",
    "M": "dates",
    "m": "durations",
    "O": "Python objects",
    "V": "records or raw bytes, as of bfloat16",
}


@dataclass(frozen=True)
class NotNumbers:
    """A non-numeric array of a NumPy file; ``what`` describes its content."""

    what: str


def kind_of(path: Path) -> Kind:
    """The format of a file.

    Raises:
        UserError: the format is unsupported; the message gives the format and the remedy.
    """
    with path.open("rb") as opened:
        start = opened.read(_START)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    is_text = all(byte >= 32 or byte in b"\t\r\n" for byte in start)
    if not start:
        raise UserError(f"{path} is empty: download it again.")
    if start[7:9] == b"\0{":  # after the length of the header
        return "safetensors"
    for beginning, what, remedy in _FOREIGN:
        if text.startswith(beginning):
            raise UserError(f"{path} is {what}, so it holds no weights: {remedy}.")
    if is_text and (text.startswith((b"{", b"[")) or path.suffix == ".json"):
        return "json"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    if is_text:
        raise UserError(
            f"{path} is a text file, not a file of weights: name the file of the weights."
        )
    return "safetensors" if path.suffix == ".safetensors" else "pickle"


def _kind_of_zip(path: Path) -> Kind:
    try:
        with ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except (BadZipFile, ValueError, NotImplementedError, EOFError):
        return "npz" if path.suffix == ".npz" else "pickle"  # its reader reports the damage
    for member, what, remedy in _FOREIGN_ZIP:
        if member in names:
            raise UserError(f"{path} is {what}: {remedy}.")
    if "data.pkl" in names:
        return "pickle"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise UserError(
        f"{path} is a ZIP archive of {', '.join(names[:3]) or 'nothing'}, not a file of weights: "
        "unpack it and name the file of the weights."
    )


def read_content(path: Path) -> Any:
    """Read a file: tensors, numbers, text and containers of them.

    Metadata of a safetensors file joins its tensors, parsed if it is JSON. Non-numeric arrays of a
    NumPy archive become `NotNumbers`.

    Raises:
        UserError: the file is missing, damaged or of another format, or holds code.
    """
    try:
        check_plain(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}): name files of weights.") from None
    try:
        return _READERS[kind_of(path)](path)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        what = re.search(r"GLOBAL (\S+)", str(error))
        raise UserError(
            f"{path} holds Python objects{f' ({what[1]})' if what else ''}, which can carry code, "
            "so it was not loaded: save only the weights, by torch.save(model.state_dict(), …) or "
            "as safetensors."
        ) from None
    # Damaged files make the readers raise arbitrary exceptions.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{path} is damaged or unreadable ({reason}): download it again, or convert it to "
            "safetensors."
        ) from None


def _read_safetensors(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as opened:
        metadata = dict(opened.metadata() or {})
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    written = metadata.pop(DIGEST, None)
    if written is not None and written != digest(state, metadata):
        raise UserError(f"{path} does not match its digest: download it again.")
    return {name: _parse_json(text) for name, text in metadata.items()} | state


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read_npy(path: Path) -> Any:
    value = _from_numpy(partial(np.load, path, allow_pickle=False))
    if isinstance(value, NotNumbers):
        raise UserError(f"{path} holds {value.what} instead of numbers.")
    return value


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: _from_numpy(partial(archive.__getitem__, name)) for name in archive.files}


def _from_numpy(load: Callable[[], np.ndarray]) -> Tensor | bool | int | float | str | NotNumbers:
    """A tensor, or the number or text of an array without dimensions."""
    try:
        array = load()
    except ValueError as error:
        if "allow_pickle" in str(error):
            return NotNumbers(_NOT_NUMBERS["O"])
        raise
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "U" and array.ndim == 0:
        return str(array)
    if kind in _NOT_NUMBERS:
        return NotNumbers(_NOT_NUMBERS[kind])
    # Native byte order; long doubles, which torch lacks, as doubles.
    widest = {"f": 8, "c": 16}.get(kind, size)
    array = array.astype(f"{kind}{min(size, widest)}")
    return torch.from_numpy(array) if array.ndim else array.item()


def _read_pickle(path: Path) -> Any:
    """Read with the loader that is limited to tensors and containers."""
    with (
        open_plain(path) as file,
        warnings.catch_warnings(),
        torch.serialization.safe_globals(NUMBERS),
    ):
        warnings.simplefilter("ignore")  # about protocols of refused files
        return torch.load(file, map_location="cpu", weights_only=True)


_READERS: dict[Kind, Callable[[Path], Any]] = {
    "safetensors": _read_safetensors,
    "json": lambda path: json.loads(read_text(path)),
    "npy": _read_npy,
    "npz": _read_npz,
    "pickle": _read_pickle,
}
