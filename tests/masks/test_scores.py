"""Every method's scores against a definition that is computed in another way."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.masks import Mask, apply_mask, prunable_weights
from mechgrok.masks.scores import (
    Scores,
    grasp,
    is_trainable,
    magnitude,
    prune,
    random,
    snip,
    synflow,
)
from mechgrok.models import (
    Group,
    HookedMLP,
    HookedModel,
    HookedTransformer,
    MLPConfig,
    ModelShape,
    WiredModel,
    Wiring,
)
from mechgrok.runs import Run


@pytest.fixture(params=["tiny_run", "tiny_transformer_run"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


def loss_of(model: HookedModel, run: Run, temperature: float = 1.0) -> Tensor:
    inputs, labels = run.task.train
    return run.task.loss(model(inputs, mode="full") / temperature, labels)


def flat(scores: Scores) -> Tensor:
    return torch.cat([score.flatten() for score in scores.values()])


def test_magnitude_is_the_absolute_weight(run: Run) -> None:
    model = run.model()
    scores = magnitude(model)
    assert scores.keys() == prunable_weights(model).keys()
    assert all(torch.equal(scores[n], w.abs()) for n, w in prunable_weights(model).items())


def test_random_scores_follow_their_seed_and_nothing_else(run: Run) -> None:
    first, last = run.model(0), run.model()
    assert torch.equal(flat(random(first, 3)), flat(random(last, 3)))
    assert not torch.equal(flat(random(first, 3)), flat(random(first, 4)))


def test_snip_is_the_gradient_with_respect_to_an_explicit_mask(run: Run) -> None:
    model = run.model(0)
    masks = {n: torch.ones_like(w, requires_grad=True) for n, w in prunable_weights(model).items()}
    switched = {n: w.detach() * masks[n] for n, w in prunable_weights(model).items()}
    inputs, labels = run.task.train
    outputs = torch.func.functional_call(model, switched, (inputs,), {"mode": "full"})
    gradient = torch.autograd.grad(run.task.loss(outputs, labels), list(masks.values()))
    torch.testing.assert_close(
        flat(snip(model, run.task)), torch.cat([g.abs().flatten() for g in gradient])
    )


@pytest.fixture
def small_in_double(tiny_run: Run) -> HookedModel:
    return tiny_run.model(0).double()


def explicit_hessian(model: HookedModel, run: Run, temperature: float) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the training loss over all matrices, flatten."""
    weights = prunable_weights(model)
    shapes = {name: weight.shape for name, weight in weights.items()}
    theta = torch.cat([weight.detach().flatten() for weight in weights.values()])

    def loss(theta: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes.values()])
        named = {n: part.view(shapes[n]) for n, part in zip(shapes, parts, strict=True)}
        outputs = torch.func.functional_call(model, named, (counts,), {"mode": "folded"})
        return run.task.loss(outputs / temperature, run.task.train.labels)

    counts = model.encode(run.task.train.inputs)
    gradient = torch.autograd.functional.jacobian(loss, theta)
    return gradient, torch.autograd.functional.hessian(loss, theta)


def test_grasp_is_theta_times_hessian_times_gradient(
    tiny_run: Run, small_in_double: HookedModel
) -> None:
    gradient, hessian = explicit_hessian(small_in_double, tiny_run, 200.0)
    theta = flat({n: w.detach() for n, w in prunable_weights(small_in_double).items()})
    torch.testing.assert_close(
        flat(grasp(small_in_double, tiny_run.task)), theta * (hessian @ gradient)
    )


def test_what_grasp_keeps_carries_the_gradient_flow(tiny_run: Run) -> None:
    """Removing what it scores low leaves a larger gradient than removing what it scores high."""
    scores = grasp(tiny_run.model(0), tiny_run.task)

    def flow_without(removed: Mask) -> float:
        # A small step towards removal, where the first-order definition is exact.
        model = tiny_run.model(0)
        with torch.no_grad():
            for name, weight in prunable_weights(model).items():
                weight.sub_(1e-3 * weight * removed[name])
        loss = loss_of(model, tiny_run, temperature=200.0)
        gradient = torch.autograd.grad(loss, list(prunable_weights(model).values()))
        return sum(float(g.double().square().sum()) for g in gradient)

    highest = Mask.from_scores(scores, 0.9)
    lowest = Mask.from_scores({name: -score for name, score in scores.items()}, 0.9)
    nothing = Mask({name: torch.zeros_like(kept) for name, kept in highest.items()})
    assert flow_without(lowest) > flow_without(nothing) > flow_without(highest)


def test_one_round_of_synflow_is_the_product_of_absolute_matrices(tiny_run: Run) -> None:
    model = tiny_run.model(0)
    W_E, W_in, W_out, W_U = (
        model.get_parameter(name).detach().double().abs()
        for name in ("W_E", "W_in", "W_out", "W_U")
    )
    ones = torch.ones(7, dtype=torch.float64)
    into_model, out_of_hidden = ones @ W_E, W_out @ W_U @ ones
    into_hidden = into_model @ W_in
    expected = {
        "W_E": W_E * (W_in @ out_of_hidden),
        "W_in": into_model[:, None] * W_in * out_of_hidden,
        "W_out": into_hidden[:, None] * W_out * (W_U @ ones),
        "W_U": (into_hidden @ W_out)[:, None] * W_U,
    }
    scores = synflow(model, 0.6, rounds=1)
    assert scores.keys() == expected.keys()
    for name, score in scores.items():
        torch.testing.assert_close(score, expected[name])


