"""Representations: of networks written by hand, against frequencies, and of published ones."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mechgrok.analyses import embedding, entropy, fourier, progress, representations
from mechgrok.analyses.measures.harmonics import part_labels
from mechgrok.errors import UserError
from mechgrok.exchange.importing import import_run
from mechgrok.interventions import Keep, Remove, intervene
from mechgrok.runs import Run
from mechgrok.tasks.groups.families import named
from tests.analyses.handmade import run_of

PUBLISHED = Path(
    os.environ.get(
        "MECHGROK_REP_THEORY",
        Path(__file__).parents[2].parent / "shared" / "peers" / "rep_theory",
    )
)
#: What the authors' key_reps.txt lists, under our names. (Their 3-dimensional matrices for A₅ are
#: not quite a representation: losses without and with them differ from those here.)
KEYS = {
    "S5_MLP_seed2": ["sign", "standard"],
    "S5_T_seed2": ["sign", "standard-sign"],
    "A5_MLP_seed1": ["standard", "3+1+1a", "3+1+1b"],
    "D59_T_seed1": ["sign", "2", "5", "21"],
    "C113_MLP_seed1": ["1", "4", "8", "11", "13", "16", "17", "22", "25", "32", "34", "44", "50"],
}


def sign(name: str) -> Tensor:
    """+1 for even permutations of a symmetric group, −1 for odd ones."""
    return torch.tensor(
        [
            (-1.0) ** sum(i > j for at, i in enumerate(each) for j in each[at:])
            for each in named(name).elements
        ]
    )


def signs_multiplied(path: Path, name: str = "S3") -> Run:
    """|s_a + s_b| s_c − |s_a − s_b| s_c = 2 s_a s_b s_c, with four ReLUs, s the sign."""
    s = sign(name)
    n = len(s)
    to_a, to_b = torch.tensor([[1.0, -1, 1, -1], [1, -1, -1, 1]])
    weights = {
        "W_E_0": torch.eye(n),
        "W_E_1": torch.eye(n),
        "W_in": torch.cat([s[:, None] * to_a, s[:, None] * to_b]),
        "W_out": torch.tensor([1.0, 1, -1, -1])[:, None] * s,
    }
    model = {"kind": "positional-mlp", "d_model": n, "d_mlp": 4, "join": "concat"}
    return run_of(path, weights, model | {"unembed": False}, {"name": "group", "group": name})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return signs_multiplied(tmp_path_factory.mktemp("representations") / "run")


def test_a_network_that_multiplies_signs_has_the_sign_s_character(run: Run) -> None:
    at = representations.measure(run).isel(step=0)
    assert at.representation.values.tolist() == ["trivial", "sign", "standard"]
    np.testing.assert_allclose(at.similarity, [0, 1, 0], atol=1e-6)
    assert at.key.values.tolist() == [1]
    assert float(at.explained) == pytest.approx(1)
    # Three answers have the right sign.
    assert float(at.key_restricted_accuracy) == pytest.approx(1 / 3)
    loss = np.log(3 * np.exp(2) + 3 * np.exp(-2)) - 2
    assert float(at.key_restricted_loss) == pytest.approx(loss)
    assert float(at.key_excluded_loss) == pytest.approx(np.log(6))
    np.testing.assert_allclose(at.input_share, [[0, 1, 0]] * 2, atol=1e-6)
    np.testing.assert_allclose(at.output_share, [0, 1, 0], atol=1e-6)


def test_its_neurons_hold_a_third_each_of_a_of_b_and_of_the_product(run: Run) -> None:
    """relu(s_a + s_b) = (1 + s_a + s_b + s_a s_b) / 2."""
    at = representations.measure(run).isel(step=0)
    np.testing.assert_allclose(at.neuron_share.sel(frequency=1), [1 / 3] * 3, atol=1e-6)


def test_its_neurons_read_cosets_of_the_even_permutations(run: Run) -> None:
    at = representations.measure(run).isel(step=0)
    assert (at.coset_order == 3).all()
    assert (at.neuron_frequency == 1).all()
    assert "100% of the neurons' input weights are constant on cosets" in representations.finding(
        at.expand_dims("step")
    )


def test_fourier_entropy_embedding_and_progress_see_the_sign_too(run: Run) -> None:
    assert float(fourier.measure(run).share.min()) == pytest.approx(1)
    assert "key representations sign" in fourier.finding(fourier.measure(run))
    measured = entropy.measure(run).isel(step=0)
    assert float(measured.input_entropy) == pytest.approx(0, abs=1e-5)
    noise = np.array([1, 2]) / 3
    assert measured.attrs["flat"] == pytest.approx(-(noise * np.log(noise)).sum())
    neurons = embedding.measure(run, of="neurons").isel(step=0)
    assert neurons.key.values.tolist() == [1]
    assert float(neurons.power[1]) == pytest.approx(1)
    last = progress.measure(run).isel(step=0)
    assert float(last.explained) == pytest.approx(1)
    np.testing.assert_allclose(last.trig_component, [0, 2, 0], atol=1e-6)


def test_the_sign_can_be_taken_out_and_kept(run: Run) -> None:
    for of in ("embedding", "neurons", "logits"):
        kept = intervene(run, [Keep(frequencies=["sign"], of=of)]).loss.isel(step=0)
        np.testing.assert_allclose(kept.sel(state="intervened"), kept.sel(state="whole"), rtol=1e-5)
        removed = intervene(run, [Remove(frequencies=[1], of=of)]).loss.isel(step=0)
        np.testing.assert_allclose(removed.sel(state="intervened"), np.log(6), rtol=1e-5)
    with pytest.raises(UserError, match=r"'sgn'.*sign or standard"):
        intervene(run, [Remove(frequencies=["sgn"])])


def test_on_addition_cosines_are_the_coefficients_of_progress(tiny_run: Run) -> None:
    ours = representations.measure(tiny_run, steps=[60]).isel(step=0)
    alpha = progress.measure(tiny_run, steps=[60]).isel(step=0).trig_component.to_numpy()[1:]
    cosine = ours.similarity.to_numpy()[1:]
    np.testing.assert_allclose(cosine / cosine[0], alpha / alpha[0], rtol=1e-6)
    assert "coset_order" not in ours
    inside = ours.neuron_share.to_numpy()
    assert inside.min() >= 0
    assert inside.sum() <= 1 + 1e-9
    np.testing.assert_allclose(ours.input_share.sum("frequency"), 1)


@pytest.mark.parametrize("option", ["threshold", "level"])
@pytest.mark.parametrize("value", [0.0, 1.0, float("nan")])
def test_an_option_that_tells_nothing_is_refused(run: Run, option: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{option} .*{value}"):
        representations.measure(run, **{option: value})


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="no published networks beside the checkout")
@pytest.mark.parametrize("name", KEYS)
def test_published_networks_have_the_key_representations_that_are_published(
    name: str, tmp_path: Path
) -> None:
    told = json.loads((PUBLISHED / name / "summary_metrics.json").read_text())
    run = import_run([PUBLISHED / name / "model.pt"], tmp_path / "run")
    at = representations.measure(run).isel(step=0)
    names = part_labels(at).names
    assert [names[part] for part in at.key.values] == KEYS[name]
    assert float(at.key_restricted_accuracy) == 1
    if name[0] != "A":
        close = {"rel": 1e-3}
        assert float(at.explained) == pytest.approx(told["percent_logits_explained"], **close)
        excluded, restricted = (
            told[f"total_logit_{each}_loss"] for each in ("excluded", "restricted")
        )
        assert float(at.key_excluded_loss) == pytest.approx(excluded, **close)
        assert float(at.key_restricted_loss) == pytest.approx(restricted, **close)
