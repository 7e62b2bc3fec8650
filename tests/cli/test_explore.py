"""The explorer from the command line: an address, and refusals in a sentence."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from mechgrok.runs import Run

pytest.importorskip("dash", reason="the extra mechgrok[explore] is not installed")

Command = Callable[..., Any]


def test_it_prints_an_address_that_answers_until_ctrl_c(tiny_run: Run) -> None:
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    program = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from mechgrok.cli.main import main\nmain()"
    )
    command = [sys.executable, "-c", program, "explore", str(tiny_run.path), "--no-open"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        url = running.stdout.readline().split()[0]
        with urlopen(url) as page:
            assert b"mechgrok: tiny" in page.read()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "Traceback" not in said


def test_what_is_no_run_is_refused(mechgrok: Command, tmp_path: Path) -> None:
    ended = mechgrok("explore", tmp_path, "--no-open")
    assert ended.code == 2
    assert str(tmp_path) in ended.err


def test_without_dash_the_extra_is_named(
    mechgrok: Command, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mechgrok.analyses.explorer.server", raising=False)
    monkeypatch.setitem(sys.modules, "dash", None)
    ended = mechgrok("explore", tiny_run.path, "--no-open")
    assert ended.code == 2
    assert "mechgrok[explore]" in ended.err
