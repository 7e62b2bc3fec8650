"""Figures as files: HTML that opens without a network, and PNG where a browser can draw it."""

from pathlib import Path

import plotly.graph_objects as go

from mechgrok.errors import UserError
from mechgrok.files import write_text, write_whole


def write_html(figure: go.Figure, path: Path) -> None:
    """Write one self-contained, interactive page; plotly.js is in it."""
    html = figure.to_html(include_plotlyjs=True, auto_play=False, config={"responsive": True})
    write_text(path, html)


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
