"""The state dicts in a file of weights, their steps and metadata.

A file is a bare state dict, or holds one under ``model``, ``state_dict`` or ``model_state_dict``,
or a list of them under ``checkpoints`` or ``state_dicts``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.exchange.importing import groups
from mechgrok.exchange.importing.content import NotNumbers, kind_of, read_content
from mechgrok.exchange.importing.facts import (
    batch_size_in,
    optimizer_of,
    plain_number,
    with_settings,
)
from mechgrok.exchange.importing.layouts import EXPECTED, State
from mechgrok.exchange.importing.tables import NAMES
from mechgrok.runs.folder import is_run

#: Constants of TransformerLens's attention: not weights, and not always finite.
_CONSTANTS = ("IGNORE", "rotary_sin", "rotary_cos")
#: A file name with a step: 2000.pth, epoch_2000.pth, ckpt-2000.pt.
_STEP = re.compile(
    r"(?:.*(?:step|epoch|iter|iteration|checkpoint|ckpt)[_\-=]?)?([0-9]{1,12})", re.I
)
#: A checkpoint of a mechgrok run, with its configuration in the same folder.
_CHECKPOINT = re.compile(r"step_[0-9]{8,}\.safetensors")
#: Weights of Zhong et al. 2023, with config_NAME.json in the same folder.
_ZHONG = re.compile(r"model_(\w+)\.pt")
#: Weight files of transformers' Trainer.
_TRAINER_FILES = ("model.safetensors", "pytorch_model.bin")
#: Larger steps are ignored.
_LAST_STEP = 10**12
#: Tensors may share or repeat memory, but more numbers per byte of the file are an attack.
_NUMBERS_PER_BYTE = 64
#: The warning after deriving steps from epochs.
EPOCHS_AS_STEPS = (
    "The files count epochs, not steps: each epoch is taken as one step (full-batch training); "
    "override with --steps."
)


@dataclass(frozen=True)
class Saved:
    """One state dict of a file, and the file's metadata.

    Attributes:
        file: the file.
        state: the tensors by name, in float32.
        step: number of optimizer steps, if the file or its name has it.
        content: the rest of the file; untrusted.
        ordered: whether the tensors are in the writer's order (safetensors sorts them by name).
        notes: warnings for the user.
    """

    file: Path
    state: State
    step: int | None
    content: Mapping[str, Any] = field(default_factory=dict)
    ordered: bool = True
    notes: tuple[str, ...] = ()


def read(path: Path) -> Iterator[Saved]:
    """The state dicts in a file, with steps and metadata.

    Raises:
        UserError: the file is missing or damaged, holds code, or holds no tensors.
    """
    content = read_content(path)
    kind, places = kind_of(path), NAMES["places"]
    if kind == "json":
        raise UserError(f"{path} is JSON, not a file of weights: name the file of the weights.")
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dictionary of weights.")
    ignored = {name: value.what for name, value in content.items() if isinstance(value, NotNumbers)}
    content = _neighbouring_metadata(path) | {
        n: value for n, value in content.items() if n not in ignored
    }
    listed = ", ".join(f"{name} ({what})" for name, what in ignored.items())
    note = f"{path.name} has entries that are not numbers and were ignored: {listed}."
    notes = (note,) * bool(ignored)
    lists = (content[key] for key in places["list_of_weights"] if content.get(key))
    if states := next((values for values in lists if isinstance(values, list)), None):
        containers = (*places["weights"], *places["list_of_weights"])
        others = {key: value for key, value in content.items() if key not in containers}
        steps, guess = _steps_of(content, len(states))
        for step, state in zip(steps, states, strict=True):
            yield Saved(path, _tensors(state, path), step, others, True, (*notes, *guess))
        return
    state, others = content, {k: v for k, v in content.items() if not _is_weight(v)}
    for key in places["weights"]:
        if isinstance(content.get(key), dict):
            state, others = content[key], {k: v for k, v in content.items() if k != key}
            break
    step, guess = _step(content, path)
    is_ordered = kind != "safetensors"
    yield Saved(path, _tensors(state, path), step, others, is_ordered, (*notes, *guess))


def _neighbouring_metadata(path: Path) -> dict[str, Any]:
    """Metadata in other files of the folder: configurations, and a trainer's state."""
    if _CHECKPOINT.fullmatch(path.name) and is_run(path.parent):
        return {"mechgrok": read_content(path.parent / "config.json")}
    if (config := groups.read_config(path)) is not None:
        return {"config": config}
    if match := _ZHONG.fullmatch(path.name):
        file = path.with_name(f"config_{match[1]}.json")
        return {"config": read_content(file)} if file.is_file() else {}
    metadata: dict[str, Any] = {}
    state = path.with_name("trainer_state.json")
    if path.name in _TRAINER_FILES and state.is_file():
        with suppress(UserError):  # unreadable files stay unknown
            trainer = read_content(state)
            if isinstance(trainer, dict):
                metadata["global_step"] = trainer.get("global_step")
            metadata["optimizer"] = read_content(path.with_name("optimizer.pt"))
    return metadata


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _tensors(state: Any, path: Path) -> State:
    """The tensors of a state dict in float32.

    Raises:
        UserError: there are none, or one is empty, not finite, or not a dense real tensor.
    """
    items = state.items() if isinstance(state, dict) else ()
    tensors = {
        name: value
        for name, value in items
        if isinstance(name, str) and isinstance(value, Tensor) and not name.endswith(_CONSTANTS)
    }
    if not tensors:
        holds = list(state)[:8] if isinstance(state, dict) else type(state).__name__
        raise UserError(f"{path} holds {holds} instead of named tensors; expected: {EXPECTED}.")
    if sum(map(Tensor.numel, tensors.values())) > _NUMBERS_PER_BYTE * path.stat().st_size:
        raise UserError(f"{path} holds more numbers than a file of its size can.")
    return {name: _checked(value, name, path) for name, value in tensors.items()}


