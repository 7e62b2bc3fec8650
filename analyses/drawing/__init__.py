"""Figures of panels with one template and sliders over steps, written as HTML and pictures."""

from mechgrok.analyses.drawing.export import write_html, write_picture
from mechgrok.analyses.drawing.groups import representatives
from mechgrok.analyses.drawing.panel import Colors, Panel, Row
from mechgrok.analyses.drawing.panels import LogAxis, Measured, Panels
from mechgrok.analyses.drawing.steps import StepAxis
from mechgrok.analyses.drawing.style import (
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
from mechgrok.analyses.drawing.weights import draw_weights

__all__ = [
    "COLORS",
    "DEAD",
    "DIVERGING",
    "GREY",
    "SEQUENTIAL",
    "SHARE",
    "TEMPLATE",
    "Colors",
    "LogAxis",
    "Measured",
    "Panel",
    "Panels",
    "Row",
    "StepAxis",
    "draw_weights",
    "frequency_color",
    "representatives",
    "run_colors",
    "write_html",
    "write_picture",
]
