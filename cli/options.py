"""Options whose values are small languages, and folders that are named after others."""

from pathlib import Path
from typing import TYPE_CHECKING

from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run


def whole_numbers(text: str) -> list[int]:
    """The numbers in ``7,13``."""
    try:
        return [int(number) for number in text.replace(" ", "").split(",")]
    except ValueError:
        raise UserError(f"{text!r} is no list of whole numbers such as 7,13.") from None


def planned_steps(parent: "Run") -> int:
    """The steps that a run made from ``parent`` trains unless told otherwise."""
    from mechgrok.training.config import TrainingConfig

    return TrainingConfig(**parent.config.inherited_training()).steps


def beside(run: Path, ending: str) -> Path:
    """The folder next to a run's that is named after it: ckpts-ticket for ckpts."""
    run = run if run.name not in ("", "..") else run.resolve()
    return run.with_name(f"{run.name}-{ending}")
