"""Write figures as self-contained HTML, or as PNG, SVG and PDF through a browser.

A picture for print (``width`` in centimetres) has the layout of a screen that is wider by a third,
scaled down so that its letters match a caption's. It has no title, which belongs in the caption,
and no controls.
"""

import html
import re
from pathlib import Path
from string import Template

import plotly.graph_objects as go

from mechgrok.analyses.drawing.browser import one_browser
from mechgrok.analyses.drawing.controls import SLIDER
from mechgrok.analyses.drawing.layouts import fitted
from mechgrok.analyses.drawing.page import WIDTHS
from mechgrok.errors import UserError
from mechgrok.files import write_text, write_whole
from mechgrok.reports.packing import pack, packed_plotly, script, style
from mechgrok.reports.titles import bare

#: Picture formats.
PICTURES = ("png", "svg", "pdf")
#: Browsers assume 96 pixels to an inch.
_PIXELS_PER_CM = 96 / 2.54
#: Scale of print relative to screen: 12-pixel letters become 7 points.
_PRINTED = 0.75
#: Layout width of a slide, in pixels.
_SLIDE = 1200
#: PNG pixels per layout pixel: twice for slides, 300 to an inch for print.
_SLIDES, _PRINT = 2.0, 300 / 96

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$style
body { color: var(--ink); background: var(--paper); }
</style>
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


def write_html(figure: go.Figure, path: Path | str) -> None:
    """Write a self-contained, interactive page with plotly.js inside.

    The page cannot upload the figure, and its image button saves SVG.
    """
    path = Path(path)
    title = re.sub(r"<[^>]*>", " ", figure.layout.title.text or path.stem)
    page = _PAGE.substitute(
        title=html.escape(title),
        figure=pack(figure),
        plotly=packed_plotly(),
        script=script(),
        style=style(),
    )
    write_text(path, page)


def write_picture(figure: go.Figure, path: Path | str, *, width: float | None = None) -> None:
    """Draw the figure's initial state, in the format of the path's ending: png, svg or pdf.

    Args:
        figure: the figure to draw.
        path: the file.
        width: of a printed column or page, in centimetres; default: a slide of 1,200 pixels, twice
            as many in a PNG. Letters are smaller than 7 points in less than 7 centimetres.

    Raises:
        UserError: the format is unknown, the width is out of range, or no browser is installed.
    """
    path = Path(path)
    form = path.suffix[1:]
    if form not in PICTURES:
        raise UserError(f"{path} cannot be drawn: choose {', '.join(PICTURES)} as its ending.")
    if width is not None and not 2 <= width <= 200:
        raise UserError(f"A picture cannot be {width:g} cm wide: give 2 to 200.")
    if width is None:
        across, scale, pixels = _SLIDE, 1.0, _SLIDES
        shown = without_menus(fitted(figure, across))
    else:
        across = round(max(WIDTHS[0], width * _PIXELS_PER_CM / _PRINTED))
        scale, pixels = width * _PIXELS_PER_CM / across, _PRINT
        shown = for_print(fitted(figure, across))
    height = round(shown.layout.height or across * 2 / 3)
    scale *= pixels if form == "png" else 1.0
    with one_browser() as browser:
        image = browser.draw(shown, form, width=across, height=height, scale=scale)
    write_whole(path, lambda temporary: temporary.write_bytes(image))


def without_menus(figure: go.Figure) -> go.Figure:
    """A copy of the figure's initial state, with the chosen entry of each menu as text."""
    shown = go.Figure(figure.data, figure.layout)
    for menu in shown.layout.updatemenus:
        if menu.type != "buttons":
            place = {key: menu[key] for key in ("x", "y", "xanchor", "yanchor")}
            place["yshift"] = menu.pad.b
            chosen = {"text": menu.buttons[menu.active or 0].label, "showarrow": False}
            shown.add_annotation(place | chosen | {"xref": "paper", "yref": "paper"})
    shown.layout.updatemenus = ()
    return shown


def for_print(figure: go.Figure) -> go.Figure:
    """A copy of the figure without title and controls, with a line that gives the training step."""
    shown, _ = bare(without_menus(figure))
    for slider in shown.layout.sliders:
        prefix = slider.currentvalue.prefix or ""
        now = {"text": f"{prefix}{slider.steps[slider.active].label}", "showarrow": False}
        now |= {"xref": "paper", "x": 1, "xanchor": "right", "font": {"size": 12}}
        now |= {"yref": "paper", "y": 0, "yanchor": "top", "yshift": 6 - slider.pad.t}
        shown.add_annotation(now)
        cut = SLIDER - 24
        bottom, height = shown.layout.margin.b - cut, shown.layout.height - cut
        shown.update_layout(margin={"b": bottom}, height=height)
    shown.layout.sliders = ()
    return shown
