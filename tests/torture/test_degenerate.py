"""Every degenerate run × every command, counted."""

from collections import Counter
from pathlib import Path

import pytest

from tests.degenerate_runs import COMMANDS, NAMES, complaints, make


@pytest.mark.torture
@pytest.mark.parametrize("name", NAMES)
def test_every_command(
    name: str, tmp_path: Path, tally: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(name, tmp_path)
    wrong = {}
    for command in COMMANDS:
        tally["inputs"] += 1
        if problems := complaints(run, command, capsys):
            wrong[command] = problems
            tally["tracebacks"] += any("traceback" in problem for problem in problems)
    assert not wrong, "\n".join(f"{command}: {problems}" for command, problems in wrong.items())
