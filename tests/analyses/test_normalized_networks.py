"""Networks with a normalization: every analysis measures them, and knock-outs are exact."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from mechgrok.analyses import dead_neurons, fourier
from mechgrok.configuration.run_config import RunConfig
from mechgrok.interventions import Ablate, Network
from mechgrok.results.analysis import Analysis, analyses
from mechgrok.runs import Run
from mechgrok.training import train

MLP = {
    "task": {"name": "add", "p": 7, "train_fraction": 0.7},
    "model": {"kind": "mlp", "d_model": 12, "d_mlp": 8},
}
TRANSFORMER = {
    "task": {"name": "add", "p": 7, "pairs": "ordered"},
    "model": {"kind": "transformer", "d_model": 12, "n_heads": 2, "d_mlp": 10},
}
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mlp, before and end": (MLP, {"norm": "layer"}),
    "mlp, after": (MLP, {"norm": "rms", "norm_at": "after"}),
    "transformer, before and end": (TRANSFORMER, {"norm": "layer"}),
    "transformer, after": (TRANSFORMER, {"norm": "layer", "norm_at": "after"}),
    "transformer, before": (TRANSFORMER, {"norm": "rms", "norm_at": "before"}),
}


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    fields, norm = RUNS[request.param]
    config = RunConfig.make(
        task=fields["task"],
        model=fields["model"] | norm,
        training={"steps": 40, "checkpoint_every": 20},
    )
    return train(tmp_path_factory.mktemp("runs") / "normalized", config)


@pytest.mark.parametrize("name", list(analyses()))
def test_every_analysis_measures_a_normalized_network(run: Run, name: str) -> None:
    analysis = Analysis.load(name)
    if analysis.applies(run):
        pytest.skip("it does not apply to the same network without normalization either")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = analysis.measure(run)
    assert analysis.finding(measured)
    assert analysis.draw({"normalized": measured}).data


def test_a_neuron_is_knocked_out_of_a_full_pass(run: Run) -> None:
    """The normalization's scale changes with the neuron, so no sum of terms gives the outputs."""
    step = run.steps[-1]
    measured = dead_neurons.measure(run, steps=[step], knockouts=1)
    model, hook = run.model(step), run.wiring.hidden[-1].hook
    inputs, labels = run.task.test
    for neuron in range(measured.sizes["neuron"]):

        def silence(post: torch.Tensor, hook: object, neuron: int = neuron) -> torch.Tensor:
            changed = post.clone()
            changed[..., neuron] = 0
            return changed

        with torch.no_grad():
            outputs = model.run_with_hooks(inputs, fwd_hooks=[(hook, silence)])
        ablated = Network(run, step).under(Ablate(neurons=(neuron,))).outputs(inputs)
        torch.testing.assert_close(ablated, outputs)
        loss = float(run.task.loss(outputs.double(), labels))
        found = measured.loss_without.sel(side="test", neuron=neuron)
        np.testing.assert_allclose(float(found.squeeze()), loss, rtol=1e-4)


def test_spectra_are_those_of_the_linear_part(run: Run) -> None:
    """Centring and learned scales belong to a path; an example's scale is a common factor."""
    step = run.steps[-1]
    measured = fourier.measure(run, steps=[step])
    side = run.model(step).output_side().detach().double()
    amplitude = torch.fft.rfft(side, dim=1).abs()
    np.testing.assert_allclose(measured.output_amplitude[0], amplitude, rtol=1e-4, atol=1e-5)
    assert ("ln" in measured.attrs["output_formula"]) == (run.config.model.norm_at != "before")
