"""Layouts of a figure for several widths of a page.

``figure.layout.meta["layouts"]`` maps the narrowest width of each layout, in pixels, to the
attributes that depend on the width, by their path (``{"xaxis2.domain": (0, 0.4), …}``). Plotly's
``relayout`` takes them as they are.
"""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from mechgrok.analyses.drawing.page import DEFAULT


def with_layouts(figure: go.Figure, layouts: Mapping[int, Mapping[str, Any]]) -> go.Figure:
    """The figure with these layouts, laid out for a column of text."""
    figure.layout.meta = {"layouts": {str(width): layout for width, layout in layouts.items()}}
    return fitted(figure, DEFAULT)


def fitted(figure: go.Figure, width: float) -> go.Figure:
    """A copy of the figure with the layout for a page of this width in pixels.

    A figure without layouts for several widths is unchanged.
    """
    copy = go.Figure(figure)
    if layouts := (figure.layout.meta or {}).get("layouts"):
        widths = sorted(map(int, layouts))
        chosen = max((w for w in widths if w <= width), default=widths[0])
        for path, value in layouts[str(chosen)].items():
            copy.layout[path] = value
    return copy
