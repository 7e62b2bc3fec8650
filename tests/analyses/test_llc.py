"""λ̂ is the learning coefficient where that is known, and its errors and warnings are honest."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mechgrok.analyses import llc
from mechgrok.analyses.measures.parts import parts_of, size_of
from mechgrok.analyses.measures.sgld import Coefficient, learning_coefficient, sgld
from mechgrok.errors import UserError
from mechgrok.exchange.importing import import_run
from mechgrok.runs import Run

CHAINS = 64


def estimated(
    loss: Callable[..., Tensor],
    *weights: Tensor,
    n_beta: float,
    step_size: float,
    localization: float,
    draws: int,
    burn_in: int,
    moved: list[Tensor] | None = None,
) -> Coefficient:
    """λ̂ of a loss of each chain at a place w* where it is 0, in float64."""
    leaves = [w.double().expand(CHAINS, *w.shape).clone().requires_grad_() for w in weights]
    chains = sgld(
        lambda: loss(*leaves),
        leaves,
        n_beta=n_beta,
        step_size=step_size,
        localization=localization,
        draws=draws,
        burn_in=burn_in,
        generator=torch.Generator().manual_seed(0),
        moved=moved,
    )
    return learning_coefficient(chains[None], np.zeros(1), n_beta)


def near(found: Coefficient, wanted: float, steps_cost: float) -> bool:
    """Within four standard errors, which are small, of chains that have mixed.

    And within what finite steps cost: they widen a direction of curvature a by 1 / (1 − ε a / 4).
    """
    assert float(found.rhat[0]) < 1.05
    assert float(found.error[0]) < 0.03 * wanted
    return bool(abs(found.value[0] - wanted) < 4 * found.error[0] + steps_cost * wanted)


def expected(loss: Callable[..., np.ndarray], n_beta: float, localization: float) -> float:
    """nβ E[L] under exp(−nβ L − γ/2 |w|²) over one or two weights, by adding up a fine grid."""
    x = np.linspace(-4, 4, 2001)
    grid = np.meshgrid(*[x] * loss.__code__.co_argcount, sparse=True)
    energy = n_beta * loss(*grid)
    weight = np.exp(-energy - localization / 2 * sum(axis**2 for axis in grid))
    return float((energy * weight).sum() / weight.sum())


def test_a_regular_model_has_half_its_dimension() -> None:
    found = estimated(
        lambda w: (w.square() * torch.linspace(1, 3, 10)).sum(1) / 2, torch.zeros(10),
        n_beta=1000, step_size=5e-5, localization=1, draws=1500, burn_in=300,
    )  # fmt: skip
    assert near(found, 10 / 2, steps_cost=0.04)


@pytest.mark.parametrize("localization", [1.0, 100.0, 300.0])
def test_a_chain_takes_the_step_that_is_written(localization: float) -> None:
    """On L = w²/2 a step is w ← (1 − εh/2) w + N(0, ε), h = nβ + γ, whose stationary variance is
    1 / (h (1 − εh/4)): the pull and the slope are both taken at w."""
    n_beta, step_size = 100.0, 4e-3
    found = estimated(
        lambda w: w.square().sum(1) / 2, torch.zeros(40),
        n_beta=n_beta, step_size=step_size, localization=localization, draws=1500, burn_in=200,
    )  # fmt: skip
    h = n_beta + localization
    wanted = 40 * n_beta / (2 * h * (1 - step_size * h / 4))
    assert float(found.error[0]) < 0.002 * wanted
    assert float(found.value[0]) == pytest.approx(wanted, rel=0.008)


def test_x4_has_a_quarter() -> None:
    found = estimated(
        lambda x: x[:, 0] ** 4, torch.zeros(1),
        n_beta=1000, step_size=3e-4, localization=1e-3, draws=4000, burn_in=300,
    )  # fmt: skip
    assert near(found, 1 / 4, steps_cost=0.04)
    assert expected(lambda x: x**4, 1000, 1e-3) == pytest.approx(1 / 4, rel=1e-3)


def test_x2y2_has_a_half_less_what_its_multiplicity_takes() -> None:
    """λ = 1/2 and m = 2: at a finite n, λ̂ is lower by about 1 / log n."""
    wanted = expected(lambda x, y: x**2 * y**2, 1000, 10)
    found = estimated(
        lambda x, y: x[:, 0] ** 2 * y[:, 0] ** 2, torch.zeros(1), torch.zeros(1),
        n_beta=1000, step_size=4e-4, localization=10, draws=4000, burn_in=1500,
    )  # fmt: skip
    assert near(found, wanted, steps_cost=0.05)
    assert wanted < expected(lambda x, y: x**2 * y**2, 100_000, 10) < 0.5


def reduced_rank(m: int, n: int, h: int, r: int) -> float:
    """λ of y = B A x, A of h × m and B of n × h, whose truth has rank r (Aoyagi and Watanabe 2005).

    Of their four cases the first, whose sum of sizes is even.
    """
    assert n + r <= m + h
    assert m + r <= n + h
    assert h + r <= m + n
    assert (m + h + n + r) % 2 == 0
    return (-((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n) / 8


@pytest.mark.parametrize(("m", "n", "h", "r"), [(4, 4, 3, 1), (3, 3, 2, 2)])
def test_reduced_rank_regression_has_aoyagis_coefficient(m: int, n: int, h: int, r: int) -> None:
    wanted = reduced_rank(m, n, h, r)
    assert wanted < (m * h + h * n) / 2  # of a regular model
    A, B = torch.eye(h, m) * (torch.arange(h) < r)[:, None], torch.eye(n, h)
    B = B * (torch.arange(h) < r)
    found = estimated(
        lambda A, B: (B @ A - torch.eye(n, m, dtype=torch.float64) * (torch.arange(m) < r))
        .square().sum((1, 2)) / 2, A, B,
        n_beta=10_000, step_size=1e-5, localization=10, draws=4000, burn_in=2000,
    )  # fmt: skip
    assert float(found.value[0]) == pytest.approx(wanted, rel=0.06)


@pytest.mark.parametrize(
    "moved", [[True, True, True, True], [True, True, False, False], [False, True, True, False]]
)
def test_a_part_has_the_coefficient_of_its_own_terms(moved: list[bool]) -> None:
    """Σ_i x_i^(2 k_i) has λ = Σ_i 1 / (2 k_i), and some of its x_i the sum over these."""
    k = torch.tensor([1, 1, 2, 2])
    wanted = float((1 / (2 * k))[torch.tensor(moved)].sum())
    found = estimated(
        lambda x: (torch.where(k == 1, 0.05, 1.0) * x ** (2 * k)).sum(1), torch.zeros(4),
        n_beta=1000, step_size=3e-4, localization=1e-3, draws=4000, burn_in=600,
        moved=[torch.tensor(moved)],
    )  # fmt: skip
    assert near(found, wanted, steps_cost=0.04)


def test_parts_are_weights_heads_and_neurons(tiny_transformer_run: Run) -> None:
    wiring = tiny_transformer_run.wiring
    parts = parts_of(wiring, "W_E, heads, neurons 2-4, matrices")
    size = {name: size_of(part) for name, part in parts.items()}
    d_model, d_head, d_mlp = 12, 6, 10
    assert size["W_E"] == size["embed.W_E"] == 7 * d_model
    assert size["head 0"] == size["head 1"] == 4 * d_model * d_head
    assert size["neurons 2-4"] == 3 * 2 * d_model
    assert size["blocks.0.mlp.W_in"] == d_model * d_mlp
    assert {*wiring.connections} < {*size}
    both = {name: parts["head 0"][name] & parts["head 1"][name] for name in wiring.weights}
    assert size_of(both) == 0
    for unknown in ("W_X", "head 2", "neurons 8-10", "neurons 4-2", "head x"):
        with pytest.raises(UserError):
            parts_of(wiring, unknown)


def test_heads_of_a_network_without_heads_are_rejected(tiny_run: Run) -> None:
    for name in ("heads", "head 0"):
        with pytest.raises(UserError, match="no heads"):
            parts_of(tiny_run.wiring, name)


@pytest.mark.parametrize("fixture", ["tiny_run", "masked_run"])
def test_the_rest_of_a_network_stays_while_a_part_moves(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(fixture)
    given = {"steps": [60], "draws": 200, "burn_in": 20, "step_size": 5e-3, "localization": 100.0}
    measured = llc.measure(run, parts="W_U, neurons 0-7", **given)  # type: ignore[arg-type]
    assert measured.part.to_numpy().tolist() == ["W_U", "neurons 0-7"]
    assert measured.part_size.to_numpy().tolist() == [12 * 7, 2 * 12 * 8]
    whole = llc.measure(run, **given)  # type: ignore[arg-type]
    assert "part" not in whole.dims
    assert float(measured.llc[0]) == float(whole.llc[0])
    assert (measured.part_llc[0] > 0).all()
    assert (measured.part_llc[0] < 1.1 * float(whole.llc[0])).all()
    assert "W_U" in llc.finding(measured)
    assert llc.draw({"a": measured, "b": whole}).data


def test_chains_that_have_not_mixed_are_told_from_those_that_have() -> None:
    generator = np.random.default_rng(0)
    mixed = generator.standard_normal((4, 300))
    apart = mixed + 3 * np.arange(4)[:, None]
    drifting = mixed + np.linspace(0, 5, 300)
    lost = np.full((4, 300), np.nan)
    found = learning_coefficient(np.stack([mixed, apart, drifting, lost]), np.zeros(4), 1)
    assert found.rhat[0] < 1.02
    assert min(found.rhat[1:3]) > 1.2
    assert found.ess[0] > 600 > 100 > found.ess[1]
    assert np.isnan(found.rhat[3])
    assert np.isnan(found.value[3])


def test_a_place_that_is_no_minimum_has_a_negative_estimate_and_keeps_it() -> None:
    found = estimated(
        lambda w: ((w - 1).square() - 1).sum(1), torch.zeros(3),
        n_beta=100, step_size=1e-3, localization=1, draws=300, burn_in=100,
    )  # fmt: skip
    assert found.value[0] < -100


def test_a_run_is_sampled_around_each_checkpoint(tiny_run: Run) -> None:
    given = {"draws": 400, "burn_in": 20, "step_size": 5e-3, "localization": 100.0}
    measured = llc.measure(tiny_run, checkpoints=3, **given)  # type: ignore[arg-type]
    assert measured.step.to_numpy().tolist()[-1] == 60
    assert measured.sizes["chain"] == 4
    inputs, labels = tiny_run.task.train
    with torch.no_grad():
        loss = float(tiny_run.task.loss(tiny_run.model(60)(inputs), labels))
    last = measured.sel(step=60)
    assert float(last.loss) == pytest.approx(loss, rel=1e-4)
    n = len(labels)
    assert measured.attrs["n_beta"] == pytest.approx(n / math.log(n))
    rise = last.trace.to_numpy().mean() - loss
    assert float(last.llc) == pytest.approx(measured.attrs["n_beta"] * rise, rel=1e-3)
    words = llc.finding(measured)
    assert "γ = 100" in words
    assert "(3 of 13 checkpoints)" in words
    assert llc.draw({"run": measured}).data
    # Batches tell the same, with more noise.
    batches = llc.measure(tiny_run, steps=[60], batch_size=7, **given)  # type: ignore[arg-type]
    error = float(batches.llc_error[0]) + float(last.llc_error)
    assert float(batches.llc[0]) == pytest.approx(float(last.llc), abs=4 * error)
    assert error < float(last.llc)


def test_the_calibration_keeps_chains_with_what_was_learned(tiny_run: Run) -> None:
    measured = llc.measure(tiny_run, steps=[60], draws=40, burn_in=20)
    attrs = measured.attrs
    assert attrs["localization"] in llc._LADDER
    sharpest = attrs["n_beta"] * llc._sharpest(tiny_run, 60, 0)
    assert attrs["step_size"] == pytest.approx(0.5 / (attrs["localization"] + sharpest), rel=1e-3)
    assert np.isfinite(measured.trace).all()


def test_an_imported_network_is_sampled_too(tiny_run: Run, tmp_path: Path) -> None:
    run = import_run([tiny_run.file(60)], tmp_path / "run")
    given = {"draws": 10, "burn_in": 5, "step_size": 1e-3, "localization": 100.0}
    measured = llc.measure(run, **given)  # type: ignore[arg-type]
    assert float(measured.llc[0]) == pytest.approx(
        float(llc.measure(tiny_run, steps=[60], **given).llc[0]),  # type: ignore[arg-type]
        rel=1e-4,
    )


def test_a_warning_says_where_chains_have_not_mixed(tiny_run: Run) -> None:
    measured = llc.measure(
        tiny_run, steps=[0, 60], draws=20, burn_in=0, step_size=1e-7, localization=1.0
    )
    assert "warning: chains have not mixed at 2 of 2 steps" in llc.finding(measured)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"chains": 1}, "chains = 1 .*2 or more"),
        ({"draws": 3}, "draws = 3 .*4 or more"),
        ({"step_size": 0.0}, "step_size = 0"),
        ({"localization": -1.0}, "localization = -1"),
        ({"batch_size": 0}, "batch_size = 0"),
    ],
)
def test_numbers_out_of_range_are_refused(tiny_run: Run, given: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        llc.measure(tiny_run, **given)
