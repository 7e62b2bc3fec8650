"""What a file tells beside its weights: about the task, the network and the training.

Nothing that a file tells is believed before it was checked, and nothing that it does not tell is
made up: what had to be chosen all the same is listed.
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
from mechgrok.models.hooked import ACTIVATIONS

#: Our operations, and what they are called in other people's scripts.
_CALLED = {
    "add": "add addition plus",
    "sub": "sub subtract subtraction minus",
    "mul": "mul multiply multiplication times",
    "div": "div divide division",
    "x2+y2": "x2+y2 x2y2",
    "x2+xy+y2": "x2+xy+y2 x2xyy2",
}
_OPERATIONS = {theirs: ours for ours, names in _CALLED.items() for theirs in names.split()}
#: Non-linearities that go by other names too.
_ACTS = {"swish": "silu", "square": "quadratic", "x2": "quadratic"}
_ACT_KEYS = ("act", "act_fn", "act_type", "activation")
_OPERATION_KEYS = ("fn_name", "operation", "task")
_FRACTION_KEYS = ("frac_train", "train_fraction", "train_frac", "frac")
_TRAINING_KEYS = {
    "learning_rate": ("lr", "learning_rate"),
    "weight_decay": ("weight_decay", "wd"),
}
#: Where scripts keep their settings: their own, Lightning's, the Trainer's of transformers.
_SETTINGS = ("config", "args", "hparams", "hyper_parameters")
#: Where they keep the state of the optimizer; Lightning has a list of them.
_OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optimizer_states", "optim")
#: The sum as Zhong et al. 2023 write it down; it is read, never run.
_SUM = re.compile(r"lambda x: \(x\[0\]\+x\[1\]\)%([0-9]{1,6})")


@dataclass(frozen=True)
class Facts:
    """What one file tells beside its weights, checked.

    Attributes:
        task: fields of the task, by our names.
        model: fields of the network's configuration that its weights do not show.
        training: fields of `TrainingConfig`.
        seed: of the initial weights.
        split_is_known: the task's fields tell the very split that was trained on.
        assumed: what was assumed already, where a network of ours had been imported before.
        group: the group whose elements the file numbers (`mechgrok.exchange.importing.groups`).
        notes: what a person should hear: facts in the file that contradict each other.
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
    """The facts in what a file holds beside its weights.

    Args:
        content: what the file holds.
        path: the file, for messages.
        task_is_given: a person has named the task, so that what the file calls it does not matter.

    Raises:
        UserError: a fact is not of its kind, or names what there is none of here.
    """
    if isinstance(ours := content.get("mechgrok"), dict):
        return _of_our_own(ours)
    told = with_settings(content)
    if "group_parameter" in told and not task_is_given:
        return _of_a_group(told, path)
    task: dict[str, Any] = {}
    if isinstance(saved := told.get("task"), dict):  # as version 0.1 exported it
        task = dict(saved)
        told = {key: value for key, value in told.items() if key != "task"}
    if (fraction := _first(told, _FRACTION_KEYS)) is not None:
        task["train_fraction"] = _finite(fraction, "train fraction", path)
    if "p" in told:
        task["p"] = _whole(told["p"], "p", path)
    if not task_is_given and (name := _first(told, _OPERATION_KEYS)) is not None:
        task["name"] = _operation(name, path)
    model = _act(_first(told, _ACT_KEYS), path)
    if "attn_coeff" in told:
        model |= _attention_rate(told, path)
        if isinstance(told.get("funcs"), str) and (found := _SUM.fullmatch(told["funcs"])):
            task = {"name": "add", "p": int(found[1]), "pairs": "ordered"} | task
    split_is_known = {"split_seed", "train_fraction"} <= task.keys()
    training, notes = _training(told, path)
    return Facts(task, model, training, split_is_known=split_is_known, notes=notes)


