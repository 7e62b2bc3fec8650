"""Nothing overlaps in a figure, runs look different, and a trace knows its value at a step."""

import itertools
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

from mechgrok.analyses.drawing import Panels, frequency_color, run_colors, write_html
from mechgrok.analyses.drawing.grid import Band, Box, lay_out
from mechgrok.analyses.drawing.steps import StepAxis


def waves(steps: list[int], **attrs: int) -> xr.Dataset:
    """A curve over steps, and a picture at each."""
    pictures = np.arange(len(steps) * 6.0).reshape(len(steps), 2, 3)
    return xr.Dataset(
        {"curve": ("step", np.array(steps) / 100.0), "picture": (("step", "y", "x"), pictures)},
        coords={"step": steps},
        attrs=attrs,
    )


def draw(measured: dict[str, xr.Dataset], *, log: bool = True) -> go.Figure:
    figure = Panels(measured, title="A title", log=log)
    row = figure.row(height=200)
    curves = row.over_training("curves", y="height")
    pictures = figure.row(height=200)
    colors = figure.colors("height", 0, 1)
    for label, dataset in measured.items():
        curves.lines(dataset.step, dataset.curve, run=label, key="test", follow=True)
        panel = pictures.panel(label, x="x", y="y")
        at = lambda now: {"z": now.picture.to_numpy()}  # noqa: E731
        panel.heat(colors, run=label, at=at, hover="%{z}")
    return figure.draw()


def test_each_run_is_shown_at_its_own_nearest_step() -> None:
    measured = {"base": waves([0, 100, 1000]), "ticket": waves([0, 40, 90, 1000])}
    figure = draw(measured)
    assert [frame.name for frame in figure.frames] == ["0", "40", "90", "100", "1000"]
    pictures = [at for at, trace in enumerate(figure.data) if trace.type == "heatmap"]
    frame = figure.frames[2]
    shown = [frame.data[frame.traces.index(at)].z for at in pictures]
    np.testing.assert_array_equal(shown[0], measured["base"].picture.sel(step=100))
    np.testing.assert_array_equal(shown[1], measured["ticket"].picture.sel(step=90))
    assert "nearest" in figure.layout.title.subtitle.text


def test_a_figure_opens_at_its_last_stop() -> None:
    figure = draw({"base": waves([0, 100, 1000])})
    last = figure.frames[-1]
    for at, changed in zip(last.traces, last.data, strict=True):
        name = "z" if changed.type == "heatmap" else "y"
        np.testing.assert_array_equal(figure.data[at][name], changed[name])
    assert figure.layout.sliders[0].active == 2


def test_a_dot_follows_the_curve() -> None:
    figure = draw({"base": waves([0, 100, 1000])})
    dots = [frame.data[0] for frame in figure.frames]
    assert [float(dot.y[0]) for dot in dots] == [0, 1, 10]


def test_what_does_not_change_needs_no_slider() -> None:
    figure = Panels({"base": waves([0, 10])}, title="still")
    figure.row(height=100).over_training().lines([0, 10], [1, 2], run="base")
    drawn = figure.draw()
    assert not drawn.frames
    assert not drawn.layout.sliders


def test_milestones_are_named_at_their_lines() -> None:
    figure = draw({"base": waves([0, 100, 1000], t_mem=20, t_gen=500), "b": waves([0, 5])})
    lines = {shape.x0: shape.line.dash for shape in figure.layout.shapes}
    assert lines == {20: "dot", 500: "dash"}
    names = {note.text: note.x for note in figure.layout.annotations if note.text.startswith("t_")}
    assert names == {"t_mem": np.log10(20), "t_gen": np.log10(500)}


def test_a_phase_is_a_thin_line_once_for_all_its_runs() -> None:
    runs = {name: waves([0, 100, 1000], t_gen=500, phase_1=200) for name in ("base", "b")}
    shapes = draw(runs).layout.shapes
    assert [shape.line.width for shape in shapes if shape.x0 == 200] == [0.8]
    assert {shape.line.width for shape in shapes if shape.x0 == 500} == {1.2}


def test_step_0_has_a_place_on_a_logarithmic_axis() -> None:
    axis = StepAxis(np.array([0, 100, 30_000]), log=True)
    zero, first, last = axis.place([0, 100, 30_000])
    assert 0 < zero < first
    assert (first, last) == (100, 30_000)
    layout = axis.layout()
    assert layout["ticktext"][0] == "0"
    assert layout["tickvals"][0] == zero
    figure = draw({"base": waves([0, 100, 30_000])})
    curve = figure.data[0]
    assert curve.x[0] == zero
    assert curve.customdata[0] == 0
    assert "%{customdata:,}" in curve.hovertemplate


@pytest.mark.parametrize("steps", [[0], [0, 0], [5], []])
def test_a_single_step_is_no_reason_to_fail(steps: list[int]) -> None:
    axis = StepAxis(np.array(steps, dtype=float), log=True)
    low, high = axis.range
    assert low < high
    assert np.isfinite([low, high, *axis.place(steps)]).all()


def test_boxes_do_not_overlap_at_the_narrowest_width() -> None:
    wide = Band([Box(1, 60, 60), Box(1, 20, 60), Box(0.7, 60, 14)], 300, 20, 40)
    grid = lay_out([wide, Band([Box(1, 40, 14)] * 4, 100, 30, 30)], 700)
    inner = 700 - grid.left - grid.right
    for band, places in zip([wide], grid.places, strict=False):
        for (one, left), (other, right) in itertools.pairwise(zip(band.boxes, places, strict=True)):
            gap = (right.x[0] - left.x[1]) * inner
            assert gap >= one.right + other.left - 1e-6
    (upper, *_), (lower, *_) = grid.places
    assert (upper.y[0] - lower.y[1]) * grid.height == pytest.approx(40 + 30)
    assert all(0 <= edge <= 1 for row in grid.places for place in row for edge in place.x)


