"""Figures as files: HTML that opens without a network, and PNG where a browser can draw it."""

import html
import re
from pathlib import Path
from string import Template

import plotly.graph_objects as go

from mechgrok.errors import UserError
from mechgrok.files import write_text, write_whole
from mechgrok.results.packing import pack, packed_plotly, script

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


def write_png(figure: go.Figure, path: Path, *, width: int = 1200, height: int = 800) -> None:
    """Draw the figure as it opens, at twice the pixels for slides.

    Raises:
        UserError: kaleido or a browser is missing.
    """
    height = figure.layout.height or height
    try:
        image = figure.to_image(format="png", width=width, height=height, scale=2)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{path} cannot be drawn ({str(error).strip().splitlines()[0]}): install the extra "
            "mechgrok[png] and a Chrome or Chromium browser."
        ) from None
    write_whole(path, lambda beside: beside.write_bytes(image))
