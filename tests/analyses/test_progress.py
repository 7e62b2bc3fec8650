"""Progress measures, against projections on every wave written out over all pairs."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from mechgrok.analyses import progress
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet, write_parquet
from mechgrok.training import train
from tests.analyses.handmade import handmade_run, run_of

P = 7


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


def all_logits(run: Run, step: int) -> np.ndarray:
    """Logits over all p² pairs, b running fastest."""
    pair = torch.cartesian_prod(torch.arange(P), torch.arange(P))
    with torch.no_grad():
        return run.model(step)(pair).double().numpy()


def nanda(logits: np.ndarray, combined: np.ndarray, key: list[int]) -> np.ndarray:
    """The projection on cos and sin of w_k · combined over pairs, one normalized wave at a time."""
    projected = np.zeros_like(logits)
    for k in key:
        for wave in (np.cos, np.sin):
            direction = wave(2 * np.pi * k * combined / P)
            direction /= np.linalg.norm(direction)
            projected += np.outer(direction, direction @ logits)
    return projected


def train_pairs(run: Run) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in run.task.train.inputs[:, :2]}


@pytest.fixture(scope="module")
def subtracting_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = RunConfig.make(
        task={"name": "sub", "p": P, "pairs": "ordered"},
        model={"kind": "transformer", "d_model": 12, "n_heads": 2, "d_mlp": 10},
        training={"steps": 40, "checkpoint_every": 20},
    )
    return train(tmp_path_factory.mktemp("runs") / "sub", config)


@pytest.mark.parametrize("key", [[1], [2, 3]])
@pytest.mark.parametrize("which", ["tiny_run", "tiny_transformer_run", "subtracting_run"])
def test_restricted_and_excluded_loss_are_nandas(
    which: str, key: list[int], request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(which)
    sign = -1 if run.task.name == "sub" else 1
    step = run.steps[-1]
    a, b = np.divmod(np.arange(P * P), P)
    combined = (a + sign * b) % P
    logits = all_logits(run, step)
    kept = nanda(logits, combined, key)
    at = progress.measure(run, steps=[step], key=key).isel(step=0)

    restricted = cross_entropy(kept + logits.mean(0), combined)
    assert float(at.restricted_loss) == pytest.approx(restricted.mean())
    right = (kept + logits.mean(0)).argmax(1) == combined
    assert float(at.restricted_accuracy) == pytest.approx(right.mean())

    pairs = train_pairs(run)
    on = np.array([(x, y) in pairs for x, y in zip(a.tolist(), b.tolist(), strict=True)])
    excluded = cross_entropy((logits - kept)[on], combined[on])
    assert float(at.excluded_loss) == pytest.approx(excluded.mean())

    c = np.arange(P)
    for k in range(1, 4):
        wave = np.cos(2 * np.pi * k * (combined[:, None] - c) / P)
        coefficient = 2 * (logits * wave).mean()
        assert float(at.trig_component.sel(frequency=k)) == pytest.approx(coefficient, abs=1e-6)
    fitted = sum(
        float(at.trig_component.sel(frequency=k))
        * np.cos(2 * np.pi * k * (combined[:, None] - c) / P)
        for k in key
    )
    centred = logits - logits.mean(1, keepdims=True)
    share = 1 - ((centred - fitted) ** 2).sum() / (centred**2).sum()
    assert float(at.explained) == pytest.approx(share, abs=1e-6)


def test_losses_and_weights_are_those_of_the_metrics(masked_run: Run) -> None:
    measured = progress.measure(masked_run)
    table = masked_run.metrics.set_index("step").loc[masked_run.steps]
    for name in ("train_loss", "test_loss", "test_accuracy"):
        np.testing.assert_allclose(measured[name], table[name], rtol=1e-5)
    np.testing.assert_allclose(measured.squared_weights, table.l2**2, rtol=1e-5)


def test_removing_every_frequency_leaves_what_is_no_function_of_the_answer(tiny_run: Run) -> None:
    at = progress.measure(tiny_run, key=[1, 2, 3]).isel(step=-1)
    logits = all_logits(tiny_run, 60)
    answer = np.add.outer(np.arange(P), np.arange(P)).ravel() % P
    mean = np.stack([logits[answer == s].mean(0) for s in range(P)])
    assert float(at.restricted_loss) == pytest.approx(cross_entropy(mean, np.arange(P)).mean())


def test_multiplication_is_measured_in_logarithms(tmp_path: Path) -> None:
    order = [3**exponent % P for exponent in range(P - 1)]
    torch.manual_seed(0)
    run = handmade_run(
        tmp_path / "run", torch.randn(P, 9), torch.randn(9, P), name="mul", p=P, pairs="ordered"
    )
    at = progress.measure(run, key=[2]).isel(step=0)
    logits = all_logits(run, 0).reshape(P, P, P)[np.ix_(order, order)].reshape(36, P)
    i, j = np.divmod(np.arange(36), 6)
    s = (i + j) % 6
    angle = 2 * np.pi * 2 * s / 6
    waves = np.stack([np.ones(36), np.cos(angle), np.sin(angle)], 1)
    kept = waves @ np.linalg.lstsq(waves, logits, rcond=None)[0]
    labels = np.array(order)[s]
    assert at.attrs["order"] == "multiplicative"
    assert float(at.restricted_loss) == pytest.approx(cross_entropy(kept, labels).mean(), rel=1e-5)
    wave = np.cos(2 * np.pi * 2 * (s[:, None] - np.arange(6)) / 6)
    expected = 2 * (logits[:, order] * wave).mean()
    assert float(at.trig_component.sel(frequency=2)) == pytest.approx(expected, abs=1e-6)


def test_pairs_that_never_give_an_answer_leave_a_least_squares_fit(tmp_path: Path) -> None:
    run = handmade_run(tmp_path / "run", torch.randn(P, 9), torch.randn(9, P), name="sub", p=P)
    a, b = run.task.pair.T.numpy()
    logits = all_logits(run, 0)[a * P + b]
    angle = 2 * np.pi * (a - b) / P
    assert 0 not in a - b
    waves = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], 1)
    kept = waves @ np.linalg.lstsq(waves, logits, rcond=None)[0]
    at = progress.measure(run, key=[1]).isel(step=0)
    assert float(at.restricted_loss) == pytest.approx(
        cross_entropy(kept, (a - b) % P).mean(), rel=1e-5
    )


def adding_run(path: Path, p: int, answer: torch.Tensor) -> Run:
    """A network that adds exactly: its logits for (a, b) are row (a + b) mod p of ``answer``.

    The neurons compute ReLU(a + b − t) for t = −1 … 2p − 1; second differences of these are 1 at
    one value of a + b and 0 at all others.
    """
    threshold = torch.arange(-1, 2 * p)
    W_in = torch.arange(p)[:, None].expand(p, len(threshold)).float()
    W_out = torch.zeros(len(threshold), p)
    for total in range(2 * p - 1):
        W_out[total : total + 3] += torch.tensor([1.0, -2.0, 1.0])[:, None] * answer[total % p]
    weights = {
        "W_in": W_in.contiguous(),
        "W_out": W_out,
        "b_in": -threshold.float(),
        "b_out": torch.zeros(p),
    }
    model = {"kind": "mlp", "d_model": None, "d_mlp": len(threshold), "bias": True}
    return run_of(path, weights, model, {"name": "add", "p": p})


def test_of_a_network_that_is_the_algorithm_nothing_else_is_left(tmp_path: Path) -> None:
    p = 23
    s, c = torch.arange(p)[:, None], torch.arange(p)
    angle = 2 * torch.pi * (s - c) / p
    run = adding_run(tmp_path / "run", p, 8 * (5 * angle).cos() + 4 * (9 * angle).cos())
    at = progress.measure(run).isel(step=0)
    assert at.key.values.tolist() == [5, 9]
    np.testing.assert_allclose(at.trig_component.sel(frequency=[5, 9]), [8, 4], atol=1e-3)
    assert float(at.explained) == pytest.approx(1, abs=1e-4)
    assert float(at.restricted_accuracy) == float(at.test_accuracy) == 1
    assert float(at.restricted_loss) == pytest.approx(float(at.test_loss), rel=1e-2)
    assert float(at.excluded_loss) == pytest.approx(np.log(p), abs=1e-3)


def test_phases_end_where_the_curves_say() -> None:
    dataset = xr.Dataset(
        {
            "excluded_loss": ("step", [4.0, 1.0, 0.5, 2.0, 3.0, 3.0]),
            "restricted_accuracy": ("step", [0.99, 0.1, 0.3, 0.96, 1.0, 1.0]),
            "test_accuracy": ("step", [0.0, 0.0, 0.0, 0.5, 0.94, 0.95]),
        },
        coords={"step": [0, 10, 20, 30, 40, 50]},
    )
    expected = {"memorized_by": 20, "circuit_by": 30, "cleaned_by": 50}
    assert progress.phases(dataset) == expected
    unfinished = dataset.isel(step=slice(0, 5))
    assert progress.phases(unfinished) == {"memorized_by": 20, "circuit_by": 30}
    assert progress.phases(dataset.isel(step=slice(0, 3))) == {}
    assert progress.phases(dataset.isel(step=[0, 3, 5]), level=0.9) == {}


def test_a_frequency_that_is_none_is_refused(tiny_run: Run) -> None:
    with pytest.raises(UserError, match=r"4 .*1 to 3"):
        progress.measure(tiny_run, key=[4])


def test_random_labels_have_no_circuit(tmp_path: Path) -> None:
    run = handmade_run(tmp_path / "run", torch.randn(7, 3), torch.randn(3, 7), name="random", p=7)
    assert progress.applies(run) == "random labels follow no formula."


def test_progress_survives_a_file_and_is_drawn_for_two_runs(
    tiny_run: Run, tiny_transformer_run: Run, tmp_path: Path
) -> None:
    measured = {
        "mlp": progress.measure(tiny_run),
        "transformer": progress.measure(tiny_transformer_run, steps=[40]),
    }
    write_parquet(measured["mlp"], tmp_path / "p.parquet")
    assert read_parquet(tmp_path / "p.parquet").identical(measured["mlp"])
    assert progress.draw(measured).data
    assert "key frequencies" in progress.finding(measured["mlp"])


def test_excluded_loss_of_a_frequency_and_restricted_loss_on_train(tiny_run: Run) -> None:
    at = progress.measure(tiny_run, steps=[60], key=[1, 3]).isel(step=0)
    for k in (1, 3):
        alone = progress.measure(tiny_run, steps=[60], key=[k]).isel(step=0)
        assert float(at.excluded_loss_of.sel(key=k)) == pytest.approx(float(alone.excluded_loss))
    a, b = np.divmod(np.arange(P * P), P)
    combined, logits = (a + b) % P, all_logits(tiny_run, 60)
    losses = cross_entropy(nanda(logits, combined, [1, 3]) + logits.mean(0), combined)
    pairs = train_pairs(tiny_run)
    on = np.array([(x, y) in pairs for x, y in zip(a.tolist(), b.tolist(), strict=True)])
    assert float(at.restricted_train_loss) == pytest.approx(losses[on].mean())
    x, y = tiny_run.task.test.inputs.T.tolist()
    assert float(at.restricted_test_loss) == pytest.approx(losses.reshape(P, P)[x, y].mean())
