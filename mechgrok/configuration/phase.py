"""Phases of a training: settings that change at a step."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from mechgrok.configuration.aliases import ALIASES
from mechgrok.errors import UserError, near
from mechgrok.fields import Settings
from mechgrok.grammar import parse_value, show_value

#: The settings of a task that can change during training.
TASK_SETTINGS = ("train_fraction", "split_seed", "label_noise", "noise_seed", "objective")
#: Settings whose value is a name with options after colons.
_WITH_OPTIONS = ("optimizer", "transforms", "constraints")
_FORM = "write 5000:weight_decay=0, with the step before the settings"
#: Before the step of a phase that follows another one.
_BETWEEN = re.compile(r"([,+])(?=\s*-?\d+:([\w.]+)=)")


class Phase(Settings):
    """Settings that replace earlier ones from a step on: ``Phase(at=5000, weight_decay=0)``.

    Attributes:
        at: the first step that is taken with the settings.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    at: Annotated[int, Field(ge=0, description="First step taken with the phase's settings.")]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name."""
        return dict(self.model_extra or {})

    def __str__(self) -> str:
        """The text that `parse_phases` parses, for settings that are plain values."""
        return ":".join([str(self.at), *(f"{k}={show_value(v)}" for k, v in self.settings.items())])

    @property
    def of_task(self) -> dict[str, Any]:
        """The settings of the task."""
        return {name: value for name, value in self.settings.items() if name in TASK_SETTINGS}

    @property
    def of_training(self) -> dict[str, Any]:
        """The training settings."""
        return {name: value for name, value in self.settings.items() if name not in TASK_SETTINGS}


def short_name(name: str) -> str:
    """The name of a setting in a phase: ``weight_decay`` for wd and training.weight_decay."""
    return ALIASES.get(name, name).rpartition(".")[2]


def parse_phases(text: str, known: Collection[str], options: Collection[str] = ()) -> list[Phase]:
    """Parse phases, separated by commas or plus signs: ``5000:weight_decay=0``.

    Options of an optimizer, a transform or a constraint follow its name after colons.

    Args:
        text: the phases.
        known: the names of the settings that can change.
        options: those of them that are options of an optimizer or a transform.

    >>> known = ["weight_decay", "learning_rate", "constraints"]
    >>> phases = parse_phases("50:wd=0:constraints=norm:value=3+80:lr=1", known)
    >>> [(phase.at, phase.settings) for phase in phases]
    [(50, {'weight_decay': 0, 'constraints': 'norm:value=3'}), (80, {'learning_rate': 1})]

    Raises:
        UserError: the text is not of this form.
    """
    return [_parse_phase(part.strip(), known, options) for part in _split(text, known)]


def _split(text: str, known: Collection[str]) -> list[str]:
    parts, start = [], 0
    for match in _BETWEEN.finditer(text):
        # Two phases in "5:lr=1+9:lr=2", but not in "5:constraints=frequencies:keep=1+3:of=W_E".
        if match[1] == "," or short_name(match[2]) in known:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _parse_phase(text: str, known: Collection[str], options: Collection[str]) -> Phase:
    at, *parts = text.split(":")
    texts: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        last = next(reversed(texts), "")
        is_option = short_name(name) not in known or name in options
        is_place = last == "objective" and not equals  # mine.py:loss
        if is_place or (last in _WITH_OPTIONS and texts[last] != "none" and is_option):
            texts[last] += f":{part}"
        elif not equals or not value:
            raise UserError(f"The phase {text} gives {name!r} no value: {_FORM}.")
        elif short_name(name) in texts:
            raise UserError(f"The phase {text} sets {name} twice: give it one value.")
        else:
            texts[short_name(name)] = value
    if not re.fullmatch(r"\s*-?\d+\s*", at) or not texts:
        raise UserError(f"{text!r} is not a phase: {_FORM}.")
    values = {name: parse_value(value) for name, value in texts.items()}
    return make_phase({"at": int(at), **values}, known)


def make_phase(fields: dict[str, Any], known: Collection[str]) -> Phase:
    """A phase from its step and its settings, whose names are checked.

    Raises:
        UserError: the step is missing or no step, or a setting cannot change during training.
    """
    at = fields.get("at")
    if not isinstance(at, int) or isinstance(at, bool) or at < 0:
        raise UserError(f"A phase begins at a step, 0 or later, not at {at!r}: {_FORM}.")
    settings = {short_name(name): value for name, value in fields.items() if name != "at"}
    for name in settings:
        if name not in known:
            raise UserError(
                f"The phase at step {at:,} cannot change {name!r}{near(name, known)}: choose a "
                f"setting of the optimizer, the training set or the loss, such as weight_decay, "
                "constraints, train_fraction or objective."
            )
    return Phase(at=at, **settings)
