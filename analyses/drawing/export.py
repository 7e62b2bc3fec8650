"""Figures as files: HTML that opens without a network; PNG, SVG and PDF where a browser can draw.

A picture for a printed page (``width`` in centimetres) is laid out as on a narrow screen and drawn
smaller, so that its letters have the size of a caption's; it has no title, which the caption says,
and none of the controls that only a live page has.
"""

import html
import re
from pathlib import Path
from string import Template

import plotly.graph_objects as go

from mechgrok.analyses.drawing.browser import one_browser
from mechgrok.analyses.drawing.controls import SLIDER
from mechgrok.analyses.drawing.grid import NARROW
from mechgrok.errors import UserError
from mechgrok.files import write_text, write_whole
from mechgrok.reports.packing import pack, packed_plotly, script
from mechgrok.reports.page import bare

#: What a figure can be written as beside its page.
PICTURES = ("png", "svg", "pdf")
#: Browsers reckon with 96 pixels to an inch.
_PIXELS_PER_CM = 96 / 2.54
#: Of a printed picture against the screen's: letters of 12 pixels come out at 7 points.
_PRINTED = 0.75
#: A printed panel is laid out this wide at least, in the screen's pixels.
_PANEL = 400
#: Of a PNG, in pixels for each of its pixels: twice for slides, 300 to an inch for print.
_SLIDES, _PRINT = 2.0, 300 / 96

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
</head>
<body>
<noscript>The figure needs JavaScript.</noscript>
<div id="figure"></div>
<script type="text/plain" id="data">$figure</script>
<script type="text/plain" id="plotly">$plotly</script>
<script>
$script
show(document.getElementById("figure"), "data");
</script>
</body>
</html>
""")


def write_html(figure: go.Figure, path: Path) -> None:
    """Write one self-contained, interactive page under the figure's title; plotly.js is in it.

    Nothing of it can be uploaded, and its image button gives SVG.
    """
    title = re.sub(r"<[^>]*>", " ", figure.layout.title.text or path.stem)
    page = _PAGE.substitute(
        title=html.escape(title), figure=pack(figure), plotly=packed_plotly(), script=script()
    )
    write_text(path, page)


def write_picture(figure: go.Figure, path: Path, *, width: float | None = None) -> None:
    """Draw the figure as it opens, in the format of the path's ending: png, svg or pdf.

    Args:
        figure: what to draw.
        path: the file.
        width: of a printed page's column or text, in centimetres; for a slide (1,200 pixels
            across, twice as many in a PNG) unless given.

    Raises:
        UserError: the format is another, the width is none, or no browser can draw it.
    """
    form = path.suffix[1:]
    if form not in PICTURES:
        raise UserError(f"{path} cannot be drawn: choose {', '.join(PICTURES)} as its ending.")
    if width is None:
        shown, across, height = without_buttons(figure), 1200, figure.layout.height or 800
        scale = _SLIDES if form == "png" else 1.0
    else:
        if not 2 <= width <= 200:
            raise UserError(f"A picture cannot be {width:g} cm wide: give 2 to 200.")
        shown, pixels = for_print(figure), width * _PIXELS_PER_CM
        across = round(max(min(NARROW, _PANEL * _columns(shown)), pixels / _PRINTED))
        height, scale = _height(shown, across), pixels / across
        scale *= _PRINT if form == "png" else 1.0
    with one_browser() as browser:
        image = browser.draw(shown, form, width=across, height=height, scale=scale)
    write_whole(path, lambda beside: beside.write_bytes(image))


def without_buttons(figure: go.Figure) -> go.Figure:
    """A copy of the figure as it opens, whose slider and menus say what is shown."""
    shown = go.Figure(figure.data, figure.layout)
    menus = [menu for menu in shown.layout.updatemenus if menu.type != "buttons"]
    shown.layout.updatemenus = menus
    return shown


def for_print(figure: go.Figure) -> go.Figure:
    """A copy of the figure without title and controls; a line says which step of training it is."""
    shown, _ = bare(go.Figure(figure.data, figure.layout))
    for slider in shown.layout.sliders:
        prefix = slider.currentvalue.prefix or ""
        now = {"text": f"{prefix}{slider.steps[slider.active].label}", "showarrow": False}
        now |= {"xref": "paper", "x": 1, "xanchor": "right", "font": {"size": 12}}
        now |= {"yref": "paper", "y": 0, "yanchor": "top", "yshift": 6 - slider.pad.t}
        shown.add_annotation(now)
        cut = SLIDER - 24
        bottom, height = shown.layout.margin.b - cut, shown.layout.height - cut
        shown.update_layout(margin={"b": bottom}, height=height)
    shown.layout.sliders = shown.layout.updatemenus = ()
    return shown


def _height(figure: go.Figure, across: int) -> int:
    """Of a printed figure: what is plotted on a narrower one is less high, by the square root."""
    if figure.layout.height is None:
        return round(across * 2 / 3)
    around = figure.layout.margin.t + figure.layout.margin.b
    narrower = min(1.0, across / NARROW) ** 0.5
    return round(around + narrower * (figure.layout.height - around))


def _columns(figure: go.Figure) -> int:
    """How many panels stand beside one another."""
    starts = {round(axis.domain[0], 3) for axis in figure.select_xaxes() if axis.domain}
    return max(1, len(starts))
