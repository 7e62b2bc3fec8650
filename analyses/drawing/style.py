"""One look for all figures: template and colours that the colour-blind can tell apart."""

from collections.abc import Iterable
from itertools import cycle

import plotly.graph_objects as go

#: Okabe and Ito's palette, which stays distinct under the common kinds of colour blindness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800")
#: For magnitudes: perceptually even, readable in grey.
SEQUENTIAL = "Viridis"
#: For signed values around zero.
DIVERGING = "RdBu"

_GRID = {"gridcolor": "#E6E6E6", "linecolor": "#444", "ticks": "outside", "zeroline": False}

TEMPLATE = go.layout.Template(
    layout={
        "colorway": COLORS,
        "font": {"family": "Helvetica, Arial, sans-serif", "size": 13, "color": "#222"},
        "title": {
            "x": 0.02,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 20},
            "font": {"size": 17},
        },
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": -0.12, "yanchor": "top"},
        "margin": {"l": 70, "r": 30, "t": 80, "b": 70},
        "xaxis": _GRID,
        "yaxis": _GRID,
    }
)


def run_colors(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each run, the same in every figure that shows the same runs in this order."""
    return dict(zip(labels, cycle(COLORS), strict=False))
