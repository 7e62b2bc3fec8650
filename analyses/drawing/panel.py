"""Panels of a figure: a pair of axes each, with traces that may change with the step."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from mechgrok.analyses.drawing.grid import Box
from mechgrok.analyses.drawing.groups import GroupCurves
from mechgrok.analyses.drawing.steps import StepAxis, round_numbers
from mechgrok.analyses.drawing.style import frequency_color
from mechgrok.analyses.drawing.text import n_lines, text_width

if TYPE_CHECKING:
    from mechgrok.analyses.drawing.panels import Panels

#: Maps the run's dataset at a step to the attributes of a trace that change with the slider.
AtStep = Callable[[xr.Dataset], Mapping[str, Any]]
#: A curve of each run: a variable's name, or a function of the run's dataset (None: no curve).
Curve = str | Callable[[xr.Dataset], xr.DataArray | None]
#: The title of an axis, or any of plotly's attributes of one.
Axis = str | Mapping[str, Any]

#: Defaults of a logarithmic axis: powers of ten and few ticks.
_LOGARITHMIC = {"exponentformat": "power", "nticks": 4}
#: Powers of ten that a logarithmic axis spans: narrow below, and at least.
_NARROW_LOG, _LEAST_LOG = 2.0, 0.02
#: The parts of a trace that take its colour.
_COLORED = {"scatter": ("line", "marker"), "scattergl": ("line", "marker"), "bar": ("marker",)}
#: The axes of a panel that contains only a note.
_BARE = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False}


@dataclass
class Trace:
    """A plotly trace: its attributes, and those that change with the step or with a menu.

    Attributes:
        kind: plotly's type: "scatter", "bar", "heatmap", ….
        panel: the trace's panel.
        attributes: the constant attributes.
        dataset: the run's dataset.
        at: attributes at a step of the slider.
        choices: attributes by menu entry.
    """

    kind: str
    panel: "Panel"
    attributes: dict[str, Any]
    dataset: xr.Dataset | None = None
    at: AtStep | None = None
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def changes(self, now: xr.Dataset, axis: StepAxis) -> dict[str, Any]:
        """The changing attributes at a step."""
        changed = dict(self.at(now)) if self.at is not None else {}
        if self.panel.over_steps and "x" in changed:
            changed["x"] = axis.place(changed["x"])
        return changed


@dataclass
class Colors:
    """A colour scale shared by several panels, with its bar."""

    name: str
    layout: dict[str, Any]
    panels: list["Panel"] = field(default_factory=list)


class Panel:
    """A pair of axes with its traces; made by `Row.panel` and `Row.over_training`."""

    def __init__(
        self, row: "Row", title: str, x: Axis, y: Axis, width: float, over_steps: bool
    ) -> None:
        self.figure, self.row, self.width = row.figure, row, width
        self.title, self.over_steps = title, over_steps
        self.x: dict[str, Any] = {"title": x} if isinstance(x, str) else dict(x)
        self.y: dict[str, Any] = {"title": y} if isinstance(y, str) else dict(y)
        if self.y.get("type") == "log":
            self.y = _LOGARITHMIC | self.y
        self.x_number = self.number = next(row.figure.numbers)
        self.milestones_of: Sequence[str] = ()
        self.twin: Panel | None = None
        self.traces: list[Trace] = []
        self.shapes: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.bands: list[tuple[int, int, str]] = []
        self.parts: list[int] = []
        self.levels: list[float] = []
        self.group_curves: dict[tuple[Any, ...], GroupCurves] = {}

    def right(self, y: Axis) -> "Panel":
        """Add a second y axis on the right, over the same x axis."""
        self.twin = Panel(self.row, "", {}, y, self.width, self.over_steps)
        self.twin.x_number = self.number
        return self.twin

    def curves(self, curve: Curve, *, where: Mapping[str, Any] | None = None, **style: Any) -> None:
        """Draw a curve for every run of the figure that has it, over the curve's one dimension.

        Args:
            curve: a variable's name, or a function of each run's dataset.
            where: coordinates of the curve along the variable's other dimensions.
            style: as in `lines`.
        """
        for label, dataset in self.figure.measured.items():
            values = dataset.get(curve) if isinstance(curve, str) else curve(dataset)
            if values is not None:
                values = values.sel(where or {})
                self.lines(values[values.dims[0]], values, run=label, **style)

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
        """Draw a curve, with markers if it has few points.

        Args:
            x: steps, on a panel over training.
            y: a value at each.
            run: label of the run.
            dash: one of plotly's dashes.
            width: in pixels.
            value: the hover template of a value; None disables hover.
            follow: whether a dot follows the slider along the curve.
            more: as in `add`.
        """
        x, y = np.asarray(x), np.asarray(y)
        more.setdefault("mode", "lines" if len(x) > 25 else "lines+markers")
        style = {"line": {"dash": dash, "width": width}, "marker": {"size": 2 + 1.5 * width}}
        for name, given in style.items():
            more[name] = given | more.get(name, {})
        trace = self.add("scatter", run=run, hover=value, x=x, y=y.astype(np.float32), **more)
        if run in self.figure.groups:
            if not trace.choices:
                self._gather(str(run), x, y, trace, more | {"value": value})
            return
        if not follow or run is None:
            return

        def dot(now: xr.Dataset) -> dict[str, Any]:
            nearest = int(np.abs(x - int(now[self.figure.along])).argmin())
            return {"x": x[nearest : nearest + 1], "y": y[nearest : nearest + 1]}

        self.add("scatter", run=run, at=dot, mode="markers", marker={"size": 10}, cliponaxis=False)

    def _gather(self, run: str, x: Any, y: Any, trace: Trace, style: dict[str, Any]) -> None:
        """Add a curve to its group's curves of the same key and entry, for their median."""
        name = (self.figure.groups[run], style.get("key"), style.get("entry"))
        nth = sum(run in g.runs for key, g in self.group_curves.items() if key[:3] == name)
        self.group_curves.setdefault((*name, nth), GroupCurves(style)).add(run, x, y, trace)

    def bundle(
        self, x: Any, curves: Any, *, width: float = 0.7, opacity: float = 0.3, **more: Any
    ) -> None:
        """Draw many thin curves over the same x values as one broken line, for a small page.

        Args:
            x: the x values.
            curves: ``[curve, x]``.
            width: in pixels.
            opacity: of the lines.
            more: as in `add`.
        """
        if more.get("run") in self.figure.groups and more["run"] not in self.figure.pictured:
            return  # One representative run per group limits the number of curves.
        x, curves = np.asarray(x, dtype=float), np.asarray(curves, dtype=np.float32)
        y = np.pad(curves, ((0, 0), (0, 1)), constant_values=np.nan).ravel()
        x = np.tile(np.append(x, np.nan), len(curves))
        style: dict[str, Any] = {"mode": "lines", "line": {"width": width}, "opacity": opacity}
        self.add("scatter", x=x, y=y, **(style | more))

    def heat(self, colors: Colors, *, hover: str, at: AtStep | None = None, **more: Any) -> None:
        """Draw a heat map in the colours of `Panels.colors`."""
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
        **attributes: Any,
    ) -> Trace:
        """Draw a plotly trace of any kind.

        Args:
            kind: "scatter", "bar", "heatmap", ….
            run: label of the run: gives the trace its colour and legend, and ``at`` its dataset.
            at: computes the attributes that change with the step.
            hover: the hover text of a point, after the run and, over training, its step.
            color: default: the run's colour.
            colors: from `Panels.colors`: for cells of a heat map, or for points with a number.
            choices: attributes by menu entry; not together with ``at``.
            key: the legend name of a style shared by all runs.
            entry: the legend name of a trace with its own colour.
            attributes: plotly's attributes of the trace.
        """
        if at is not None and run not in self.figure.measured:
            raise ValueError("A trace that changes with the step needs a run: give run=.")
        if colors is not None:
            colors.panels += [] if self in colors.panels else [self]
            scale = {"coloraxis": colors.name}
            marker = {"marker": attributes.get("marker", {}) | scale}
            attributes |= scale if kind == "heatmap" else marker
        elif (
            color is None
            and run is not None
            and kind in _COLORED
            and not str(attributes.get("mode")).endswith("text")
        ):
            color = self.figure.color_of(run)
        if color is not None:
            for part in _COLORED.get(kind, ()):
                attributes[part] = {"color": color} | attributes.get(part, {})
        name = ", ".join(part for part in (run, key or entry) if part)
        group = None if run is None else self.figure.groups.get(run, run)
        attributes |= self._hover(name, hover)
        attributes |= {"name": name, "legendgroup": entry or group, "showlegend": False}
        attributes |= {"xaxis": axis_id("x", self.x_number), "yaxis": axis_id("y", self.number)}
        dataset = None if run is None else self.figure.measured.get(run)
        trace = Trace(kind, self, attributes, dataset, at, choices or {})
        self.traces.append(trace)
        if key or entry:
            self.figure.add_legend_entry(trace, str(key or entry), own_color=entry is not None)
        return trace

    def _hover(self, name: str, hover: str | None) -> dict[str, Any]:
        if hover is None:
            return {"hoverinfo": "skip"}
        names_run = len(self.figure.measured) > 1 or self.over_steps
        parts = [name] if names_run and name else []
        parts += ["step %{x:,}"] if self.over_steps else []
        return {"hovertemplate": "<br>".join([*parts, hover]) + "<extra></extra>"}

    def mark_parts(self, parts: Iterable[int]) -> None:
        """Label frequencies, or representations, on the x axis in their colours.

        Of close frequencies only the first has a label; others than ``parts`` have none, unless the
        axis names all of its places.
        """
        self.parts = sorted({*self.parts, *parts})

    def part_ticks(self, pixels: float) -> dict[str, Any]:
        """The labels of the marked parts that fit an axis of this length, for plotly."""
        named = dict(zip(self.x.get("tickvals", ()), self.x.get("ticktext", ()), strict=False))
        low, high = self._x_range()
        end, shown = -np.inf, dict[int, str]()
        for part, name in {part: named.get(part, str(part)) for part in self.parts}.items():
            at, half = pixels * (part - low) / (high - low), text_width(name, 12) / 2
            if at - half > end or named:
                end = at + half
                shown[part] = f'<span style="color:{frequency_color(part)}">{name}</span>'
        shown = named | shown
        return {"tickvals": list(shown), "ticktext": list(shown.values())}

    def _x_range(self) -> tuple[float, float]:
        """The ends of the x axis: its range, or half a unit around the traces' places."""
        if "range" in self.x:
            low, high = map(float, self.x["range"])
            return low, high
        places = np.concatenate([np.ravel(t.attributes.get("x", ())) for t in self.traces])
        places = np.append(places.astype(float), self.parts)
        low = min(0.0, float(places.min())) if self.x.get("rangemode") == "tozero" else places.min()
        return float(low) - 0.5, float(places.max()) + 0.5

    def level(self, y: float, text: str = "", color: str = "#777777", dash: str = "dot") -> None:
        """Draw a horizontal line across the panel, with a label at its right end."""
        place = {"xref": f"{axis_id('x', self.x_number)} domain", "yref": axis_id("y", self.number)}
        self.shapes.append(
            {"type": "line", "x0": 0, "x1": 1, "y0": y, "y1": y, "layer": "below", **place}
            | {"line": {"color": color, "dash": dash, "width": 1}}
        )
        self.levels.append(y)
        if text:
            at = np.log10(y) if self.y.get("type") == "log" else y
            self.notes.append(
                {"text": text, "x": 1, "y": at, "xanchor": "right", "yanchor": "bottom", **place}
                | {"showarrow": False, "font": {"size": 11, "color": "#555555"}}
                | {"bgcolor": "rgba(255,255,255,0.8)", "borderpad": 0}
            )

    def band(self, first: int, last: int, color: str, text: str = "") -> None:
        """Tint an interval of training, with its name in the legend."""
        self.bands.append((first, last, color))
        if text:
            marker = {"symbol": "square", "size": 12, "color": color, "opacity": 0.3}
            self.add("scatter", x=[None], y=[None], mode="markers", marker=marker, entry=text)

    def annotate(self, text: str) -> None:
        """Write a note in the middle of the panel, such as the reason why it is empty."""
        self.add("scatter", x=[None], y=[None])  # plotly omits axes without a trace
        place = {"xref": f"{axis_id('x', self.x_number)} domain"}
        place["yref"] = f"{axis_id('y', self.number)} domain"
        self.notes.append(
            {"text": text, "x": 0.5, "y": 0.5, "showarrow": False, **place}
            | {"font": {"size": 12, "color": "#555555"}, "bgcolor": "rgba(255,255,255,0.8)"}
        )

    @property
    def is_square(self) -> bool:
        """Whether both axes have equal units."""
        return "scaleanchor" in self.y

    def x_names(self) -> list[str] | None:
        """The tick labels of an x axis of names or given places; None for plotly's own ticks."""
        if "tickvals" in self.x:
            return [str(name) for name in self.x.get("ticktext", self.x["tickvals"])]
        places = [trace.attributes.get("x", ()) for trace in self.traces]
        names = [place for x in places for place in np.ravel(x) if isinstance(place, str)]
        return list(dict.fromkeys(names)) or None

    def whole_ticks(self, axis: str) -> dict[str, Any]:
        """The ticks of an axis of a few whole numbers, such as positions, for plotly."""
        given = [t.attributes.get(axis, ()) for t in self.traces if t.kind == "heatmap"]
        values = np.concatenate([np.ravel(places) for places in given] or [np.empty(0)])
        is_few = values.size and values.dtype.kind in "iu" and np.ptp(values) < 6
        return {"dtick": 1} if is_few else {}

    def least_range(self) -> dict[str, Any]:
        """The range of a linear y axis whose curves vary by less than 1 % of their values."""
        given = [t.attributes.get("y", ()) for t in self.traces if t.kind == "scatter"]
        curves = [np.ravel(y) for y in given]
        values = np.concatenate([y for y in curves if y.dtype.kind in "iuf"] or [np.empty(0)])
        values = values[np.isfinite(values)]
        if not values.size or self.y.keys() & {"range", "rangemode", "type", "scaleanchor"}:
            return {}
        middle = float(values.max() + values.min()) / 2
        least = abs(middle) / 200
        is_flat = least > 0 and np.ptp(values) < 2 * least
        return {"range": [middle - least, middle + least]} if is_flat else {}

    def settle_log_axis(self) -> None:
        """Give a logarithmic y axis of a narrow range its ends and round ticks.

        Plotly's own ticks of such an axis overlap.
        """
        taken = self.y.keys() & {"range", "tickvals", "dtick"}
        if self.y.get("type") != "log" or taken or any(trace.at for trace in self.traces):
            return
        given = [np.ravel(trace.attributes.get("y", ())) for trace in self.traces]
        values = np.concatenate([np.asarray(y, float) for y in [*given, self.levels]])
        values = values[np.isfinite(values) & (values > 0)]
        if not values.size:
            return
        low, high = np.log10([values.min(), values.max()])
        if high - low >= _NARROW_LOG:
            return
        margin = max(0.05 * (high - low), (_LEAST_LOG - (high - low)) / 2)
        low, high = float(low - margin), float(high + margin)
        ticks = round_numbers(low, high)
        if len(ticks) < 2:
            ticks = _evenly_spaced(10**low, 10**high)
        self.y |= {"range": [low, high], "tickvals": ticks, "ticktext": list(map(_name, ticks))}

    def box(self, y_title: str | None = None) -> Box:
        """The panel's width, and the pixels of labels at its sides; default: its own y title."""

        def side(axis: Mapping[str, Any], title: str) -> float:
            ticks = 42.0 if axis.get("showticklabels", True) else 8.0
            if names := axis.get("ticktext"):
                ticks = 8 + max(text_width(str(name), 12) for name in names)
            return ticks + (6 + 16 * n_lines(title) if title else 0)

        if self.y.get("visible") is False:
            return Box(self.width, 8, 14)
        right = side(self.twin.y, title_of(self.twin.y)) + 6 if self.twin is not None else 18.0
        return Box(self.width, side(self.y, y_title or title_of(self.y)) + 4, right)


