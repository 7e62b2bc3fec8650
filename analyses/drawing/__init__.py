"""How figures look and where they go: panels, one template, sliders over steps, HTML and PNG."""

from analyses.drawing.export import write_html, write_png
from analyses.drawing.labels import short_names
from analyses.drawing.panels import Colors, Panel, Panels, Row
from analyses.drawing.steps import StepAxis, spread
from analyses.drawing.style import (
    COLORS,
    DEAD,
    DIVERGING,
    GREY,
    SEQUENTIAL,
    SHARE,
    TEMPLATE,
    frequency_color,
    run_colors,
)
from analyses.drawing.trajectory import mark_learning, slider_steps, step_axis, with_slider

__all__ = [
    "COLORS",
    "DEAD",
    "DIVERGING",
    "GREY",
    "SEQUENTIAL",
    "SHARE",
    "TEMPLATE",
    "Colors",
    "Panel",
    "Panels",
    "Row",
    "StepAxis",
    "frequency_color",
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
