"""Reading files of weights: safetensors, and PyTorch pickles of tensors and containers.

A file is a bare state dict, or holds one under ``model``, ``state_dict`` or ``model_state_dict``,
or a list of them under ``checkpoints`` or ``state_dicts``. Pickles that hold anything but tensors,
dictionaries, lists, texts and numbers (`mechgrok.exchange.importing.numbers`) are refused without
being executed.
"""

import json
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.exchange.importing.groups import config_beside
from mechgrok.exchange.importing.numbers import NUMBERS
from mechgrok.files import check_plain, open_plain, read_text
from mechgrok.runs.folder import is_run
from mechgrok.tensors import DIGEST, digest

State = dict[str, Tensor]

#: Where a saved dictionary keeps its weights: one state dict, or a list of them.
_ONE = ("model", "state_dict", "model_state_dict")
_MANY = ("checkpoints", "state_dicts")
#: What training scripts wrap a model in.
_PREFIXES = ("module.", "_orig_mod.", "model.")
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
#: The largest step that is believed.
_LAST_STEP = 10**12
#: A tensor may share its memory with others, or repeat itself; beyond this many numbers to each
#: byte of the file it is a trap.
_NUMBERS_PER_BYTE = 64


@dataclass(frozen=True)
class Saved:
    """One state dict as a file holds it, and all else that the file says.

    Attributes:
        file: the file.
        state: the tensors by name, in float32.
        step: the optimizer steps taken, where the file or its name tells.
        content: what else the file holds, as it stands there; untrusted.
        ordered: whether the order of the tensors is the writer's (safetensors sorts them by name).
    """

    file: Path
    state: State
    step: int | None
    content: Mapping[str, Any] = field(default_factory=dict)
    ordered: bool = True


def read(path: Path) -> Iterator[Saved]:
    """The state dicts in a file, with the steps and whatever else the file tells.

    Raises:
        UserError: the file is missing or damaged, holds code, or holds no tensors.
    """
    content = read_content(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dictionary of weights.")
    ordered = not _is_safetensors(path)
    if _CHECKPOINT.fullmatch(path.name) and is_run(path.parent):
        content["mechgrok"] = read_content(path.parent / "config.json")
    if "config" not in content and (config := config_beside(path)):
        content["config"] = config
    if (named := _BESIDE.fullmatch(path.name)) and "config" not in content:
        file = path.with_name(f"config_{named[1]}.json")
        content |= {"config": read_content(file)} if file.is_file() else {}
    many = next((content[key] for key in _MANY if isinstance(content.get(key), list)), None)
    if many:
        beside = {key: value for key, value in content.items() if key not in (*_ONE, *_MANY)}
        for step, state in zip(_steps_of(content, len(many)), many, strict=True):
            yield Saved(path, _tensors(state, path), step, beside, ordered)
        return
    key = next((key for key in _ONE if isinstance(content.get(key), dict)), None)
    state = content if key is None else content[key]
    beside = {k: v for k, v in content.items() if k != key and not (key is None and _is_weight(v))}
    yield Saved(path, _tensors(state, path), _step(content, path), beside, ordered)


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


# --- files --------------------------------------------------------------------------------------


def read_content(path: Path) -> Any:
    """What a file holds: tensors, numbers, texts and containers of them.

    The texts in the metadata of a safetensors file stand beside its tensors, read as JSON where
    they are JSON.

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
        if _is_safetensors(path):
            return _safetensors(path)
        if path.suffix == ".json":
            return json.loads(read_text(path))
        if path.suffix in (".npz", ".npy"):
            return _numpy(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged or no {path.suffix[1:]} file ({error}).") from None
    return _pickle(path)


def _is_safetensors(path: Path) -> bool:
    with open_plain(path) as opened:
        return path.suffix == ".safetensors" or opened.read(9)[8:] == b"{"


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
    with open_plain(path) as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return torch.from_numpy(loaded)
        return {name: torch.from_numpy(loaded[name]) for name in loaded.files}


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
    """The tensors of a state dict in float32, without what a script wraps its model in.

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
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    if not tensors:
        keys = list(state)[:8] if isinstance(state, dict) else type(state).__name__
        from mechgrok.exchange.importing.layouts import EXPECTED

        raise UserError(f"{path} holds no tensors by name but {keys}; expected is {EXPECTED}.")
    return tensors


def _refuse_unusual(name: str, value: Tensor, path: Path) -> None:
    kind = None
    if value.is_quantized:
        kind = "quantized"
    elif value.layout != torch.strided:
        kind = "sparse"
    elif value.is_meta:
        kind = "without data"
    elif value.is_complex():
        kind = "complex"
    elif not value.numel():
        kind = "empty"
    if kind:
        raise UserError(f"{path} holds {name}, which is {kind}: save dense real numbers.")


# --- steps --------------------------------------------------------------------------------------


def _step(content: Mapping[str, Any], path: Path) -> int | None:
    """The optimizer steps that were taken, as far as the file or its name tells.

    The optimizer's own count comes first. ``epoch`` N counts from 0 in the scripts of Nanda et al.
    and Minegishi et al., which save after the update: N + 1 steps.
    """
    optimizer = content.get("optimizer", content.get("optimizer_state_dict"))
    if (counted := _optimizer_step(optimizer)) is not None:
        return counted
    for key, after in (("step", 0), ("epoch", 1)):
        if _is_step(told := content.get(key)):
            return told + after
    if path.stem == "init":
        return 0
    match = _STEP.fullmatch(path.stem)
    return int(match[1]) if match else None


def _optimizer_step(optimizer: Any) -> int | None:
    states = optimizer.get("state") if isinstance(optimizer, dict) else None
    for state in states.values() if isinstance(states, dict) else ():
        step = state.get("step") if isinstance(state, dict) else None
        if isinstance(step, Tensor) and step.numel() == 1 and step.isfinite().all():
            step = int(step)
        if _is_step(step):
            return step
    return None


def _steps_of(content: Mapping[str, Any], n: int) -> list[int | None]:
    """The step of each of ``n`` state dicts in one file."""
    for key, after in (("checkpoint_epochs", 1), ("epochs", 1), ("steps", 0)):
        told = content.get(key)
        if isinstance(told, list) and len(told) == n and all(_is_step(each) for each in told):
            return [each + after for each in told]
    return [None] * n


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
