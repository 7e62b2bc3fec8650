"""One page with everything, made in one pass."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechgrok.reports.packing import packed_plotly, unpack
from mechgrok.runs import Run

FEW = "accuracy,norms,weights"


@pytest.fixture(scope="module")
def page(tiny_run: Run, masked_run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report on two runs, of three analyses."""
    from mechgrok import report

    out = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    report([tiny_run.path, masked_run.path], out=out, only=FEW.split(","), workers=2)
    return out.read_text(encoding="utf-8")


def figure(page: str, name: str) -> Any:
    packed = re.search(rf'id="data-{name}">([^<]*)<', page)
    assert packed is not None
    return unpack(packed[1])


def test_the_page_needs_no_network_and_holds_plotly_once(page: str) -> None:
    assert page.count(packed_plotly()) == 1
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_every_analysis_has_its_section_and_place_in_the_contents(page: str) -> None:
    for name in FEW.split(","):
        assert f'<section id="{name}">' in page
        assert f'<a href="#{name}">' in page
    assert "t_gen" in page
    assert "a + b mod 7, unordered pairs" in page


def test_figures_are_whole_but_for_the_title_which_is_text(page: str) -> None:
    norms = figure(page, "norms")
    assert "title" not in norms["layout"] or not norms["layout"]["title"].get("text")
    assert re.search(r"<h3>.*norms", page, re.IGNORECASE)
    assert {trace["name"] for trace in norms["data"]} == {"tiny", "masked"}
    weights = figure(page, "weights")
    assert len(weights["frames"]) == len(weights["layout"]["sliders"][0]["steps"]) > 1


def test_what_was_measured_for_the_page_is_kept_beside_the_runs(page: str, tiny_run: Run) -> None:
    assert (tiny_run.path / "analysis" / "norms.parquet").is_file()


def test_a_damaged_checkpoint_is_a_failure_and_no_reason_to_skip(
    tiny_run: Run, tmp_path: Path, mechgrok: Callable
) -> None:
    copy = shutil.copytree(tiny_run.path, tmp_path / "copy")
    damaged = Run(copy).file(Run(copy).steps[1])
    damaged.write_bytes(damaged.read_bytes()[:200])
    ended = mechgrok("report", copy, "--only", "norms,accuracy")
    assert ended.code == 1
    assert "norms" in ended.err
    assert damaged.name in ended.err
    page = (copy / "analysis" / "report-norms-accuracy.html").read_text(encoding="utf-8")
    assert not (copy / "analysis" / "report.html").exists()
    assert damaged.name in page
    assert "Does not apply" not in page


def test_an_analysis_that_does_not_apply_says_so_in_a_line(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechgrok.reports.page import Section, write_report

    sections = [Section("fourier", "Which?", skipped={"<b>bits</b>": "parity is not modular"})]
    write_report(tmp_path / "page.html", "Report", {"bits": {"task": "parity"}}, {}, sections, "")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Does not apply to &lt;b&gt;bits&lt;/b&gt;: parity is not modular" in text
    assert "data-figure" not in text.partition("<script")[0]


def test_bad_requests_are_one_sentence(
    mechgrok: Callable[..., Any], tiny_run: Run, tmp_path: Path
) -> None:
    unknown = mechgrok("report", tiny_run.path, "--only", "accuracy,spectral")
    assert unknown.code == 2
    assert "'spectral'" in unknown.err
    missing = mechgrok("report", tmp_path / "nowhere")
    assert missing.code == 2
    assert "nowhere" in missing.err
    twice = mechgrok("report", tiny_run.path, tiny_run.path)
    assert twice.code == 2
    assert "twice" in twice.err
    (tmp_path / "taken").mkdir()
    folder = mechgrok("report", tiny_run.path, "--out", tmp_path / "taken")
    assert folder.code == 2
    assert "taken" in folder.err


def test_an_unfinished_run_without_checkpoints_is_refused(
    mechgrok: Callable[..., Any], tiny_run: Run, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    for file in (tmp_path / "run").glob("step_*"):
        file.unlink()
    ended = mechgrok("report", tmp_path / "run")
    assert ended.code == 2
    assert str(tmp_path / "run") in ended.err
    assert not (tmp_path / "run" / "analysis" / "report.html").exists()


def test_a_report_that_is_stopped_says_so_in_a_line(
    mechgrok: Callable[..., Any], tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechgrok.workers import Workers

    def interrupted(workers: Workers) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Workers, "answers", interrupted)
    stopped = mechgrok("report", tiny_run.path, "--only", "norms")
    assert stopped.code == 130
    assert "Traceback" not in stopped.err
    assert len(stopped.err.splitlines()) == 1
