"""Metadata in a file of weights: task, network and training settings.

Every value is validated. Missing values stay unknown.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from mechgrok.errors import UserError, choices
from mechgrok.exchange.importing import groups
from mechgrok.exchange.importing.tables import NAMES
from mechgrok.models.hooked import ACTIVATIONS

_OPERATIONS = {theirs: ours for ours, names in NAMES["operations"].items() for theirs in names}
_ACTIVATIONS = {name: name for name in ACTIVATIONS} | NAMES["activations"]
_OPTIMIZERS = NAMES["places"]["optimizer"]
#: The sum in the files of Zhong et al. 2023; parsed, never executed.
_SUM = re.compile(r"lambda x: \(x\[0\]\+x\[1\]\)%([0-9]{1,6})")
#: Settings of a training that do not affect the weights.
_RECORDING = ("checkpoint_every", "checkpoint_at", "keep", "probes", "threads")


@dataclass(frozen=True)
class Facts:
    """The validated metadata of one file.

    Attributes:
        task: fields of the task, by our names.
        model: fields of the model's configuration that the weights do not determine.
        training: fields of `TrainingConfig`.
        seed: seed of the initial weights.
        split_is_known: whether ``task`` determines the training split.
        assumed: assumptions of an earlier import of one of our networks.
        group: the group whose elements the file numbers (`mechgrok.exchange.importing.groups`).
        notes: warnings about facts that contradict each other.
    """

    task: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    split_is_known: bool = False
    assumed: tuple[str, ...] = ()
    group: str | None = None
    notes: tuple[str, ...] = ()


def read_facts(content: Mapping[str, Any], path: Path, *, task_is_given: bool = False) -> Facts:
    """Read and validate a file's metadata.

    Args:
        content: the file's content.
        path: the file, for messages.
        task_is_given: the user named a task, which replaces the file's.

    Raises:
        UserError: a value has the wrong type, or is unsupported.
    """
    if isinstance(ours := content.get("mechgrok"), dict):
        return _facts_of_mechgrok(ours)
    settings = with_settings(content)
    named = _named(settings, path)
    training, notes = _training(named, optimizer_of(settings), path)
    if "group_parameter" in settings and not task_is_given:
        task = groups.task_fields(settings, path)
        training |= {"optimizer": "adamw"} | _betas(settings.get("betas"))
        is_known = "fixed_split" in task
        # All networks of Chughtai et al. have ReLUs.
        return Facts(task, {"act": "relu"}, training, None, is_known, (), task["group"], notes)
    task = {name: named[name] for name in ("train_fraction", "p") if name in named}
    if isinstance(saved := settings.get("task"), dict):  # as version 0.1 exported it
        task = saved | task
    if not task_is_given and not isinstance(name := named.get("name", {}), dict):
        task["name"] = _operation(name, path)
    model = _activation(named["act"], path) if "act" in named else {}
    if "normalization" in named:
        model |= _normalization(named["normalization"], path)
    if "attention_rate" in named:
        model |= _attention_rate(named["attention_rate"], settings, path)
        if match := _SUM.fullmatch(str(settings.get("funcs"))):
            task = {"name": "add", "p": int(match[1]), "pairs": "ordered"} | task
    is_known = {"split_seed", "train_fraction"} <= task.keys()
    return Facts(task, model, training, split_is_known=is_known, notes=notes)


def with_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """A file's content, merged with its settings from any of the usual places."""
    settings = dict(content)
    for table in (content.get(key) for key in NAMES["places"]["settings"]):
        if isinstance(table, dict):  # there, "optimizer" is a name, not a state
            settings |= {key: value for key, value in table.items() if key not in _OPTIMIZERS}
    return settings


def optimizer_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizer's state dict from any of the usual places, or an empty one."""
    states = [content.get(key) for key in _OPTIMIZERS]
    states += [first for state in states if isinstance(state, list) for first in state[:1]]
    return next((state for state in states if isinstance(state, dict)), {})


def batch_size_in(settings: Mapping[str, Any]) -> int | None:
    """Examples per batch, under any of the usual names, or None."""
    sizes = (value for key, value in settings.items() if "batch_size" in str(key))
    return next((size for size in sizes if type(size) is int and size > 0), None)


def merge(all_facts: Sequence[Facts]) -> Facts:
    """Merge the facts of several files, without fields on which they disagree."""

    def agreed(part: str) -> dict[str, Any]:
        tables = [getattr(facts, part) for facts in all_facts]
        fields = {name: value for table in reversed(tables) for name, value in table.items()}
        return {n: v for n, v in fields.items() if all(table.get(n, v) == v for table in tables)}

    seeds = {facts.seed for facts in all_facts}
    return Facts(
        agreed("task"),
        agreed("model"),
        agreed("training"),
        seed=seeds.pop() if len(seeds) == 1 else None,
        split_is_known=all(facts.split_is_known for facts in all_facts),
        assumed=tuple(dict.fromkeys(name for facts in all_facts for name in facts.assumed)),
        notes=tuple(note for facts in all_facts for note in facts.notes),
    )


