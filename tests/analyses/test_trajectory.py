"""The path of the weights."""

import numpy as np
import pytest

from mechgrok.analyses import trajectory
from mechgrok.errors import UserError
from mechgrok.runs import Run


def flat(run: Run) -> np.ndarray:
    """Every checkpoint as one vector of masked weights, in float64."""
    columns = [run.weights(name).flatten(1).double().numpy() for name in run.weight_names]
    return np.concatenate(columns, 1)


@pytest.mark.parametrize("name", ["tiny_run", "masked_run", "tiny_transformer_run"])
def test_positions_are_those_of_a_singular_value_decomposition(
    name: str, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    points = flat(run)
    found = trajectory.measure(run, components=2)
    U, S, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
    expected = (U * S)[:, :2]
    expected *= np.where(expected[-1] < 0, -1, 1)
    assert found.position.to_numpy() == pytest.approx(expected, abs=1e-3)
    assert found.explained.to_numpy() == pytest.approx((S**2 / (S**2).sum())[:2], rel=1e-4)


def test_speed_and_distances_are_norms_of_differences(masked_run: Run) -> None:
    points, steps = flat(masked_run), np.array(masked_run.steps)
    found = trajectory.measure(masked_run)
    gaps = np.linalg.norm(np.diff(points, axis=0), axis=1) / np.diff(steps)
    assert found.speed.to_numpy()[:-1] == pytest.approx(gaps, rel=1e-4)
    assert np.isnan(found.speed[-1])
    start, end = (np.linalg.norm(points - points[at], axis=1) for at in (0, -1))
    assert found.from_start.to_numpy() == pytest.approx(start, rel=1e-4)
    assert found.to_end.to_numpy() == pytest.approx(end, rel=1e-4)


def test_ranks_of_large_matrices_are_measured_at_fewer_steps() -> None:
    steps = list(range(0, 3000, 10))
    assert trajectory._rank_steps(steps, [(67, 500)]) == steps
    assert len(trajectory._rank_steps(steps, [(67, 500), (500, 500)])) == 40


def test_the_figure_has_a_path_for_each_run(tiny_run: Run, tiny_transformer_run: Run) -> None:
    found = {run.name: trajectory.measure(run) for run in (tiny_run, tiny_transformer_run)}
    figure = trajectory.draw(found)
    titles = [note.text for note in figure.layout.annotations]
    assert sum("the path" in title for title in titles) == 2
    assert all("effective rank" in trajectory.finding(dataset) for dataset in found.values())


def test_a_run_of_one_checkpoint_stands_still(tiny_run: Run) -> None:
    found = trajectory.measure(tiny_run, steps=[0])
    assert found.from_start.item() == 0
    assert np.isnan(found.speed.item())


def test_a_path_takes_two_components(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="2 or more"):
        trajectory.measure(tiny_run, components=1)
    few = trajectory.measure(tiny_run, steps=[0, 60], components=5)
    assert few.explained.to_numpy().round(6).tolist() == [1, 0, 0, 0, 0]


def test_steps_are_logarithmic_unless_asked_otherwise(tiny_run: Run) -> None:
    found = {"tiny": trajectory.measure(tiny_run)}
    axes = [trajectory.draw(found, log=log).layout.xaxis2 for log in (True, False)]
    assert [axis.type for axis in axes] == ["log", None]
    assert "0" in axes[0].ticktext
