"""`mechgrok` alone, `mechgrok demo`, and the command to type next."""

import re
import shlex
from typing import Any

import pytest

from mechgrok.cli.main import COMMANDS
from mechgrok.configuration import presets
from mechgrok.runs import Run
from tests.conftest import TINY_MLP


def suggested(ended: Any) -> list[str]:
    """The words of the suggestion that ends a command's messages."""
    (line,) = re.findall(r"^next: mechgrok (.+)\n\Z", ended.err, re.MULTILINE)
    return shlex.split(line)


def test_a_suggestion_is_a_command_that_works(
    mechgrok: Any, tiny_run: Run, masked_run: Run
) -> None:
    words = suggested(mechgrok("verify", tiny_run.path))
    assert words == ["info", str(tiny_run.path)]
    words = suggested(mechgrok(*words))
    assert words == ["analyze", "fourier", str(tiny_run.path)]
    assert suggested(mechgrok(*words)) == ["report", str(tiny_run.path)]
    runs = [str(tiny_run.path), str(masked_run.path)]
    assert suggested(mechgrok("compare", *runs, "--out", "a.html")) == ["analyze", "fourier", *runs]
    # Bits are no residues, so there are no spectra.
    words = suggested(mechgrok("zoo", "parity"))
    assert words == ["analyze", "accuracy", "parity"]
    assert mechgrok(*words).code == 0


def test_data_and_quiet_commands_suggest_nothing(mechgrok: Any, tiny_run: Run) -> None:
    assert "next:" not in mechgrok("info", tiny_run.path).out
    for command in (
        ("info", tiny_run.path, "--format", "json"),
        ("--quiet", "info", tiny_run.path),
        ("train", "quick", "--steps", 0, "-q"),
    ):
        ended = mechgrok(*command)
        assert (ended.code, ended.err) == (0, "")


def test_mechgrok_alone_names_first_commands(mechgrok: Any) -> None:
    ended = mechgrok()
    named = re.findall(r"^  mechgrok ([a-z]+) ", ended.out, re.MULTILINE)
    assert named == ["demo", "zoo", "train"]
    assert {*named} <= COMMANDS.keys()
    assert (ended.code, ended.err) == (0, "")


def test_the_demo_trains_once_and_opens_its_page(
    mechgrok: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(presets, "load", lambda name: TINY_MLP)
    ended = mechgrok("demo")
    assert ended.code == 0, ended.err
    assert Run("mechgrok-demo").steps[-1] == TINY_MLP["training"]["steps"]
    page = Run("mechgrok-demo").path / "analysis" / "report-accuracy-fourier-embedding.html"
    assert opened == [page.resolve().as_uri()]
    assert page.read_text(encoding="utf-8").count("<section") >= 3
    assert suggested(ended) == ["ticket", "mechgrok-demo"]
    before = Run("mechgrok-demo").file(0).stat()
    assert mechgrok("demo", "--no-open").code == 0
    assert Run("mechgrok-demo").file(0).stat() == before
    assert len(opened) == 1
