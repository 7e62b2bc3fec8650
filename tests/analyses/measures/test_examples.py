"""The examples in the docstrings of the measures print what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest

import mechgrok.analyses.measures

MODULES = [found.name for found in pkgutil.iter_modules(mechgrok.analyses.measures.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name: str, request: pytest.FixtureRequest) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(request.config.rootpath)  # examples open the runs in data/
        module = importlib.import_module(f"mechgrok.analyses.measures.{name}")
        failed, _ = doctest.testmod(module)
    assert not failed, f"python -m doctest analyses/measures/{name}.py shows which"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_measure_shows_an_example(name: str) -> None:
    module = importlib.import_module(f"mechgrok.analyses.measures.{name}")
    without = [
        public
        for public, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__
        if not public.startswith("_") and not _has_example(value)
    ]
    assert not without


def test_the_page_about_measures_shows_code_that_runs(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(request.config.rootpath)
    page = Path("docs/measures.md").read_text(encoding="utf-8")
    exec(page.split("```python\n")[1].split("```")[0], {})
    accuracy = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(accuracy) > 2
    assert min(accuracy) < 0.95 < max(accuracy)


def _has_example(value: Any) -> bool:
    """In its own docstring, or in that of one of its methods."""
    found = [value, *(vars(value).values() if isinstance(value, type) else ())]
    docs = (getattr(each, "__doc__", "") or "" for each in found)
    return any(">>>" in doc for doc in docs)
