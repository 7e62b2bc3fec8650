"""Evaluation is dense enough that t_mem and t_gen are properties of the run."""

from itertools import pairwise

import pytest

from mechgrok.training.schedule import checkpoint_steps, evaluation_steps, usual_interval


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