def with_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a file holds, and the settings of its script, wherever its trainer keeps them."""
    told = dict(content)
    for table in (content.get(key) for key in _SETTINGS):
        if isinstance(table, dict):  # the name of an optimizer stands in none for its state
            told |= {key: value for key, value in table.items() if key not in _OPTIMIZERS}
    return told


def optimizer_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict of the optimizer, wherever a trainer keeps it; empty where there is none."""
    states = [content.get(key) for key in _OPTIMIZERS]
    states += [each for state in states if isinstance(state, list) for each in state[:1]]
    return next((state for state in states if isinstance(state, dict)), {})


def batch_size_in(told: Mapping[str, Any]) -> int | None:
    """Examples a batch, as any of the usual settings tells; None where none does."""
    sizes = (value for key, value in told.items() if "batch_size" in str(key))
    return next((size for size in sizes if type(size) is int and size > 0), None)


def _of_a_group(told: dict[str, Any], path: Path) -> Facts:
    """From the ``cfg.json`` of Chughtai et al.; all their networks have ReLUs."""
    task = groups.task_of(told, path)
    training, notes = _training(told, path)
    training |= {"optimizer": "adamw"} | _betas(told.get("betas"))
    return Facts(
        task,
        {"act": "relu"},
        training,
        split_is_known="fixed_split" in task,
        group=task["group"],
        notes=notes,
    )


#: Settings of a training that say how it is kept, and nothing of how the weights came about.
_KEEPING = ("checkpoint_every", "checkpoint_at", "keep", "probes", "threads")


def _of_our_own(fields: dict[str, Any]) -> Facts:
    """From what `mechgrok.exchange.exporting` wrote, or from a run's own configuration."""
    parts = {name: fields.get(name) for name in ("task", "model", "training")}
    known = {name: dict(part) for name, part in parts.items() if isinstance(part, dict)}
    origin = fields.get("origin")
    imported = origin if isinstance(origin, dict) and origin.get("kind") == "import" else None
    if imported is not None:
        known["training"] = dict(imported.get("known", {}))
    training = known.pop("training", {})
    seed = fields.get("seed")
    return Facts(
        known.get("task", {}),
        known.get("model", {}),
        training={name: value for name, value in training.items() if name not in _KEEPING},
        seed=seed if type(seed) is int else None,
        split_is_known=imported is None or imported.get("split") is not None,
        assumed=tuple(imported.get("assumed", ())) if imported is not None else (),
    )


def merged(all_facts: Sequence[Facts]) -> Facts:
    """What several files tell together: of each kind of fact what all tell that tell it."""

    def agreed(part: str) -> dict[str, Any]:
        told = [getattr(facts, part) for facts in all_facts]
        fields = {name: value for each in reversed(told) for name, value in each.items()}
        return {n: v for n, v in fields.items() if all(each.get(n, v) == v for each in told)}

    seeds = {facts.seed for facts in all_facts}
    return Facts(
        agreed("task"),
        agreed("model"),
        agreed("training"),
        seed=seeds.pop() if len(seeds) == 1 else None,
        split_is_known=all(facts.split_is_known for facts in all_facts),
        assumed=tuple(dict.fromkeys(name for facts in all_facts for name in facts.assumed)),
        notes=tuple(dict.fromkeys(note for facts in all_facts for note in facts.notes)),
    )


