"""Reading files of weights: safetensors, NumPy archives, and PyTorch pickles.

A file is a bare state dict, or holds one under ``model``, ``state_dict`` or ``model_state_dict``,
or a list of them under ``checkpoints`` or ``state_dicts``. Pickles that hold anything but tensors,
dictionaries, lists, texts and numbers (`mechgrok.exchange.importing.numbers`) are refused without
being executed. What a file is, its first bytes say, not its name.
"""

import json
import pickle
import pickletools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeGuard
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.exchange.importing.facts import batch_size_in, optimizer_of, with_settings
from mechgrok.exchange.importing.groups import config_beside
from mechgrok.exchange.importing.numbers import NUMBERS
from mechgrok.files import check_plain, open_plain, read_text
from mechgrok.runs.folder import is_run
from mechgrok.tensors import DIGEST, digest

State = dict[str, Tensor]

#: Where a saved dictionary keeps its weights: one state dict, or a list of them.
_ONE = ("model", "state_dict", "model_state_dict")
_MANY = ("checkpoints", "state_dicts")
#: Constants of TransformerLens's attention, which are no weights and not always finite.
_CONSTANTS = ("IGNORE", "rotary_sin", "rotary_cos")
#: A name that tells a step: 2000.pth, epoch_2000.pth, ckpt-2000.pt.
_STEP = re.compile(
    r"(?:.*(?:step|epoch|iter|iteration|checkpoint|ckpt)[_\-=]?)?([0-9]{1,12})", re.I
)
#: A checkpoint of a run of ours, whose configuration stands beside it.
_CHECKPOINT = re.compile(r"step_[0-9]{8,}\.safetensors")
#: Weights of Zhong et al. 2023, whose configuration stands beside them: config_NAME.json.
_BESIDE = re.compile(r"model_(\w+)\.pt")
#: What the Trainer of transformers calls its weights.
_TRAINER_FILES = ("model.safetensors", "pytorch_model.bin")
#: The largest step that is believed.
_LAST_STEP = 10**12
#: A tensor may share its memory with others, or repeat itself; beyond this many numbers to each
#: byte of the file it is a trap.
_NUMBERS_PER_BYTE = 64

#: Bytes that say what a file is.
_START = 512
Kind = Literal["safetensors", "json", "npy", "npz", "pickle"]
#: How files begin that are something else, what they are, and what to do.
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer to the file", "get the file with git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer to the file", "get the file with git annex get"),
    (b"<", "a web page or XML", "download the file itself (the raw one)"),
    (b"\x1f\x8b", "compressed with gzip", "decompress it"),
    (b"\x89HDF", "an HDF5 file, as Keras writes", "save its weights with numpy.savez"),
)
#: What a member of a ZIP archive says of the whole; the first that fits counts.
_IN_ZIP = (
    ("constants.pkl", "a TorchScript module, which holds code", "save its state_dict() instead"),
    ("model.weights.h5", "a Keras model", "save its weights with numpy.savez"),
)
#: Kinds of NumPy's arrays that are no numbers.
_NO_NUMBERS = {
    "U": "text",
    "S": "bytes",
    "M": "dates",
    "m": "durations",
    "O": "Python objects",
    "V": "records or raw bytes, as of bfloat16",
}


@dataclass(frozen=True)
class Saved:
    """One state dict as a file holds it, and all else that the file says.

    Attributes:
        file: the file.
        state: the tensors by name, in float32.
        step: the optimizer steps taken, where the file or its name tells.
        content: what else the file holds, as it stands there; untrusted.
        ordered: whether the order of the tensors is the writer's (safetensors sorts them by name).
        notes: what a person should know of how it was read.
    """

    file: Path
    state: State
    step: int | None
    content: Mapping[str, Any] = field(default_factory=dict)
    ordered: bool = True
    notes: tuple[str, ...] = ()


