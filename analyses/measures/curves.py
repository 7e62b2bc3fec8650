"""The curve that defines generalization, at the steps of checkpoints."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mechgrok.runs import Run


def judged_curve(run: Run, steps: Sequence[int]) -> tuple[str, Float[np.ndarray, " step"]]:
    """The name and values of the test curve in the task's criterion.

    Interpolated linearly between evaluations; NaN for a run that was never evaluated.

    >>> import mechgrok
    >>> name, accuracy = judged_curve(mechgrok.Run("data/base"), [0, 30000])
    >>> name, bool(accuracy[0] < 0.1), bool(accuracy[1] > 0.95)
    ('test_accuracy', True, True)
    """
    name = f"test_{run.task.criterion.quantity}"
    metrics = run.metrics
    if metrics.empty:
        return name, np.full(len(steps), np.nan)
    return name, np.interp(steps, metrics.step, metrics[name])
