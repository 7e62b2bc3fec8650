"""Terms, heads, clusters and singular values, against closed forms and written-out sums."""

from pathlib import Path

import numpy as np
import pytest
import torch

import mechgrok
from mechgrok.analyses import clusters, heads, singular_values, terms
from mechgrok.errors import UserError
from mechgrok.interventions import Keep, Network, Remove, intervened
from mechgrok.runs import Run
from tests.analyses.handmade import handmade_run, waves

P = 11
QUARTER = torch.pi / 2


def test_the_two_dimensional_basis_is_orthonormal_and_transforms_by_name() -> None:
    basis, names = mechgrok.fourier_basis_2d(5)
    flat = basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(25), atol=1e-6, rtol=0)
    signal = torch.randn(5, 5, 3)
    coefficients = mechgrok.fft2d(signal)
    torch.testing.assert_close(coefficients.flatten(0, 1), flat @ signal.flatten(0, 1))
    x = 2 * torch.pi * torch.arange(5) / 5
    sum_wave = (x[:, None] + x).cos()
    strong = {n: float(v) for n, v in zip(names, flat @ sum_wave.flatten(), strict=True)}
    named = {name: value for name, value in strong.items() if abs(value) > 1e-5}
    assert named == pytest.approx({"cos 1a cos 1b": 2.5, "sin 1a sin 1b": -2.5}, abs=1e-5)


def test_terms_are_chosen_by_name_and_unknown_ones_are_refused() -> None:
    chosen = mechgrok.fourier_basis_2d(113, ["cos 14a sin 3b", "const"])
    x = 2 * torch.pi * torch.arange(113) / 113
    expected = (14 * x).cos()[:, None] * (3 * x).sin() * 2 / 113
    torch.testing.assert_close(chosen.functions[0], expected, atol=1e-6, rtol=0)
    with pytest.raises(UserError, match="cos 9a"):
        mechgrok.fourier_basis_2d(5, ["cos 9a"])
    with pytest.raises(UserError, match=r"\[p, p"):
        mechgrok.fft2d(torch.zeros(25, 3))


@pytest.fixture
def squaring_run(tmp_path: Path) -> Run:
    """Neurons ReLU(cos(w_k a − φ) + cos(w_k b − φ)) of two frequencies."""
    k, phase = [2, 2, 4, 4], [0.0, QUARTER, 0.3, 1.0]
    W_in = waves(P, k, phase)
    return handmade_run(tmp_path / "run", W_in, waves(P, k, phase).T, name="add", p=P)


def test_the_terms_of_a_preactivation_are_the_waves_that_were_written(squaring_run: Run) -> None:
    at = terms.measure(squaring_run, hook="blocks.0.mlp.hook_pre", strongest=4).isel(step=0)
    # Each neuron has equal power in a and in b; the first two of k = 2 are a cosine and a sine.
    kinds = at.kind_share.sel(kind=["a alone", "b alone"])
    np.testing.assert_allclose(kinds, [0.5, 0.5], atol=1e-6)
    of_a = at.share.sel(of_b="const")
    assert float(of_a.sel(of_a="cos 2")) == pytest.approx(1 / 8, abs=1e-6)
    assert float(of_a.sel(of_a="sin 2")) == pytest.approx(1 / 8, abs=1e-6)
    assert float(at.share.sum()) == pytest.approx(1, abs=1e-6)


def test_shares_of_terms_are_those_of_the_written_out_projection(tiny_transformer_run: Run) -> None:
    measured = terms.measure(tiny_transformer_run, hook="blocks.0.attn.hook_pattern")
    run, at = tiny_transformer_run, measured.isel(step=-1)
    pair = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    cache = run.model(-1).run_with_cache(pair)[1]
    grid = cache["blocks.0.attn.hook_pattern"][:, :, -1].detach().double().reshape(49, -1)
    basis, names = mechgrok.fourier_basis_2d(7)
    power = (basis.flatten(1).double() @ (grid - grid.mean(0))).square().sum(1)
    share = dict(zip(names, (power / power.sum()).tolist(), strict=True))
    for name, value in zip(at.term.values, at.strongest_share.values, strict=True):
        assert share[str(name)] == pytest.approx(value, abs=1e-5)


