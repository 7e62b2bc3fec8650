"""Small panels for quantities measured per weight."""

from collections.abc import Callable, Iterable
from typing import Any

import xarray as xr

from mechgrok.analyses.drawing.panels import Panels
from mechgrok.models.wiring import short_names

#: Panels in a row.
_ACROSS = 4


def draw_weights(
    figure: Panels,
    curves: Callable[[xr.Dataset], Iterable[tuple[xr.DataArray, dict[str, Any]]]],
    *,
    height: float = 150,
    **y: Any,
) -> None:
    """Add rows of small panels over training, one for each weight of the runs.

    Args:
        figure: the figure to extend.
        curves: the curves of a run's dataset at one weight, each with its style (`Panel.lines`).
        height: of a row, in pixels.
        y: plotly's attributes of the y axes; only the first in a row has the title.
    """
    weights = [str(w) for ds in figure.measured.values() for w in ds.weight.to_numpy()]
    names = short_names(list(dict.fromkeys(weights)))
    across = min(_ACROSS, len(names))
    for at, (weight, name) in enumerate(names.items()):
        if at % across == 0:
            row = figure.row(height=height)
        title = {} if at % across == 0 else {"title": ""}
        panel = row.over_training(name, y=y | title, marks=())
        for label, dataset in figure.measured.items():
            if weight in dataset.weight:
                for curve, style in curves(dataset.sel(weight=weight)):
                    panel.lines(curve[curve.dims[0]], curve, run=label, **style)
    row.fill(across)
