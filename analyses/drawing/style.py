"""The template and colours of all figures, distinct for colour-blind readers."""

from collections.abc import Iterable
from itertools import cycle

import plotly.graph_objects as go

#: Okabe and Ito's palette, distinct under the common kinds of colour blindness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800")
#: For traces that belong to no run.
GREY = "#777777"
#: For magnitudes: perceptually uniform, readable in grey.
SEQUENTIAL = "Viridis"
#: For signed values around zero.
DIVERGING = "RdBu"
#: For dead neurons.
DEAD = "#BBBBBB"
#: An axis of shares, such as accuracies.
SHARE = {"range": [-0.03, 1.03], "tickformat": ".0%"}

_GRID = {
    "gridcolor": "#E6E6E6",
    "linecolor": "#444",
    "ticks": "outside",
    "zeroline": False,
    "title": {"font": {"size": 13}},
    "tickfont": {"size": 12},
}

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
        # Figures have no upload button.
        "modebar": {"remove": ["sendChartToCloud"]},
        "legend": {"orientation": "h", "x": 0, "y": -0.12, "yanchor": "top"},
        "margin": {"l": 70, "r": 30, "t": 80, "b": 70},
        "xaxis": _GRID,
        "yaxis": _GRID,
    }
)


def run_colors(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each run, the same in every figure that shows the same runs in this order.

    Four lightnesses of the palette's eight hues give thirty-two colours before they repeat.
    """
    return dict(zip(labels, cycle(_SHADES), strict=False))


def group_colors(names: Iterable[str]) -> dict[str, str]:
    """A colour for each group of runs: the same as for runs, in the groups' order."""
    return run_colors(dict.fromkeys(names))


def _towards(color: str, end: int, share: float) -> str:
    """The colour mixed with black (end 0) or white (end 255)."""
    parts = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (end - part) * share):02X}" for part in parts)


def _shade(color: str, level: int) -> str:
    """The colour, darker, lighter or darkest by level; black becomes grey."""
    if color == "#000000":
        return _towards(color, 255, (0, 0.4, 0.8, 0.6)[level])
    return _towards(color, (0, 0, 255, 0)[level], (0, 0.4, 0.5, 0.6)[level])


#: Any two are at least 11 apart in CIELAB, about five times the just noticeable difference.
_SHADES = tuple(_shade(color, level) for level in range(4) for color in COLORS)


def frequency_color(frequency: int) -> str:
    """The colour of a frequency, the same in every figure; ω = 0, the mean, is grey.

    Hue and lightness are the coordinates of the R₂ sequence (Roberts 2018), whose points are well
    separated: frequencies of similar hue differ in lightness, visible to colour-blind readers.
    """
    if frequency == 0:
        return "#999999"
    hue, lightness = (frequency * step % 1 for step in (0.7548776662466927, 0.5698402909980532))
    return f"hsl({360 * hue:.0f}, 62%, {26 + 44 * lightness:.0f}%)"
