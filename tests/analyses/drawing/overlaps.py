"""Measure whether texts of a figure overlap, or leave it, in a real browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from mechgrok.reports.packing import script

#: Boxes of all visible texts of a figure, and the figure's own box, in pixels.
_BOXES = """() => {
  const plot = document.querySelector('.svg-container').getBoundingClientRect();
  const texts = [...document.querySelectorAll('.js-plotly-plot svg text')].filter(text => {
    const style = getComputedStyle(text);
    return text.textContent.trim() && style.visibility !== 'hidden' && style.opacity !== '0'
      && style.display !== 'none' && text.getBoundingClientRect().width > 0
      && !text.closest('.hoverlayer, .modebar, defs');
  });
  const boxes = texts.map(text => {
    const box = text.getBoundingClientRect();
    let angle = 0;
    for (let node = text; node && node.tagName !== 'svg'; node = node.parentNode) {
      const turn = /rotate\\((-?[\\d.]+)/.exec(node.getAttribute('transform') || '');
      if (turn) angle += Number(turn[1]);
    }
    return {text: text.textContent.trim(), left: box.left, top: box.top, right: box.right,
            bottom: box.bottom, slanted: angle % 90 !== 0};
  });
  return {boxes, width: document.documentElement.clientWidth, left: plot.left, top: plot.top,
          right: plot.right, bottom: plot.bottom};
}"""

#: Draws a figure in place of the one before.
_DRAW = """async (json) => {
  const [before, place] = [document.getElementById('figure'), document.createElement('div')];
  place.id = 'figure';
  Plotly.purge(before);
  before.replaceWith(place);
  await draw(place, JSON.parse(json));
}"""

Box = dict[str, Any]


@contextmanager
def opened_page(browser_path: str, folder: Path) -> Iterator[Any]:
    """A page of a headless browser with plotly.js and the script of mechgrok's pages."""
    from playwright.sync_api import sync_playwright

    shell = folder / "shell.html"
    shell.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><style>body { margin: 0 }</style>'
        f'<script>{get_plotlyjs()}</script><script>{script()}</script><div id="figure"></div>',
        encoding="utf-8",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.set_default_timeout(240_000)  # On a busy machine.
            page.goto(shell.as_uri())
            yield page
        finally:
            browser.close()


def text_faults(page: Any, figure: go.Figure, width: int) -> list[str]:
    """The pairs of overlapping texts of the figure, and the texts that leave it, at a width."""
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(_DRAW, figure.to_json())
    seen = page.evaluate(_BOXES)
    boxes: list[Box] = seen["boxes"]
    faults = [f"{box['text']!r} leaves the figure" for box in boxes if _leaves(box, seen)]
    for index, box in enumerate(boxes):
        for other in boxes[index + 1 :]:
            if not (box["slanted"] or other["slanted"]) and _overlap(box, other):
                faults.append(f"{box['text']!r} and {other['text']!r} overlap")
    return faults


def _leaves(box: Box, figure: Box) -> bool:
    return bool(
        box["left"] < max(0, figure["left"]) - 2
        or box["right"] > min(figure["width"], figure["right"]) + 2
        or box["top"] < figure["top"] - 2
        or box["bottom"] > figure["bottom"] + 2
    )


def _overlap(box: Box, other: Box) -> bool:
    """Whether two boxes share more than their line spacing: 3 pixels in both directions."""
    across = min(box["right"], other["right"]) - max(box["left"], other["left"])
    down = min(box["bottom"], other["bottom"]) - max(box["top"], other["top"])
    return bool(across > 3 and down > 3)
