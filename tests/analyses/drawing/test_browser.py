"""A browser that is missing, hangs or dies costs a sentence and leaves no process behind."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import plotly.graph_objects as go
import pytest

from mechgrok.analyses.drawing import browser
from mechgrok.analyses.drawing.browser import Browser, find_browser, one_browser
from mechgrok.errors import UserError

psutil = pytest.importorskip("psutil")
pytest.importorskip("kaleido")

#: Of a shell, on a machine that has nothing but Python.
SLEEP = f"{sys.executable} -c 'import time; time.sleep(1000)'"
FIGURE = go.Figure(go.Scatter(y=[1, 2]))
SIZE = {"width": 100, "height": 80}


def ends(pid: int) -> bool:
    """Whether a process that was killed is gone, or a zombie, within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie":
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(autouse=True)
def _no_process_is_left(tmp_path: Path) -> Iterator[None]:
    before = {each.pid for each in psutil.Process().children(recursive=True)}
    yield
    left = {each.pid for each in psutil.Process().children(recursive=True)} - before
    assert not left


def fake(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A browser that is this shell program."""
    path = folder / "browser"
    path.write_text(f"#!/bin/sh\necho $$ > {folder}/pid\n{program}\n")
    path.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(path))
    return path


def test_without_a_browser_a_figure_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "none"))
    assert find_browser() is None
    with one_browser() as opened:
        for _ in range(2):
            with pytest.raises(UserError, match=r"mechgrok\[png\]"):
                opened.draw(FIGURE, "png", **SIZE)
        assert opened._process is None


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        (f"exec {SLEEP}", "3 seconds"),
        (f"{SLEEP} & wait", "3 seconds"),
        (f"trap '' TERM INT HUP; while true; do {SLEEP}; done", "3 seconds"),
        ("kill -STOP $$", "3 seconds"),
        ("exit 0", "start"),
        ("cat > /dev/null; exit 3", "browser"),
    ],
)
def test_a_browser_that_does_not_answer_is_ended_and_named(
    program: str, complaint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = fake(tmp_path, program, monkeypatch)
    monkeypatch.setattr(browser, "START", 3.0)
    with one_browser() as opened:
        with pytest.raises(UserError, match=complaint) as refused:
            opened.draw(FIGURE, "png", **SIZE)
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)
        # It is not waited for a second time.
        monkeypatch.setattr(browser, "START", 1000.0)
        with pytest.raises(UserError, match=complaint):
            opened.draw(FIGURE, "png", **SIZE)
    assert ends(int((tmp_path / "pid").read_text()))


@pytest.mark.browser
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_browser_that_is_killed_or_stopped_midway(
    blow: signal.Signals, needs_browser: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Browser()
    try:
        assert opened.draw(FIGURE, "png", **SIZE)[:4] == b"\x89PNG"
        folder = Path(opened._folder.name)  # type: ignore[union-attr]
        for each in psutil.Process(opened._process.pid).children(recursive=True):
            os.kill(each.pid, blow)
        monkeypatch.setattr(browser, "FIGURE", 3.0)
        with pytest.raises(UserError, match="browser"):
            opened.draw(FIGURE, "png", **SIZE)
    finally:
        opened.close()
    assert not folder.exists()


@pytest.mark.browser
def test_pictures_inside_share_one_browser(needs_browser: None) -> None:
    with one_browser() as opened:
        first = opened.draw(FIGURE, "svg", **SIZE)
        process = opened._process
        with one_browser() as inner:
            assert inner.draw(FIGURE, "svg", **SIZE)[:100] == first[:100]
            assert inner is opened
        assert opened._process is process
        assert process.poll() is None
    assert process.poll() is not None