def _facts_of_mechgrok(fields: Mapping[str, Any]) -> Facts:
    """The facts in an export of mechgrok, or in a run's configuration."""

    def table(of: Mapping[str, Any], name: str) -> dict[str, Any]:
        return dict(of[name]) if isinstance(of.get(name), dict) else {}

    origin, seed = table(fields, "origin"), fields.get("seed")
    is_import = origin.get("kind") == "import"
    training = table(origin, "known") if is_import else table(fields, "training")
    assumed = origin.get("assumed") if is_import else None
    return Facts(
        table(fields, "task"),
        table(fields, "model"),
        {name: value for name, value in training.items() if name not in _RECORDING},
        seed=seed if type(seed) is int else None,
        split_is_known=not is_import or origin.get("split") is not None,
        assumed=tuple(map(str, assumed)) if isinstance(assumed, list) else (),
    )


def _named(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The settings by our names, with validated numbers."""
    named = {}
    for name, keys in NAMES["settings"].items():
        key = next((key for key in keys if settings.get(key) is not None), None)
        if key is None:
            continue
        value = named[name] = settings[key]
        if name == "p" and (type(value) is not int or value < 1):
            raise UserError(f"{path} has {key} = {value!r}, which is not a positive integer.")
        if name not in ("name", "act", "normalization") and not _is_number(value):
            raise UserError(f"{path} has {key} = {value!r}, which is not a number.")
    return named


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _operation(name: object, path: Path) -> str:
    if isinstance(name, str) and name in _OPERATIONS:
        return _OPERATIONS[name]
    if name in ("rand", "random"):
        raise UserError(
            f"{path} was trained on random labels, which it does not hold: name a task for the "
            "analyses with --task."
        )
    raise UserError(
        f"{path} was trained on {name!r}, an unknown operation: name the task with --task "
        f"({choices(NAMES['operations'])}, or your own, file.py:name)."
    )


def _activation(name: object, path: Path) -> dict[str, Any]:
    if (known := _ACTIVATIONS.get(str(name).lower())) is None:
        raise UserError(
            f"{path} has the unsupported activation function {name!r}: mechgrok has "
            f"{choices(ACTIVATIONS)}."
        )
    return {"act": known}


def _normalization(name: object, path: Path) -> dict[str, Any]:
    """A normalization without learned scale, by TransformerLens's name; weights show others.

    Raises:
        UserError: the name is unknown.
    """
    kinds = {"ln": None, "rms": None, "lnpre": "layer", "rmspre": "rms"}
    if (known := str(name).lower()) not in kinds:
        raise UserError(
            f"{path} has the unsupported normalization {name!r}: mechgrok has LN, LNPre, RMS and "
            "RMSPre."
        )
    return {"norm": kinds[known], "norm_learned": False} if kinds[known] else {}


def _attention_rate(rate: float, settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The attention rate of a transformer of Zhong et al. 2023.

    Raises:
        UserError: the file holds a variant that our transformer does not support.
    """
    if settings.get("diff_vocab"):
        raise UserError(
            f"{path} has separate vocabularies for a and b (diff_vocab), which mechgrok does not "
            "support: it cannot be imported."
        )
    if settings.get("n_layers", 1) != 1:
        raise UserError(
            f"{path} has {settings['n_layers']} blocks with non-causal attention, which mechgrok "
            "does not support: it cannot be imported."
        )
    if not 0 <= rate <= 1:
        raise UserError(f"{path} has attn_coeff = {rate:g}, which is outside 0 to 1.")
    return {"attention_rate": float(rate)}


def _training(
    named: Mapping[str, Any], optimizer: Mapping[str, Any], path: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The training settings in a file; the optimizer's override the script's."""
    script = {name: named[name] for name in ("learning_rate", "weight_decay") if name in named}
    known = _of_optimizer(optimizer)
    notes = tuple(
        f"{path.name} has a {name.replace('_', ' ')} of {value:g} in its configuration and of "
        f"{known[name]:g} in its optimizer, which is used."
        for name, value in script.items()
        if known.get(name, value) != value
    )
    return script | known, notes


def _of_optimizer(state: Mapping[str, Any]) -> dict[str, Any]:
    """The settings on which all parameter groups of a PyTorch optimizer agree.

    The options identify the optimizer, except that Adam and AdamW have the same before torch 2.7.
    """
    tables = state.get("param_groups")
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        return {}
    optimizer = {}
    if {"decoupled_weight_decay", "amsgrad"} <= tables[0].keys():
        optimizer = {"optimizer": "adamw" if tables[0]["decoupled_weight_decay"] else "adam"}
    elif {"nesterov", "dampening"} <= tables[0].keys():
        optimizer = {"optimizer": "sgd"}
    first, *others = map(_of_parameters, tables)
    agreed = {n: v for n, v in first.items() if all(other.get(n) == v for other in others)}
    if optimizer.get("optimizer") != "sgd":
        agreed.pop("momentum", None)
    return optimizer | agreed


def _of_parameters(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one parameter group."""
    known = {}
    # initial_lr precedes a schedule, which may end at lr = 0.
    for key in ("lr", "initial_lr", "weight_decay", "momentum"):
        value = plain_number(table.get(key))
        if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
            known["learning_rate" if key.endswith("lr") else key] = float(value)
    if known.get("learning_rate") == 0:
        del known["learning_rate"]
    return known | _betas(table.get("betas"))


def plain_number(value: Any) -> Any:
    """The number in a one-element tensor; other values unchanged."""
    is_number = isinstance(value, Tensor) and value.numel() == 1 and not value.is_meta
    return value.item() if is_number else value


def _betas(value: Any) -> dict[str, Any]:
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    rates = is_pair and all(isinstance(beta, float) and 0 <= beta < 1 for beta in value)
    return {"betas": list(value)} if rates else {}
