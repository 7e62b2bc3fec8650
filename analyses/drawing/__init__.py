"""How figures look and where they go: panels, one template, sliders over steps, HTML and PNG."""

from analyses.drawing.export import write_html, write_picture
from analyses.drawing.groups import representatives
from analyses.drawing.panel import Colors, Panel, Row
from analyses.drawing.panels import Panels
from analyses.drawing.steps import StepAxis
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
    "representatives",
    "run_colors",
    "write_html",
    "write_picture",
]
