"""How figures look and where they go: one template, sliders over steps, HTML and PNG."""

from analyses.drawing.export import write_html, write_png
from analyses.drawing.labels import short_names
from analyses.drawing.style import COLORS, DIVERGING, SEQUENTIAL, TEMPLATE, run_colors
from analyses.drawing.trajectory import mark_learning, slider_steps, spread, step_axis, with_slider

__all__ = [
    "COLORS",
    "DIVERGING",
    "SEQUENTIAL",
    "TEMPLATE",
    "mark_learning",
    "run_colors",
    "short_names",
    "slider_steps",
    "spread",
    "step_axis",
    "with_slider",
    "write_html",
    "write_png",
]
