"""A table that compares runs: density, norms, milestones and accuracies."""

from collections.abc import Mapping

import pandas as pd

from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.runs import Run, RunCollection, RunLike, open_run

#: The columns of milestones, and their types.
MILESTONES = {
    "t_mem": "Int64",
    "t_gen": "Int64",
    "t_gen_sustained": "Int64",
    "t_collapse": "Int64",
    "tau_grok": "float",
    "collapsed_share": "float",
}


@in_neutral_state
def compare(
    runs: Mapping[str, RunLike] | RunCollection, *, at_accuracy: float | None = None
) -> pd.DataFrame:
    """A table with a row per run, indexed by label.

    Args:
        runs: runs, or their folders, by label; or a sweep.
        at_accuracy: the accuracy for t_mem and t_gen; default: each task's own criterion.

    Returns:
        ``density`` (kept share of the masked weights' entries at the end; 1 for a dense run),
        ``l1_start``, ``l1_end``, ``l2_start``, ``l2_end`` (norms of all weights, masked),
        ``t_mem``, ``t_gen``, ``t_gen_sustained``, ``t_collapse``, ``tau_grok`` (missing where not
        reached), ``collapsed_share`` (of the evaluations after t_gen; missing without any),
        ``train_accuracy`` and ``test_accuracy`` at the last evaluation, ``best_test_accuracy``.

    Raises:
        UserError: a run has no metrics yet.
    """
    if isinstance(runs, RunCollection):
        runs = runs.runs
    return pd.DataFrame.from_dict(
        {label: _row(open_run(run), at_accuracy) for label, run in runs.items()}, orient="index"
    ).astype(MILESTONES)


def milestones_and_accuracies(
    run: Run, at_accuracy: float | None = None
) -> dict[str, float | None]:
    """A run's last step, milestones (None where not reached) and accuracies.

    Raises:
        UserError: the run has no metrics yet.
    """
    metrics = run.metrics
    if metrics.empty:
        raise UserError(f"{run.path} has no metrics yet: train it first.")
    last, reached = metrics.iloc[-1], run.milestones_at(at_accuracy)
    milestones = {name: reached.get(name) for name in MILESTONES}
    milestones["collapsed_share"] = run.learned("test", at_accuracy).collapsed_share
    accuracies = {side: float(last[side]) for side in ("train_accuracy", "test_accuracy")}
    best = {"best_test_accuracy": float(metrics.test_accuracy.max())}
    return {"step": int(last.step), **milestones, **accuracies, **best}


def _row(run: Run, at_accuracy: float | None) -> dict[str, float | None]:
    reached = milestones_and_accuracies(run, at_accuracy)
    del reached["step"]
    first, last = run.metrics.iloc[0], run.metrics.iloc[-1]
    return {
        "density": 1.0 if run.density is None else run.density,
        "l1_start": first.l1,
        "l1_end": last.l1,
        "l2_start": first.l2,
        "l2_end": last.l2,
        **reached,
    }
