"""What is patched in is what the other network computes there, and what follows is one's own."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import mechgrok
from mechgrok.analyses import patching
from mechgrok.analyses.measures.spacing import around_milestones
from mechgrok.errors import UserError
from mechgrok.interventions import Performance
from mechgrok.runs import Run
from tests.analyses.handmade import run_of


def test_a_networks_own_activations_change_nothing(tiny_transformer_run: Run) -> None:
    measured = patching.measure(tiny_transformer_run)
    assert {"hook_embed", "blocks.0.attn.hook_pattern", "blocks.0.mlp.hook_post"} <= set(
        measured.hook.to_numpy().tolist()
    )
    for hook in measured.hook.to_numpy():
        here = measured.sel(hook=hook)
        assert np.diag(here.accuracy) == pytest.approx(here.own_accuracy.to_numpy())
        assert np.diag(here.loss) == pytest.approx(here.own_loss.to_numpy(), rel=1e-4)


def test_the_other_networks_part_ends_at_the_hook(tiny_run: Run) -> None:
    """Neurons of one checkpoint are read out by the weights of another."""
    hook, side = "blocks.0.mlp.hook_post", "train"
    measured = patching.measure(tiny_run, steps=[0, 60], hooks=[hook], side=side)  # type: ignore[arg-type]
    inputs, labels = tiny_run.task.train
    for source in (0, 60):
        _, cache = tiny_run.model(source).run_with_cache(inputs)
        for step in (0, 60):
            logits = cache[hook] @ tiny_run.output_side([step])[0]
            wanted = Performance.of(tiny_run.task, logits.detach(), labels)
            found = measured.sel(hook=hook, source=source, step=step)
            assert float(found.loss) == pytest.approx(wanted.loss, rel=1e-4)
            assert float(found.accuracy) == pytest.approx(wanted.accuracy)


def test_the_last_activation_of_all_is_the_other_networks_answer(tiny_run: Run) -> None:
    measured = patching.measure(tiny_run, hooks=["hook_logits"]).isel(hook=0)
    for source in measured.source.to_numpy():
        row = measured.accuracy.sel(source=source).to_numpy()
        assert row == pytest.approx(float(measured.source_accuracy.sel(source=source)))


def test_networks_with_other_neurons_cannot_be_exchanged_and_equal_ones_can(tmp_path: Path) -> None:
    base = mechgrok.Run("data/base")
    weights = base.checkpoint(-1).effective_weights
    order = torch.randperm(weights["W_in"].shape[1], generator=torch.Generator().manual_seed(0))
    swapped = dict(weights, W_in=weights["W_in"][:, order], W_out=weights["W_out"][order])
    fields = base.config.model_dump(include={"task", "model"})
    other = run_of(tmp_path / "swapped", swapped, fields["model"], fields["task"])
    measured = patching.measure(base, steps=[30_000], donor=other.path).squeeze("source")
    accuracy = dict(zip(measured.hook.to_numpy(), measured.accuracy.to_numpy()[:, 0], strict=True))
    assert accuracy["blocks.0.mlp.hook_post"] < 0.3
    # What they read and what they write has no order of neurons.
    assert accuracy["blocks.0.hook_resid_pre"] == accuracy["blocks.0.hook_mlp_out"] == 1
    assert measured.attrs["donor"] == "swapped"


def test_the_base_run_is_interchangeable_once_it_has_generalized() -> None:
    base = mechgrok.Run("data/base")
    measured = patching.measure(base, steps=[0, 7_500, 15_000, 30_000], examples=400)
    from_ = dict(zip(measured.hook.to_numpy(), measured.interchangeable.to_numpy(), strict=True))
    assert from_["blocks.0.hook_mlp_out"] == 15_000
    assert "from step 15,000 on" in patching.finding(measured)
    figure = patching.draw({"base": measured, "again": measured})
    assert sum(trace.type == "heatmap" for trace in figure.data) == 4
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == [
        "0.resid_pre", "0.mlp.post", "0.mlp_out"
    ]  # fmt: skip


def test_nobody_is_interchangeable_who_knows_nothing() -> None:
    steps, knows = np.array([0, 10, 20]), np.array([0.1, 0.6, 1.0])
    exchange = np.array([[0.1, 0.1, 0.1], [0.1, 0.6, 0.6], [0.1, 0.58, 1.0]])
    assert patching._first(exchange, knows, knows, steps, steps) == 10
    exchange[2, 1] = 0.56  # less than 95 % of 0.6
    assert math.isnan(patching._first(exchange, knows, knows, steps, steps))
    ignorant = np.full(3, 0.4)
    assert math.isnan(patching._first(np.ones((3, 3)), ignorant, ignorant, steps, steps))


def test_more_checkpoints_lie_where_the_run_generalizes() -> None:
    steps = list(range(0, 30_001, 100))
    chosen = around_milestones(steps, 12, {"t_mem": 90, "t_gen": 12_200})
    assert len(chosen) == 12
    assert {0, 100, 8_500, 10_400, 12_200, 14_600, 30_000} <= set(chosen)
    assert len(around_milestones(steps, 12, {})) == 12
    assert around_milestones(steps[:5], 12, {}) == steps[:5]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"checkpoints": 1}, "checkpoints = 1 .*2 or more"),
        ({"examples": 0}, "examples = 0"),
        ({"hooks": ["blocks.0.mlp.hook_pos"]}, "'blocks.0.mlp.hook_pos'"),
    ],
)
def test_bad_options_are_refused(tiny_run: Run, given: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        patching.measure(tiny_run, **given)


def test_a_donor_reads_the_same_inputs(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="inputs"):
        patching.measure(tiny_run, donor=Path("data/base"))


def test_regressions_and_single_checkpoints_have_no_answer(tmp_path: Path) -> None:
    model = {"kind": "mlp", "d_model": None, "d_mlp": 2}
    weights = {"W_in": torch.ones(3, 2), "W_out": torch.ones(2, 3)}
    run = run_of(tmp_path / "one", weights, model, {"name": "add", "p": 3})
    assert "one checkpoint" in str(patching.applies(run))