def test_rows_of_the_same_widths_stand_in_columns() -> None:
    rows = [Band([Box(1, 30, 70), Box(1, 10, 14)], 9, 9, 9), Band([Box(1, 60, 14)] * 2, 9, 9, 9)]
    upper, lower = lay_out(rows, 700).places
    assert [place.x for place in upper] == [place.x for place in lower]


def test_colour_bars_stand_beside_their_panels() -> None:
    figure = draw({"base": waves([0, 100]), "ticket": waves([0, 100])})
    bar = figure.layout.coloraxis.colorbar
    assert figure.layout.xaxis3.domain[1] < bar.x
    assert bar.y + bar.len / 2 == pytest.approx(figure.layout.yaxis3.domain[1])


def lab(color: str) -> np.ndarray:
    """The colour in CIELAB, where distances are about as large as they look."""
    part = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.array(to_xyz) @ linear / [0.95047, 1, 1.08883]
    x, y, z = (np.cbrt(t) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_thirty_two_runs_have_thirty_two_colours() -> None:
    colors = [lab(color) for color in run_colors(map(str, range(32))).values()]
    apart = [np.linalg.norm(one - other) for one, other in itertools.combinations(colors, 2)]
    assert min(apart) > 11


def test_frequencies_differ_in_hue_or_lightness() -> None:
    parts = [
        tuple(map(float, re.findall(r"[\d.]+", frequency_color(frequency))))
        for frequency in range(1, 57)
    ]
    for (hue, _, light), (other, _, other_light) in itertools.combinations(parts, 2):
        turn = min(abs(hue - other), 360 - abs(hue - other))
        assert turn > 8 or abs(light - other_light) >= 3


def test_a_page_has_a_title_and_nothing_can_be_uploaded(tmp_path: Path) -> None:
    write_html(draw({"a < b": waves([0, 10])}), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>A title</title>" in page
    assert "showSendToCloud: false" in page
    assert 'format: "svg"' in page


def test_a_menu_chooses_what_a_trace_shows() -> None:
    figure = Panels({"a": waves([0, 10]), "b": waves([0, 10])}, title="choices")
    row = figure.row(height=100)
    shown = {"a": {"one": {"z": [[1]]}, "two": {"z": [[2]]}}, "b": {"one": {"z": [[3]]}}}
    for label, choices in shown.items():
        panel = row.panel(label)
        panel.heat(figure.colors("z", 0, 1), run=label, choices=choices, hover="%{z}")
    drawn = figure.draw()
    assert [np.asarray(trace.z).item() for trace in drawn.data[:2]] == [1, 3]
    (menu,) = drawn.layout.updatemenus  # no slider, so that nothing plays
    assert [button.label for button in menu.buttons] == ["one", "two"]
    values, traces = menu.buttons[1].args
    assert values == {"z": [[[2]], None]}
    assert list(traces) == [0, 1]
    assert not any(trace.showlegend for trace in drawn.data)  # no run's colour is seen


def test_points_share_a_scale_of_colours() -> None:
    figure = Panels({"a": waves([0, 10])}, title="points")
    colors = figure.colors("step", 0, 10)
    panel = figure.row(height=100).panel()
    panel.add("scatter", run="a", colors=colors, x=[1, 2], y=[1, 2], marker={"color": [0, 10]})
    drawn = figure.draw()
    assert drawn.data[0].marker.coloraxis == "coloraxis"
    assert drawn.layout.coloraxis.colorbar.title.text == "step"


def test_colours_of_steps_are_as_even_as_their_axis() -> None:
    axis = StepAxis(np.array([0, 10, 100, 1000]), log=True)
    assert axis.shade([10, 100, 1000]) == pytest.approx([1, 2, 3])
    assert axis.bar()["tickvals"] == pytest.approx(np.log10(axis.layout()["tickvals"]))
    assert StepAxis(np.array([0, 10]), log=False).shade([0, 10]).tolist() == [0, 10]


@pytest.mark.parametrize("rows", range(1, 40))
def test_rows_of_any_heights_stand_between_0_and_1(rows: int) -> None:
    heights = np.random.default_rng(rows).uniform(80, 400, rows)
    bands = [Band([Box(1, 60, 20)], height, 30, height / 7) for height in heights]
    ends = [end for row in lay_out(bands, 700).places for place in row for end in place.y]
    assert min(ends) >= 0
    assert max(ends) <= 1


def test_key_frequencies_are_labelled_in_their_colours_where_they_fit() -> None:
    figure = Panels({"a": waves([0, 100])}, title="A title")
    row = figure.row(height=100)
    for _ in range(2):
        panel = row.panel(x={"range": [0, 40]})
        panel.add("bar", x=np.arange(41), y=np.ones(41))
    panel.mark_parts([29, 3])
    panel.mark_parts([30, 3])
    bare, axis = figure.draw().layout.xaxis, figure.draw().layout.xaxis2
    assert bare.tickvals is None
    assert axis.tickvals == (3, 29)  # 30 would overlap 29
    assert axis.ticktext[1] == f'<span style="color:{frequency_color(29)}">29</span>'
