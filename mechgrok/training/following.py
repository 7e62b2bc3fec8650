"""Reading the values that constraints follow from the runs that recorded them."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.optimization.constraints.base import Constraint
from mechgrok.optimization.constraints.following import PARENT, Following
from mechgrok.optimization.constraints.reading import read_constraints
from mechgrok.runs import Run


def with_schedules(config: RunConfig, parent: Run | None = None) -> RunConfig:
    """A configuration whose constraints, also those of phases, hold the values that they follow.

    Args:
        config: the configuration; schedules that it already has stay.
        parent: the run that ``like=parent`` stands for.

    Raises:
        UserError: a run to follow does not exist or has not recorded the values, or there is no
            parent.
    """
    training = config.training
    if training is None:
        return config

    def read(constraints: Any) -> tuple[Constraint, ...]:
        return tuple(_with_schedule(each, parent) for each in read_constraints(constraints))

    def read_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
        if "constraints" not in settings:
            return dict(settings)
        return {**settings, "constraints": to_jsonable_python(read(settings["constraints"]))}

    phases = tuple(
        type(phase)(at=phase.at, **read_settings(phase.settings)) for phase in training.phases
    )
    update = {"constraints": read(training.constraints), "phases": phases}
    return config.model_copy(update={"training": training.model_copy(update=update)})


def _with_schedule(constraint: Constraint, parent: Run | None) -> Constraint:
    if not isinstance(constraint, Following) or constraint.like is None or constraint.schedule:
        return constraint
    if constraint.like != PARENT:
        run = Run(constraint.like)
    elif parent is not None:
        run = parent
    else:
        raise UserError(
            f"{constraint} is for runs derived from another, such as tickets: name a folder "
            f"instead, {constraint.name}:like=ckpts."
        )
    column, table = constraint.column, run.metrics.drop_duplicates("step", keep="last")
    table = table[["step", column]].dropna() if column in table else table[:0]
    if table.empty:
        raise UserError(
            f"{run.path} has not recorded {column}, which {constraint.name}:like follows: train "
            f"it with --metric {column}, or choose another run."
        )
    pairs = zip(table["step"].tolist(), table[column].tolist(), strict=True)
    fields = {"like": str(run.path.resolve()), "schedule": tuple(pairs)}
    return type(constraint).model_validate(constraint.model_dump() | fields)