def test_hooks_and_positions_that_do_not_exist_are_refused(tiny_transformer_run: Run) -> None:
    for options, remedy in (
        ({"hook": "hook_posts"}, "hook"),
        ({"hook": "hook_embed", "position": 9}, "0 to 1"),
    ):
        with pytest.raises(UserError, match=remedy):
            terms.measure(tiny_transformer_run, **options)


def test_a_square_of_waves_is_a_quadratic_form_and_not_a_linear_one(squaring_run: Run) -> None:
    at = clusters.measure(squaring_run).isel(step=0)
    assert at.frequency_of.values.tolist() == [2, 2, 4, 4]
    assert sorted(at.key.values.tolist()) == [2, 4]
    # Regression on the 13 functions of degree up to 2, by least squares.
    x = 2 * torch.pi * 2 * torch.arange(P).double() / P
    one = [torch.ones(P).double(), x.cos(), x.sin(), (2 * x).cos(), (2 * x).sin()]
    degree = [0, 1, 1, 2, 2]
    design = {
        limit: torch.stack(
            [
                torch.outer(f, g).flatten()
                for f, i in zip(one, degree, strict=True)
                for g, j in zip(one, degree, strict=True)
                if i + j <= limit
            ],
            1,
        )
        for limit in (1, 2)
    }
    W_in = squaring_run.weights("W_in")[0, :, 0].double()
    y = (W_in[:, None] + W_in).relu().flatten()
    for name, limit in (("linear", 1), ("quadratic", 2)):
        fit = design[limit] @ torch.linalg.lstsq(design[limit], y[:, None]).solution[:, 0]
        r2 = 1 - float((y - fit).square().sum() / (y - y.mean()).square().sum())
        assert float(at[name][0]) == pytest.approx(r2, abs=1e-6)
    assert float(at.quadratic[0]) > 0.9 > float(at.linear[0])
    assert float(at.firing[0]) == pytest.approx(float((W_in[:, None] + W_in > 0).double().mean()))


def test_waves_of_the_sum_appear_with_the_activation(squaring_run: Run) -> None:
    at = clusters.measure(squaring_run).isel(step=0)
    assert np.abs(at.pre_coefficient.values).max() < 1e-6
    assert at.answer_share.sel(place="pre").values == pytest.approx([0, 0], abs=1e-9)
    pair = torch.cartesian_prod(torch.arange(P), torch.arange(P))
    angle = 2 * torch.pi * 2 * pair.sum(1).double() / P
    W_in = squaring_run.weights("W_in")[0, :, 0].double()
    post = (W_in[:, None] + W_in).relu().flatten()
    expected = [float(2 * (post * wave).mean()) for wave in (angle.cos(), angle.sin())]
    assert at.post_coefficient.sel(neuron=0).values == pytest.approx(expected, abs=1e-6)
    logits = at.logit_coefficient.sel(key=2)
    assert np.hypot(*logits.values).max() > 0.1


