"""The curve that defines generalization, at the steps of checkpoints."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mechgrok.results.variables import Variable
from mechgrok.runs import Run

#: The two possible variables of `judged_curve`.
JUDGED = {
    "test_accuracy": Variable(
        "step", "share", "right answers on the test set, for tasks with an accuracy criterion"
    ),
    "test_loss": Variable(
        "step", "{units of the loss}", "the loss on the test set, for tasks with a loss criterion"
    ),
}


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