class Row:
    """Panels side by side; made by `Panels.row`."""

    def __init__(self, figure: "Panels", height: float, legend: bool, continues: bool) -> None:
        self.figure, self.height, self.legend, self.continues = figure, height, legend, continues
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
        """Add a panel to the right; a square one has equal units on both axes."""
        panel = Panel(self, title, x, y, width, over_steps=False)
        self.panels.append(panel)
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
        """Add a panel over training steps, with t_mem and t_gen of ``marks`` (default: all)."""
        panel = Panel(self, title, "training step", y, width, over_steps=True)
        self.panels.append(panel)
        panel.milestones_of = list(self.figure.measured if marks is None else marks)
        return panel

    def note(self, title: str, text: str) -> None:
        """Add a panel that contains only a note, such as the reason why a panel is missing."""
        self.panel(title, x=_BARE, y=_BARE).annotate(text)

    def empty(self, width: float = 1) -> None:
        """Add a gap in place of a panel."""
        self.panels.append(width)

    def fill(self, count: int) -> None:
        """Add gaps up to ``count`` places, so that panels are as wide as those above."""
        for _ in range(count - len(self.panels)):
            self.empty()

    def filled(self) -> Iterator[tuple[int, Panel]]:
        """The panels, with their positions in the row."""
        return ((at, panel) for at, panel in enumerate(self.panels) if isinstance(panel, Panel))

    def is_over_training(self) -> bool:
        """Whether all panels share the axis of training steps."""
        return all(panel.over_steps for _, panel in self.filled())


def axis_id(kind: str, number: int) -> str:
    """Plotly's name for the nth axis, legend or scale: x, x2, …."""
    return kind if number == 1 else f"{kind}{number}"


def _evenly_spaced(low: float, high: float) -> list[float]:
    """About three round numbers between two numbers.

    >>> _evenly_spaced(10_300, 11_500)
    [10500.0, 11000.0, 11500.0]
    """
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _name(tick: float) -> str:
    """A tick on a logarithmic axis: 0.02, 5, 2·10⁵."""
    if 1e-3 <= tick < 1e6:
        return f"{tick:,.7g}"
    power = math.floor(math.log10(tick) + 1e-9)
    times = f"{tick / 10.0**power:.4g}"
    return f"10<sup>{power}</sup>" if times == "1" else f"{times}·10<sup>{power}</sup>"


def title_of(axis: Mapping[str, Any]) -> str:
    """The text of an axis's title."""
    title = axis.get("title", "")
    return str(title if isinstance(title, str) else title.get("text", ""))