def read(path: Path) -> Iterator[Saved]:
    """The state dicts in a file, with the steps and whatever else the file tells.

    Raises:
        UserError: the file is missing or damaged, holds code, or holds no tensors.
    """
    content = read_content(path)
    kind = kind_of(path)
    if kind == "json":
        raise UserError(f"{path} is JSON, not a file of weights: name the file of the weights.")
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dictionary of weights.")
    ignored = {name: value.what for name, value in content.items() if isinstance(value, NoNumbers)}
    content = _beside(path) | {n: value for n, value in content.items() if n not in ignored}
    listed = ", ".join(f"{name} ({what})" for name, what in ignored.items())
    note = f"{path.name} has entries that are not numbers and were ignored: {listed}."
    notes = (note,) * bool(ignored)
    many = next((content[key] for key in _MANY if isinstance(content.get(key), list)), None)
    if many:
        beside = {key: value for key, value in content.items() if key not in (*_ONE, *_MANY)}
        steps, guess = _steps_of(content, len(many))
        for step, state in zip(steps, many, strict=True):
            yield Saved(path, _tensors(state, path), step, beside, notes=(*notes, *guess))
        return
    key = next((key for key in _ONE if isinstance(content.get(key), dict)), None)
    state = content if key is None else content[key]
    beside = {k: v for k, v in content.items() if k != key and not (key is None and _is_weight(v))}
    step, guess = _step(content, path)
    yield Saved(path, _tensors(state, path), step, beside, kind != "safetensors", (*notes, *guess))


def _beside(path: Path) -> dict[str, Any]:
    """What stands beside a file and tells of it: configurations, and a trainer's state."""
    if _CHECKPOINT.fullmatch(path.name) and is_run(path.parent):
        return {"mechgrok": read_content(path.parent / "config.json")}
    if (config := config_beside(path)) is not None:
        return {"config": config}
    if (named := _BESIDE.fullmatch(path.name)) is not None:
        file = path.with_name(f"config_{named[1]}.json")
        return {"config": read_content(file)} if file.is_file() else {}
    told: dict[str, Any] = {}
    state, optimizer = path.with_name("trainer_state.json"), path.with_name("optimizer.pt")
    if path.name in _TRAINER_FILES and state.is_file():
        with suppress(UserError):  # what cannot be read stays unknown
            trainer = read_content(state)
            told["global_step"] = trainer.get("global_step") if isinstance(trainer, dict) else None
            told["optimizer"] = read_content(optimizer)
    return told


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


# --- files --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoNumbers:
    """An array of a NumPy file that cannot become a tensor: ``what`` it holds instead."""

    what: str


def kind_of(path: Path) -> Kind:
    """Which of the forms that can be read a file has.

    Raises:
        UserError: it has none of them: what it is, and what to do.
    """
    with path.open("rb") as opened:
        start = opened.read(_START)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise UserError(f"{path} is empty: fetch it again.")
    if start[7:9] == b"\0{":  # after the length of the header
        return "safetensors"
    for beginning, what, remedy in _FOREIGN:
        if text.startswith(beginning):
            raise UserError(f"{path} is {what}, so it holds no weights: {remedy}.")
    if _is_text(start) and (text.startswith((b"{", b"[")) or path.suffix == ".json"):
        return "json"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    if _is_text(start) and not _may_be_pickle(start):
        raise UserError(f"{path} is a text, not a file of weights: name the file of the weights.")
    return "safetensors" if path.suffix == ".safetensors" else "pickle"


def _kind_of_zip(path: Path) -> Kind:
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except (BadZipFile, ValueError, NotImplementedError, EOFError):
        return "npz" if path.suffix == ".npz" else "pickle"  # whose reader says what is damaged
    for member, what, remedy in _IN_ZIP:
        if any(name.rpartition("/")[2] == member for name in names):
            raise UserError(f"{path} is {what}: {remedy}.")
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "pickle"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise UserError(
        f"{path} is a ZIP archive of {', '.join(names[:3]) or 'nothing'}, not a file of weights: "
        "unpack it and name the file of the weights."
    )


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in start)


def _may_be_pickle(start: bytes) -> bool:
    """Whether a text may be a pickle of protocol 0, which is text too."""
    try:
        return [operation.name for operation, _, _ in pickletools.genops(start)][-1] == "STOP"
    except ValueError as error:
        return "opcode" not in str(error) and len(start) == _START  # there is more of it


