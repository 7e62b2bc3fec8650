"""A figure is rows of panels, and this is the one way to build it.

    figure = Panels(measured, title="What is seen", subtitle="how to read it", log=log)
    row = figure.row(height=300)
    panel = row.over_training("accuracy", y={"title": "accuracy", **SHARE})
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset.test_accuracy, run=label)
    colors = figure.colors("|F(ω)|", 0, largest)
    row = figure.row(height=260)
    for label in measured:
        panel = row.panel(label, x="frequency ω", y="neuron")
        panel.heat(colors, run=label, at=lambda now: {"z": now.amplitude.to_numpy()})
    return figure.draw()

A **panel** is added to a row with its title and its axes: a title, or any of plotly's attributes
of an axis. ``row.over_training`` makes one whose x axis is the training step: shared by all such
panels, logarithmic where the figure is, with every run's t_mem and t_gen marked.

What is drawn in it knows its **run**, which gives it colour, legend and hover, and its **value at a
step**: ``at`` takes the run's dataset at its step nearest to the slider's (of the dimension
``along``) and returns the attributes of the plotly trace that change with the step. A figure in
which anything has an ``at`` gets a slider. ``key`` names a style that all runs share (train dashed)
in the legend, ``entry`` a trace of its own colour (a layer); a row with ``legend=True`` keeps these
above itself. Colour bars stand beside the panels that use them. Widths of panels are shares of
their row, ``row.empty()`` leaves a place free, heights are pixels of what is plotted; all other
room is reckoned from what is written in it, and nothing overlaps on a page 850 pixels wide.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

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
from mechgrok.analyses.drawing.groups import (
    SHOWN,
    GroupCurves,
    groups_of,
    median_milestone,
    representatives,
)
from mechgrok.analyses.drawing.panel import Colors, Panel, Row, Trace, axis_id
from mechgrok.analyses.drawing.steps import StepAxis
from mechgrok.analyses.drawing.style import SEQUENTIAL, TEMPLATE, run_colors
from mechgrok.analyses.measures.places import spread

_MARKS = {"t_mem": "dot", "t_gen": "dash"}
#: Around letters that stand on curves.
_HALO = ", ".join(["0px 0px 2px white"] * 4)
#: The room of the slider, in pixels.
SLIDER = 95.0
#: Milliseconds that each of its stops is shown when it runs.
_STOP = 150
#: Lines of a legend and of a title, and the room of a menu, in pixels.
_LEGEND, _TITLE, _MENU = 23.0, 18.0, 42.0


@dataclass
class _Legend:
    """Entries that stand together: dummies, which plotly's legend shows."""

    traces: dict[str, dict[str, Any]] = field(default_factory=dict)

    def pixels(self) -> float:
        return _LEGEND * legend_lines(list(self.traces))


