"""Commands answer in words, or refuse in a sentence, whatever a run holds."""

from pathlib import Path

import pytest

from tests.degenerate_runs import COMMANDS, WENT_ON, complaints, make

#: Analyses have their own table; of the other commands a few are tried on a few runs.
SOME = [
    "analyze accuracy RUN",
    "info RUN",
    "compare RUN",
    "export RUN --out NEW",
    "ticket RUN --out NEW --steps 5 -q",
    "popup RUN --out NEW --steps 5 -q --at 0",
]


@pytest.mark.parametrize("name", [WENT_ON, "diverges", "masks all 0"])
def test_commands_answer_in_words(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {*SOME} <= {*COMMANDS}
    run = make(name, tmp_path)
    wrong = {command: complaints(run, command, capsys) for command in SOME}
    assert not any(wrong.values()), wrong
