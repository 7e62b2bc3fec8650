"""Select the steps at which a run's weights are finite; diverged training produces NaN."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mechgrok.errors import NotApplicable
from mechgrok.runs import Run


def finite_steps(run: Run, steps: Sequence[int]) -> list[int]:
    """The steps at which all weights and the sums of their squares are finite.

    Raises:
        NotApplicable: no such step exists.

    >>> import mechgrok
    >>> finite_steps(mechgrok.Run("data/base"), [0, 30000])
    [0, 30000]
    """
    finite = [step for step in steps if _is_finite(run, step)]
    if not finite:
        raise NotApplicable(
            f"The weights of {run.path} are not finite numbers at any of the selected steps "
            f"(from {steps[0]:,} to {steps[-1]:,}): choose others with --steps."
        )
    return finite


def last_finite_step(run: Run) -> int:
    """The last step at which weights are finite (`finite_steps`).

    Raises:
        UserError: no such step exists.

    >>> import mechgrok
    >>> last_finite_step(mechgrok.Run("data/base"))
    30000
    """
    for step in reversed(run.steps):
        if _is_finite(run, step):
            return step
    return finite_steps(run, run.steps)[-1]


def _is_finite(run: Run, step: int) -> bool:
    # The norm also detects weights whose products would overflow.
    weights = run.checkpoint(step).weights.values()
    return all(bool(torch.linalg.vector_norm(weight.float()).isfinite()) for weight in weights)


def select_finite_steps(
    run: Run,
    steps: Sequence[int] | None,
    choose: Callable[[Sequence[int]], Sequence[int]] | None = None,
) -> tuple[list[int], dict[str, Any]]:
    """The steps to measure in a run, and the attributes of the dataset that describe the run.

    Args:
        run: a run.
        steps: the steps to measure; None for the steps selected by ``choose``.
        choose: selects from all steps of the run; default: all.

    Returns:
        The steps with finite weights (`finite_steps`), and attributes: the run's milestones;
        ``left_out``, the other steps, if any; with ``choose``, ``of_checkpoints``, the number of
        the run's checkpoints.

    Raises:
        UserError: the run has no such step, or no step has finite weights.

    >>> import mechgrok
    >>> steps, attributes = select_finite_steps(mechgrok.Run("data/base"), [0, 30000])
    >>> steps, attributes["t_gen"]
    ([0, 30000], 12220)
    >>> select_finite_steps(mechgrok.Run("data/base"), None, lambda every: every[-1:])[0]
    [30000]
    """
    chosen = selected = run.select(steps)
    if choose is not None and steps is None:
        chosen = [int(step) for step in choose(selected)]
    finite = finite_steps(run, chosen)
    missing = [int(step) for step in chosen if step not in set(finite)]
    attributes: dict[str, Any] = {**run.milestones}
    attributes |= {"left_out": missing} if missing else {}
    return finite, attributes | ({"of_checkpoints": len(selected)} if choose is not None else {})
