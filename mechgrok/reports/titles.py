"""The titles of figures: their height, and figures without them, for pages with headings."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go


def title_height(title: str, subtitle: str) -> float:
    """Pixels above the legend of a figure with this title and subtitle, wrapped with ``<br>``."""
    lines = [text.count("<br>") + 1 if text else 0 for text in (title, subtitle)]
    return 30 + 22 * lines[0] + 17 * lines[1]


def bare(figure: go.Figure) -> tuple[go.Figure, tuple[str, str]]:
    """A copy of a figure without titles and their margin; also returns title and subtitle.

    Titles of figures for several widths (`mechgrok.analyses.drawing.layouts`) are not wrapped.
    """
    layout, copy = figure.layout, go.Figure(figure)
    title = (layout.title.text or "", layout.title.subtitle.text or "")
    untitled = _without_title(*title, layout.height, layout.margin.t or 80)
    for path, value in untitled.items():
        copy.layout[path] = value
    if layouts := (layout.meta or {}).get("layouts"):
        copy.layout.meta = {"layouts": {w: each | _bare(each) for w, each in layouts.items()}}
        title = tuple(text.replace("<br>", " ") for text in title)  # type: ignore[assignment]
    return copy, title


def _bare(layout: Mapping[str, Any]) -> dict[str, Any]:
    names = ("title.text", "title.subtitle.text", "height", "margin.t")
    return _without_title(*(layout[name] for name in names))


def _without_title(title: str, subtitle: str, height: float | None, top: float) -> dict[str, Any]:
    """The attributes of a layout without its title."""
    cut = min(title_height(title, subtitle), top) - 30  # Buttons appear at the top.
    shorter = {} if height is None else {"height": height - cut}
    return {"title.text": "", "title.subtitle.text": "", "margin.t": top - cut} | shorter
