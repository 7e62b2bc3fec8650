"""Interventions over training, from the command line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechgrok.interventions import Ablate, as_toml, intervene
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet

Command = Callable[..., Any]


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis"))
    return Run(tmp_path / "run")


def test_the_answer_is_kept_and_drawn_like_an_analysis(
    mechgrok: Command, run: Run, masked_run: Run, tmp_path: Path
) -> None:
    (tmp_path / "some.toml").write_text(as_toml([Ablate(neurons=[0, 1])]), encoding="utf-8")
    ended = mechgrok("intervene", run.path, "some.toml")
    assert ended.code == 0, ended.err
    assert "run: test accuracy" in ended.out
    assert f"{len(run.steps)}/{len(run.steps)}" in ended.err, "progress, in a pipe too"
    kept = read_parquet(run.path / "analysis" / "intervene-some.parquet")
    expected = intervene(run, [Ablate(neurons=[0, 1])])
    assert kept.accuracy.equals(expected.accuracy)
    assert kept.loss.equals(expected.loss)
    page = (run.path / "analysis" / "intervene-some.html").read_text(encoding="utf-8")
    assert "Ablate(neurons=[0, 1])" in page
    assert mechgrok("intervene", run.path, masked_run.path, "some.toml", "--out", "both").code == 0
    assert len(list((tmp_path / "both").glob("*.parquet"))) == 2


@pytest.mark.parametrize("out", [[], ["--out", "elsewhere"]])
def test_some_steps_do_not_replace_the_answer_for_all(
    mechgrok: Command, run: Run, tmp_path: Path, out: list[str]
) -> None:
    (tmp_path / "0.5x.toml").write_text(as_toml([Ablate(neurons=[0, 1])]), encoding="utf-8")
    folder = tmp_path / "elsewhere" if out else run.path / "analysis"
    assert mechgrok("intervene", run.path, "0.5x.toml", *out).code == 0
    full = {file: file.read_bytes() for file in folder.glob("intervene-0.5x.*")}
    assert len(full) == 2, "the page and the table"
    assert mechgrok("intervene", run.path, "0.5x.toml", "--steps", "last", *out).code == 0
    assert {file: file.read_bytes() for file in full} == full
    assert len(list(folder.glob("intervene-0.5x-*"))) == 2


@pytest.mark.parametrize(
    "text", ["", "[[do]]\nkind = 'Nothing'", "[[do]]\nkind = 'Ablate'\nneurons = [99]", None]
)
def test_a_file_that_does_not_fit_is_refused(
    mechgrok: Command, run: Run, text: str | None, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "some.toml").write_text(text, encoding="utf-8")
    ended = mechgrok("intervene", run.path, "some.toml")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert not (run.path / "analysis").exists()