def _checked(value: Tensor, name: str, path: Path) -> Tensor:
    unusual = {
        "quantized": value.is_quantized,
        "sparse": value.layout != torch.strided,
        "without data": value.is_meta,
        "complex": value.is_complex(),
        "empty": not value.numel(),
    }
    if kind := next((kind for kind, is_so in unusual.items() if is_so), None):
        raise UserError(f"{path} holds {name}, which is {kind}: save dense real numbers.")
    if not (numbers := value.float().contiguous()).isfinite().all():
        raise UserError(
            f"{path} holds non-finite numbers in {name}: the training diverged, or the file is "
            "damaged; import an earlier checkpoint."
        )
    return numbers


# --- steps --------------------------------------------------------------------------------------


def _step(content: Mapping[str, Any], path: Path) -> tuple[int | None, tuple[str, ...]]:
    """The number of optimizer steps from the file or its name, or None, and a warning.

    The optimizer's count takes precedence, then the trainer's. The scripts of Nanda et al. and
    Minegishi et al. count ``epoch`` from 0 and save after the update: N + 1 steps. With
    mini-batches, an epoch gives no step.
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


def _optimizer_step(content: Mapping[str, Any]) -> int | None:
    states = optimizer_of(content).get("state")
    for state in states.values() if isinstance(states, dict) else ():
        step = plain_number(state.get("step")) if isinstance(state, dict) else None
        if _is_step(step) or (isinstance(step, float) and 0 <= step < _LAST_STEP):
            return int(step)
    return None


def _steps_of(content: Mapping[str, Any], n: int) -> tuple[list[int | None], tuple[str, ...]]:
    """The step of each of ``n`` state dicts in one file, and a warning."""
    for key, after in (("checkpoint_epochs", 1), ("epochs", 1), ("steps", 0)):
        steps = content.get(key)
        if isinstance(steps, list) and len(steps) == n and all(map(_is_step, steps)):
            return [step + after for step in steps], (EPOCHS_AS_STEPS,) * after
    return [None] * n, ()


def _is_step(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < _LAST_STEP


def resolve_steps(given: Sequence[int] | None, stored: list[int | None]) -> tuple[list[int], bool]:
    """The step of every state dict, and whether the steps are known.

    A single state dict of unknown step becomes step 0.

    Args:
        given: the user's steps.
        stored: the steps in the files.

    Raises:
        UserError: the number of steps is wrong, two are equal, or one is unknown.
    """
    if given is None and stored == [None]:
        return [0], False
    if given is not None and len(given) != len(stored):
        raise UserError(f"{len(given)} steps were given for {len(stored)} sets of weights.")
    steps = [step for step in (stored if given is None else given) if step is not None]
    if wrong := [step for step in steps if not _is_step(step)]:
        raise UserError(
            f"--steps {wrong[0]} is not a step: give numbers from 0 to {_LAST_STEP - 1:,}."
        )
    if len(set(steps)) < len(stored):
        raise UserError(
            f"The steps in the files are unknown or equal ({stored}): give one for each with "
            "--steps."
        )
    return steps, True
