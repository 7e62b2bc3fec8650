"""Accuracies of refitted readouts, read at milestones of a run."""

from collections.abc import Callable

import xarray as xr

from mechgrok.analyses import papers
from mechgrok.sweeps import Sweep


def draw(sweep: Sweep, network: str, title: str) -> papers.Figures:
    """Accuracy over training, and that of refitted readouts."""
    groups = {title: {"network": network}}
    return {
        "accuracy": papers.training_figure(sweep, groups, title),
        "readout": papers.analysis_figure(sweep, groups, "readout"),
    }


def at(milestone: str, factor: float = 1.0) -> Callable[[xr.Dataset], xr.Dataset | None]:
    """The checkpoint nearest to a multiple of a milestone; None if the run did not reach it."""

    def chosen(dataset: xr.Dataset) -> xr.Dataset | None:
        if (step := dataset.attrs.get(milestone)) is None:
            return None
        return dataset.sel(step=factor * step, method="nearest")

    return chosen


def lead(
    network: str, of: str, over: str, where: Callable[[xr.Dataset], xr.Dataset | None]
) -> papers.Quantity:
    """The difference of two accuracies at a checkpoint."""

    def difference(dataset: xr.Dataset) -> float:
        now = where(dataset)
        return float("nan") if now is None else float(now[of] - now[over])

    return papers.answer("readout", difference, papers.CORRELATION, network=network)
