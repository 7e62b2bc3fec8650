"""The examples in the docstrings of the measures print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import analyses.measures

MODULES = [found.name for found in pkgutil.iter_modules(analyses.measures.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name: str, request: pytest.FixtureRequest) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(request.config.rootpath)  # examples open the runs in data/
        module = importlib.import_module(f"analyses.measures.{name}")
        failed, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert not failed, f"python -m doctest analyses/measures/{name}.py shows which"
    assert tried or name not in ("ablation", "geometry", "masks")
