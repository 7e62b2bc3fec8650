"""What interventions do to a network, against hooks and masks written by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mechgrok.analyses import progress
from mechgrok.analyses.measures.fourier import grid_share
from mechgrok.analyses.measures.harmonics import Waves
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.interventions import (
    Ablate,
    Edges,
    Fit,
    Intervention,
    Keep,
    Network,
    Patch,
    Remask,
    Remove,
    Revive,
    intervene,
    intervened,
)
from mechgrok.interventions.grids import grid_of
from mechgrok.interventions.waves import own_parts
from mechgrok.masks import apply_mask, prune
from mechgrok.runs import Run
from mechgrok.tasks import fft2d, fourier_basis
from mechgrok.training import train

MLP, HOOK = "tiny_run", "blocks.0.mlp.hook_post"
RUNS = (MLP, "tiny_transformer_run", "masked_run")


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


def outputs(run: Run, *interventions: Intervention, step: int = -1) -> Tensor:
    return intervened(run, step, interventions).outputs(run.task.test.inputs)


def by_hand(run: Run, hook: str, change: Callable[[Tensor], Tensor], step: int = -1) -> Tensor:
    def forward(value: Tensor, hook: Any) -> Tensor:
        return change(value.clone())

    with torch.no_grad():
        return run.model(step).run_with_hooks(run.task.test.inputs, fwd_hooks=[(hook, forward)])


def activation(run: Run, hook: str, step: int, inputs: Tensor) -> Tensor:
    return run.model(step).run_with_cache(inputs)[1][hook].detach()


# --- units --------------------------------------------------------------------------------------


def test_a_neuron_is_silenced(run: Run):
    def silence(post: Tensor) -> Tensor:
        post[..., [2, 5]] = 0
        return post

    torch.testing.assert_close(outputs(run, Ablate(neurons=[2, 5])), by_hand(run, HOOK, silence))


def test_ablating_nobody_changes_nothing(run: Run):
    torch.testing.assert_close(outputs(run, Ablate(neurons=[])), outputs(run))


def test_the_mean_is_that_of_all_examples(run: Run):
    mean = activation(run, HOOK, -1, run.task.examples.inputs).mean(0)

    def set_to_mean(post: Tensor) -> Tensor:
        post[..., 3] = mean[..., 3]
        return post

    found = outputs(run, Ablate(neurons=[3], to="mean"))
    torch.testing.assert_close(found, by_hand(run, HOOK, set_to_mean), rtol=1e-4, atol=1e-5)


def test_resampled_values_occur_on_other_examples_and_are_the_same_for_a_seed(run: Run):
    inputs, every = run.task.test.inputs, activation(run, HOOK, -1, run.task.examples.inputs)
    network = intervened(run, -1, [Ablate(neurons=[3], to="resample", seed=1)])
    seen = network.activation(HOOK, inputs)
    distance = torch.cdist(seen[..., 3].reshape(-1, 1), every[..., 3].reshape(-1, 1))
    assert distance.amin(1).max() < 1e-5
    here = activation(run, HOOK, -1, inputs)
    torch.testing.assert_close(seen[..., 4], here[..., 4], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(seen, here)
    again = Ablate(neurons=[3], to="resample", seed=1)
    assert torch.equal(network.outputs(inputs), outputs(run, again))
    assert not torch.equal(
        network.outputs(inputs), outputs(run, Ablate(neurons=[3], to="resample"))
    )


def test_a_head_is_silenced_and_an_mlp_has_none(tiny_transformer_run: Run, tiny_run: Run):
    def silence(z: Tensor) -> Tensor:
        z[:, :, 1] = 0
        return z

    found = outputs(tiny_transformer_run, Ablate(heads=[1]))
    expected = by_hand(tiny_transformer_run, "blocks.0.attn.hook_z", silence)
    torch.testing.assert_close(found, expected)
    with pytest.raises(UserError, match="heads"):
        outputs(tiny_run, Ablate(heads=[0]))


def test_late_neurons_are_patched_into_an_early_network(run: Run):
    late = activation(run, HOOK, -1, run.task.test.inputs)
    found = outputs(run, Patch(hook=HOOK, from_step=-1), step=0)
    torch.testing.assert_close(found, by_hand(run, HOOK, lambda post: late, step=0))
    some = outputs(run, Patch(neurons=[1], from_step=-1), step=0)

    def one(post: Tensor) -> Tensor:
        post[..., 1] = late[..., 1]
        return post

    torch.testing.assert_close(some, by_hand(run, HOOK, one, step=0))


def test_logits_patched_from_the_end_are_the_last_network(run: Run):
    found = outputs(run, Patch(hook="hook_logits", from_step=-1), step=0)
    torch.testing.assert_close(found, outputs(run))


def test_a_patch_from_the_same_step_changes_nothing(run: Run):
    found = outputs(run, Patch(hook=HOOK, from_step=run.steps[0]), step=run.steps[0])
    torch.testing.assert_close(found, outputs(run, step=run.steps[0]), rtol=1e-4, atol=1e-5)


def test_another_run_gives_its_activations(tiny_run: Run, masked_run: Run):
    patch = Patch(hook=HOOK, from_run=str(masked_run.path))
    theirs = activation(masked_run, HOOK, -1, tiny_run.task.test.inputs)
    expected = by_hand(tiny_run, HOOK, lambda post: theirs)
    torch.testing.assert_close(outputs(tiny_run, patch), expected)


def test_each_acts_on_what_those_before_it_left(tiny_run: Run):
    patch, mean = Patch(hook=HOOK, from_step=-1), Ablate(neurons=[0], to="mean")
    patched = activation(tiny_run, HOOK, -1, tiny_run.task.examples.inputs).mean(0)[0]
    inputs = tiny_run.task.test.inputs
    after = intervened(tiny_run, 0, [patch, mean]).activation(HOOK, inputs)
    torch.testing.assert_close(after[:, 0], patched.expand(len(inputs)))
    before = intervened(tiny_run, 0, [mean, patch]).activation(HOOK, inputs)
    torch.testing.assert_close(before, activation(tiny_run, HOOK, -1, inputs))


# --- frequencies --------------------------------------------------------------------------------


def test_an_embedding_without_waves_is_the_same_for_all_tokens(tiny_run: Run):
    found = outputs(tiny_run, Remove(frequencies=[1, 2, 3], of="embedding"))
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=1e-4, atol=1e-4)


def test_an_embedding_that_keeps_all_waves_is_itself(run: Run):
    found = outputs(run, Keep(frequencies=[1, 2, 3], of="embedding"))
    torch.testing.assert_close(found, outputs(run), rtol=1e-4, atol=1e-4)


def test_neurons_lose_one_frequency_and_nothing_else(run: Run):
    grid = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    network = Network(run, run.steps[-1])

    def power(network: Network) -> Tensor:
        post = network.activation(HOOK, grid)
        post = post if post.ndim == 2 else post[:, -1]
        waves = post.T.reshape(-1, 7, 7).double()
        share = grid_share(waves, Waves(torch.arange(7)))
        return share.nan_to_num(0) * waves.flatten(1).var(1)[:, None]

    left = power(network.under(Remove(frequencies=[2], of="neurons")))
    kept = power(network.under(Keep(frequencies=[2], of="neurons")))
    whole = power(network)
    expected = whole.clone()
    expected[:, 2] = 0
    torch.testing.assert_close(left, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(kept, whole - expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("of", ["neurons", "logits"])
def test_single_terms_are_removed_or_kept_alone(run: Run, of: str):
    network, hook = Network(run, run.steps[-1]), "hook_logits" if of == "logits" else HOOK
    terms = ["cos 1a cos 1b", "sin 2b"]

    def coefficients(network: Network) -> Tensor:
        return fft2d(grid_of(network, hook, Waves(torch.arange(7))))

    names = fourier_basis(7).names
    at = [names.index("cos 1"), 0], [names.index("cos 1"), names.index("sin 2")]
    whole = coefficients(network)
    expected = whole.clone()
    expected[at] = 0
    removed = coefficients(network.under(Remove(terms=terms, of=of)))
    torch.testing.assert_close(removed, expected, rtol=1e-3, atol=1e-4)
    kept = coefficients(network.under(Keep(terms=terms, of=of)))
    expected = whole - expected
    expected[0, 0] = whole[0, 0]
    torch.testing.assert_close(kept, expected, rtol=1e-3, atol=1e-4)


def test_the_mean_is_a_term(tiny_run: Run):
    without = intervened(tiny_run, -1, Remove(terms="const", of="neurons"))
    grid = grid_of(without, HOOK, Waves(torch.arange(7)))
    torch.testing.assert_close(grid.mean((0, 1)), torch.zeros(8).double(), atol=1e-6, rtol=0)


def test_terms_that_do_not_exist_are_refused(tiny_run: Run, group_run: Run):
    for options, remedy in (
        ({}, "frequencies or terms"),
        ({"frequencies": [1], "terms": ["cos 1a"]}, "frequencies or terms"),
        ({"terms": ["cos 1a"], "of": "embedding"}, "neurons"),
    ):
        with pytest.raises(UserError, match=remedy):
            Remove(**options)
    with pytest.raises(UserError, match="cos 9a"):
        outputs(tiny_run, Remove(terms=["cos 9a"]))
    with pytest.raises(UserError, match="named terms"):
        outputs(group_run, Remove(terms=["cos 1a"]))


def test_neurons_become_a_quadratic_form_in_their_waves(run: Run):
    network, waves = Network(run, run.steps[-1]), Waves(torch.arange(7))
    grid = grid_of(network, HOOK, waves)
    fitted = grid_of(network.under(Fit(neurons=[2])), HOOK, waves)
    k = int(own_parts(grid[..., 2:3], waves))
    x = 2 * torch.pi * k * torch.arange(7).double() / 7
    a, b = x[:, None].expand(7, 7), x.expand(7, 7)
    linear = [a.cos(), a.sin(), b.cos(), b.sin()]
    design = torch.stack([torch.ones(7, 7), *linear, *(f * g for f in linear for g in linear)], -1)
    y = grid[..., 2].flatten()
    expected = design.flatten(0, 1) @ (torch.linalg.pinv(design.flatten(0, 1)) @ y)
    torch.testing.assert_close(fitted[..., 2].flatten(), expected, rtol=1e-4, atol=1e-5)
    others = [neuron for neuron in range(grid.shape[-1]) if neuron != 2]
    assert torch.equal(fitted[..., others], grid[..., others])


def test_attention_becomes_waves_that_sum_to_1(tiny_transformer_run: Run):
    run, hook = tiny_transformer_run, "blocks.0.attn.hook_pattern"
    inputs = run.task.examples.inputs
    whole = activation(run, hook, -1, inputs)
    fitted = intervened(run, -1, Fit(hook=hook, degree=1)).activation(hook, inputs)
    assert torch.equal(fitted[:, :, 0], whole[:, :, 0])  # queries before the last
    torch.testing.assert_close(fitted.sum(-1), torch.ones_like(fitted.sum(-1)))
    assert not torch.allclose(fitted, whole)
    alone = intervened(run, -1, Fit(hook=hook, heads=[1], degree=1)).activation(hook, inputs)
    assert torch.equal(alone[:, 0], whole[:, 0])
    torch.testing.assert_close(alone[:, 1], fitted[:, 1])


def test_a_task_without_waves_has_no_fit(deep_run: Run):
    with pytest.raises(UserError, match="no frequencies"):
        outputs(deep_run, Fit(neurons=[0]))


def test_waves_out_of_the_logits_are_the_excluded_and_the_restricted_loss(run: Run):
    key = [1, 3]
    dataset = progress.measure(run, steps=[run.steps[-1]], key=key).isel(step=0)
    removed = intervene(run, [Remove(frequencies=key)], steps="last").sel(state="intervened")
    found = float(removed.loss.sel(side="train").item())
    assert found == pytest.approx(float(dataset.excluded_loss), rel=1e-4)
    if run.task.pairs == "ordered":  # the restricted loss is a mean over all pairs
        kept = intervene(run, [Keep(frequencies=key)], steps="last").sel(state="intervened")
        n_train, n_test = run.task.n_sides
        loss = kept.loss.isel(step=0)
        mean = (n_train * loss.sel(side="train") + n_test * loss.sel(side="test")) / (
            n_train + n_test
        )
        assert float(mean) == pytest.approx(float(dataset.restricted_loss), rel=1e-4)


def test_products_have_frequencies_over_discrete_logarithms(tmp_path):
    fields = {
        "task": {"name": "mul", "p": 7, "train_fraction": 0.7},
        "model": {"kind": "mlp", "d_model": 12, "d_mlp": 8},
        "training": {"steps": 20, "checkpoint_every": 20},
    }
    mul = train(tmp_path / "mul", RunConfig.make(**fields))
    everything = outputs(mul, Keep(frequencies=[1, 2, 3], of="embedding"))
    torch.testing.assert_close(everything, outputs(mul), rtol=1e-4, atol=1e-4)
    for of in ("neurons", "logits"):
        # 0 is no power of a root: pairs with it are as they were.
        found, whole = outputs(mul, Remove(frequencies=[1], of=of)), outputs(mul)
        with_zero = (mul.task.test.inputs == 0).any(1)
        assert torch.equal(found[with_zero], whole[with_zero])
        assert not torch.allclose(found[~with_zero], whole[~with_zero])
    with pytest.raises(UserError, match="from 1 to 3"):
        outputs(mul, Remove(frequencies=[4]))


# --- masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["magnitude", "random", "snip"])
def test_a_mask_by_a_method_is_the_one_that_prune_gives(run: Run, method: str):
    model = run.model(-1)
    apply_mask(model, prune(run.model(-1), run.task, 0.4, method))
    with torch.no_grad():
        expected = model(run.task.test.inputs)
    torch.testing.assert_close(outputs(run, Remask(rate=0.4, method=method)), expected)


def test_an_edge_is_cut_and_put_back(tiny_run: Run):
    model = tiny_run.model(-1)
    cut = Edges(weight="W_in", cut=[(0, 1), (3, 2)])
    with torch.no_grad():
        model.W_in[0, 1] = model.W_in[3, 2] = 0
        torch.testing.assert_close(outputs(tiny_run, cut), model(tiny_run.task.test.inputs))
    back = Edges(weight="W_in", restore=[(0, 1), (3, 2)])
    assert torch.equal(outputs(tiny_run, cut, back), outputs(tiny_run))


def test_reviving_puts_the_raw_weights_back(tiny_run: Run):
    edges = [(row, 3) for row in range(12)]
    cut = Edges(weight="W_in", cut=edges), Edges(weight="W_out", cut=[(3, 0), (3, 2)])
    assert not torch.allclose(outputs(tiny_run, *cut), outputs(tiny_run))
    assert torch.equal(outputs(tiny_run, *cut, Revive(neurons=[3])), outputs(tiny_run))
    assert torch.equal(outputs(tiny_run, *cut, Revive()), outputs(tiny_run))
    assert torch.equal(outputs(tiny_run, Revive()), outputs(tiny_run))


def test_the_dead_are_those_that_no_kept_weight_reaches(tiny_run: Run):
    cut = Edges(weight="W_in", cut=[(row, 3) for row in range(12)])
    killed = outputs(tiny_run, cut, Ablate(neurons="dead", to="resample"))
    torch.testing.assert_close(killed, outputs(tiny_run, cut))  # it says the same on all examples
    assert torch.equal(outputs(tiny_run, Ablate(neurons="dead")), outputs(tiny_run))


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ablate(), "neurons, heads or a hook"),
        (lambda: Ablate(neurons=[1], heads=[1]), "heads"),
        (lambda: Ablate(neurons=[-1]), "neurons"),
        (lambda: Ablate(neurons=[True]), "neurons"),
        (lambda: Ablate(neuron=[1]), "'neuron' .*neurons"),
        (lambda: Patch(hook=HOOK), "from_step, from_run or both"),
        (lambda: Remask(rate=1.0), "rate"),
        (lambda: Remask(rate=float("nan")), "rate"),
        (lambda: Edges(weight="W_in"), "cut, restore or both"),
        (lambda: Remove(frequencies=[1], of="heads"), "embedding"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(make: Callable[[], Any], message: str):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("intervention", "message"),
    [
        (Ablate(neurons=[8]), "8 .*0 to 7"),
        (Ablate(neurons=[1], layer=1), "layer 1"),
        (Ablate(hook="blocks.0.mlp.hook_pots"), "blocks.0.mlp.hook_post"),
        (Ablate(hook=HOOK, neurons=[99]), "99"),
        (Patch(hook=HOOK, from_step=7), "step 7"),
        (Patch(hook=HOOK, from_run="nowhere/at/all"), "nowhere/at/all"),
        (Remove(frequencies=[9]), "from 1 to 3"),
        (Remask(rate=0.5, method="magic"), "magic"),
        (Remask(rate=0.5, options={"seed": 1}), "'seed'"),
        (Edges(weight="W_in", cut=[(99, 0)]), r"\[99, 0\]"),
        (Edges(weight="W_nothing", cut=[(0, 0)]), "'W_nothing'"),
    ],
)
def test_what_a_network_does_not_have_is_refused(
    tiny_run: Run, intervention: Intervention, message: str
):
    with pytest.raises(UserError, match=message):
        outputs(tiny_run, intervention)


def test_runs_of_other_shapes_and_inputs_are_not_patched_from(
    tiny_run: Run, tiny_transformer_run: Run, deep_run: Run
):
    with pytest.raises(UserError, match="hook"):
        outputs(tiny_run, Patch(hook=HOOK, from_step=-1, from_run=str(tiny_transformer_run.path)))
    with pytest.raises(UserError, match="inputs"):
        outputs(tiny_run, Patch(hook=HOOK, from_step=-1, from_run=str(deep_run.path)))
    with pytest.raises(UserError, match="frequencies"):
        outputs(deep_run, Remove(frequencies=[1]))
