"""The README's sessions do what it says they do."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_sessions_print_what_the_readme_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sessions = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert len(sessions) >= 2
    names: dict[str, object] = {}
    for program, expected in sessions:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, names)
        assert printed.getvalue() == expected


def test_every_command_of_the_readme_exists() -> None:
    from mechgrok.cli.main import COMMANDS

    commands = set(re.findall(r"^mechgrok ([a-z]+)", README, re.MULTILINE))
    assert commands
    assert commands <= set(COMMANDS)


def test_every_place_on_the_map_exists() -> None:
    rows = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
    places = [place for row in rows for place in re.findall(r"`([^`]+)`", row)]
    assert len(places) > 10
    for place in places:
        assert (ROOT / place).exists() or (ROOT / "mechgrok" / place).exists(), place
