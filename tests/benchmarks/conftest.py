"""Speed as a ratio within one run, because machines are shared and noisy."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import pytest

MEASURED: list[str] = []


def report(line: str) -> None:
    """Print a measured figure at the end of the test run."""
    MEASURED.append(line)


def ratio(
    slow: Callable[[], Any], fast: Callable[[], Any], *, repeats: int = 9, warm_up: bool = True
) -> tuple[float, float, float]:
    """Median seconds of ``slow``, of ``fast``, and the median of their ratios, taken in turn."""
    if warm_up:
        slow(), fast()
    pairs = []
    for _ in range(repeats):
        took = []
        for function in (slow, fast):
            began = perf_counter()
            function()
            took.append(perf_counter() - began)
        pairs.append(took)
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(a / b for a, b in pairs)


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any) -> None:
    # pytest loads this file under another name than the one the benchmarks import it by.
    from tests.benchmarks import conftest

    for line in conftest.MEASURED:
        terminalreporter.write_line(line)
