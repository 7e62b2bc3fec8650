"""The state dicts in a file of weights, their steps, and what else the file says.

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

#: Constants of TransformerLens's attention, which are no weights and not always finite.
_CONSTANTS = ("IGNORE", "rotary_sin", "rotary_cos")
#: A name that tells a step: 2000.pth, epoch_2000.pth, ckpt-2000.pt.
_STEP = re.compile(
    r"(?:.*(?:step|epoch|iter|iteration|checkpoint|ckpt)[_\-=]?)?([0-9]{1,12})", re.I
)
#: A checkpoint of a run of ours, whose configuration stands beside it.
_CHECKPOINT = re.compile(r"step_[0-9]{8,}\.safetensors")
#: Weights of Zhong et al. 2023, whose configuration stands beside them: config_NAME.json.
_ZHONG = re.compile(r"model_(\w+)\.pt")
#: What the Trainer of transformers calls its weights.
_TRAINER_FILES = ("model.safetensors", "pytorch_model.bin")
#: Larger steps are not believed.
_LAST_STEP = 10**12
#: A tensor may share its memory with others, or repeat itself; beyond this many numbers to each
#: byte of the file it is a trap.
_NUMBERS_PER_BYTE = 64
#: The warning where a step is derived from an epoch.
EPOCHS_AS_STEPS = (
    "The files count epochs and no steps: each epoch is taken for one step, as where the whole "
    "training set is one batch; --steps says otherwise."
)


@dataclass(frozen=True)
class Saved:
    """One state dict of a file, and all else that the file says.

    Attributes:
        file: the file.
        state: the tensors by name, in float32.
        step: the optimizer steps taken, where the file or its name tells.
        content: what else the file holds; untrusted.
        ordered: whether the order of the tensors is the writer's (safetensors sorts them by name).
        notes: warnings for the person who imports.
    """

    file: Path
    state: State
    step: int | None
    content: Mapping[str, Any] = field(default_factory=dict)
    ordered: bool = True
    notes: tuple[str, ...] = ()


def read(path: Path) -> Iterator[Saved]:
    """The state dicts in a file, with the steps and whatever else the file says.

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
    content = _beside(path) | {n: value for n, value in content.items() if n not in ignored}
    listed = ", ".join(f"{name} ({what})" for name, what in ignored.items())
    note = f"{path.name} has entries that are not numbers and were ignored: {listed}."
    notes = (note,) * bool(ignored)
    lists = (content[key] for key in places["list_of_weights"] if content.get(key))
    if many := next((states for states in lists if isinstance(states, list)), None):
        containers = (*places["weights"], *places["list_of_weights"])
        others = {key: value for key, value in content.items() if key not in containers}
        steps, guess = _steps_of(content, len(many))
        for step, state in zip(steps, many, strict=True):
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


def _beside(path: Path) -> dict[str, Any]:
    """What other files in the folder say: configurations, and a trainer's state."""
    if _CHECKPOINT.fullmatch(path.name) and is_run(path.parent):
        return {"mechgrok": read_content(path.parent / "config.json")}
    if (config := groups.read_config(path)) is not None:
        return {"config": config}
    if named := _ZHONG.fullmatch(path.name):
        file = path.with_name(f"config_{named[1]}.json")
        return {"config": read_content(file)} if file.is_file() else {}
    said: dict[str, Any] = {}
    state = path.with_name("trainer_state.json")
    if path.name in _TRAINER_FILES and state.is_file():
        with suppress(UserError):  # what cannot be read stays unknown
            trainer = read_content(state)
            said["global_step"] = trainer.get("global_step") if isinstance(trainer, dict) else None
            said["optimizer"] = read_content(path.with_name("optimizer.pt"))
    return said


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _tensors(state: Any, path: Path) -> State:
    """The tensors of a state dict in float32.

    Raises:
        UserError: there are none, or one is empty, not finite, or not a plain tensor of numbers.
    """
    items = state.items() if isinstance(state, dict) else ()
    found = {
        name: value
        for name, value in items
        if isinstance(name, str) and isinstance(value, Tensor) and not name.endswith(_CONSTANTS)
    }
    if not found:
        holds = list(state)[:8] if isinstance(state, dict) else type(state).__name__
        raise UserError(f"{path} holds no tensors by name but {holds}; expected is {EXPECTED}.")
    if sum(map(Tensor.numel, found.values())) > _NUMBERS_PER_BYTE * path.stat().st_size:
        raise UserError(f"{path} holds tensors of more numbers than a file of its size can.")
    return {name: _checked(value, name, path) for name, value in found.items()}


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
            f"{path} holds numbers in {name} that are not finite: the training diverged, or the "
            "file is damaged; import an earlier checkpoint."
        )
    return numbers


# --- steps --------------------------------------------------------------------------------------


def _step(content: Mapping[str, Any], path: Path) -> tuple[int | None, tuple[str, ...]]:
    """The optimizer steps taken, as far as the file or its name tells, and a warning.

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


def settle_steps(given: Sequence[int] | None, told: list[int | None]) -> tuple[list[int], bool]:
    """The step of every state dict, and whether they are known.

    A single state dict whose step is unknown is kept at step 0.

    Raises:
        UserError: there are too few or too many, or two are the same, or one is not known.
    """
    if given is None and told == [None]:
        return [0], False
    if given is not None and len(given) != len(told):
        raise UserError(f"{len(given)} steps were given for {len(told)} sets of weights.")
    steps = [step for step in (told if given is None else given) if step is not None]
    if wrong := [step for step in steps if not _is_step(step)]:
        raise UserError(f"--steps {wrong[0]} is no step: they count from 0 to {_LAST_STEP - 1:,}.")
    if len(set(steps)) < len(told):
        raise UserError(
            f"The files tell the steps {told}, which leaves some unknown or equal: give one for "
            "each with --steps."
        )
    return steps, True
