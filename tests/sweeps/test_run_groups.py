"""Runs in groups: of a sweep, or by a setting that differs between them."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import mechgrok
from mechgrok.analyses.drawing import Panels, representatives
from mechgrok.analyses.drawing.overlay import overlay
from mechgrok.errors import UserError
from mechgrok.sweeps import Sweep
from mechgrok.sweeps.groups import RunGroups
from mechgrok.sweeps.phases import commonest, phase_of
from mechgrok.sweeps.survival import time_to_event
from tests.sweeps.conftest import TINY, here


def test_a_sweep_makes_groups_of_all_that_vary_but_the_seeds(made: Sweep) -> None:
    family = RunGroups.open([made.path])
    assert family.by == ["stage", "weight_decay", "rate"]
    assert {len(labels) for labels in family.groups.values()} == {2}
    assert "ticket, weight_decay 0.3, rate 0.4" in map(family.name, family.groups)
    by_one = RunGroups.open([made.path], "weight_decay")
    assert [(key, len(labels)) for key, labels in by_one.groups.items()] == [((0.3,), 6), ((1,), 6)]


def test_plain_runs_are_grouped_by_a_setting_that_differs(made: Sweep) -> None:
    paths = [run.path for run in made.sel(stage="base")]
    assert RunGroups.open(paths).by is None
    assert RunGroups.open(paths, "weight_decay").groups.keys() == {(0.3,), (1.0,)}
    both = [*paths, *(run.path for run in made.sel(stage="ticket", rate=0.4))]
    assert RunGroups.open(both, "rate").groups.keys() == {(0.4,), (None,)}
    with pytest.raises(UserError, match=r"d_mlp .*6 .*weight_decay"):
        RunGroups.open(paths, "d_mlp")
    with pytest.raises(UserError, match="'wieght_decay'"):
        RunGroups.open(paths, "wieght_decay")


def test_an_analysis_of_a_sweep_has_its_dimensions_before_its_own(made: Sweep) -> None:
    answer = mechgrok.analyze(made.sel(stage="base"), "norms")
    alone = mechgrok.analyze(made.path / "weight_decay=1,seed=0", "norms")
    assert answer.l2.dims == ("weight_decay", "seed", *alone.l2.dims)
    xr.testing.assert_equal(
        answer.l2.sel(weight_decay=1, seed=0, drop=True).dropna("step"), alone.l2
    )


def test_the_delay_is_censored_at_the_last_step_over_t_mem() -> None:
    table = pd.DataFrame({"step": [1000, 1000], "t_mem": [100, 50], "tau_grok": [4.0, None]})
    waiting = time_to_event(table, "tau_grok")
    assert (waiting.n, waiting.n_reached, waiting.horizon) == (2, 1, 20)


def test_the_phases() -> None:
    assert phase_of(100, 1099, 1099) == "comprehension"
    assert phase_of(100, 1100, 3000) == "grokking"
    assert phase_of(100, 1100, None) == phase_of(100, 1099, None) == "collapsed"
    assert phase_of(100, None, None) == "memorization"
    assert phase_of(None, None, None) == "confusion"
    assert commonest(["grokking", "grokking", "memorization"]) == ("grokking", 2)
    assert commonest(["grokking", "memorization"]) == ("memorization", 1)


def curves(values: dict[str, list[float]], group: str, last: int = 20) -> dict[str, xr.Dataset]:
    steps = np.arange(0, last + 1, 10)
    return {
        label: xr.Dataset({"y": ("step", each[: len(steps)])}, {"step": steps}, {"group": group})
        for label, each in values.items()
    }


def test_a_group_is_drawn_as_its_median_with_its_middle_half_and_its_runs_faint() -> None:
    measured = curves({"a": [0, 1, 2], "b": [0, 2, 4], "c": [0, 6, 9]}, "one")
    figure = Panels(measured, title="")
    panel = figure.row(height=100).over_training()
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset.y, run=label)
    drawn = figure.draw()
    single, (band, median) = drawn.data[:3], drawn.data[3:5]
    assert {trace.opacity for trace in single} == {0.25}
    assert list(median.y) == [0, 2, 4]
    assert list(band.y) == [0, 1.5, 3, 6.5, 4, 0]
    buttons = [button.label for button in drawn.layout.updatemenus[0].buttons]
    assert buttons == ["medians and runs", "medians", "single runs"]
    colors = {trace.line.color for trace in (*single, median)}
    assert len(colors) == 1


def test_a_median_goes_as_far_as_all_of_its_runs_do() -> None:
    measured = curves({"a": [0, 1, 2]}, "one") | curves({"b": [0, 2]}, "one", last=10)
    figure = Panels(measured, title="")
    panel = figure.row(height=100).over_training()
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset.y, run=label)
    assert list(figure.draw().data[3].x) == [0, 10]


def test_pictures_are_of_the_run_with_the_median_t_gen() -> None:
    measured = curves({"a": [0], "b": [0], "c": [0]}, "one", last=0)
    for label, t_gen in (("a", 500), ("c", 300)):  # b never generalizes
        measured[label].attrs["t_gen"] = t_gen
    assert list(representatives(measured)) == ["a"]


def test_runs_that_never_generalize_are_open_triangles_at_their_last_step(made: Sweep) -> None:
    family = RunGroups.of_sweep(made.sel(stage="base"))
    family.table[["t_gen", "tau_grok"]] = [math.nan, math.nan]
    drawn = overlay(family)
    open_ = [trace for trace in drawn.data if trace.marker.symbol == "triangle-up-open"]
    assert open_
    assert {step for trace in open_ if trace.y[0] for step in trace.y} >= {20}


def test_the_sustained_t_gen_is_drawn_if_a_run_collapses(made: Sweep) -> None:
    family = RunGroups.of_sweep(made.sel(stage="base"))

    def legend() -> set[str]:
        return {trace.name for trace in overlay(family).data}

    family.table["t_collapse"] = family.table["t_collapse"].astype(float) * math.nan
    assert "median t_gen_sustained" not in legend()
    family.table["t_collapse"] = 10.0
    assert "median t_gen_sustained" in legend()


def test_two_swept_settings_make_a_phase_diagram(made: Sweep, tmp_path: Path) -> None:
    drawn = overlay(RunGroups.of_sweep(made.sel(stage="ticket")))
    (heat,) = (trace for trace in drawn.data if trace.type == "heatmap")
    assert np.shape(heat.z) == (2, 2)
    assert set(range(5)) >= {int(z) for row in heat.z for z in row}
    shown = [button.label for menu in drawn.layout.updatemenus for button in menu.buttons]
    assert shown[-4:] == ["phase", "median t_gen", "median t_mem", "median τ_grok"]


def test_groups_of_text_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    texts = ["norm:value=9", "norm:value=10", "freeze:of=W_E"]
    held = mechgrok.sweep(
        tmp_path / "held", "quick", over={"constraints": texts}, where=here, **TINY
    )
    keys = RunGroups.open([held.path]).groups
    assert [key[0] for key in keys] == ["freeze:of=W_E", "norm:value=9", "norm:value=10"]
