"""Pictures for slides and for print, and films."""

import re
import struct
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

from mechgrok.analyses.drawing import Panels, write_picture
from mechgrok.analyses.drawing.export import for_print, without_menus
from mechgrok.analyses.drawing.film import stops, write_film
from mechgrok.errors import UserError


@pytest.fixture
def figure() -> go.Figure:
    """A heat map that changes with the step, under a title."""
    values = np.arange(12.0).reshape(3, 2, 2)
    measured = {"a": xr.Dataset({"z": (("step", "y", "x"), values)}, {"step": [0, 10, 500]})}
    panels = Panels(measured, title="What is seen", subtitle="how to read it")
    panel = panels.row(height=100).panel("a")
    colors = panels.colors("z", 0, 12)
    panel.heat(colors, run="a", at=lambda now: {"z": now.z.to_numpy()}, hover="%{z}")
    return panels.draw()


def test_a_printed_figure_has_no_title_and_no_controls_but_says_its_step(figure: go.Figure) -> None:
    printed = for_print(figure)
    assert not printed.layout.title.text
    assert not printed.layout.sliders
    assert not printed.layout.updatemenus
    assert "training step 500" in [note.text for note in printed.layout.annotations]
    assert printed.layout.height < figure.layout.height - 100
    plotted = [f.layout.height - f.layout.margin.t - f.layout.margin.b for f in (figure, printed)]
    assert plotted[0] == plotted[1]  # what is plotted is as high as before
    assert figure.layout.sliders  # and the figure itself is as it was


def test_a_slide_keeps_the_slider_which_says_the_step_and_loses_its_buttons(
    figure: go.Figure,
) -> None:
    assert [menu.type for menu in figure.layout.updatemenus] == ["buttons"]
    slide = without_menus(figure)
    assert slide.layout.sliders
    assert not slide.layout.updatemenus


def test_a_single_checkpoint_needs_no_slider_but_its_step_is_named() -> None:
    measured = {"a": xr.Dataset({"z": (("step", "y", "x"), np.ones((1, 2, 2)))}, {"step": [1200]})}
    panels = Panels(measured, title="What is seen", subtitle="how to read it")
    colors = panels.colors("z", 0, 12)
    panel = panels.row(height=100).panel("a")
    panel.heat(colors, run="a", at=lambda now: {"z": now.z.to_numpy()}, hover="%{z}")
    figure = panels.draw()
    assert not figure.layout.sliders
    assert not figure.layout.updatemenus
    assert not figure.frames
    assert figure.layout.title.subtitle.text == "how to read it; at training step 1,200"


def test_a_picture_says_what_its_menus_show(figure: go.Figure) -> None:
    buttons = [{"label": label, "method": "skip"} for label in ("head 0", "head 1")]
    menu = {"active": 1, "buttons": buttons, "x": 1, "y": 0.5, "xanchor": "right"}
    menu["pad"] = {"b": 18}  # above the names of milestones
    figure.layout.updatemenus = [menu]
    for picture in (without_menus(figure), for_print(figure)):
        assert not picture.layout.updatemenus
        (note,) = [note for note in picture.layout.annotations if note.text == "head 1"]
        assert (note.x, note.y, note.xanchor, note.yshift) == (1, 0.5, "right", 18)


def test_a_film_shows_every_stop_of_the_slider(figure: go.Figure) -> None:
    seen = [(now.layout.sliders[0].active, float(now.data[0].z[0][0])) for now in stops(figure)]
    assert seen == [(0, 0), (1, 4), (2, 8)]


@pytest.mark.browser
def test_pictures_have_the_width_that_a_page_asks_for(
    figure: go.Figure, tmp_path: Path, needs_browser: str
) -> None:
    for form in ("svg", "pdf", "png"):
        write_picture(figure, tmp_path / f"f.{form}", width=17)
    svg = (tmp_path / "f.svg").read_text()
    assert float(re.findall(r'width="([\d.]+)"', svg)[0]) == pytest.approx(17 / 2.54 * 96, rel=0.01)
    (box,) = re.findall(rb"MediaBox ?\[0 0 ([\d.]+) ", (tmp_path / "f.pdf").read_bytes())
    assert float(box) == pytest.approx(17 / 2.54 * 72, rel=0.01)
    pixels, _ = struct.unpack(">II", (tmp_path / "f.png").read_bytes()[16:24])
    assert pixels == pytest.approx(17 / 2.54 * 300, rel=0.01)


@pytest.mark.browser
def test_a_film_is_made(figure: go.Figure, tmp_path: Path, needs_browser: str) -> None:
    pytest.importorskip("imageio_ffmpeg")
    write_film(figure, tmp_path / "f.gif", width=301)
    assert (tmp_path / "f.gif").read_bytes()[:6] == b"GIF89a"
    write_film(figure, tmp_path / "f.mp4", width=301)
    assert b"ftyp" in (tmp_path / "f.mp4").read_bytes()[:12]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.gif", "f.mp4"]


@pytest.mark.parametrize("width", [0.0, -3.0, float("nan"), 1e9])
def test_a_width_that_no_page_has_is_refused(
    figure: go.Figure, tmp_path: Path, width: float
) -> None:
    with pytest.raises(UserError, match="cm wide"):
        write_picture(figure, tmp_path / "f.pdf", width=width)
    assert not list(tmp_path.iterdir())


def test_what_does_not_move_makes_no_film(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="slider"):
        write_film(go.Figure(), tmp_path / "f.gif")
