"""The steps at which a run's weights are finite: a training that diverged leaves NaN behind."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

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
            f"(from {steps[0]:,} to {steps[-1]:,}): choose others with --steps."
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
    # The norm shows NaN, infinity, and weights whose products would overflow.
    weights = run.checkpoint(step).weights.values()
    return all(bool(torch.linalg.vector_norm(weight.float()).isfinite()) for weight in weights)


def select_finite_steps(
    run: Run,
    steps: Sequence[int] | None,
    choose: Callable[[Sequence[int]], Sequence[int]] | None = None,
) -> tuple[list[int], dict[str, Any]]:
    """The steps at which a run is measured, and what the attributes of the answer say of them.

    Args:
        run: a run.
        steps: the steps to measure; None for those that ``choose`` selects.
        choose: selects from all steps of the run; all of them unless given.

    Returns:
        The steps at which weights are finite (`finite_steps`), and attributes: ``left_out``, the
        other steps, if any; ``of_checkpoints``, the number of checkpoints that were chosen from.

    Raises:
        UserError: the run has no such step, or weights are finite at none.

    >>> import mechgrok
    >>> select_finite_steps(mechgrok.Run("data/base"), [0, 30000])
    ([0, 30000], {})
    >>> select_finite_steps(mechgrok.Run("data/base"), None, lambda every: every[-1:])[0]
    [30000]
    """
    chosen = every = run.select(steps)
    if choose is not None and steps is None:
        chosen = [int(step) for step in choose(every)]
    finite = finite_steps(run, chosen)
    missing = [int(step) for step in chosen if step not in set(finite)]
    attributes: dict[str, Any] = {"left_out": missing} if missing else {}
    return finite, attributes | ({"of_checkpoints": len(every)} if choose is not None else {})
