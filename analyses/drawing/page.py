"""The layout of a figure on a page of a given width: rows, titles, legends, and axes.

Rows of panels that would be too narrow break into several lines. A row without titles continues
the row above, as a panel's axes for further quantities; such rows break together.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mechgrok.analyses.drawing.controls import SLIDER
from mechgrok.analyses.drawing.grid import Band, Box, Grid, Place, lay_out
from mechgrok.analyses.drawing.marks import LABEL, milestone_labels
from mechgrok.analyses.drawing.panel import Colors, Panel, Row, Trace, axis_id, title_of
from mechgrok.analyses.drawing.steps import StepAxis
from mechgrok.analyses.drawing.text import flowing_lines, n_lines, text_width, wrap
from mechgrok.reports.titles import title_height

if TYPE_CHECKING:
    from mechgrok.analyses.drawing.panels import Panels

#: The narrowest width in pixels of each layout of a figure: a phone, a column of text, screens.
WIDTHS = (360, 700, 950, 1200)
#: The layout of a figure where no script chooses another.
DEFAULT = 700
#: The smallest width in pixels of a panel beside others, and of a square one.
_NARROW, _SQUARE = 135, 100
#: The height of a panel in a broken row, as a share of its width.
_STEEPEST = 0.8
#: Heights in pixels of a line of a legend, of a title, and of a menu.
_LEGEND, _TITLE, _MENU = 20.0, 18.0, 42.0
#: Pixels of a legend entry beside its name, and of a colour bar without its labels.
_SAMPLE, _BAR = 48.0, 24.0
#: Pixels for labels beside a gap.
_GAP = (8, 14)
#: Pixels across that a logarithmic axis with labels at 1, 2 and 5 needs.
_ROOM_FOR_D2 = 260

#: Attributes of a layout by their path, such as ``xaxis2.domain``.
Attributes = dict[str, Any]


@dataclass(eq=False)
class Line:
    """Panels side by side: a row, or the part of it (from ``start`` on) that the width holds."""

    row: Row
    items: list[Panel | float]
    height: float
    start: int
    is_part: bool

    @property
    def panels(self) -> list[Panel]:
        """The panels, without gaps."""
        return [item for item in self.items if isinstance(item, Panel)]

    @property
    def is_over_training(self) -> bool:
        """Whether all panels share the axis of training steps."""
        return all(panel.over_steps for panel in self.panels)


def break_rows(rows: Sequence[Row], width: float) -> list[Line]:
    """The lines of the rows on a page of this width; rows of equal widths have equal columns."""
    lines: list[Line] = []
    blocks = list(_blocks(rows))
    columns: dict[tuple[float, ...], int] = {}
    for block in blocks:
        key = _widths(block[0])
        columns[key] = min(_n_columns(block, width), columns.get(key, len(key)))
    for block in blocks:
        size = columns[key := _widths(block[0])]
        for start in range(0, len(key), size):
            for row in block:
                items = row.panels[start : start + size]
                if any(isinstance(item, Panel) for item in items):
                    gaps = key[len(items) : size] if size < len(key) else ()
                    lines.append(Line(row, [*items, *gaps], row.height, start, size < len(key)))
    return lines


def _widths(row: Row) -> tuple[float, ...]:
    return tuple(item.width if isinstance(item, Panel) else item for item in row.panels)


def _n_columns(block: Sequence[Row], width: float) -> int:
    """The number of panels that share a line, for lines of about equal length."""
    n_items = len(block[0].panels)
    fitting = (
        n for n in range(n_items, 0, -1) if all(_fits(row.panels[:n], width) for row in block)
    )
    n_rows = -(-n_items // next(fitting, 1))
    return -(-n_items // n_rows)


def _blocks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that break together: a row, and the rows below that continue its panels."""
    block: list[Row] = []
    for row in rows:
        continues = row.continues or not any(panel.title for _, panel in row.filled())
        if block and not (continues and len(row.panels) == len(block[0].panels)):
            yield block
            block = []
        block.append(row)
    yield block


