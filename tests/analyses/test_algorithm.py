"""Clocks and pizzas are told apart, handmade ones exactly, published ones as by their authors."""

import math
import os
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

import mechgrok
from mechgrok.analyses import algorithm
from mechgrok.analyses.measures.algorithm import (
    circularity,
    distance_irrelevance,
    gradient_cosines,
    pizza_share,
)
from mechgrok.analyses.measures.residues import residues
from mechgrok.errors import UserError
from mechgrok.exchange.importing import import_run
from mechgrok.exchange.importing.layouts import recognize
from mechgrok.exchange.importing.reading import read
from mechgrok.models import HookedTransformer, TransformerConfig, load_weights
from mechgrok.runs import Run
from mechgrok.tasks import make_task
from tests.analyses.handmade import handmade_run, run_of

P, K = 13, 3


def circle(n: int = P, k: int = K, phases: Tensor | None = None) -> Tensor:
    """cos(2π k x / n − φ) for each phase φ: cosine and sine unless given."""
    x = torch.arange(n, dtype=torch.float64)[:, None]
    phases = torch.tensor([0, math.pi / 2], dtype=torch.float64) if phases is None else phases
    return (2 * math.pi * k * x / n - phases).cos()


def pizza(path: Path, name: str = "add", n: int = P) -> Run:
    """Σ_φ ReLU(cos(w a − φ) + cos(w b − φ)) cos(w c − 2φ): a sum's length times cos(w (s − c))."""
    phases = 2 * math.pi * torch.arange(24, dtype=torch.float64) / 24
    W_in, W_out = circle(n, K, phases), circle(n, K, 2 * phases).T
    if name == "add":
        return handmade_run(path, W_in, W_out, name="add", p=n)
    order = residues(make_task("mul", p=n + 1))  # at their logarithms; 0 has none
    places, answers = torch.zeros(n + 1, 24).double(), torch.zeros(24, n + 1).double()
    places[order], answers[:, order] = W_in, W_out
    return handmade_run(path, places, answers, name="mul", p=n + 1)


def clock(path: Path) -> Run:
    """Σ_φψ (cos(w a − φ) + cos(w b − ψ))² cos(w c − φ − ψ), of which cos(w (a + b − c)) is left."""
    turns = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5
    phi, psi = torch.cartesian_prod(turns, turns).T
    weights = {
        "W_E_0": circle(),
        "W_E_1": circle(),
        "W_in": torch.stack([phi.cos(), phi.sin(), psi.cos(), psi.sin()]),
        "W_out": torch.stack([(phi + psi).cos(), (phi + psi).sin()], 1),
        "W_U": circle().T,
    }
    model = {"kind": "positional-mlp", "d_model": 2, "d_mlp": 25}
    model |= {"act": "quadratic", "join": "concat"}
    task = {"name": "add", "p": P, "pairs": "ordered"}
    return run_of(path, {name: w.float() for name, w in weights.items()}, model, task)


def test_a_handmade_pizza_is_one(tmp_path: Path) -> None:
    answer = algorithm.measure(pizza(tmp_path / "run"))
    assert "waves fall by 100%" in algorithm.finding(answer)
    measured = answer.isel(step=0)
    assert measured.key.to_numpy().tolist() == [K]
    assert measured.pizza.to_numpy().ravel() == pytest.approx([1, 1], abs=0.01)
    assert float(measured.symmetricity) == 1
    # The right answer's logit is the length of the sum of two vectors, and nothing else.
    assert float(measured.irrelevance) < 0.02
    length = abs(torch.cos(math.pi * K * torch.arange(P) / P)).numpy()
    assert measured.correct.to_numpy() / float(measured.correct[0]) == pytest.approx(
        length, abs=0.01
    )
    assert float(measured.alignment) == pytest.approx(1)
    assert set(measured.frequency_of.to_numpy().tolist()) == {K}


def test_a_handmade_clock_is_one(tmp_path: Path) -> None:
    run = clock(tmp_path / "run")
    answer = algorithm.measure(run, triples=P**3)
    assert "waves fall by 0%" in algorithm.finding(answer)
    measured = answer.isel(step=0)
    assert measured.key.to_numpy().tolist() == [K]
    assert measured.pizza.to_numpy().ravel() == pytest.approx([0, 0], abs=1e-5)
    # ∂Q/∂E_a points to c − b on the circle and ∂Q/∂E_b to c − a: their cosine is cos(w (a − b)).
    assert float(measured.symmetricity) == pytest.approx(0, abs=1e-6)
    assert float(measured.symmetricity_error) == 0
    pair = torch.tensor([[2, 5], [4, 4]])
    cosines = gradient_cosines(run.model(0), pair, torch.tensor([1, 7]))
    assert cosines.tolist() == pytest.approx([math.cos(2 * math.pi * K * 3 / P), 1], abs=1e-5)
    assert float(measured.alignment) == pytest.approx(1)


def test_products_are_sums_of_logarithms(tmp_path: Path) -> None:
    measured = algorithm.measure(pizza(tmp_path / "run", "mul", n=12)).isel(step=0)
    assert measured.attrs["order"] == "multiplicative"
    assert measured.key.to_numpy().tolist() == [K]
    assert measured.pizza.to_numpy().ravel() == pytest.approx([1, 1], abs=0.02)


def test_half_of_a_pizza_falls_by_half() -> None:
    top = torch.cos(torch.pi * K * torch.arange(P).double() / P).abs()
    assert pizza_share(2 + 2 * top, K) == pytest.approx(0.5)
    assert pizza_share(-(2 + 2 * top), K) == pytest.approx(0.5)
    assert math.isnan(pizza_share(0 * top, K))
    assert math.isnan(pizza_share(torch.where(top == 1, torch.nan, top), K))


