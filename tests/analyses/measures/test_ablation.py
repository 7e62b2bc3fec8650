"""Knock-outs against the hooked model itself."""

import pytest
import torch

from mechgrok.analyses.measures.ablation import Readout
from mechgrok.interventions import Ablate, Network
from mechgrok.runs import Run

RUNS = ("tiny_run", "tiny_transformer_run", "masked_run", "deep_run")


@pytest.mark.parametrize("name", RUNS)
def test_the_parts_add_up_to_the_outputs(name: str, request: pytest.FixtureRequest):
    run: Run = request.getfixturevalue(name)
    model, inputs = run.model(-1), run.task.test.inputs
    parts = Readout.of(model, run.wiring.hidden[-1], inputs)
    nobody = torch.zeros(parts.post.shape[1], dtype=torch.bool)
    with torch.no_grad():
        everybody = range(len(nobody))
        silent = Network(run, run.steps[-1]).under(Ablate(neurons=everybody)).outputs(inputs)
        torch.testing.assert_close(parts.without(~nobody), silent.double())
        whole = model(inputs).double()
    torch.testing.assert_close(parts.without(nobody), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.past + parts.post @ parts.writes, whole, rtol=1e-4, atol=1e-5)