def _first(told: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((told[key] for key in keys if told.get(key) is not None), None)


def _operation(name: object, path: Path) -> str:
    if isinstance(name, str) and name in _OPERATIONS:
        return _OPERATIONS[name]
    if name in ("rand", "random"):
        raise UserError(
            f"{path} was trained on labels drawn at random, which it does not hold: name a task to "
            "look at it with --task."
        )
    raise UserError(
        f"{path} was trained on {name!r}, which is no operation here: name the task with --task "
        f"({choices(dict.fromkeys(_OPERATIONS.values()))}, or your own, file.py:name)."
    )


def _act(name: object, path: Path) -> dict[str, Any]:
    if name is None:
        return {}
    known = str(name).lower()
    known = _ACTS.get(known, known)
    if known not in ACTIVATIONS:
        raise UserError(
            f"{path} has neurons of the kind {name!r}, which the models here lack: they have "
            f"{choices(ACTIVATIONS)}."
        )
    return {"act": known}


def _attention_rate(told: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The attention rate of a transformer of Zhong et al. 2023 that one of ours can be.

    Raises:
        UserError: it is one of their variants that none of ours is.
    """
    if told.get("diff_vocab"):
        raise UserError(
            f"{path} reads a and b as tokens of two vocabularies (diff_vocab), which the tasks "
            "here do not have: it cannot be imported."
        )
    if told.get("n_layers", 1) != 1:
        raise UserError(
            f"{path} has {told['n_layers']} blocks whose attention looks ahead, which that of the "
            "models here does not: it cannot be imported."
        )
    rate = _finite(told["attn_coeff"], "attn_coeff", path)
    if not 0 <= rate <= 1:
        raise UserError(f"{path} tells attn_coeff = {rate:g}, which is no rate between 0 and 1.")
    return {"attention_rate": float(rate)}


def _training(told: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The training settings that a file tells; the optimizer's own count more than the script's."""
    known = {}
    for name, keys in _TRAINING_KEYS.items():
        if key := next((key for key in keys if told.get(key) is not None), None):
            known[name] = _finite(told[key], key, path)
    optimizer = _of_optimizer(optimizer_of(told))
    notes = tuple(
        f"{path.name} tells a {name.replace('_', ' ')} of {known[name]:g} in its configuration and "
        f"of {value:g} in its optimizer, whose count: it is taken."
        for name, value in optimizer.items()
        if name in known and value != known[name]
    )
    return known | optimizer, notes


def _of_optimizer(state: Mapping[str, Any]) -> dict[str, Any]:
    """What the parameter groups of PyTorch's optimizers tell, where all groups agree.

    Which optimizer it was is known where one alone has such options: Adam and AdamW share theirs
    with each other until torch 2.7, which tells them apart.
    """
    groups = state.get("param_groups")
    if not isinstance(groups, list) or not groups or not all(isinstance(g, dict) for g in groups):
        return {}
    options, known = groups[0].keys(), dict[str, Any]()
    if {"decoupled_weight_decay", "amsgrad"} <= options:
        known["optimizer"] = "adamw" if groups[0]["decoupled_weight_decay"] else "adam"
    elif {"nesterov", "dampening"} <= options:
        known["optimizer"] = "sgd"
    settings = {"lr": "learning_rate", "initial_lr": "learning_rate"}  # before a schedule
    settings |= {"weight_decay": "weight_decay"}
    settings |= {"momentum": "momentum"} if known.get("optimizer") == "sgd" else {}
    for key, name in settings.items():
        value = _agreed(groups, key)
        if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
            known[name] = float(value)
    betas = _betas(_agreed(groups, "betas"))
    if known.get("learning_rate") == 0:
        del known["learning_rate"]  # the end of a schedule, not a setting
    return known | betas


def _betas(value: Any) -> dict[str, Any]:
    two = isinstance(value, list | tuple) and len(value) == 2
    return {"betas": list(value)} if two and all(_is_rate(each) for each in value) else {}


def _is_rate(value: object) -> bool:
    return isinstance(value, float) and 0 <= value < 1


def _agreed(groups: list[dict[str, Any]], key: str) -> Any:
    """What all parameter groups hold under ``key``; None where they differ."""
    values = [group.get(key) for group in groups]
    values = [v.item() if isinstance(v, Tensor) and v.numel() == 1 else v for v in values]
    if any(isinstance(value, Tensor) for value in values):
        return None
    return values[0] if all(value == values[0] for value in values) else None


def _finite(value: object, name: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{path} tells {name} = {value!r}, which is no number.")
    return value


def _whole(value: object, name: str, path: Path) -> int:
    if type(value) is not int or value < 1:
        raise UserError(f"{path} tells {name} = {value!r}, which is no whole number above 0.")
    return value
