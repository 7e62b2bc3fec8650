"""How hard the torture suite tried, and what broke: a line at the end."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import pytest

#: What draws the places of kills and of damage.
SEED = int(os.environ.get("TORTURE_SEED", "0"))
_TALLY: Counter[str] = Counter()
#: What is counted: words, by the name that a test counts under.
_WORDS = {
    "kills": "kills tried",
    "lost": "runs lost",
    "torn": "torn",
    "rivals": "rival writers",
    "orphans": "orphans",
    "inputs": "inputs tried",
    "damaged": "damaged files",
    "hostile": "hostile files",
    "executed": "executed",
    "examples": "properties' examples",
    "tracebacks": "tracebacks",
}


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


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed and "hypothesis" in report.keywords:
        _TALLY["examples"] += hypothesis.settings.default.max_examples


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist hands its counts to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["torture"] = dict(_TALLY)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``-m torture`` all tests here are run, and properties are tried on many examples."""
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        test = getattr(item, "obj", None)
        if isinstance(item, pytest.Function) and hypothesis.is_hypothesis_test(test):
            hypothesis.seed(SEED)(getattr(test, "__func__", test))
        if _tortures(config):
            item.add_marker("torture")


def _tortures(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == "torture")


def pytest_configure(config: pytest.Config) -> None:
    few, many = (
        hypothesis.settings(
            max_examples=n,
            stateful_step_count=30,
            deadline=None,
            database=None,
            # Shrinking a failure takes longer than all else; TORTURE_SEED brings it back.
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        for n in (20, 200)
    )
    hypothesis.settings.register_profile("few", few)
    hypothesis.settings.register_profile("many", many)
    hypothesis.settings.load_profile("many" if _tortures(config) else "few")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(_Gathering())


class _Gathering:
    """Adds up what the processes of pytest-xdist counted."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        _TALLY.update(getattr(node, "workeroutput", {}).get("torture", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _TALLY:
        told = ", ".join(f"{_TALLY[name]:,} {words}" for name, words in _WORDS.items())
        terminalreporter.write_line(f"torture (seed {SEED}): {told}")
