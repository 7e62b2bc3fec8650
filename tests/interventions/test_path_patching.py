"""Path patching, against networks whose paths are known."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.interventions import Ablate, Intervention, Patch, PatchPath, Units, intervened
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.training import train

P = 5
HEAD, NEURONS = {"heads": 0}, {"neurons": range(P)}
LOGITS = {"hook": "hook_logits"}


@pytest.fixture(scope="module")
def two_paths(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A head that writes z to the logits and to neurons, which add 3 z; at step 20 z is twice z.

    z is the mean of the tokens' one-hot vectors, by attention that is the same everywhere.
    """
    one, none = torch.eye(P), torch.zeros(P, P)
    weights = {
        "embed.W_E": torch.cat([one, none], 1),
        "pos_embed.W_pos": torch.zeros(2, 2 * P),
        "blocks.0.attn.W_Q": torch.zeros(1, 2 * P, P),
        "blocks.0.attn.W_K": torch.zeros(1, 2 * P, P),
        "blocks.0.attn.W_V": torch.cat([one, none])[None],
        "blocks.0.attn.W_O": torch.cat([none, one], 1)[None],
        "blocks.0.mlp.W_in": torch.cat([none, one]),
        "blocks.0.mlp.b_in": torch.zeros(P),
        "blocks.0.mlp.W_out": 3 * torch.cat([none, one], 1),
        "blocks.0.mlp.b_out": torch.zeros(2 * P),
        "unembed.W_U": torch.cat([none, one]),
    }
    config = RunConfig.make(
        task={"name": "add", "p": P, "pairs": "ordered"},
        model={"kind": "transformer", "d_model": 2 * P, "d_head": P, "d_mlp": P},
        training={"steps": 20, "checkpoint_every": 20},
    )
    path: Path = tmp_path_factory.mktemp("runs") / "two-paths"
    train(path, config)
    for step, gain in ((0, 1), (20, 2)):
        scaled = weights | {"blocks.0.attn.W_V": gain * weights["blocks.0.attn.W_V"]}
        write_checkpoint(path, Checkpoint(step, scaled, None))
    return Run(path)


@pytest.fixture(scope="module")
def two_blocks(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = RunConfig.make(
        task={"name": "add", "p": 5, "pairs": "ordered"},
        model={"kind": "transformer", "d_model": 8, "n_heads": 2, "d_mlp": 6, "n_layers": 2},
        training={"steps": 20, "checkpoint_every": 20},
    )
    return train(tmp_path_factory.mktemp("runs") / "two-blocks", config)


def outputs(run: Run, *interventions: Intervention) -> Tensor:
    return intervened(run, 0, interventions).outputs(run.task.test.inputs)


def z(run: Run) -> Tensor:
    return torch.eye(P)[run.task.test.inputs].mean(1)


@pytest.mark.parametrize(
    ("intervention", "factor"),
    [
        (Ablate(heads=[]), 1 + 3),
        (Patch(heads=0, from_step=20), 2 + 3 * 2),
        (PatchPath(HEAD, LOGITS, from_step=20), 2 + 3),
        (PatchPath(HEAD, NEURONS, from_step=20), 1 + 3 * 2),
        (PatchPath(NEURONS, LOGITS, from_step=20), 1 + 3 * 2),
        (PatchPath(HEAD | {"positions": [-1]}, LOGITS, from_step=20), 2 + 3),
        (PatchPath(HEAD | {"positions": 0}, LOGITS, from_step=20), 1 + 3),
        (PatchPath({"hook": "hook_embed"}, LOGITS, from_step=20), 1 + 3),
    ],
    ids=str,
)
def test_a_path_alone_carries_the_change(two_paths: Run, intervention: Intervention, factor: float):
    torch.testing.assert_close(outputs(two_paths, intervention), factor * z(two_paths))


def test_one_neuron_receives(two_paths: Run):
    factors = torch.full((P,), 4.0)
    factors[2] = 1 + 3 * 2
    found = outputs(two_paths, PatchPath(HEAD, {"neurons": 2}, from_step=20))
    torch.testing.assert_close(found, factors * z(two_paths))


@pytest.mark.parametrize("part", ["q", "k", "v", "qkv"])
def test_a_later_head_reads_the_change_as_by_transformer_lens_s_inputs(two_blocks: Run, part: str):
    inputs = two_blocks.task.test.inputs
    model, late = two_blocks.model(0), two_blocks.model(20)
    model.set_use_split_qkv_input(True)
    ours, theirs = (each.run_with_cache(inputs)[1]["z", 0] for each in (model, late))
    change = (theirs - ours)[:, :, 1] @ model.blocks[0].attn.W_O[1]

    def add(read: Tensor, hook: object) -> Tensor:
        read[:, :, 0] += change
        return read

    hooks = [(f"blocks.1.attn.hook_{each}_input", add) for each in part]
    with torch.no_grad():
        expected = model.run_with_hooks(inputs, fwd_hooks=hooks)
    receiver = (
        Units(heads=0) if part == "qkv" else Units(heads=0, hook=f"blocks.1.attn.hook_{part}")
    )
    found = outputs(two_blocks, PatchPath({"heads": 1, "layer": 0}, receiver, from_step=20))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found, outputs(two_blocks))


def test_a_patch_of_some_positions_changes_them_alone(two_blocks: Run):
    hook, inputs = "blocks.0.mlp.hook_post", two_blocks.task.test.inputs
    before, late = (two_blocks.model(step).run_with_cache(inputs)[1][hook] for step in (0, 20))
    patch = Patch(neurons=[1, 3], layer=0, positions=-1, from_step=20)
    found = intervened(two_blocks, 0, patch).activation(hook, inputs)
    expected = before.clone()
    expected[:, 1, [1, 3]] = late[:, 1, [1, 3]]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: PatchPath(HEAD, LOGITS), "from_step"),
        (lambda: PatchPath(HEAD, from_step=20), "receiver"),
        (lambda: PatchPath({"heds": 1}, LOGITS, from_step=20), "heads"),
        (lambda: PatchPath(LOGITS, HEAD, from_step=20), "exchange"),
        (lambda: PatchPath(HEAD, LOGITS | {"positions": 0}, from_step=20), "omit"),
        (lambda: PatchPath(HEAD | {"positions": 2}, LOGITS, from_step=20), "0 to 1"),
        (lambda: PatchPath(HEAD, {"heads": 0, "hook": "hook_embed"}, from_step=20), "hook_q"),
    ],
)
def test_what_cannot_be_patched_is_refused_with_a_remedy(two_paths: Run, make, remedy: str):
    with pytest.raises(UserError, match=remedy):
        outputs(two_paths, make())