class Panels:
    """A figure made of rows of panels.

    Args:
        measured: the datasets that it shows, by the label of their run.
        title: what is seen.
        subtitle: how to read it.
        log: a logarithmic axis of training steps.
        along: the dimension of the datasets that the slider goes along.
        stops: the slider's stops at most.
    """

    def __init__(
        self,
        measured: Mapping[str, xr.Dataset],
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
        self.pictured = set(representatives(measured))
        colors = run_colors(dict.fromkeys(self.groups.get(label, label) for label in measured))
        self._run_colors = {label: colors[self.groups.get(label, label)] for label in measured}
        self.numbers = itertools.count(1)
        self.rows: list[Row] = []
        self.traces: list[Trace] = []
        self.shapes: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.bands: list[tuple[Panel, int, int, str, str]] = []
        self._colors: list[Colors] = []
        self._legends: dict[Row | None, _Legend] = {}
        self._in_own_color: set[str] = set()
        self._group_curves: dict[tuple[Any, ...], GroupCurves] = {}

    def color_of(self, run: str) -> str:
        """The run's colour, which has the run's name put into the legend."""
        self._in_own_color.add(run)
        return self._run_colors[run]

    def row(self, *, height: float, legend: bool = False) -> Row:
        """The next row of panels, with a legend of its own above it or not."""
        self.rows.append(Row(self, height, legend))
        return self.rows[-1]

    def colors(
        self, title: str, low: float, high: float, *, scale: Any = SEQUENTIAL, **bar: Any
    ) -> Colors:
        """A scale of colours for heat maps, the same at all steps and in all that use it.

        Args:
            title: the quantity and its unit.
            low: the number at the scale's start.
            high: the number at its end.
            scale: of plotly's scales; a diverging one has its middle halfway.
            bar: plotly's attributes of the colour bar, such as ``tickvals``.
        """
        number = len(self._colors) + 1
        axis = {"colorscale": scale, "cmin": low, "cmax": high if high > low else low + 1}
        bar = {"thickness": 10, "outlinewidth": 0, "tickfont": {"size": 11}} | bar
        bar["title"] = {"text": title, "side": "right", "font": {"size": 12}}
        self._colors.append(Colors(axis_id("coloraxis", number), {**axis, "colorbar": bar}))
        return self._colors[-1]

    def enter(self, row: Row, kind: str, name: str, look: Mapping[str, Any], *, own: bool) -> None:
        """Put a name into a legend once: with its own colour, or grey, for a style of all runs."""
        legend = self._legends.setdefault(row if row.legend else None, _Legend())
        if name in legend.traces:
            return
        mode = "markers" if kind == "bar" else look.get("mode", "lines")
        entry: dict[str, Any] = {"mode": mode, "legendgroup": name}
        for part in ("line", "marker"):
            if part in look:
                entry[part] = dict(look[part]) | ({} if own else {"color": "#555555"})
        if kind == "bar":
            entry["marker"]["symbol"] = "square"
        if np.ndim(entry.get("marker", {}).get("size", 0)):
            del entry["marker"]["size"]
        legend.traces[name] = entry

    def gather(self, panel: Panel, run: str, x: Any, y: Any, look: Mapping[str, Any]) -> None:
        """Take note of the curve just drawn, of a run of a group, for its median over the group."""
        group, what = self.groups[run], (look.get("key"), look.get("entry"))
        for nth in itertools.count():
            place = (panel.number, group, what, nth)
            curves = self._group_curves.setdefault(place, GroupCurves(panel, look))
            if run not in curves.runs:
                curves.runs[run] = (x, y)
                curves.traces.append(self.traces[-1])
                return

    def _draw_groups(self) -> None:
        """Each group's medians and bands over its runs, and a menu of what is shown."""
        for curves in self._group_curves.values():
            curves.panel.median(curves)
        shown = {"single": {SHOWN[0], SHOWN[2]}, "median": {SHOWN[0], SHOWN[1]}}
        if not any(trace.of_group == "median" for trace in self.traces):
            return
        for trace in self.traces:
            if trace.of_group:
                names = shown[trace.of_group]
                trace.choices = {name: {"visible": name in names} for name in SHOWN}
        next(iter(self._group_curves.values())).panel.has_menu = True

    def draw(self) -> go.Figure:
        """The figure, as it opens at the slider's last stop."""
        self._draw_groups()
        for colors in self._colors:
            for panel in colors.panels:
                panel.bars = 56 if _ends_row(panel, colors.panels) else panel.bars
        self._enter_runs()
        stops = self._stops()
        title, subtitle, head = self._heading()
        grid = lay_out([self._band(row) for row in self.rows])
        above, below = self._band(self.rows[0]).above, self._band(self.rows[-1]).below
        axis = StepAxis(self._all_steps(), self.log)
        traces = [self._opening(trace, stops, axis) for trace in self.traces]
        layout: dict[str, Any] = {
            "template": TEMPLATE,
            "title": {"text": title, "subtitle": {"text": subtitle}},
            "height": round(grid.height + head + above + below + (SLIDER if stops else 0)),
            "margin": {
                "l": round(grid.left),
                "r": round(grid.right),
                "t": round(head + above),
                "b": round(below + (SLIDER if stops else 0)),
            },
            "bargap": 0.12,
            **self._axes(grid, axis),
        }
        marks = list(self._marks(grid, axis))
        tints, names = self._tints(axis)
        shapes = [*self.shapes, *tints, *(line for line, _ in marks)]
        names += [name for _, name in marks if name["text"]]
        notes = [*self.notes, *names, *self._titles(grid)]
        for number, (row, legend) in enumerate(self._legends.items(), 1):
            name = axis_id("legend", number)
            layout[name] = self._legend_place(row, grid)
            traces += [_dummy(key, entry, name) for key, entry in legend.traces.items()]
        figure = go.Figure(traces, layout | {"shapes": shapes, "annotations": notes})
        self._add_menu(figure, grid)
        return self._with_slider(figure, stops, axis, below)

    def _enter_runs(self) -> None:
        """Put the runs before all else into the legend, where something has their colour."""
        if len(self.measured) < 2 or not self._in_own_color:
            return
        legend = self._legends.get(None, _Legend())
        named = {self.groups.get(label, label): each for label, each in self._run_colors.items()}
        runs = {
            label: {"mode": "lines", "line": {"color": color, "width": 3}, "legendgroup": label}
            for label, color in named.items()
        }
        self._legends[None] = _Legend(runs | legend.traces)

    # --- room and places --------------------------------------------------------------------

    def _heading(self) -> tuple[str, str, float]:
        """Title and subtitle in lines, and the pixels of both and of the figure's legend."""
        subtitle = self.subtitle
        if len({tuple(self._steps_of(dataset)) for dataset in self._sliding()}) > 1:
            subtitle += f"{'; ' if subtitle else ''}each run at its step nearest to the slider's"
        title, subtitle = wrap(self.title, NARROW - 60, 17), wrap(subtitle, NARROW - 60)
        legend = self._legends.get(None, _Legend())
        pixels = 26 + 24 * n_lines(title) + 17 * n_lines(subtitle) + legend.pixels()
        return title, subtitle, pixels

    def _band(self, row: Row) -> Band:
        boxes = [
            panel.room() if isinstance(panel, Panel) else Box(panel, 8, 14) for panel in row.panels
        ]
        panels = [panel for _, panel in row.filled()]
        legend = self._legends[row].pixels() if row in self._legends else 0.0
        ticks = any(panel.x.get("showticklabels", True) for panel in panels)
        words = any(panel.x.get("title") for panel in panels) and not self._is_continued(row)
        below = 10 + (20 if ticks else 0) + (22 if words else 0)
        return Band(boxes, row.height, 10 + self._titles_and_menu(row) + legend, below)

    def _titles_and_menu(self, row: Row) -> float:
        """Pixels above a row: its titles, and a menu beside a single title or above several."""
        panels = [panel for _, panel in row.filled()]
        titles = _TITLE * max((n_lines(text) for text in self._row_titles(row)), default=0)
        menu = _MENU if any(panel.has_menu for panel in panels) else 0.0
        return max(titles, menu) if len(panels) == 1 else titles + menu

    def _row_titles(self, row: Row) -> list[str]:
        total = sum(each.width if isinstance(each, Panel) else each for each in row.panels)
        inner = NARROW - 100 - 60 * (len(row.panels) - 1)
        return [
            wrap(panel.title, inner * panel.width / total + 40 - panel.bars)
            for _, panel in row.filled()
        ]

    def _is_continued(self, row: Row) -> bool:
        """Whether the row below has the same axis of training steps, and names it."""
        at = self.rows.index(row) + 1
        if at == len(self.rows) or not row.is_over_training():
            return False
        return self.rows[at].is_over_training() and len(self.rows[at].panels) == len(row.panels)

    def _placed(self, grid: Grid) -> Iterator[tuple[Panel, Place]]:
        for row, places in zip(self.rows, grid.places, strict=True):
            for at, panel in row.filled():
                yield panel, places[at]

    def _titles(self, grid: Grid) -> Iterator[dict[str, Any]]:
        """Each panel's title, above its left end."""
        for row, places in zip(self.rows, grid.places, strict=True):
            for (at, _), text in zip(row.filled(), self._row_titles(row), strict=True):
                if text:
                    yield {
                        "text": text,
                        "x": places[at].x[0],
                        "y": places[at].y[1],
                        "xref": "paper",
                        "yref": "paper",
                        "xanchor": "left",
                        "yanchor": "bottom",
                        "yshift": 4,
                        "align": "left",
                        "showarrow": False,
                        "font": {"size": 13},
                    }

    def _legend_place(self, row: Row | None, grid: Grid) -> dict[str, Any]:
        """Above the row that the legend is of, or above all rows."""
        of = self.rows[0] if row is None else row
        pixels = self._band(of).above - 6
        if row is not None:
            pixels -= self._legends[row].pixels()
        top = grid.places[self.rows.index(of)][0].y[1]
        y = top + pixels / grid.height
        return {"orientation": "h", "x": 0, "xanchor": "left", "y": y, "yanchor": "bottom"}

    def _axes(self, grid: Grid, axis: StepAxis) -> dict[str, Any]:
        """The axes of all panels, and the colour bars beside them."""
        layout: dict[str, Any] = {}
        first: str | None = None
        for panel, place in self._placed(grid):
            x, y = axis_id("x", panel.number), axis_id("y", panel.number)
            own = {"domain": place.x, "anchor": y} | _titled(panel.x)
            if panel.over_steps:
                own |= axis.layout() | ({"matches": first} if first else {})
                first = first or x
                if self._is_continued(panel.row):
                    del own["title"]
            layout[axis_id("xaxis", panel.number)] = own
            layout[axis_id("yaxis", panel.number)] = {"domain": place.y, "anchor": x} | _titled(
                panel.y
            )
            if panel.twin is not None:
                layout[axis_id("yaxis", panel.twin.number)] = {
                    "overlaying": y,
                    "anchor": x,
                    "side": "right",
                    "showgrid": False,
                    "tickmode": "auto",
                    "nticks": 6,
                } | _titled(panel.twin.y)
        places = dict(self._placed(grid))
        for colors in self._colors:
            used = [places[panel] for panel in colors.panels]
            if not used:
                continue
            low, high = min(each.y[0] for each in used), max(each.y[1] for each in used)
            pixels = NARROW - grid.left - grid.right
            bar = {"x": max(each.x[1] for each in used) + 6 / pixels, "xanchor": "left", "xpad": 0}
            bar |= {"y": (low + high) / 2, "len": high - low, "ypad": 0}
            bar |= colors.layout["colorbar"]
            layout[colors.name] = colors.layout | {"colorbar": bar}
        return layout

    # --- steps ------------------------------------------------------------------------------

    def _sliding(self) -> list[xr.Dataset]:
        """The datasets of which something changes with the slider."""
        changing = {id(each.dataset): each.dataset for each in self.traces if each.at is not None}
        return [dataset for dataset in changing.values() if dataset is not None]

    def _steps_of(self, dataset: xr.Dataset) -> list[int]:
        return [int(step) for step in dataset[self.along].to_numpy()]

    def _stops(self) -> list[int]:
        """The steps of all runs together, thinned."""
        steps = {step for dataset in self._sliding() for step in self._steps_of(dataset)}
        return spread(sorted(steps), self.n_stops)

    def _all_steps(self) -> np.ndarray:
        """Every step that is drawn, milestones included."""
        curves = [each.look["x"] for each in self.traces if each.over_steps and "x" in each.look]
        marks = [step for _, step, _ in self._milestones(self.measured)]
        return np.concatenate([np.asarray(x, dtype=float) for x in [*curves, marks]])

    def _opening(self, trace: Trace, stops: Sequence[int], axis: StepAxis) -> Any:
        """The trace as the figure opens."""
        look = dict(trace.look)
        if trace.over_steps and "x" in look:
            look["x"] = axis.place(look["x"])
            _tell_steps(look, trace.look["x"], axis)
        made = go.Figure().add_trace({"type": trace.kind, **look}).data[0]
        if trace.at is not None and trace.dataset is not None:
            made.update(trace.value(self._now(trace.dataset, stops[-1]), axis))
        return made

    def _now(self, dataset: xr.Dataset, stop: int) -> xr.Dataset:
        return dataset.sel({self.along: stop}, method="nearest")

    def _with_slider(
        self, figure: go.Figure, stops: Sequence[int], axis: StepAxis, below: float
    ) -> go.Figure:
        """The figure with a frame for each stop, which holds what changes."""
        if not stops:
            return figure
        moving = [(at, trace) for at, trace in enumerate(self.traces) if trace.at is not None]
        frames, steps = [], []
        for stop in stops:
            now = {id(dataset): self._now(dataset, stop) for dataset in self._sliding()}
            data = [
                {"type": trace.kind, **trace.value(now[id(trace.dataset)], axis)}
                for _, trace in moving
            ]
            frames.append(go.Frame(data=data, traces=[at for at, _ in moving], name=str(stop)))
            how = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
            steps.append({"label": f"{stop:,}", "method": "animate", "args": [[str(stop)], how]})
        figure.frames = frames
        slider = {"steps": steps, "active": len(steps) - 1, "x": 0, "len": 1, "y": 0}
        slider |= {"yanchor": "top", "pad": {"t": below + 6}}
        figure.layout.updatemenus += (_player(below),)
        return figure.update_layout(
            sliders=[slider | {"currentvalue": {"prefix": "training step "}}]
        )

    def _add_menu(self, figure: go.Figure, grid: Grid) -> None:
        """A menu for the choices that traces have, over the right end of the first such panel.

        Traces with other choices have a menu of their own, over the first panel of theirs.
        """
        menus: dict[tuple[str, ...], list[int]] = {}
        for at, each in enumerate(self.traces):
            if each.choices:
                menus.setdefault(tuple(each.choices), []).append(at)
        made = [self._menu(figure, grid, chosen) for chosen in _united(menus).values()]
        if made:
            figure.update_layout(updatemenus=made)

    def _menu(self, figure: go.Figure, grid: Grid, chosen: list[int]) -> dict[str, Any]:
        choices = [self.traces[at].choices for at in chosen]
        names = list(dict.fromkeys(itertools.chain(*choices)))
        changed = itertools.chain(*(each.values() for each in choices))
        changing = list(dict.fromkeys(itertools.chain(*changed)))
        for at, each in zip(chosen, choices, strict=True):
            figure.data[at].update(each.get(names[0], {}))
        buttons = []
        for name in names:
            values = {key: [each.get(name, {}).get(key) for each in choices] for key in changing}
            buttons.append({"label": name, "method": "restyle", "args": [values, chosen]})
        on = {self.traces[at].number for at in chosen}
        row = next(
            row for row in self.rows if any(p.has_menu and p.number in on for _, p in row.filled())
        )
        above = max(0.0, self._titles_and_menu(row) - _MENU)
        menu = {"x": 1, "xanchor": "right", "yanchor": "bottom", "pad": {"b": 4 + above}}
        return menu | {"y": grid.places[self.rows.index(row)][0].y[1], "buttons": buttons}

    def _tints(self, axis: StepAxis) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The bands of panels, and their names."""
        shapes, notes = [], []
        for panel, first, last, color, text in self.bands:
            x, domain = axis_id("x", panel.number), f"{axis_id('y', panel.number)} domain"
            start, end = axis.place([first, last]).tolist()
            tint = {"type": "rect", "x0": start, "x1": end, "y0": 0, "y1": 1, "layer": "below"}
            look = {"fillcolor": color, "opacity": 0.1, "line": {"width": 0}}
            shapes.append(tint | look | {"xref": x, "yref": domain})
            if text:
                left = float(axis.shade(first))
                name = {"text": text, "textangle": -90, "font": {"size": 11, "color": color}}
                name |= {"x": left, "xref": x, "xanchor": "left", "showarrow": False}
                notes.append(name | {"y": 0, "yref": domain, "yanchor": "bottom"})
        return shapes, notes

    def _milestones(self, labels: Iterable[str]) -> list[tuple[str, int, str]]:
        """t_mem and t_gen of runs and the runs' colours; of groups, their median t_mem and t_gen.

        Those that were not reached are none.
        """
        found: list[tuple[str, int, str]] = []
        members: dict[str, list[xr.Dataset]] = {}
        colors: dict[str, str] = {}
        for label in labels:
            group = self.groups.get(label, label)
            members.setdefault(group, []).append(self.measured[label])
            colors[group] = self._run_colors[label]
        for group, datasets in members.items():
            for mark in _MARKS:
                at = median_milestone(datasets, mark)
                if at is not None and at >= 0:
                    found.append((mark, int(at), colors[group]))
        return found

    def _marks(self, grid: Grid, axis: StepAxis) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Lines at t_mem (dotted) and t_gen (dashed), and their names.

        Named are those of the first row over training, as far as there is room; with more than
        four runs only the first of each kind.
        """
        first = next((row for row in self.rows if any(p.marked for _, p in row.filled())), None)
        for panel, place in self._placed(grid):
            pixels = (place.x[1] - place.x[0]) * (NARROW - grid.left - grid.right)
            found = self._milestones(panel.marked)
            marks = sorted((step, mark, color) for mark, step, color in found)
            few = len({color for _, _, color in found}) <= 4
            # Names stand below one another where lines are close: at which heights, and where.
            heights = int((panel.row.height - 20) / 38) if panel.row is first else 0
            named: list[list[float]] = [[] for _ in range(heights)]
            told: set[str] = set()
            for step, mark, color in marks:
                at, name = pixels * axis.share(step), ""
                free = [k for k, near in enumerate(named) if all(abs(at - x) > 13 for x in near)]
                if free and (few or mark not in told):
                    name, told = mark, told | {mark}
                    named[free[0]].append(at)
                color = color if len(self.measured) > 1 else "#555555"
                x = float(axis.place(step))
                where = {
                    "xref": axis_id("x", panel.number),
                    "yref": f"{axis_id('y', panel.number)} domain",
                }
                line = {"color": color, "dash": _MARKS[mark], "width": 1.2}
                yield (
                    {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line, **where},
                    {
                        "text": name,
                        "x": np.log10(x) if axis.log else x,
                        "y": 1,
                        "yshift": -38 * free[0] if free else 0,
                        "textangle": -90,
                        "xanchor": "right",
                        "yanchor": "top",
                        "showarrow": False,
                        "font": {"size": 11, "color": color, "shadow": _HALO},
                        **where,
                    },
                )


def _player(below: float) -> dict[str, Any]:
    """Buttons left of the slider: one runs through its stops from the first, one stops there."""
    now = {"mode": "immediate", "transition": {"duration": 0}}
    play = [None, {**now, "frame": {"duration": _STOP, "redraw": True}}]
    stay = [[None], {**now, "frame": {"duration": 0, "redraw": False}}]
    buttons = [
        {"label": label, "method": "animate", "args": does}
        for label, does in (("▶", play), ("❚❚", stay))
    ]
    look = {"type": "buttons", "direction": "down", "showactive": False, "font": {"size": 10}}
    place = {"x": 0, "xanchor": "right", "y": 0, "yanchor": "top", "pad": {"t": below + 8, "r": 12}}
    return {**look, "buttons": buttons, **place}


def _united(menus: Mapping[tuple[str, ...], list[int]]) -> dict[tuple[str, ...], list[int]]:
    """The traces of each menu, where menus that share a choice are one."""
    united: dict[tuple[str, ...], list[int]] = {}
    for names, traces in menus.items():
        same = next((known for known in united if set(known) & set(names)), None)
        united.setdefault(same or names, []).extend(traces)
    return united


def _ends_row(panel: Panel, panels: Sequence[Panel]) -> bool:
    """Whether it is the last of its row among the panels."""
    places = [at for at, each in panel.row.filled() if each in panels]
    return panel.row.panels.index(panel) == max(places)


def _tell_steps(look: dict[str, Any], steps: Any, axis: StepAxis) -> None:
    """Have hover tell step 0 where it is drawn in another place."""
    steps = np.asarray(steps)
    if not axis.zero or not (steps == 0).any() or "hovertemplate" not in look:
        return
    words = look["hovertemplate"]
    if "customdata" in look:
        zero = words.replace("%{x:,}", "0")
        look["hovertemplate"] = np.where(steps == 0, zero, words).tolist()
    else:
        look["customdata"] = steps
        look["hovertemplate"] = words.replace("%{x:,}", "%{customdata:,}")


def _titled(axis: Mapping[str, Any]) -> dict[str, Any]:
    """The axis with its title close to its ticks."""
    title = axis.get("title", "")
    if isinstance(title, str):
        title = {"text": title}
    return {**axis, "title": {"standoff": 5, **title}}


def _dummy(name: str, entry: Mapping[str, Any], legend: str) -> go.Scatter:
    """A trace without points, for its line in a legend."""
    return go.Scatter(x=[None], y=[None], name=name, legend=legend, showlegend=True, **entry)
