"""Knock-outs against the hooked model itself."""

import pytest
import torch

from analyses.measures.ablation import Readout, killing, reviving
from mechgrok.masks import Mask, apply_mask
from mechgrok.models import raw_weights
from mechgrok.runs import Run

RUNS = ("tiny_run", "tiny_transformer_run", "masked_run", "deep_run")


@pytest.mark.parametrize("name", RUNS)
def test_the_parts_add_up_to_the_outputs(name: str, request: pytest.FixtureRequest):
    run: Run = request.getfixturevalue(name)
    model, inputs = run.model(-1), run.task.test.inputs
    parts = Readout.of(model, run.wiring.hidden[-1], inputs)
    nobody = torch.zeros(parts.post.shape[1], dtype=torch.bool)
    with torch.no_grad():
        silent = model.run_with_hooks(inputs, fwd_hooks=killing(run.wiring.hidden[-1], ~nobody))
        torch.testing.assert_close(parts.without(~nobody), silent.double())
        whole = model(inputs).double()
    torch.testing.assert_close(parts.without(nobody), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.past + parts.post @ parts.writes, whole, rtol=1e-4, atol=1e-5)


def test_reviving_puts_the_raw_weights_back(tiny_run: Run):
    inputs = tiny_run.task.test.inputs
    neurons, dead = tiny_run.wiring.hidden[-1], torch.zeros(8, dtype=torch.bool)
    dead[3] = True
    model, whole = tiny_run.model(-1), tiny_run.model(-1)
    mask = Mask.full({name: w.detach() for name, w in raw_weights(model).items()})
    mask["W_in"][:, 3] = False
    mask["W_out"][3, ::2] = False
    apply_mask(model, mask)
    with torch.no_grad():
        assert not torch.allclose(model(inputs), whole(inputs))
        revived = model.run_with_hooks(inputs, fwd_hooks=reviving(model, neurons, dead))
        torch.testing.assert_close(revived, whole(inputs))
    assert reviving(whole, neurons, dead) == []
