"""Where a run's weights are numbers: a training that diverged leaves NaN behind."""

from collections.abc import Sequence

import torch
import xarray as xr

from mechgrok.errors import UserError
from mechgrok.runs import Run


def finite_steps(run: Run, steps: Sequence[int]) -> list[int]:
    """Those of the steps at which all weights are finite, and so are the sums of their squares.

    Raises:
        UserError: there are none.

    >>> import mechgrok
    >>> finite_steps(mechgrok.Run("data/base"), [0, 30000])
    [0, 30000]
    """
    finite = [step for step in steps if _is_finite(run, step)]
    if not finite:
        raise UserError(
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


def left_out(asked: Sequence[int], measured: Sequence[int]) -> dict[str, list[int]]:
    """The attribute of a dataset that names the steps that `finite_steps` left out, if any.

    >>> left_out([0, 10, 20], [0]), left_out([0, 10], [0, 10])
    ({'left_out': [10, 20]}, {})
    """
    missing = [int(step) for step in asked if step not in set(measured)]
    return {"left_out": missing} if missing else {}


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
