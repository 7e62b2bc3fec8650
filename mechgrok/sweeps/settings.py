"""Names of settings: any field of ``config.json`` by its own name where that is unique."""

from collections.abc import Mapping
from typing import Any

from mechgrok.errors import UserError
from mechgrok.grammar import Value

#: Names that stand for the choice of a task, a model, and the seed of the weights.
_TOP = {"task": ("task", "name"), "model": ("model", "kind"), "seed": ("seed",)}
_PARTS = ("task", "model", "training")


def place(name: str) -> tuple[str, ...]:
    """Where a setting stands in ``config.json``: ("training", "weight_decay") for weight_decay.

    A dotted name says it itself: ``training.weight_decay``. What is neither of the training nor of
    a model is taken for a field of the task, which refuses those that it does not have.

    Raises:
        UserError: the name is no name, or its path leads nowhere.
    """
    from mechgrok.models import MLPConfig, TransformerConfig
    from mechgrok.training.config import TrainingConfig

    if name in _TOP:
        return _TOP[name]
    part, dot, field = name.partition(".")
    if dot:
        if part not in _PARTS or not field.isidentifier():
            raise UserError(
                f"There is no setting {name!r}: write it as config.json has it, such as "
                "training.weight_decay."
            )
        return part, field
    if not name.isidentifier():
        raise UserError(f"{name!r} is no setting: name one of config.json, such as weight_decay.")
    if name in TrainingConfig.model_fields:
        return "training", name
    if any(name in config.model_fields for config in (MLPConfig, TransformerConfig)):
        return "model", name
    return "task", name


def placed(settings: Mapping[str, Value]) -> dict[str, Any]:
    """Settings by name as nested parts of a configuration."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        *parts, key = place(name)
        part = nested
        for step in parts:
            part = part.setdefault(step, {})
        part[key] = value
    return nested
