"""Films from the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechgrok.runs import Run

Command = Callable[..., Any]


@pytest.mark.parametrize("words", [["--fps", "0"], ["--fps", "nan"], ["--pixels", "1000000"]])
def test_bad_options_of_a_film_are_refused_before_anything_is_measured(
    mechgrok: Command, tiny_run: Run, words: list[str], tmp_path: Path
) -> None:
    ended = mechgrok("animate", "fourier", tiny_run.path, "--out", tmp_path, *words)
    assert ended.code == 2
    assert words[0] in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_question_without_a_slider_makes_no_film(
    mechgrok: Command, tiny_run: Run, tmp_path: Path
) -> None:
    ended = mechgrok("animate", "norms", tiny_run.path, "--out", tmp_path)
    assert ended.code == 2
    assert "slider" in ended.err


@pytest.mark.parametrize("width", ["999", "1", "wide"])
def test_a_width_that_no_page_has_is_refused_before_anything_is_written(
    mechgrok: Command, tiny_run: Run, tmp_path: Path, width: str
) -> None:
    ended = mechgrok("analyze", "norms", tiny_run.path, "--out", tmp_path, "--width", width)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
