"""How hard the torture suite tried, and what broke: a line at the end."""

import os
from collections import Counter
from typing import Any

import pytest

#: What draws the places of kills and of damage.
SEED = int(os.environ.get("TORTURE_SEED", "0"))
_TALLY: Counter[str] = Counter()


@pytest.fixture
def tally() -> Counter[str]:
    """Counts of what was tried and of what went wrong, over all tests of this process."""
    return _TALLY


@pytest.fixture
def seed() -> int:
    """The seed of the environment variable TORTURE_SEED; 0 unless set."""
    return SEED


@pytest.fixture(autouse=True)
def _short_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _TALLY:
        tried = f"{_TALLY['kills']} kills tried, {_TALLY['lost']} runs lost, {_TALLY['torn']} torn"
        read = f"{_TALLY['inputs']} inputs tried, {_TALLY['tracebacks']} tracebacks"
        terminalreporter.write_line(f"torture (seed {SEED}): {tried}; {read}")
