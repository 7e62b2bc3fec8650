"""How figures look and where they go: panels, one template, sliders over steps, HTML and PNG."""

from mechgrok.analyses.drawing.export import write_html, write_picture
from mechgrok.analyses.drawing.groups import representatives
from mechgrok.analyses.drawing.panel import Colors, Panel, Row
from mechgrok.analyses.drawing.panels import Panels
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
