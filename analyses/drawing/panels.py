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
are pixels of the plot area. The rest of the layout follows from the labels and from the width of
the page (`page.Page`): rows that are too long for it break. The figure has the layout of a column
of text; ``figure.layout.meta["layouts"]`` holds those of all widths, of which pages and
`layouts.fitted` choose one.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from mechgrok.analyses.drawing.controls import menu_of, slider_of, united_choices
from mechgrok.analyses.drawing.groups import groups_of, representatives
from mechgrok.analyses.drawing.layouts import with_layouts
from mechgrok.analyses.drawing.marks import all_milestones, bands, milestone_lines
from mechgrok.analyses.drawing.page import WIDTHS, Page
from mechgrok.analyses.drawing.panel import Colors, Panel, Row, Trace, axis_id
from mechgrok.analyses.drawing.steps import StepAxis
from mechgrok.analyses.drawing.style import SEQUENTIAL, TEMPLATE, run_colors
from mechgrok.analyses.measures.spacing import thin

#: The datasets of a figure, by the label of their run.
Measured = Mapping[str, xr.Dataset]
#: The option of figures over training.
LogAxis = Annotated[bool, "logarithmic step axis"]


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
        self.color_scales: list[Colors] = []
        self._legends: dict[Row | None, dict[str, dict[str, Any]]] = {}
        self._shows_run_colors = False

    def color_of(self, run: str) -> str:
        """The run's colour; makes the legend name the runs."""
        self._shows_run_colors = True
        return self.run_colors[run]

    def row(self, *, height: float, legend: bool = False, continues: bool = False) -> Row:
        """Add a row of panels.

        Args:
            height: of its panels, in pixels.
            legend: whether a separate legend is above the row.
            continues: whether each panel belongs to the one above it, as on rows without titles;
                on narrow pages such rows break together.
        """
        self.rows.append(Row(self, height, legend, continues))
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
        number = len(self.color_scales) + 1
        axis = {"colorscale": scale, "cmin": low, "cmax": high if high > low else low + 1}
        bar = {"thickness": 10, "outlinewidth": 0, "tickfont": {"size": 11}} | bar
        bar["title"] = {"text": title, "side": "right", "font": {"size": 12}}
        self.color_scales.append(Colors(axis_id("coloraxis", number), {**axis, "colorbar": bar}))
        return self.color_scales[-1]

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
                shared = {key: v for key, v in attributes[part].items() if np.ndim(v) == 0}
                entry[part] = shared | grey
        if is_bar:
            entry["marker"]["symbol"] = "square"
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
            panel.settle_log_axis()
        self._add_runs_to_legend()
        traces = [trace for panel in self.panels for trace in panel.traces]
        axis, sliding = StepAxis(self._all_steps(traces), self.log), self._sliding_steps(traces)
        stops = thin(sorted(set(itertools.chain(*sliding))), self.n_stops)
        drawn = [self._opening(trace, stops, axis) for trace in traces]
        for number, entries in enumerate(self._legends.values(), 1):
            name = axis_id("legend", number)
            drawn += [_legend_line(entry, style, name) for entry, style in entries.items()]
        figure, menus = go.Figure(drawn, self._layout(axis)), united_choices(traces)
        figure.update_layout(updatemenus=[menu_of(figure, traces, chosen) for chosen in menus])
        if len(stops) > 1:
            slider_of(figure, traces, stops, axis, self.at_stop)
        parts = [self.subtitle]
        if len(stops) == 1:
            parts.append(f"at training step {stops[0]:,}")
        elif len(sliding) > 1:
            parts.append("each run at its step nearest to the slider's")
        subtitle = "; ".join(part for part in parts if part)
        context = (self, self._legends, menus, axis, subtitle, len(stops) > 1)
        return with_layouts(figure, {w: Page(*context, w).attributes() for w in WIDTHS})

    def _layout(self, steps: StepAxis) -> dict[str, Any]:
        """The attributes of plotly's layout that are the same at all widths."""
        layout: dict[str, Any] = {"template": TEMPLATE, "bargap": 0.12}
        layout["margin"] = {"autoexpand": False}  # Labels have their space.
        first: str | None = None
        for row in self.rows:
            for _, panel in row.filled():
                x, y = axis_id("x", panel.number), axis_id("y", panel.number)
                across = {"anchor": y} | _with_title(panel.x)
                if panel.over_steps:
                    across |= steps.layout() | ({"matches": first} if first else {})
                    first = first or x
                layout |= {axis_id("xaxis", panel.number): across}
                up = {"anchor": x} | _with_title(panel.y)
                up |= panel.whole_ticks("y") | panel.least_range()
                layout |= {axis_id("yaxis", panel.number): up}
                if panel.twin is not None:
                    right = {"overlaying": y, "anchor": x, "side": "right", "showgrid": False}
                    right |= {"tickmode": "auto", "nticks": 6} | _with_title(panel.twin.y)
                    layout |= {axis_id("yaxis", panel.twin.number): right}
        legend = {"x": 0, "xanchor": "left", "yanchor": "bottom", "tracegroupgap": 0}
        for number in range(1, len(self._legends) + 1):
            layout[axis_id("legend", number)] = {"orientation": "h", **legend}
        for colors in self.color_scales:
            if colors.panels:
                bar = {"xanchor": "left", "xpad": 0, "ypad": 0} | colors.layout["colorbar"]
                layout[colors.name] = colors.layout | {"colorbar": bar}
        shapes = [shape for panel in self.panels for shape in panel.shapes]
        for panel in self.panels:
            shapes += bands(panel, steps) + milestone_lines(panel, steps)
        return layout | {"shapes": shapes}

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
