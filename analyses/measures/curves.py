"""The curve that says whether a run has generalized, at the steps of its checkpoints."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mechgrok.runs import Run


def judged_curve(run: Run, steps: Sequence[int]) -> tuple[str, Float[np.ndarray, " step"]]:
    """The name and the values of the test curve that the task is judged by.

    Between evaluations it is interpolated linearly; a run that was never evaluated has NaN.

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