@pytest.mark.parametrize("which", ["tiny_run", "tiny_transformer_run", "group_run"])
def test_own_frequencies_are_a_keep_for_each_cluster(
    which: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(which)
    network, hook = Network(run, run.steps[-1]), run.wiring.hidden[-1].hook
    inputs = run.task.examples.inputs
    own = clusters.measure(run, steps=[run.steps[-1]]).frequency_of[0].values

    def activations(*interventions: Keep | Remove) -> torch.Tensor:
        return intervened(run, run.steps[-1], interventions).activation(hook, inputs)

    kept = activations(Keep(frequencies="own", of="neurons"))
    removed = activations(Remove(frequencies="own", of="neurons"))
    for k in set(own.tolist()) - {0}:
        cluster = torch.from_numpy(own == k)
        for found, kind in ((kept, Keep), (removed, Remove)):
            alone = activations(kind(frequencies=[k], of="neurons"))
            torch.testing.assert_close(
                found[..., cluster], alone[..., cluster], atol=1e-5, rtol=1e-4
            )
    assert not torch.equal(kept, network.activation(hook, inputs))


def test_only_neurons_have_own_frequencies() -> None:
    with pytest.raises(UserError, match="neurons"):
        Keep(frequencies="own", of="embedding")


def test_restricted_accuracy_is_that_of_the_intervention(tiny_run: Run) -> None:
    at = clusters.measure(tiny_run).isel(step=-1)
    done = mechgrok.intervene(tiny_run, [Keep(frequencies="own", of="neurons")], steps="last")
    sides = done.accuracy.isel(step=0).sel(state="intervened")
    n = {side: len(getattr(tiny_run.task, side).labels) for side in ("train", "test")}
    right = sum(float(sides.sel(side=side)) * n[side] for side in n)
    assert float(at.restricted_accuracy) == pytest.approx(right / sum(n.values()))


def test_effective_weights_of_heads_are_written_out_products(tiny_transformer_run: Run) -> None:
    run, at = tiny_transformer_run, heads.measure(tiny_transformer_run).isel(step=-1)
    model = run.model(-1)
    attn, mlp = model.blocks[0].attn, model.blocks[0].mlp
    query = model.W_E.mean(0) + model.W_pos[-1]  # without "=", the last token is b
    for head in range(2):
        neur = model.W_E @ attn.W_V[head] @ attn.W_O[head] @ mlp.W_in
        expected = torch.fft.rfft(neur.T).abs().norm(dim=0).detach()
        np.testing.assert_allclose(
            at.neuron_amplitude.sel(head=head), expected, rtol=1e-4, atol=1e-5
        )
        score = model.W_E @ attn.W_K[head] @ (query @ attn.W_Q[head]) * attn.scale
        expected = torch.fft.rfft(score).abs().detach()
        np.testing.assert_allclose(
            at.score_amplitude.sel(head=head), expected, rtol=1e-3, atol=1e-5
        )
    through = run.input_side([run.steps[-1]], path="attention")[0]
    total = sum(model.W_E @ attn.W_V[h] @ attn.W_O[h] @ mlp.W_in for h in range(2))
    torch.testing.assert_close(total.detach(), through, atol=1e-5, rtol=1e-4)


def test_the_wave_of_a_difference_is_found_again() -> None:
    from mechgrok.tasks.harmonics import Waves

    x = 2 * torch.pi * 3 * torch.arange(P).double() / P
    grid = 0.1 + 0.4 * (x[:, None] - 0.5).cos() - 0.4 * (x - 0.5).cos()
    found = heads._linear_waves(grid[None], Waves(torch.arange(P)))
    assert found["wave_frequency"].tolist() == [3]
    assert float(found["wave_share"]) == pytest.approx(1)
    expected = [[0.4 * np.cos(0.5), 0.4 * np.sin(0.5)], [-0.4 * np.cos(0.5), -0.4 * np.sin(0.5)]]
    np.testing.assert_allclose(found["wave"][0], expected, atol=1e-9)


def test_attention_to_a_minus_b_is_that_of_the_pattern(tiny_transformer_run: Run) -> None:
    at = heads.measure(tiny_transformer_run).isel(step=-1)
    cache = tiny_transformer_run.model(-1).run_with_cache(torch.tensor([[2, 5]]))[1]
    pattern = cache["pattern", 0][0, :, -1].detach()
    np.testing.assert_allclose(
        at.difference.sel(a=2, b=5), pattern[:, 0] - pattern[:, 1], atol=1e-6
    )


def test_an_mlp_has_no_heads_and_random_labels_no_clusters(tiny_run: Run, tmp_path: Path) -> None:
    assert "no attention heads" in str(heads.applies(tiny_run))
    run = handmade_run(tmp_path / "run", torch.randn(7, 3), torch.randn(3, 7), name="random", p=7)
    assert clusters.applies(run) == "random labels follow no formula."


def test_singular_values_of_one_wave_are_two(tmp_path: Path) -> None:
    W_in = 3 * waves(P, [2, 2], [0.0, QUARTER]) @ torch.eye(2, 6, dtype=torch.float64)
    run = handmade_run(tmp_path / "run", W_in, torch.eye(6, P), name="add", p=P)
    at = singular_values.measure(run).isel(step=0)
    expected = [3 * (P / 2) ** 0.5] * 2 + [0] * 4
    np.testing.assert_allclose(at.embedding, expected, atol=1e-5)
    assert float(at.embedding_rank) == pytest.approx(2, abs=1e-4)
    np.testing.assert_allclose(at.unembedding, 1, atol=1e-6)
    assert float(at.unembedding_rank) == pytest.approx(6, abs=1e-4)


def test_the_terms_of_some_units_add_up_to_those_of_all(tiny_transformer_run: Run) -> None:
    hook = "blocks.0.attn.hook_pattern"
    every, *parts = (
        mechgrok.analyze(tiny_transformer_run, "terms", hook=hook, units=units).isel(step=-1)
        for units in (None, np.arange(3), 3)
    )
    total = sum(part.share * part.variance for part in parts)
    np.testing.assert_allclose(total, every.share * every.variance, rtol=1e-3, atol=1e-7)
    assert parts[1].attrs["hook"] == f"{hook}, unit 3"
    with pytest.raises(UserError, match="0 to 3"):
        terms.measure(tiny_transformer_run, hook=hook, units=[4])


def test_products_are_shares_of_the_two_dimensional_transform(squaring_run: Run) -> None:
    at = clusters.measure(squaring_run).isel(step=0)
    W_in = squaring_run.weights("W_in")[0].double()
    pre = W_in[:, None] + W_in
    for side, grid in (("pre", pre), ("post", pre.relu())):
        power = mechgrok.fft2d(grid).square()
        power[0, 0] = 0
        expected = power[3:5, 3:5, 0].sum() / power[..., 0].sum()  # cos 2, sin 2 of both
        found = float(at.product_share.sel(side=side, neuron=0))
        assert found == pytest.approx(float(expected), abs=1e-6)
    assert float(at.product_share.sel(side="pre").max()) < 1e-9 < 0.05 < found


def test_spectra_by_neuron_are_those_of_the_columns(tiny_transformer_run: Run) -> None:
    run, at = (
        tiny_transformer_run,
        heads.measure(tiny_transformer_run, by_neuron=True).isel(step=-1),
    )
    model = run.model(-1)
    attn = model.blocks[0].attn
    column = (model.W_E @ attn.W_V[1] @ attn.W_O[1] @ model.blocks[0].mlp.W_in)[:, 4].detach()
    expected = torch.fft.rfft(column).abs()
    found = at.neuron_spectrum.sel(head=1, neuron=4)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert "neuron_spectrum" not in heads.measure(run, steps=[0])
    mechgrok.draw(run, "heads", by_neuron=True)


def test_the_mean_attention_is_that_over_all_pairs(tiny_transformer_run: Run) -> None:
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    pattern = tiny_transformer_run.model(-1).run_with_cache(pairs)[1]["pattern", 0][:, :, -1]
    at = heads.measure(tiny_transformer_run).isel(step=-1)
    np.testing.assert_allclose(at.mean_attention, pattern.mean(0).detach(), rtol=1e-5)


def test_singular_vectors_of_a_wave_are_that_wave(tmp_path: Path) -> None:
    cosine, sine = waves(P, [2, 2], [0.0, QUARTER]).double().T
    W_in = torch.stack([3 * cosine, sine], 1) @ torch.eye(2, 6, dtype=torch.float64)
    run = handmade_run(tmp_path / "run", W_in, torch.eye(6, P), name="add", p=P)
    at = singular_values.measure(run, vectors=2).isel(step=0)
    for vector, wave in enumerate((cosine, sine), 1):
        found = torch.tensor(at.embedding_vector.sel(vector=vector).values).double()
        assert abs(float(found @ wave / wave.norm())) == pytest.approx(1, abs=1e-6)
        assert found.abs().max() == found.max()
    mechgrok.draw(run, "singular-values", vectors=2)
    with pytest.raises(UserError, match="vectors"):
        singular_values.measure(run, vectors=-1)
