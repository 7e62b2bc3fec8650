"""All of the bad options, counted."""

from collections import Counter
from pathlib import Path

import pytest

from tests.bad_options import CASES, complaints, lay_out


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore")
def test_every_bad_option(
    tmp_path: Path, tally: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(tmp_path)
    wrong = {}
    for case in CASES:
        tally["inputs"] += 1
        if problems := complaints(case, tmp_path, capsys):
            wrong[str(case)] = problems
            tally["tracebacks"] += any("traceback" in problem for problem in problems)
    assert not wrong, "\n".join(f"{words}: {problems}" for words, problems in wrong.items())
