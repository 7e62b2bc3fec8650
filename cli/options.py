"""Options whose values are small languages: lists of numbers, and assignments."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run
    from mechgrok.runs.tickets import At


def whole_numbers(text: str) -> list[int]:
    """The numbers in ``7,13``."""
    try:
        return [int(number) for number in text.replace(" ", "").split(",")]
    except ValueError:
        raise UserError(f"{text!r} is no list of whole numbers such as 7,13.") from None


def assign(given: dict[str, Any], assignment: str) -> None:
    """Put ``part.key=value`` into the nested options; the value is read as JSON where it is."""
    path, equals, text = assignment.partition("=")
    *parts, key = path.split(".")
    if not equals or not key or len(parts) > 1:
        raise UserError(f"--set {assignment} is not of the form task.KEY=VALUE.")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    (given.setdefault(parts[0], {}) if parts else given)[key] = value


def parse_at(text: str) -> "At":
    """A step of a run: a number, or ``mem``, ``gen`` or ``last``."""
    if text in ("mem", "gen", "last"):
        return text  # type: ignore[return-value]
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--at {text} is no step: give a number, mem, gen or last.") from None


def training_options(checkpoint_at: str | None, **options: Any) -> dict[str, Any]:
    """The training settings that were given on the command line, and no others."""
    if checkpoint_at is not None:
        options["checkpoint_at"] = whole_numbers(checkpoint_at)
    return {name: value for name, value in options.items() if value is not None}


def planned_steps(parent: "Run") -> int:
    """The steps that a run made from ``parent`` trains unless told otherwise."""
    from mechgrok.config import TrainingConfig

    return TrainingConfig(**parent.config.inherited_training()).steps


def beside(run: Path, ending: str) -> Path:
    """The folder next to a run's that is named after it: ckpts-ticket for ckpts."""
    run = run if run.name not in ("", "..") else run.resolve()
    return run.with_name(f"{run.name}-{ending}")
