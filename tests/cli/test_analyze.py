"""Asking from the command line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet

Command = Callable[..., Any]


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Path:
    shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis"))
    return tmp_path / "run"


def test_the_answer_goes_beside_the_run(mechgrok: Command, run: Path) -> None:
    ended = mechgrok("analyze", "norms", run)
    assert ended.code == 0
    assert "L2" in ended.out
    assert read_parquet(run / "analysis" / "norms.parquet").total_l2.size > 0
    assert "plotly" in (run / "analysis" / "norms.html").read_text(encoding="utf-8")


def test_it_is_measured_once_unless_fresh(
    mechgrok: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechgrok.analyses import norms

    measured = []
    measure = norms.measure

    def counted(*arguments: Any, **options: Any) -> Any:
        measured.append(options)
        return measure(*arguments, **options)

    counted.__signature__ = __import__("inspect").signature(measure)  # type: ignore[attr-defined]
    counted.__annotations__ = measure.__annotations__
    monkeypatch.setattr(norms, "measure", counted)
    for arguments in ([], [], ["--fresh"]):
        assert mechgrok("analyze", "norms", run, *arguments).code == 0
    assert len(measured) == 2


def test_options_of_an_analysis_are_options_of_the_command(mechgrok: Command, run: Path) -> None:
    ended = mechgrok("analyze", "similarity", run, "--rate", "0.3", "--scope", "layer")
    assert ended.code == 0
    assert "k = 0.3" in ended.out
    assert mechgrok("analyze", "similarity", run, "--rate", "1.5").code == 2
    assert mechgrok("analyze", "similarity", run, "--scope", "galaxy").code == 2


def test_results_can_go_to_another_folder(mechgrok: Command, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "results"
    assert mechgrok("analyze", "norms", run, "--out", out).code == 0
    assert (out / "norms.html").is_file()
    assert read_parquet(out / "norms.parquet").sizes["step"] > 1


PARTIAL = {
    "steps": ["--steps", "last"],
    "steps measured anew": ["--steps", "last", "--fresh"],
    "an option of the measurement": ["--rate", "0.3"],
    "an option of the figure": ["--no-log"],
}


@pytest.mark.parametrize("to", ["the run", "a folder"])
@pytest.mark.parametrize("partial", PARTIAL)
def test_the_full_answer_and_its_figure_stay(
    mechgrok: Command, run: Path, tmp_path: Path, partial: str, to: str
) -> None:
    """Other steps and options are written beside, under a name of their own."""
    name = "similarity" if "rate" in PARTIAL[partial][0] else "norms"
    out = ["--out", tmp_path / "out"] if to == "a folder" else []
    folder = tmp_path / "out" if out else run / "analysis"
    assert mechgrok("analyze", name, run, *out).code == 0
    full = {file: file.read_bytes() for file in folder.iterdir()}
    assert {file.name for file in full} == {f"{name}.html", f"{name}.parquet"}
    ended = mechgrok("analyze", name, run, *PARTIAL[partial], *out)
    assert ended.code == 0
    assert {file: file.read_bytes() for file in full} == full
    (page,) = {*folder.glob("*.html")} - {*full}
    assert page.name.startswith(f"{name}-")
    assert str(page) in ended.out


def test_a_part_s_own_page_is_that_of_its_table(mechgrok: Command, run: Path) -> None:
    assert mechgrok("analyze", "norms", run, "--steps", "last").code == 0
    page, table = sorted((run / "analysis").iterdir())
    assert page.stem == table.stem != "norms"
    assert read_parquet(table).sizes["step"] == 1


def test_two_runs_share_a_figure(mechgrok: Command, run: Path, masked_run: Run) -> None:
    ended = mechgrok("analyze", "norms", run, masked_run.path)
    assert ended.code == 0
    assert (run / "analysis" / "norms-vs-masked.html").is_file()
    assert "run: L1" in ended.out
    assert "masked: L1" in ended.out


@pytest.mark.parametrize("steps", ["7", "0:4:x", "nine", "59:58"])
def test_steps_without_a_checkpoint_are_refused(mechgrok: Command, run: Path, steps: str) -> None:
    ended = mechgrok("analyze", "norms", run, "--steps", steps)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert not (run / "analysis" / "norms.html").exists()


def test_every_analysis_is_listed_with_its_question(mechgrok: Command) -> None:
    ended = mechgrok("analyze", "--list")
    assert ended.code == 0
    assert "How large are the weights?" in ended.out
