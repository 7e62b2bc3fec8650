"""Figures made of rows of panels.

    figure = Panels(measured, title="Accuracy and spectra over training", log=log)
    row = figure.row(height=300)
    row.over_training("accuracy", y={"title": "accuracy", **SHARE}).curves("test_accuracy")
    colors = figure.colors("|F(ω)|", 0, largest)
    row = figure.row(height=260)
    for label in measured:
        panel = row.panel(label, x="frequency ω", y="neuron")
        panel.heat(colors, run=label, at=lambda now: {"z": now.amplitude.to_numpy()}, hover="%{z}")
    return figure.draw()

``row.panel`` adds a **panel** with its title and axes: the title of an axis, or any of plotly's
attributes of it. ``row.over_training`` adds a panel over training steps. All such panels share one
step axis, logarithmic if the figure is, and mark every run's t_mem and t_gen.

A **trace** belongs to a run, which sets its colour, legend and hover. The function ``at`` computes
the attributes of a plotly trace that change with the step, from the run's dataset at the step
nearest to the slider's (along the dimension ``along``); a figure with such a trace has a slider.
``key`` names a style shared by all runs (train dashed) in the legend, ``entry`` a trace with its
own colour (a layer); a row with ``legend=True`` has a separate legend above it. Colour bars are
beside their panels. Panel widths are shares of the row, ``row.empty()`` leaves a gap, and heights
are pixels of the plot area. The rest of the layout follows from the labels: nothing overlaps on a
page 850 pixels wide.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from mechgrok.analyses.drawing.controls import SLIDER, menu_of, slider_of, united_choices
from mechgrok.analyses.drawing.grid import (
    NARROW,
    Band,
    Box,
    Grid,
    Place,
    lay_out,
    legend_lines,
    n_lines,
    wrap,
)
from mechgrok.analyses.drawing.groups import groups_of, representatives
from mechgrok.analyses.drawing.marks import all_milestones, bands, milestone_lines
from mechgrok.analyses.drawing.panel import Colors, Panel, Row, Trace, axis_id
from mechgrok.analyses.drawing.steps import StepAxis
from mechgrok.analyses.drawing.style import SEQUENTIAL, TEMPLATE, run_colors
from mechgrok.analyses.measures.spacing import thin

#: The datasets of a figure, by the label of their run.
Measured = Mapping[str, xr.Dataset]
#: The option of figures over training.
LogAxis = Annotated[bool, "logarithmic step axis"]

#: Heights in pixels of a legend line, a title line, and a menu.
_LEGEND, _TITLE, _MENU = 23.0, 18.0, 42.0


class Panels:
    """A figure made of rows of panels.

    Args:
        measured: the datasets, by the label of their run.
        title: the subject of the figure.
        subtitle: how to read the figure.
        log: a logarithmic axis of training steps.
        along: the dimension of the datasets that the slider moves along.
        stops: the largest number of slider stops.
    """

    def __init__(
        self,
        measured: Measured,
        *,
        title: str,
        subtitle: str = "",
        log: bool = False,
        along: str = "step",
        stops: int = 60,
    ) -> None:
        self.measured, self.along, self.log, self.n_stops = measured, along, log, stops
        self.title, self.subtitle = title, subtitle
        self.groups = groups_of(measured)
        self.pictured = representatives(measured)
        colors = run_colors(dict.fromkeys(self.groups.get(label, label) for label in measured))
        self.run_colors = {label: colors[self.groups.get(label, label)] for label in measured}
        self.numbers = itertools.count(1)
        self.rows: list[Row] = []
        self._colors: list[Colors] = []
        self._legends: dict[Row | None, dict[str, dict[str, Any]]] = {}
        self._shows_run_colors = False

    def color_of(self, run: str) -> str:
        """The run's colour; makes the legend name the runs."""
        self._shows_run_colors = True
        return self.run_colors[run]

    def row(self, *, height: float, legend: bool = False) -> Row:
        """Add a row of panels, optionally with a separate legend above it."""
        self.rows.append(Row(self, height, legend))
        return self.rows[-1]

    def colors(
        self, title: str, low: float, high: float, *, scale: Any = SEQUENTIAL, **bar: Any
    ) -> Colors:
        """Add a colour scale for heat maps, the same at all steps and in all panels that share it.

        Args:
            title: the quantity and its unit.
            low: the lower end of the scale.
            high: the upper end of the scale.
            scale: one of plotly's scales; a diverging one is centred halfway.
            bar: plotly's attributes of the colour bar, such as ``tickvals``.
        """
        number = len(self._colors) + 1
        axis = {"colorscale": scale, "cmin": low, "cmax": high if high > low else low + 1}
        bar = {"thickness": 10, "outlinewidth": 0, "tickfont": {"size": 11}} | bar
        bar["title"] = {"text": title, "side": "right", "font": {"size": 12}}
        self._colors.append(Colors(axis_id("coloraxis", number), {**axis, "colorbar": bar}))
        return self._colors[-1]

    def add_legend_entry(self, trace: Trace, name: str, *, own_color: bool) -> None:
        """Add a name to a legend once, in the trace's colour or, for a shared style, in grey."""
        row, attributes = trace.panel.row, trace.attributes
        legend = self._legends.setdefault(row if row.legend else None, {})
        if name in legend:
            return
        is_bar = trace.kind == "bar"
        mode = "markers" if is_bar else attributes.get("mode", "lines")
        entry: dict[str, Any] = {"mode": mode, "legendgroup": name}
        for part in ("line", "marker"):
            if part in attributes:
                grey = {} if own_color else {"color": "#555555"}
                entry[part] = {**attributes[part], **grey}
        if is_bar:
            entry["marker"]["symbol"] = "square"
        if np.ndim(entry.get("marker", {}).get("size", 0)):
            del entry["marker"]["size"]
        legend[name] = entry

    @property
    def panels(self) -> list[Panel]:
        """All panels, each followed by its twin."""
        panels = (panel for row in self.rows for _, panel in row.filled())
        return [axes for panel in panels for axes in (panel, panel.twin) if axes is not None]

    def draw(self) -> go.Figure:
        """Make the plotly figure, opened at the slider's last stop."""
        for panel in self.panels:
            for curves in panel.group_curves.values():
                curves.add_median(panel)
        for colors in self._colors:
            colors.reserve_space()
        self._add_runs_to_legend()
        traces = [trace for panel in self.panels for trace in panel.traces]
        axis, sliding = StepAxis(self._all_steps(traces), self.log), self._sliding_steps(traces)
        stops = thin(sorted(set(itertools.chain(*sliding))), self.n_stops)
        page = _Page(self, self._legends, united_choices(traces))
        drawn = [self._opening(trace, stops, axis) for trace in traces]
        nearest = "each run at its step nearest to the slider's" if len(sliding) > 1 else ""
        subtitle = "; ".join(part for part in (self.subtitle, nearest) if part)
        layout = page.layout(subtitle, axis, SLIDER if stops else 0.0) | self._colorbars(page)
        shapes, notes = self._marks(page, axis)
        for number, (row, entries) in enumerate(self._legends.items(), 1):
            name = axis_id("legend", number)
            layout[name] = page.legend_place(row)
            drawn += [_legend_line(entry, style, name) for entry, style in entries.items()]
        figure = go.Figure(drawn, layout | {"shapes": shapes, "annotations": notes})
        menus = [
            menu_of(figure, traces, chosen, *page.menu_place(chosen[0].panel.row, _MENU))
            for chosen in page.menus
        ]
        figure.update_layout(updatemenus=menus)
        return slider_of(figure, traces, stops, axis, page.below, self.at_stop) if stops else figure

    def _add_runs_to_legend(self) -> None:
        """Put the runs first in the legend, if a trace uses their colours."""
        if len(self.measured) < 2 or not self._shows_run_colors:
            return
        named = {self.groups.get(label, label): color for label, color in self.run_colors.items()}
        runs = {
            label: {"mode": "lines", "line": {"color": color, "width": 3}, "legendgroup": label}
            for label, color in named.items()
        }
        self._legends[None] = runs | self._legends.get(None, {})

    def _marks(
        self, page: "_Page", axis: StepAxis
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The figure's shapes and notes: those of panels, milestones, bands, and titles."""
        shapes = [shape for panel in self.panels for shape in panel.shapes]
        notes = [note for panel in self.panels for note in panel.notes]
        for panel in self.panels:
            tints, names = bands(panel, axis)
            shapes, notes = shapes + tints, notes + names
        first = next((panel.row for panel in self.panels if panel.milestones_of), None)
        for panel, place in page.places.items():
            lines, names = milestone_lines(panel, axis, page.pixels(place), panel.row is first)
            shapes, notes = shapes + lines, notes + names
        return shapes, [*notes, *page.titles()]

    def _colorbars(self, page: "_Page") -> dict[str, Any]:
        """The layout of each colour scale, with its bar beside its panels."""
        layout = {}
        for colors in self._colors:
            if places := [page.places[panel] for panel in colors.panels]:
                low, high = min(p.y[0] for p in places), max(p.y[1] for p in places)
                right = max(p.x[1] for p in places) + 6 / page.inner
                bar = {"x": right, "xanchor": "left", "xpad": 0, "ypad": 0}
                bar |= {"y": (low + high) / 2, "len": high - low} | colors.layout["colorbar"]
                layout[colors.name] = colors.layout | {"colorbar": bar}
        return layout

    def _sliding_steps(self, traces: Sequence[Trace]) -> set[tuple[int, ...]]:
        """The distinct step sequences of runs with changing traces."""
        changing = [trace.dataset for trace in traces if trace.at is not None]
        return {tuple(ds[self.along].to_numpy().tolist()) for ds in changing if ds is not None}

    def _all_steps(self, traces: Sequence[Trace]) -> Float[np.ndarray, " step"]:
        """Every step on the figure, milestones included."""
        drawn = [t.attributes["x"] for t in traces if t.panel.over_steps and "x" in t.attributes]
        marks = [step for _, step, _ in all_milestones(self, self.measured)]
        return np.concatenate([np.asarray(x, dtype=float) for x in [*drawn, marks]])

    def at_stop(self, dataset: xr.Dataset, stop: int) -> xr.Dataset:
        """A dataset at its step nearest to a stop of the slider."""
        return dataset.sel({self.along: stop}, method="nearest")

    def _opening(self, trace: Trace, stops: Sequence[int], axis: StepAxis) -> Any:
        """The trace in the figure's initial state."""
        attributes = dict(trace.attributes)
        if trace.panel.over_steps and "x" in attributes:
            attributes["x"] = axis.place(attributes["x"])
            _show_step_0(attributes, trace.attributes["x"], axis)
        made = go.Figure().add_trace({"type": trace.kind, **attributes}).data[0]
        if trace.at is not None and trace.dataset is not None:
            made.update(trace.changes(self.at_stop(trace.dataset, stops[-1]), axis))
        return made


class _Page:
    """The positions of panels, titles and legends, as shares of the page's width and height.

    Attributes:
        menus: the traces of each menu; the menu is above the first trace's panel.
        places: the place of each panel.
        inner: pixels between the margins, on the narrowest page.
        below: pixels below the last row.
    """

    def __init__(
        self,
        figure: Panels,
        legends: Mapping[Row | None, Mapping[str, Any]],
        menus: Sequence[Sequence[Trace]],
    ) -> None:
        self.figure, self.legends, self.menus = figure, legends, menus
        self.rows = figure.rows
        self.bands = [self._band(row) for row in self.rows]
        self.grid: Grid = lay_out(self.bands)
        self.inner = NARROW - self.grid.left - self.grid.right
        self.below = self.bands[-1].below
        self.places: dict[Panel, Place] = {
            panel: places[at]
            for row, places in zip(self.rows, self.grid.places, strict=True)
            for at, panel in row.filled()
        }

    def pixels(self, place: Place) -> float:
        """The width of a place on the narrowest page."""
        return (place.x[1] - place.x[0]) * self.inner

    def layout(self, subtitle: str, axis: StepAxis, slider: float) -> dict[str, Any]:
        """Plotly's layout: heading, size, margins and axes."""
        title, subtitle = wrap(self.figure.title, NARROW - 60, 17), wrap(subtitle, NARROW - 60)
        head = 26 + 24 * n_lines(title) + 17 * n_lines(subtitle) + self._legend_pixels(None)
        top, bottom = head + self.bands[0].above, self.below + slider
        margin = {"l": self.grid.left, "r": self.grid.right, "t": top, "b": bottom}
        return {
            "template": TEMPLATE,
            "title": {"text": title, "subtitle": {"text": subtitle}},
            "height": round(self.grid.height + top + bottom),
            "margin": {side: round(pixels) for side, pixels in margin.items()},
            "bargap": 0.12,
            **self._axes(axis),
        }

    def titles(self) -> Iterator[dict[str, Any]]:
        """Each panel's title, above its left end."""
        for row in self.rows:
            for (_, panel), text in zip(row.filled(), self._row_titles(row), strict=True):
                if text:
                    place = self.places[panel]
                    at = {"x": place.x[0], "y": place.y[1], "xref": "paper", "yref": "paper"}
                    at |= {"xanchor": "left", "yanchor": "bottom", "yshift": 4, "align": "left"}
                    yield {"text": text, **at, "showarrow": False, "font": {"size": 13}}

    def legend_place(self, row: Row | None) -> dict[str, Any]:
        """The position of a legend above its row, or above all rows."""
        at = 0 if row is None else self.rows.index(row)
        pixels = self.bands[at].above - 6 - (0 if row is None else self._legend_pixels(row))
        y = self.grid.places[at][0].y[1] + pixels / self.grid.height
        return {"orientation": "h", "x": 0, "xanchor": "left", "y": y, "yanchor": "bottom"}

    def menu_place(self, row: Row, pixels: float) -> tuple[float, float]:
        """The top of a row, and the pixels from the top to its menu."""
        above = max(0.0, self._titles_and_menu(row) - pixels)
        return self.grid.places[self.rows.index(row)][0].y[1], above

    def _legend_pixels(self, row: Row | None) -> float:
        return _LEGEND * legend_lines(list(self.legends.get(row, ())))

    def _band(self, row: Row) -> Band:
        boxes = [
            panel.box() if isinstance(panel, Panel) else Box(panel, 8, 14) for panel in row.panels
        ]
        panels = [panel for _, panel in row.filled()]
        legend = 0.0 if row not in self.legends else self._legend_pixels(row)
        has_ticks = any(panel.x.get("showticklabels", True) for panel in panels)
        has_title = any(panel.x.get("title") for panel in panels) and not self._is_continued(row)
        below = 10 + (20 if has_ticks else 0) + (22 if has_title else 0)
        return Band(boxes, row.height, 10 + self._titles_and_menu(row) + legend, below)

    def _titles_and_menu(self, row: Row) -> float:
        """Pixels above a row: titles, and a menu beside a single title or above several."""
        titles = _TITLE * max((n_lines(text) for text in self._row_titles(row)), default=0)
        menu = _MENU if any(chosen[0].panel.row is row for chosen in self.menus) else 0.0
        return max(titles, menu) if len(list(row.filled())) == 1 else titles + menu

    def _row_titles(self, row: Row) -> list[str]:
        total = sum(item.width if isinstance(item, Panel) else item for item in row.panels)
        inner = NARROW - 100 - 60 * (len(row.panels) - 1)
        return [
            wrap(panel.title, inner * panel.width / total + 40 - panel.colorbar)
            for _, panel in row.filled()
        ]

    def _is_continued(self, row: Row) -> bool:
        """Whether the row below repeats and labels this row's axis of training steps."""
        after = self.rows[self.rows.index(row) + 1 :][:1]
        return row.is_over_training() and any(
            other.is_over_training() and len(other.panels) == len(row.panels) for other in after
        )

    def _axes(self, steps: StepAxis) -> dict[str, Any]:
        """The axes of all panels, with linked axes of training steps."""
        layout: dict[str, Any] = {}
        first: str | None = None
        for panel, place in self.places.items():
            x, y = axis_id("x", panel.number), axis_id("y", panel.number)
            across = {"domain": place.x, "anchor": y} | _with_title(panel.x)
            if panel.over_steps:
                across |= steps.layout() | ({"matches": first} if first else {})
                first = first or x
                if self._is_continued(panel.row):
                    del across["title"]
            upwards = {"domain": place.y, "anchor": x} | _with_title(panel.y)
            layout |= {axis_id("xaxis", panel.number): across}
            layout |= {axis_id("yaxis", panel.number): upwards}
            if panel.twin is not None:
                right = {"overlaying": y, "anchor": x, "side": "right", "showgrid": False}
                right |= {"tickmode": "auto", "nticks": 6} | _with_title(panel.twin.y)
                layout |= {axis_id("yaxis", panel.twin.number): right}
        return layout


def _show_step_0(attributes: dict[str, Any], steps: Any, axis: StepAxis) -> None:
    """Make hover show step 0, which a logarithmic axis draws at another position."""
    steps = np.asarray(steps)
    if not axis.zero or not (steps == 0).any() or "hovertemplate" not in attributes:
        return
    template = attributes["hovertemplate"]
    if "customdata" in attributes:
        zero = template.replace("%{x:,}", "0")
        attributes["hovertemplate"] = np.where(steps == 0, zero, template).tolist()
    else:
        attributes["customdata"] = steps
        attributes["hovertemplate"] = template.replace("%{x:,}", "%{customdata:,}")


def _with_title(axis: Mapping[str, Any]) -> dict[str, Any]:
    """The axis with its title close to its ticks."""
    title = axis.get("title", "")
    if isinstance(title, str):
        title = {"text": title}
    return {**axis, "title": {"standoff": 5, **title}}


def _legend_line(name: str, entry: Mapping[str, Any], legend: str) -> go.Scatter:
    """A trace without points that makes a line in a legend."""
    return go.Scatter(x=[None], y=[None], name=name, legend=legend, showlegend=True, **entry)