def _fits(items: Sequence[Panel | float], width: float) -> bool:
    """Whether no panel is too narrow if these share a line."""
    if len(items) == 1:
        return True
    boxes = [item.box() if isinstance(item, Panel) else Box(item, *_GAP) for item in items]
    inner = width - sum(box.left + box.right for box in boxes)
    unit = inner / sum(box.width for box in boxes)
    mean = sum(box.width for box in boxes) / len(boxes)
    return all(
        unit * mean >= (_SQUARE if item.is_square else _NARROW)
        for item in items
        if isinstance(item, Panel)
    )


class Page:
    """The positions of panels, titles, legends and controls on a page of a given width.

    Args:
        figure: the figure.
        legends: the entries of each row's legend, and of the legend above all rows (None).
        menus: the traces of each menu; the menu is above the first trace's panel.
        steps: the axis of training steps.
        subtitle: how to read the figure.
        has_slider: whether a slider is below the rows.
        width: of the page in pixels; wider pages stretch all panels.
    """

    def __init__(
        self,
        figure: "Panels",
        legends: Mapping[Row | None, Mapping[str, Any]],
        menus: Sequence[Sequence[Trace]],
        steps: StepAxis,
        subtitle: str,
        has_slider: bool,
        width: float,
    ) -> None:
        self.figure, self.legends, self.menus, self.steps = figure, legends, menus, steps
        self.title = wrap(figure.title, width - 40, 17)
        self.subtitle = wrap(subtitle, width - 40, 13)
        self.slider = SLIDER if has_slider else 0.0
        self.lines = break_rows(figure.rows, width)
        boxes = [[self._box(item, line) for item in line.items] for line in self.lines]
        # Widths do not depend on the heights above and below, which depend on the widths.
        bare = lay_out([Band(row, 1, 0, 0) for row in boxes], width)
        self.inner = width - bare.left - bare.right
        self._place(bare)
        self.labels = self._milestone_labels()
        bands = [self._band(line, row) for line, row in zip(self.lines, boxes, strict=True)]
        self.grid = lay_out(bands, width)
        self._place(self.grid)
        self.above, self.below = [band.above for band in bands], bands[-1].below

    def _box(self, item: Panel | float, line: Line) -> Box:
        """The box of a panel or gap, with a colour bar at the right end of its first line."""
        if not isinstance(item, Panel):
            return Box(item, *_GAP)
        box, bar = item.box(_y_title(item, line)), 0.0
        for colors in item.figure.color_scales:
            first = next((one for one in self.lines if set(one.panels) & set(colors.panels)), None)
            if first is line and item is [p for p in line.panels if p in colors.panels][-1]:
                bar = _bar_width(colors) + 16 * n_lines(_bar_title(colors, line))
        return Box(box.width, box.left, box.right + bar)

    def _place(self, grid: Grid) -> None:
        self.places: dict[Panel, Place] = {
            item: place
            for line, places in zip(self.lines, grid.places, strict=True)
            for item, place in zip(line.items, places, strict=True)
            if isinstance(item, Panel)
        }

    def pixels(self, panel: Panel) -> float:
        """The width of a panel."""
        place = self.places[panel]
        return (place.x[1] - place.x[0]) * self.inner

    def attributes(self) -> Attributes:
        """The attributes of plotly's layout that depend on the width."""
        head = title_height(self.title, self.subtitle)
        top = head + self._legend_pixels(None) + self.above[0]
        bottom = self.below + self.slider
        attributes: Attributes = {
            "title.text": self.title,
            "title.subtitle.text": self.subtitle,
            "height": round(self.grid.height + top + bottom),
            "margin.l": round(self.grid.left),
            "margin.r": round(self.grid.right),
            "margin.t": round(top),
            "margin.b": round(bottom),
            "annotations": [*self._notes(), *self.labels_above(), *self.titles()],
        }
        for panel, place in self.places.items():
            attributes |= self._axes(panel, place)
        for colors in self.figure.color_scales:
            if colors.panels:
                attributes |= self._colorbar(colors)
        for number, row in enumerate(self.legends, 1):
            attributes[f"{axis_id('legend', number)}.y"] = self._legend_top(row)
        for number, chosen in enumerate(self.menus):
            line = self._line_of(chosen[0].panel)
            attributes[f"updatemenus[{number}].y"] = self.grid.places[line][0].y[1]
            above = self._titles(self.lines[line]) + self._labels_height(self.lines[line])
            attributes[f"updatemenus[{number}].pad.b"] = 4 + above
        if self.slider:
            attributes["sliders[0].pad.t"] = self.below + 6
            attributes[f"updatemenus[{len(self.menus)}].pad.t"] = self.below + 8
        return attributes

    def _colorbar(self, colors: Colors) -> Attributes:
        """The position of a colour bar, at the right of the first line of its panels."""
        panels = [panel for panel in self.places if panel in colors.panels]
        line = self.lines[self._line_of(panels[0])]
        places = [self.places[panel] for panel in panels if panel in line.panels]
        (low, high), right = places[0].y, max(place.x[1] for place in places)
        bar = f"{colors.name}.colorbar"
        at: dict[str, Any] = {"x": right + 6 / self.inner, "y": (low + high) / 2, "len": high - low}
        at |= {"title.text": _bar_title(colors, line)}
        return {f"{bar}.{key}": value for key, value in at.items()}

    def _line_of(self, panel: Panel) -> int:
        return next(at for at, line in enumerate(self.lines) if panel in line.items)

    def _milestone_labels(self) -> dict[Panel, list[dict[str, Any]]]:
        """The names of milestones above the panels of the first line over training."""
        marked = [line for line in self.lines if any(p.milestones_of for p in line.panels)]
        panels = [panel for panel in marked[0].panels if panel.milestones_of] if marked else []
        return {panel: milestone_labels(panel, self.steps, self.pixels(panel)) for panel in panels}

    def _labels_height(self, line: Line) -> float:
        shifts = [note["yshift"] for p in line.panels for note in self.labels.get(p, ())]
        return max(shifts, default=-LABEL) + LABEL

    def labels_above(self) -> Iterator[dict[str, Any]]:
        """The names of milestones."""
        return itertools.chain(*self.labels.values())

    def titles(self) -> Iterator[dict[str, Any]]:
        """Each panel's title, above its left end and the names of its milestones."""
        for line in self.lines:
            shift = 4 + self._labels_height(line)
            for panel in line.panels:
                if panel.title:
                    place = self.places[panel]
                    at = {"x": place.x[0], "y": place.y[1], "xref": "paper", "yref": "paper"}
                    at |= {"xanchor": "left", "yanchor": "bottom", "yshift": shift, "align": "left"}
                    text = {"text": self._title(panel), "font": {"size": 13}}
                    yield text | at | {"showarrow": False}

    def _title(self, panel: Panel) -> str:
        return wrap(panel.title, self.pixels(panel) + 10, 13)

    def _notes(self) -> Iterator[dict[str, Any]]:
        for panel in self.places:
            for note in panel.notes:
                yield note | {"text": wrap(note["text"], self.pixels(panel) - 8, 12)}

    def _legend_top(self, row: Row | None) -> float:
        """The lower end of a legend above its row, or above all rows, on plotly's scale."""
        at = 0 if row is None else next(i for i, line in enumerate(self.lines) if line.row is row)
        pixels = self.above[at] - (0 if row is None else self._legend_pixels(row))
        return self.grid.places[at][0].y[1] + pixels / self.grid.height

    def _legend_pixels(self, row: Row | None) -> float:
        if not (names := self.legends.get(row)):
            return 0.0
        lines = flowing_lines((_SAMPLE + text_width(name) for name in names), self.inner)
        return _LEGEND * lines + 10

    def _band(self, line: Line, boxes: Sequence[Box]) -> Band:
        panels = line.panels
        legend = self._legend_pixels(line.row) if line.start == 0 else 0.0
        has_menu = any(chosen[0].panel in panels for chosen in self.menus)
        above = 8 + self._titles(line) + self._labels_height(line) + legend
        has_title = any(panel.x.get("title") for panel in panels) and not self._is_continued(line)
        ticks = max(self._tick_height(panel) for panel in panels)
        below = 10 + ticks + (22 if has_title else 0)
        widest = max(map(self.pixels, panels))
        if any(panel.is_square for panel in panels):
            line.height = min(line.height, widest)
        elif line.is_part:
            line.height = min(line.height, max(150, _STEEPEST * widest))
        return Band(boxes, line.height, above + (_MENU if has_menu else 0.0), below)

    def _titles(self, line: Line) -> float:
        return _TITLE * max(n_lines(self._title(panel)) for panel in line.panels)

    def _tick_height(self, panel: Panel) -> float:
        if not panel.x.get("showticklabels", True) or panel.x.get("visible") is False:
            return 0.0
        _, height = self._ticks(panel)
        return height

    def _ticks(self, panel: Panel) -> tuple[dict[str, Any], float]:
        """The ticks of a panel's x axis, as many as fit, and the height of their labels."""
        pixels = self.pixels(panel)
        if panel.over_steps:
            return self.steps.ticks(pixels), 20.0
        if panel.parts and "tickvals" not in panel.x:
            return {"tickangle": 0} | panel.part_ticks(pixels), 20.0
        names = panel.x_names()
        if names is None:
            most = {"nticks": panel.x.get("nticks", max(4, int(pixels / 40)))}
            if panel.x.get("dtick") == "D2" and pixels < _ROOM_FOR_D2:
                return {"dtick": 1}, 20.0
            return panel.whole_ticks("x") or most, 20.0
        widest = max(map(text_width, names), default=0.0)
        ticks = panel.part_ticks(pixels) if panel.parts else {}
        if widest + 6 <= pixels / max(1, len(names)):
            return ticks | {"tickangle": 0}, 20.0
        return ticks | {"tickangle": -90}, widest + 8

    def _is_continued(self, line: Line) -> bool:
        """Whether the line below repeats and labels this line's axis of training steps."""
        after = self.lines[self.lines.index(line) + 1 :][:1]
        return line.is_over_training and any(
            other.is_over_training and len(other.items) == len(line.items) for other in after
        )

    def _axes(self, panel: Panel, place: Place) -> Attributes:
        """The domains of a panel's axes, its ticks, and the titles of axes at the line's start."""
        line = self.lines[self._line_of(panel)]
        x, y = axis_id("xaxis", panel.number), axis_id("yaxis", panel.number)
        is_hidden = panel.over_steps and self._is_continued(line)
        across = {"domain": place.x, "title.text": "" if is_hidden else title_of(panel.x)}
        if panel.x.get("showticklabels", True):
            across |= self._ticks(panel)[0]
        upwards = {"domain": place.y, "title.text": _y_title(panel, line)}
        attributes = {f"{x}.{key}": value for key, value in across.items()}
        return attributes | {f"{y}.{key}": value for key, value in upwards.items()}


def _y_title(panel: Panel, line: Line) -> str:
    """The title of a y axis; at a line's start also that of the same axis at the row's start."""
    first = next(other for _, other in line.row.filled())
    alike = {**panel.y, "title": ""} == {**first.y, "title": ""}
    own = title_of(panel.y) or (title_of(first.y) if alike and panel is line.panels[0] else "")
    return wrap(own, line.height + 20, 13)


def _bar_width(colors: Colors) -> float:
    """The width of a colour bar with its tick labels."""
    largest = f"{colors.layout['cmax']:,.0f}"
    names = colors.layout["colorbar"].get("ticktext", [largest if len(largest) > 3 else "0.00"])
    return _BAR + max((text_width(str(name), 11) for name in names), default=0)


def _bar_title(colors: Colors, line: Line) -> str:
    return wrap(colors.layout["colorbar"]["title"]["text"], line.height, 12)
