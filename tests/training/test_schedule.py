"""Evaluation is dense enough that t_mem and t_gen are properties of the run."""

from itertools import pairwise

import pytest

from mechgrok.configuration.schedule import (
    checkpoint_steps,
    evaluation_steps,
    log_spaced,
    usual_interval,
)


def test_evaluations_are_every_ten_steps_then_within_one_percent() -> None:
    steps = list(evaluation_steps(30_000))
    assert steps[0] == 0
    assert steps[-1] == 30_000
    for before, after in pairwise(steps):
        assert after - before <= max(10, before / 100)
        assert after - before <= 50


@pytest.mark.parametrize(("steps", "every"), [(30_000, 100), (2_000, 10), (100, 1), (0, 1)])
def test_about_three_hundred_checkpoints(steps: int, every: int) -> None:
    assert usual_interval(steps) == every
    saved = list(checkpoint_steps(steps, every))
    assert saved[0] == 0
    assert saved[-1] == steps
    assert len(saved) <= 330


def test_checkpoints_are_dense_early_and_even_later() -> None:
    saved = checkpoint_steps(30_000, 100, extra=[7, 12_345, 99_999])
    assert {0, 25, 50, 75, 100, 475, 500, 600, 29_900, 7, 12_345} <= set(saved)
    assert 525 not in saved
    assert 99_999 not in saved


@pytest.mark.parametrize("count", [2, 3, 10, 50, 315])
def test_a_selection_is_evenly_spaced_in_the_logarithm(count: int) -> None:
    saved = list(checkpoint_steps(30_000, 100))
    chosen = sorted(log_spaced(saved, count))
    assert len(chosen) == count
    assert set(chosen) <= set(saved)
    assert chosen[0] == 0
    assert chosen[-1] == 30_000
    ratios = [after / before for before, after in pairwise(chosen[1:]) if after > 3000]
    if count == 50:  # 1.17 each from where a step of the schedule is shorter than that
        assert max(ratios) < 1.2
        assert min(ratios) > 1.12


def test_a_selection_of_more_than_there_are_is_all() -> None:
    assert log_spaced([0, 5, 7], 9) == {0, 5, 7}
    assert log_spaced([0], 2) == {0}


def test_a_long_schedule_is_known_without_being_listed() -> None:
    steps, walked, step = evaluation_steps(10**8), [], 0
    while step < 20_000:
        walked.append(step)
        step += min(50, max(10, step // 1000 * 10))
    assert [step for step in range(20_000) if step in steps] == walked
    assert 10**8 in steps
    saved = checkpoint_steps(10**8, 1000)
    assert 99_999_000 in saved
    assert 99_999_250 not in saved