def read_content(path: Path) -> Any:
    """What a file holds: tensors, numbers, texts and containers of them.

    The texts in the metadata of a safetensors file stand beside its tensors, read as JSON where
    they are JSON. Arrays of a NumPy archive that hold no numbers are `NoNumbers`.

    Raises:
        UserError: the file is missing, damaged or of no known form, or holds code.
    """
    try:
        check_plain(path)
    except OSError as error:
        what = (
            "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        )
        raise UserError(f"{path} {what}: name files that hold weights.") from None
    try:
        kind = kind_of(path)
        if kind == "safetensors":
            return _safetensors(path)
        if kind == "json":
            return json.loads(read_text(path))
        if kind in ("npy", "npz"):
            return _numpy(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).") from None
    # zlib and NumPy meet damage with whatever their own code happens to raise.
    except Exception as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({_first_line(error)}): fetch it again.") from None
    return _pickle(path)


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        written = metadata.pop(DIGEST, None)
        damaged = written is not None and written != digest(state, metadata)
    # A damaged header can name a type or a length that only fails later.
    except (SafetensorError, ValueError, RuntimeError, KeyError, OverflowError) as error:
        raise UserError(
            f"{path} is truncated or no safetensors file ({_first_line(error)}): fetch it again."
        ) from None
    if damaged:
        raise UserError(f"{path} holds other values than were written: fetch it again.")
    return {name: _json(text) for name, text in metadata.items()} | state


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _numpy(path: Path) -> Any:
    if kind_of(path) == "npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: _from_numpy(partial(archive.__getitem__, name)) for name in archive.files}
    value = _from_numpy(partial(np.load, path, allow_pickle=False))
    if isinstance(value, NoNumbers):
        raise UserError(f"{path} holds {value.what}, where numbers are needed.")
    return value


def _from_numpy(load: Callable[[], np.ndarray]) -> Tensor | bool | int | float | str | NoNumbers:
    """A tensor of what an array holds, the one value of an array of one, or what else it is."""
    try:
        array = load()
    except ValueError as error:
        if "allow_pickle" in str(error):
            return NoNumbers(_NO_NUMBERS["O"])
        raise
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "U" and array.ndim == 0:
        return str(array)
    if kind in _NO_NUMBERS:
        return NoNumbers(_NO_NUMBERS[kind])
    # In this machine's byte order; long doubles, which torch does not have, as doubles.
    widest = {"f": 8, "c": 16}.get(kind, size)
    array = array.astype(f"{kind}{min(size, widest)}")
    return torch.from_numpy(array) if array.ndim else array.item()


def _pickle(path: Path) -> Any:
    """What a PyTorch pickle holds, read by the loader that makes tensors and containers only."""
    try:
        with (
            open_plain(path) as file,
            warnings.catch_warnings(),
            torch.serialization.safe_globals(NUMBERS),
        ):
            warnings.simplefilter("ignore")  # about protocols, of files that are refused anyway
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = re.search(r"GLOBAL (\S+)", str(error))
        named = f" ({what[1]})" if what else ""
        raise UserError(
            f"{path} holds Python objects{named}, which can carry code, so it was not loaded: save "
            "the weights alone, torch.save(model.state_dict(), …) or safetensors."
        ) from None
    # The loader meets damage with whatever its own code happens to raise.
    except Exception as error:
        raise UserError(
            f"{path} is damaged or no PyTorch file ({_first_line(error)}): fetch it again, or "
            "convert it to safetensors."
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


# --- tensors ------------------------------------------------------------------------------------


def _tensors(state: Any, path: Path) -> State:
    """The tensors of a state dict in float32.

    Raises:
        UserError: there are none, or one is empty, not finite, or not a plain tensor of numbers.
    """
    tensors: State = {}
    numbers = 0
    for name, value in state.items() if isinstance(state, dict) else ():
        if isinstance(name, str) and isinstance(value, Tensor) and not name.endswith(_CONSTANTS):
            _refuse_unusual(name, value, path)
            numbers += value.numel()
            if numbers > _NUMBERS_PER_BYTE * path.stat().st_size:
                raise UserError(
                    f"{path} holds tensors of more numbers than a file of its size can."
                )
            tensors[name] = value.float().contiguous()
            if not tensors[name].isfinite().all():
                raise UserError(
                    f"{path} holds numbers in {name} that are not finite: the training diverged, "
                    "or the file is damaged; import an earlier checkpoint."
                )
    if not tensors:
        keys = list(state)[:8] if isinstance(state, dict) else type(state).__name__
        from mechgrok.exchange.importing.layouts import EXPECTED

        raise UserError(f"{path} holds no tensors by name but {keys}; expected is {EXPECTED}.")
    return tensors


def _refuse_unusual(name: str, value: Tensor, path: Path) -> None:
    kinds = {
        "quantized": value.is_quantized,
        "sparse": value.layout != torch.strided,
        "without data": value.is_meta,
        "complex": value.is_complex(),
        "empty": not value.numel(),
    }
    if kind := next((kind for kind, is_so in kinds.items() if is_so), None):
        raise UserError(f"{path} holds {name}, which is {kind}: save dense real numbers.")


# --- steps --------------------------------------------------------------------------------------


#: What is said where a step is worked out from an epoch.
EPOCHS_AS_STEPS = (
    "The files count epochs and no steps: each epoch is taken for one step, as where the whole "
    "training set is one batch; --steps says otherwise."
)


def _step(content: Mapping[str, Any], path: Path) -> tuple[int | None, tuple[str, ...]]:
    """The optimizer steps taken, as far as the file or its name tells, and what was assumed.

    The optimizer's own count comes first, then the trainer's. ``epoch`` N counts from 0 in the
    scripts of Nanda et al. and Minegishi et al., which save after the update: N + 1 steps. Where
    there are batches, an epoch tells no step.
    """
    for step in (_optimizer_step(content), content.get("global_step"), content.get("step")):
        if _is_step(step):
            return step, ()
    in_batches = batch_size_in(with_settings(content)) is not None
    if _is_step(epoch := content.get("epoch")) and not in_batches:
        return epoch + 1, (EPOCHS_AS_STEPS,)
    if path.stem == "init":
        return 0, ()
    match = _STEP.fullmatch(path.stem)
    if match is None or (in_batches and "epoch" in path.stem.lower()):
        return None, ()
    return int(match[1]), ()


def _optimizer_step(content: Mapping[str, Any]) -> object:
    states = optimizer_of(content).get("state")
    for state in states.values() if isinstance(states, dict) else ():
        step = state.get("step") if isinstance(state, dict) else None
        if isinstance(step, Tensor) and step.numel() == 1 and step.isfinite().all():
            return int(step)
        if _is_step(step):
            return step
    return None


def _steps_of(content: Mapping[str, Any], n: int) -> tuple[list[int | None], tuple[str, ...]]:
    """The step of each of ``n`` state dicts in one file, and what was assumed."""
    for key, after in (("checkpoint_epochs", 1), ("epochs", 1), ("steps", 0)):
        told = content.get(key)
        if isinstance(told, list) and len(told) == n and all(_is_step(each) for each in told):
            return [each + after for each in told], (EPOCHS_AS_STEPS,) * after
    return [None] * n, ()


def _is_step(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < _LAST_STEP


def settle_steps(given: list[int] | None, told: list[int | None]) -> tuple[list[int], bool]:
    """The step of every set of weights, and whether they are known.

    One set of which nothing is known is kept at step 0.

    Raises:
        UserError: there are too few or too many, or two are the same, or one is not known.
    """
    if given is None and told == [None]:
        return [0], False
    if given is not None and len(given) != len(told):
        raise UserError(f"{len(given)} steps were given for {len(told)} sets of weights.")
    steps = [step for step in (told if given is None else given) if step is not None]
    if negative := [step for step in steps if step < 0]:
        raise UserError(f"--steps {negative[0]} is no step: count from 0.")
    if too_large := [step for step in steps if not _is_step(step)]:
        raise UserError(f"--steps {too_large[0]} is more than any training takes.")
    if len(set(steps)) < len(told):
        raise UserError(
            f"The files tell the steps {told}, which leaves some unknown or equal: give one for "
            "each with --steps."
        )
    return steps, True
