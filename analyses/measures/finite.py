"""Where a run's weights are numbers: a training that diverged leaves NaN behind."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import xarray as xr

from mechgrok.errors import NotApplicable
from mechgrok.runs import Run


def finite_steps(run: Run, steps: Sequence[int]) -> list[int]:
    """Those of the steps at which all weights are finite, and so are the sums of their squares.

    Raises:
        NotApplicable: there are none.

    >>> import mechgrok
    >>> finite_steps(mechgrok.Run("data/base"), [0, 30000])
    [0, 30000]
    """
    finite = [step for step in steps if _is_finite(run, step)]
    if not finite:
        raise NotApplicable(
            f"The weights of {run.path} are not finite numbers at any of the steps asked for "
            f"(from {steps[0]:,} to {steps[-1]:,}), so that nothing can be measured."
        )
    return finite


def last_finite_step(run: Run) -> int:
    """The last step at which weights are finite (`finite_steps`).

    Raises:
        UserError: there is none.

    >>> import mechgrok
    >>> last_finite_step(mechgrok.Run("data/base"))
    30000
    """
    for step in reversed(run.steps):
        if _is_finite(run, step):
            return step
    return finite_steps(run, run.steps)[-1]


def _is_finite(run: Run, step: int) -> bool:
    # One sum of squares tells of NaN, infinity, and weights whose products would overflow.
    weights = run.checkpoint(step).weights.values()
    return all(bool(torch.linalg.vector_norm(weight.float()).isfinite()) for weight in weights)


def looked_at(
    run: Run,
    steps: Sequence[int] | None,
    some: Callable[[Sequence[int]], Sequence[int]] | None = None,
) -> tuple[list[int], dict[str, Any]]:
    """The steps at which a run is measured, and what the attributes of the answer say of them.

    Args:
        run: a run.
        steps: those that were asked for; None where nobody has said which.
        some: which of all are looked at then; all unless given.

    Returns:
        Those at which weights are finite (`finite_steps`), and attributes: ``left_out``, the
        others, if any; ``of_checkpoints``, of how many some were chosen.

    Raises:
        UserError: a step is none of the run, or weights are finite at none.

    >>> import mechgrok
    >>> looked_at(mechgrok.Run("data/base"), [0, 30000])
    ([0, 30000], {})
    >>> looked_at(mechgrok.Run("data/base"), None, lambda every: every[-1:])[0]
    [30000]
    """
    asked = every = run.select(steps)
    if some is not None and steps is None:
        asked = [int(step) for step in some(every)]
    finite = finite_steps(run, asked)
    missing = [int(step) for step in asked if step not in set(finite)]
    told: dict[str, Any] = {"left_out": missing} if missing else {}
    return finite, told | ({"of_checkpoints": len(every)} if some is not None else {})


def and_left_out(finding: str, dataset: xr.Dataset) -> str:
    """A finding, followed by how many steps it is silent about, if any.

    >>> and_left_out("seen", xr.Dataset(attrs={"left_out": [40, 60]}))
    'seen; 2 steps from 40 on left out, where weights are not finite numbers'
    """
    missing = dataset.attrs.get("left_out", [])
    if not len(missing):
        return finding
    count = "1 step" if len(missing) == 1 else f"{len(missing)} steps"
    return (
        f"{finding}; {count} from {int(missing[0]):,} on left out, where weights are not finite "
        "numbers"
    )