@pytest.mark.parametrize("norm_at", ["after", "before+end"])
@pytest.mark.parametrize("kind", [HookedMLP, HookedTransformer])
def test_synflow_leaves_normalizations_out(
    kind: type[HookedMLP | HookedTransformer], norm_at: str
) -> None:
    config = kind.Config(d_model=6, d_mlp=5)
    sizes = {"d_vocab": 7, "d_output": 7, "n_ctx": 2}
    plain = kind(config, **sizes)
    model = kind(kind.Config(d_model=6, d_mlp=5, norm="layer", norm_at=norm_at), **sizes)
    mask = Mask({name: torch.rand(w.shape) < 0.5 for name, w in prunable_weights(plain).items()})
    apply_mask(plain, mask)
    apply_mask(model, mask)
    expected, found = synflow(plain, 0.6, rounds=2), synflow(model, 0.6, rounds=2)
    assert found.keys() == expected.keys()
    for name, score in found.items():
        torch.testing.assert_close(score, expected[name])


class Sums(WiredModel):
    """f(a, b) = (E[a] + E[b]) W_out, which reads tokens alone."""

    Config = ModelShape

    @classmethod
    def wire(cls, config: Any, *, d_vocab: int, n_ctx: int, d_output: int) -> Wiring:
        groups = {"tokens": Group(d_vocab, "token"), "neurons": Group(config.d_mlp, "neuron")}
        groups["answers"] = Group(d_output, "output")
        ends = {"E": ("tokens", "neurons"), "W_out": ("neurons", "answers")}
        return Wiring.between(groups, ends, hooks={"neurons": "hook_post"})

    def forward(self, inputs: Tensor, mode: str = "auto") -> Tensor:
        return self.hook_logits(self.hook_post(self.E[inputs].sum(1)) @ self.W_out)


def test_synflow_feeds_every_token_to_a_model_that_reads_no_vectors() -> None:
    """Of a linear network that is what ones at both positions are: R = 2 · 1ᵀ |E| |W_out| 1."""
    model = Sums(ModelShape(kind="sums", d_mlp=4), d_vocab=5, d_output=3, n_ctx=2)
    E, W_out = (model.get_parameter(name).detach().double().abs() for name in ("E", "W_out"))
    scores = synflow(model, 0.5, rounds=1)
    torch.testing.assert_close(scores["E"], 2 * E * W_out.sum(1))
    torch.testing.assert_close(scores["W_out"], 2 * E.sum(0)[:, None] * W_out)


def test_synflow_is_conserved_from_layer_to_layer(run: Run) -> None:
    scores = synflow(run.model(0), 0.6, rounds=1)
    assert all((score >= 0).all() and score.any() for score in scores.values())
    if isinstance(run.model(0), HookedTransformer):
        inwards, outwards = "blocks.0.attn.W_V", "blocks.0.attn.W_O"
    else:
        inwards, outwards = "W_in", "W_out"
    torch.testing.assert_close(scores[inwards].sum(), scores[outwards].sum())


def test_many_rounds_of_synflow_keep_the_layer_that_one_round_empties() -> None:
    config = MLPConfig(d_model=None, d_mlp=60, n_layers=2)  # a layer nine times as large as others
    model = HookedMLP(config, d_vocab=7, d_output=7)
    sparse = 1 - 100 / 4440
    one, many = (
        Mask.from_scores(synflow(model, sparse, rounds), sparse)["W_hidden_1"].sum()
        for rounds in (1, 100)
    )
    assert one == 0
    assert many > 10


def test_synflow_looks_at_no_sign_and_changes_no_weight(run: Run) -> None:
    model, flipped = run.model(0), run.model(0)
    with torch.no_grad():
        for weight in prunable_weights(flipped).values():
            weight.mul_(torch.where(torch.rand_like(weight) < 0.5, -1.0, 1.0))
    before = flat({n: w.detach().clone() for n, w in prunable_weights(model).items()})
    assert torch.equal(flat(synflow(model, 0.6, 5)), flat(synflow(flipped, 0.6, 5)))
    assert torch.equal(flat(dict(prunable_weights(model))), before)


def few(method: str) -> dict[str, int]:
    """Few rounds, for the method that has rounds."""
    return {"rounds": 3} if method == "synflow" else {}


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("method", ["magnitude", "random", "snip", "grasp", "synflow"])
def test_every_method_prunes_exactly_the_rate(run: Run, method: str, scope: str) -> None:
    mask = prune(run.model(0), run.task, 0.6, method, scope=scope, **few(method))  # type: ignore[arg-type]
    assert mask.n_kept == pytest.approx(0.4 * mask.n_entries, abs=0.5 if scope == "global" else 5)
    if scope == "layer":
        assert all(density == pytest.approx(0.4, abs=0.02) for density in mask.densities.values())


@pytest.mark.parametrize("method", ["magnitude", "random", "snip", "grasp", "synflow"])
def test_what_is_pruned_stays_pruned(run: Run, method: str) -> None:
    model = run.model(0)
    first = prune(model, run.task, 0.5, "random", seed=9)
    apply_mask(model, first)
    second = prune(model, run.task, 0.7, method, **few(method))  # type: ignore[arg-type]
    assert second & first == second
    assert second.density == pytest.approx(0.3, abs=0.001)


def test_an_unknown_method_is_answered_with_the_known_ones(tiny_run: Run) -> None:
    with pytest.raises(UserError, match=r"'magic'.*magnitude, random, snip"):
        prune(tiny_run.model(), tiny_run.task, 0.6, "magic")  # type: ignore[arg-type]


def test_a_network_cut_through_cannot_be_trained(tiny_run: Run) -> None:
    model = tiny_run.model(0)
    assert is_trainable(model, tiny_run.task)
    apply_mask(model, Mask({"W_in": torch.zeros(12, 8)}))
    assert not is_trainable(model, tiny_run.task)
