"""What takes a run takes a sweep, and applies to each of its runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

import mechgrok
from mechgrok.interventions import Ablate
from mechgrok.sweeps import Sweep


def test_a_sweep_is_compared_run_by_run(made: Sweep) -> None:
    base = made.sel(stage="base")
    assert list(mechgrok.compare(base).index) == list(base.runs)


def test_an_intervention_in_a_sweep_has_its_settings_as_dimensions(made: Sweep) -> None:
    base, ablation = made.sel(stage="base"), [Ablate(neurons=[0])]
    answer = mechgrok.intervene(base, ablation, steps=[20])
    assert answer.accuracy.dims[:2] == ("weight_decay", "seed")
    alone = mechgrok.intervene(base.sel(weight_decay=1, seed=0).path / "weight_decay=1,seed=0",
                               ablation, steps=[20])  # fmt: skip
    xr.testing.assert_equal(answer.loss.sel(weight_decay=1, seed=0, drop=True), alone.loss)


@pytest.mark.parametrize(
    "derive",
    [
        lambda sweep, out: mechgrok.fork(sweep, out, at=20, steps=5),
        lambda sweep, out: mechgrok.train_ticket(sweep, out, at="last", steps=2),
        lambda sweep, out: mechgrok.train_popup(sweep, out, at=20, steps=2),
    ],
)
def test_a_run_is_derived_from_each_run_of_a_sweep(
    derive: Callable, made: Sweep, tmp_path: Path
) -> None:
    seeds = made.sel(stage="base", weight_decay=1)
    derived = derive(seeds, tmp_path / "out")
    assert list(derived) == list(seeds.runs)
    for name, run in derived.items():
        assert run.path == tmp_path / "out" / name
        parent = (run.path / run.config.origin.parent).resolve()
        assert parent == seeds.runs[name].path.resolve()