def test_points_without_order_lie_on_no_circle() -> None:
    generator = torch.Generator().manual_seed(0)
    assert float(circularity(torch.randn(59, 40, generator=generator)).mean()) < 0.25
    assert float(circularity(circle(59, 7), 2).mean()) == pytest.approx(1)


def test_the_error_of_drawn_triples_is_told(tiny_transformer_run: Run) -> None:
    step = tiny_transformer_run.steps[-1]
    every = algorithm.measure(tiny_transformer_run, steps=[step], triples=10**6)
    few = algorithm.measure(tiny_transformer_run, steps=[step], triples=60)
    assert float(every.symmetricity_error[0]) == 0 < float(few.symmetricity_error[0])
    off = abs(float(few.symmetricity[0]) - float(every.symmetricity[0]))
    assert off < 4 * float(few.symmetricity_error[0])


def test_phases_align_as_a_network_generalizes() -> None:
    measured = algorithm.measure(mechgrok.Run("data/base"))
    assert abs(float(measured.alignment[0])) < 0.3
    assert float(measured.alignment[-1]) > 0.99
    assert measured.pizza.sel(circle="alone")[-1].to_numpy() == pytest.approx(1, abs=0.1)
    assert "gradient symmetricity 1, as for every network" in algorithm.finding(measured)


@pytest.mark.parametrize("given", [{"triples": 0}, {"checkpoints": 0}])
def test_numbers_out_of_range_are_refused(tiny_run: Run, given: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"= 0 .*1 or more"):
        algorithm.measure(tiny_run, **given)


# --- the networks of Zhong et al. 2023 ----------------------------------------------------------

#: Where model_NAME.pt and config_NAME.json of their repository's code/save lie.
SAVED = Path(
    os.environ.get("MECHGROK_PIZZA", Path(__file__).parents[2].parent / "shared/peers/pizza")
)
PUBLISHED = pytest.mark.skipif(
    not (SAVED / "model_p99zdpze5l.pt").is_file(),
    reason="no networks of Zhong et al. in $MECHGROK_PIZZA or beside the checkout",
)


def their_triples() -> Tensor:
    """The hundred triples that they draw."""
    every = [(a, b, c) for a in range(59) for b in range(59) for c in range(59)]
    random.Random(42).shuffle(every)
    return torch.tensor(every[:100])


@PUBLISHED
@pytest.mark.parametrize(
    ("name", "logit", "irrelevance", "symmetricity", "round_"),
    [
        ("p99zdpze5l", "correct", 0.17173645661473538, 0.9936651682853699, 0.9978184479185687),
        # Of this one the table of all their runs tells the irrelevance of the best wrong answer.
        ("2k4ohj6bhd", "runner-up", 0.819558301, 0.781316222, 0.734218111),
    ],
)
def test_published_networks_measure_as_published(
    tmp_path: Path, name: str, logit: str, irrelevance: float, symmetricity: float, round_: float
) -> None:
    run = import_run([SAVED / f"model_{name}.pt"], tmp_path / "run")
    assert float(run.metrics.test_accuracy.iloc[-1]) == 1
    measured = algorithm.measure(run, logit=logit).isel(step=0)  # type: ignore[arg-type]
    assert float(measured.irrelevance) == pytest.approx(irrelevance, abs=1e-6)
    # Theirs is computed in float32.
    assert float(measured.circularity) == pytest.approx(round_, abs=1e-5)
    triples = their_triples()
    cosines = gradient_cosines(run.model(0), triples[:, :2], triples[:, 2])
    assert float(cosines.mean()) == pytest.approx(symmetricity, abs=1e-5)
    # Over 2,048 triples instead of a hundred:
    assert float(measured.symmetricity) == pytest.approx(symmetricity, abs=0.02)


@PUBLISHED
def test_the_published_pizza_is_one_on_each_of_its_circles(tmp_path: Path) -> None:
    run = import_run([SAVED / "model_p99zdpze5l.pt"], tmp_path / "run")
    measured = algorithm.measure(run).isel(step=0)
    # Their circles have δ = 7, 20 and 4, the inverses of 17, 3 and 15 modulo 59.
    assert set(measured.key.to_numpy().tolist()) == {3, 15, 17}
    assert measured.pizza.sel(circle="alone").to_numpy() == pytest.approx(1, abs=0.1)
    # "Accompanying pizzas" make up for where operands lie opposite.
    assert measured.pizza.sel(circle="all").to_numpy() == pytest.approx(0.1, abs=0.05)


@PUBLISHED
def test_two_vocabularies_are_measured_as_published_but_not_imported(tmp_path: Path) -> None:
    file = SAVED / "model_18c9ev5v5p.pt"
    with pytest.raises(UserError, match="vocabular"):
        import_run([file], tmp_path / "run")
    (saved,) = read(file)
    network = recognize(saved.state, file)
    rate = saved.content["config"]["attn_coeff"]
    config = TransformerConfig(**network.model, attention_rate=rate)
    model = HookedTransformer(config, d_vocab=118, n_ctx=2, d_output=118)
    load_weights(model, network.weights)
    pair = torch.cartesian_prod(torch.arange(59), torch.arange(59))
    answer, offset = pair.sum(1, keepdim=True) % 59, torch.tensor([0, 59])
    with torch.no_grad():
        wrong = model(pair + offset).scatter(1, answer, -torch.inf).amax(1)
    distance = (pair[:, 0] - pair[:, 1]) % 59
    assert distance_irrelevance(wrong, distance) == pytest.approx(0.180793251, abs=1e-6)
    triples = their_triples()
    cosines = gradient_cosines(model, triples[:, :2] + offset, triples[:, 2])
    assert float(cosines.mean()) == pytest.approx(0.997397659, abs=1e-4)
