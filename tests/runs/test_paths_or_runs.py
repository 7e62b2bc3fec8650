"""What takes a run takes the path of its folder too, under a home directory as well."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mechgrok
from mechgrok.exchange import export
from mechgrok.interventions import Ablate
from mechgrok.runs import Run

#: Each takes a run and a folder to write to.
TAKES_A_RUN: dict[str, Callable[[Any, Path], Any]] = {
    "analyze": lambda run, out: mechgrok.analyze(run, "norms"),
    "draw": lambda run, out: mechgrok.draw(run, "norms"),
    "fork": lambda run, out: mechgrok.fork(run, out, at=20, steps=5),
    "train_ticket": lambda run, out: mechgrok.train_ticket(run, out, steps=2),
    "train_popup": lambda run, out: mechgrok.train_popup(run, out, at=20, steps=2),
    "compare": lambda run, out: mechgrok.compare({"a": run}),
    "intervene": lambda run, out: mechgrok.intervene(run, [Ablate(neurons=[0])]),
    "export": lambda run, out: export(run, out),
}


@pytest.mark.parametrize("function", TAKES_A_RUN)
@pytest.mark.parametrize("given", [Run, str, Path, lambda path: f"~/{path.name}"])
def test_a_run_is_given_by_itself_or_by_its_path(
    function: str, given: Any, tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_run.path.parent))
    TAKES_A_RUN[function](given(tiny_run.path), tmp_path / "out")


def test_a_path_that_holds_no_run_is_a_sentence(tmp_path: Path) -> None:
    for name, function in TAKES_A_RUN.items():
        with pytest.raises(mechgrok.UserError, match="mechgrok train"):
            function(str(tmp_path / name), tmp_path / "out")
