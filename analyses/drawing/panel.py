"""One panel of a figure and what is drawn in it: traces that know their value at a step."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from mechgrok.analyses.drawing.grid import Box
from mechgrok.analyses.drawing.steps import StepAxis

if TYPE_CHECKING:
    from mechgrok.analyses.drawing.groups import GroupCurves
    from mechgrok.analyses.drawing.panels import Panels

#: What of a trace changes with the slider: the run's dataset at a step → attributes of the trace.
AtStep = Callable[[xr.Dataset], Mapping[str, Any]]
#: The title of an axis, or any of plotly's attributes of one.
Axis = str | Mapping[str, Any]

#: What a logarithmic axis is unless said: few digits between its powers of ten.
_LOGARITHMIC = {"exponentformat": "power", "nticks": 4}
#: The parts of a trace that have its colour.
_COLORED = {"scatter": ("line", "marker"), "scattergl": ("line", "marker"), "bar": ("marker",)}


@dataclass
class Trace:
    """Something drawn: plotly's attributes of it, and those that change with the step.

    ``of_group`` says whether it is a single run's curve among a group's, or the group's median.
    """

    kind: str
    look: dict[str, Any]
    dataset: xr.Dataset | None
    at: AtStep | None
    over_steps: bool
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    number: int = 0
    of_group: Literal["", "single", "median"] = ""

    def value(self, now: xr.Dataset, axis: StepAxis) -> dict[str, Any]:
        """The attributes that it has at a step and need not have at another."""
        changed = dict(self.at(now)) if self.at is not None else {}
        if self.over_steps and "x" in changed:
            changed["x"] = axis.place(changed["x"])
        return changed


@dataclass
class Colors:
    """A scale of colours that several panels share, and its bar."""

    name: str
    layout: dict[str, Any]
    panels: list["Panel"] = field(default_factory=list)


class Panel:
    """One pair of axes and what is drawn on it; made by `Row.panel` and `Row.over_training`."""

    def __init__(
        self, row: "Row", title: str, x: Axis, y: Axis, width: float, over_steps: bool
    ) -> None:
        self.figure, self.row, self.width = row.figure, row, width
        self.title, self.over_steps = title, over_steps
        self.x, self.y = ({"title": a} if isinstance(a, str) else dict(a) for a in (x, y))
        if self.y.get("type") == "log":
            self.y = _LOGARITHMIC | self.y
        self.number = next(row.figure.numbers)
        self.x_number = self.number
        self.marked: Sequence[str] = ()
        self.twin: Panel | None = None
        self.bars = 0
        self.has_menu = False

    def right(self, y: Axis) -> "Panel":
        """A second y axis at the right, on which more is drawn over the same x axis."""
        twin = Panel(self.row, "", {}, y, self.width, self.over_steps)
        twin.x_number = self.number
        self.twin = twin
        return twin

    def lines(
        self,
        x: Any,
        y: Any,
        *,
        run: str | None = None,
        dash: str = "solid",
        width: float = 2,
        value: str | None = "%{y:.4g}",
        follow: bool = False,
        **more: Any,
    ) -> None:
        """A curve; a single point, and few points, are marked.

        Args:
            x: steps, on a panel over training.
            y: a value at each.
            run: whose it is.
            dash: of plotly's dashes.
            width: in pixels.
            value: how hover writes a value; None for no hover.
            follow: a dot follows the slider along the curve.
            more: as in `add`.
        """
        x, y = np.asarray(x), np.asarray(y)
        more.setdefault("mode", "lines" if len(x) > 25 else "lines+markers")
        style = {"line": {"dash": dash, "width": width}, "marker": {"size": 2 + 1.5 * width}}
        for name, given in style.items():
            more[name] = given | more.get(name, {})
        if run in self.figure.groups and not more.get("choices"):
            look = {**more, "value": value}
            self.add("scatter", run=run, hover=value, x=x, y=y.astype(np.float32), **more)
            self.figure.gather(self, str(run), x, y, look)
            return
        self.add("scatter", run=run, hover=value, x=x, y=y.astype(np.float32), **more)
        if not follow or run is None:
            return

        def dot(now: xr.Dataset) -> dict[str, Any]:
            nearest = int(np.abs(x - int(now[self.figure.along])).argmin())
            return {"x": x[nearest : nearest + 1], "y": y[nearest : nearest + 1]}

        self.add("scatter", run=run, at=dot, mode="markers", marker={"size": 10}, cliponaxis=False)

    def median(self, curves: "GroupCurves") -> None:
        """The median of curves that mean the same in the runs of a group, and the middle half."""
        found = curves.quartiles()
        if found is None:
            return
        for trace in curves.traces:
            line = trace.look["line"] | {"width": 0.8}
            trace.look |= {"opacity": 0.25, "mode": "lines", "line": line}
            trace.of_group = "single"
        x, (low, middle, high) = found
        run = next(iter(curves.runs))
        look: dict[str, Any] = dict(curves.look)
        value, first = look.pop("value"), len(self.figure.traces)
        color = look["line"].get("color") or self.figure.color_of(run)
        look.pop("opacity", None)
        look["mode"] = "lines"
        band: dict[str, Any] = {
            "fill": "toself",
            "fillcolor": color,
            "opacity": 0.16,
            "line": {"width": 0},
        }
        around = (np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))
        self.add("scatter", run=run, mode="lines", x=around[0], y=around[1], **band)
        hover = value and f"{self.figure.groups[run]}, median of {len(curves.runs)}<br>{value}"
        self.add("scatter", run=run, hover=hover, x=x, y=middle.astype(np.float32), **look)
        for trace in self.figure.traces[first:]:
            trace.of_group = "median"

    def bundle(
        self, x: Any, curves: Any, *, width: float = 0.7, opacity: float = 0.3, **more: Any
    ) -> None:
        """Many thin curves over the same places as one broken line, which keeps a page light.

        Args:
            x: places.
            curves: ``[curve, place]``.
            width: in pixels.
            opacity: of the lines.
            more: as in `add`.
        """
        if more.get("run") in self.figure.groups and more["run"] not in self.figure.pictured:
            return  # Many curves of many runs: one run of a group stands for all.
        x, curves = np.asarray(x, dtype=float), np.asarray(curves, dtype=np.float32)
        y = np.pad(curves, ((0, 0), (0, 1)), constant_values=np.nan).ravel()
        x = np.tile(np.append(x, np.nan), len(curves))
        line = {"width": width}
        self.add("scatter", x=x, y=y, mode="lines", line=line, opacity=opacity, **more)

    def heat(self, colors: Colors, *, hover: str, at: AtStep | None = None, **more: Any) -> None:
        """A picture: a number for each cell, in colours of `Panels.colors`."""
        self.add("heatmap", at=at, hover=hover, colors=colors, **more)

    def add(
        self,
        kind: str,
        *,
        run: str | None = None,
        at: AtStep | None = None,
        hover: str | None = None,
        color: Any = None,
        colors: Colors | None = None,
        choices: Mapping[str, Mapping[str, Any]] | None = None,
        key: str | None = None,
        entry: str | None = None,
        **look: Any,
    ) -> None:
        """Draw any kind of plotly's traces.

        Args:
            kind: "scatter", "bar", "heatmap", ….
            run: whose it is: its dataset is given to ``at``, its colour and legend to the trace.
            at: what changes with the step.
            hover: what is told of a point, after the run and, over training, its step.
            color: the run's unless given.
            colors: of `Panels.colors`, for a picture's cells or for points that have a number.
            choices: what changes with the menu, by the names that stand in it; not beside ``at``.
            key: the name of its style in the legend, where all runs use it.
            entry: its name in the legend, where it has a colour of its own.
            look: plotly's attributes of the trace.
        """
        if colors is not None:
            colors.panels += [] if self in colors.panels else [self]
            name_of = {"coloraxis": colors.name}
            look |= name_of if kind == "heatmap" else {"marker": look.get("marker", {}) | name_of}
        elif color is None and run is not None and kind in _COLORED and look.get("mode") != "text":
            color = self.figure.color_of(run)
        if color is not None:
            for part in _COLORED.get(kind, ()):
                look[part] = {"color": color} | look.get(part, {})
        name = ", ".join(each for each in (run, key or entry) if each)
        if hover is None:
            look["hoverinfo"] = "skip"
        else:
            many = len(self.figure.measured) > 1 or self.over_steps
            parts_ = [name] if many and name else []
            parts_ += ["step %{x:,}"] if self.over_steps else []
            look["hovertemplate"] = "<br>".join([*parts_, hover]) + "<extra></extra>"
        of = None if run is None else self.figure.groups.get(run, run)
        look |= {"name": name, "legendgroup": entry or of, "showlegend": False}
        look |= {"xaxis": axis_id("x", self.x_number), "yaxis": axis_id("y", self.number)}
        dataset = self.figure.measured.get(run) if run is not None else None
        if at is not None and dataset is None:
            raise ValueError("What changes with the step belongs to a run: give run=.")
        self.figure.traces.append(
            Trace(kind, look, dataset, at, self.over_steps, choices or {}, self.number)
        )
        self.has_menu |= bool(choices)
        if key or entry:
            self.figure.enter(self.row, kind, str(key or entry), look, own=entry is not None)

    def level(self, y: float, text: str = "", color: str = "#777777", dash: str = "dot") -> None:
        """A horizontal line across the panel, with a word at its right end."""
        place = {"xref": f"{axis_id('x', self.x_number)} domain", "yref": axis_id("y", self.number)}
        self.figure.shapes.append(
            {"type": "line", "x0": 0, "x1": 1, "y0": y, "y1": y, "layer": "below", **place}
            | {"line": {"color": color, "dash": dash, "width": 1}}
        )
        if text:
            at = np.log10(y) if self.y.get("type") == "log" else y
            self.figure.notes.append(
                {"text": text, "x": 1, "y": at, "xanchor": "right", "yanchor": "bottom", **place}
                | {"showarrow": False, "font": {"size": 11, "color": "#555555"}}
            )

    def band(self, first: int, last: int, color: str, text: str = "") -> None:
        """A stretch of training from one step to another, tinted, with its name along its start."""
        self.figure.bands.append((self, first, last, color, text))

    def say(self, text: str) -> None:
        """Words in the middle of a panel, such as why nothing is drawn in it."""
        self.add("scatter", x=[None], y=[None])  # plotly leaves out axes without a trace
        place = {"xref": f"{axis_id('x', self.x_number)} domain"}
        place["yref"] = f"{axis_id('y', self.number)} domain"
        self.figure.notes.append(
            {"text": text, "x": 0.5, "y": 0.5, "showarrow": False, **place}
            | {"font": {"size": 12, "color": "#555555"}, "bgcolor": "rgba(255,255,255,0.8)"}
        )

    def room(self) -> Box:
        """Its width, and the pixels that its labels take at its sides."""

        def side(axis: Mapping[str, Any]) -> float:
            ticks = 42.0 if axis.get("showticklabels", True) else 8.0
            return ticks + (22 if axis.get("title") else 0)

        if self.y.get("visible") is False:
            return Box(self.width, 8, 14 + self.bars)
        right = side(self.twin.y) + 6 if self.twin is not None else 14.0
        return Box(self.width, side(self.y) + 4, right + self.bars)


class Row:
    """Panels beside one another; made by `Panels.row`."""

    def __init__(self, figure: "Panels", height: float, legend: bool) -> None:
        self.figure, self.height, self.legend = figure, height, legend
        self.panels: list[Panel | float] = []

    def panel(
        self,
        title: str = "",
        *,
        x: Axis = "",
        y: Axis = "",
        width: float = 1,
        square: bool = False,
    ) -> Panel:
        """The next panel to the right; in a square one a unit is as long across as upwards."""
        panel = self._added(Panel(self, title, x, y, width, over_steps=False))
        if square:
            panel.x |= {"constrain": "domain", "constraintoward": "left"}
            panel.y |= {"constrain": "domain", "scaleanchor": axis_id("x", panel.number)}
        return panel

    def over_training(
        self,
        title: str = "",
        *,
        y: Axis = "",
        width: float = 1,
        marks: Iterable[str] | None = None,
    ) -> Panel:
        """The next panel, over training steps, with t_mem and t_gen of ``marks`` (of all runs)."""
        panel = self._added(Panel(self, title, "training step", y, width, over_steps=True))
        panel.marked = list(self.figure.measured if marks is None else marks)
        return panel

    def empty(self, width: float = 1) -> None:
        """A place without a panel."""
        self.panels.append(width)

    def fill(self, count: int) -> None:
        """Places without a panel, up to ``count`` of them: panels stay as wide as those above."""
        for _ in range(count - len(self.panels)):
            self.empty()

    def _added(self, panel: Panel) -> Panel:
        self.panels.append(panel)
        return panel

    def filled(self) -> Iterator[tuple[int, Panel]]:
        """The panels, each with its place in the row."""
        return ((at, each) for at, each in enumerate(self.panels) if isinstance(each, Panel))

    def is_over_training(self) -> bool:
        """Whether all its panels share the axis of training steps."""
        return all(panel.over_steps for _, panel in self.filled())


def axis_id(kind: str, number: int) -> str:
    """Plotly's name of the nth axis, legend or scale: x, x2, …."""
    return kind if number == 1 else f"{kind}{number}"
