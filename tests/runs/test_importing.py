"""Weights in other people's layouts become runs that compute the same; code is never executed."""

import json
import random
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from mechgrok.errors import UserError
from mechgrok.exchange.importing import chance_level_warning, import_run, recognize
from mechgrok.models import HookedTransformer, TransformerConfig
from mechgrok.runs import Run
from mechgrok.training import resume

#: A published file that may lie beside a checkout of the project.
PUBLISHED = Path(__file__).parents[2].parent / "shared" / "peers" / "nanda_mod113_wd1.pth"


def older(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A transformer's weights as Nanda et al. stored them, causal mask and all."""
    turned = {}
    for name, weight in weights.items():
        if name.endswith("W_O"):
            turned[name] = rearrange(weight, "h k m -> m (h k)").clone()
        elif name.endswith(("W_E", "W_Q", "W_K", "W_V", "W_in", "W_out")):
            turned[name] = weight.transpose(-1, -2).clone()
        else:
            turned[name] = weight.clone()
    turned["blocks.0.attn.mask"] = torch.ones(3, 3).tril()
    return turned


def transformer(
    d_model: int = 12, n_heads: int = 2, p: int = 5, **fields: Any
) -> HookedTransformer:
    config = TransformerConfig(d_model=d_model, n_heads=n_heads, d_mlp=10, **fields)
    model = HookedTransformer(config, d_vocab=p + 1, n_ctx=3, d_output=p + 1, seed=4)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn(weight.shape, generator=generator))
    return model


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("wrap", ["bare", "model", "state_dict", "prefix"])
@pytest.mark.parametrize("orientation", ["ours", "older"])
# Where d_model = d_vocab or d_head = d_model a shape alone does not tell the orientation.
@pytest.mark.parametrize(("d_model", "n_heads"), [(12, 2), (6, 2), (6, 1), (10, 1)])
def test_a_transformer_in_either_orientation(
    tmp_path: Path, wrap: str, orientation: str, d_model: int, n_heads: int
) -> None:
    model = transformer(d_model, n_heads)
    state: dict[str, Any] = state_of(model)
    state = older(state) if orientation == "older" else state
    if wrap == "prefix":
        state = {f"module.{name}": weight for name, weight in state.items()}
    file = tmp_path / "weights.pth"
    torch.save({wrap: state} if wrap in ("model", "state_dict") else state, file)
    run = import_run([file], tmp_path / "run")
    # p, the "=" and the pairs follow from the shapes; the output for "=" is no answer.
    assert (run.task.p, run.task.equals, run.task.pairs) == (5, True, "ordered")
    tokens = run.task.examples.inputs
    torch.testing.assert_close(run.model()(tokens), model(tokens)[:, :5])


def authors_mlp(
    generator: torch.Generator, p: int = 7, d_emb: int = 12, d_mlp: int = 8, n_inner: int = 0
) -> dict[str, Tensor]:
    """A state dict as the script of Minegishi et al. saves it, with masks of 40 %."""
    shapes = {
        "unembed.W_U": (d_emb, p),
        "embed.W_E": (d_emb, p),
        "inproj.W": (d_mlp, d_emb),
        "outproj.W": (d_emb, d_mlp),
    }
    shapes |= {f"mlps.{layer}.W": (d_mlp, d_mlp) for layer in range(n_inner)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        kept = torch.rand(shape, generator=generator) < 0.4
        state[f"{name.rpartition('.')[0]}.weight_mask"] = kept.float()
    return state


def authors_logits(state: dict[str, Tensor], pair: Tensor) -> Tensor:
    """What their script computes: embedded, projected, summed over positions, and so on."""

    def masked(module: str, name: str = "W") -> Tensor:
        return state[f"{module}.{name}"] * state[f"{module}.weight_mask"]

    x = masked("embed", "W_E")[:, pair].permute(1, 2, 0) @ masked("inproj").T
    x = torch.relu(x.sum(1))
    for layer in range(sum(name.startswith("mlps.") and name.endswith(".W") for name in state)):
        x = torch.relu(x @ masked(f"mlps.{layer}").T)
    return x @ masked("outproj").T @ masked("unembed", "W_U")


@pytest.mark.parametrize("n_inner", [0, 1, 11])
def test_the_authors_mlp_with_masks_and_several_steps(tmp_path: Path, n_inner: int) -> None:
    generator = torch.Generator().manual_seed(0)
    files, states = [], {}
    for step in (2000, 0, 500):
        states[step] = authors_mlp(generator, n_inner=n_inner)
        files.append(tmp_path / f"epoch_{step}.pth")
        torch.save({"model": states[step]}, files[-1])
    run = import_run(files, tmp_path / "run", task={"train_fraction": 0.6})
    assert run.steps == list(run.metrics.step) == [0, 500, 2000]
    assert (run.task.p, run.task.pairs, run.task.train_fraction) == (7, "unordered", 0.6)
    pair = torch.tensor([[2, 5], [6, 6]])
    for step, state in states.items():
        torch.testing.assert_close(run.model(step)(pair), authors_logits(state, pair))
    assert run.mask is not None
    assert {"W_E", "W_in", "W_out", "W_U"} <= set(run.mask)


def test_the_authors_network_for_images(tmp_path: Path) -> None:
    state = authors_mlp(torch.Generator().manual_seed(0), p=5, d_emb=64, n_inner=1)
    state["outproj.W"], state["outproj.weight_mask"] = torch.randn(10, 8), torch.ones(10, 8)
    state = {name: w for name, w in state.items() if not name.startswith(("embed", "unembed"))}
    torch.save({"model": state}, tmp_path / "final.pth")
    run = import_run([tmp_path / "final.pth"], tmp_path / "run", task={"name": "digits"})
    images = run.task.examples.inputs[:20]
    x = torch.relu(images @ (state["inproj.W"] * state["inproj.weight_mask"]).T)
    x = torch.relu(x @ (state["mlps.0.W"] * state["mlps.0.weight_mask"]).T)
    torch.testing.assert_close(run.model()(images), x @ state["outproj.W"].T)


def authors_transformer(p: int = 7, d_model: int = 12, d_mlp: int = 10) -> dict[str, Tensor]:
    """Their transformer: Nanda's orientation without positions and biases, masks by letters."""
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "embed.W_E": (d_model, p),
        "blocks.0.attn.W_K": (2, 5, d_model),
        "blocks.0.attn.W_Q": (2, 5, d_model),
        "blocks.0.attn.W_V": (2, 5, d_model),
        "blocks.0.attn.W_O": (d_model, 10),
        "blocks.0.mlp.W_in": (d_mlp, d_model),
        "blocks.0.mlp.W_out": (d_model, d_mlp),
        "unembed.W_U": (d_model, p),
    }
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        module, _, letter = name.rpartition(".W_")
        if module.endswith("attn"):
            mask = f"{module}.weight_mask{letter}"
        elif module.endswith("mlp"):
            mask = f"{module}.weight_mask_{letter}"
        else:
            mask = f"{module}.weight_mask"
        state[mask] = (torch.rand(shape, generator=generator) < 0.7).float()
    state["blocks.0.attn.mask"] = torch.ones(2, 2).tril()
    return state


def test_the_authors_transformer_has_no_positions_and_many_masks(tmp_path: Path) -> None:
    state = authors_transformer()
    torch.save({"model": state, "epoch": 2000}, tmp_path / "2000.pth")
    run = import_run([tmp_path / "2000.pth"], tmp_path / "run")
    assert (run.task.n_ctx, run.task.p, run.steps) == (2, 7, [2001])
    pair = torch.tensor([[2, 5], [6, 1]])

    def masked(name: str, mask: str) -> Tensor:
        return state[name] * state[mask]

    x = masked("embed.W_E", "embed.weight_mask")[:, pair].permute(1, 2, 0)
    q, k, v = (
        torch.einsum("hkd,bpd->bhpk", masked(f"{a}.W_{n}", f"{a}.weight_mask{n}"), x)
        for a, n in (("blocks.0.attn", n) for n in "QKV")
    )
    scores = (q @ k.mT / 5**0.5).masked_fill(torch.ones(2, 2).triu(1).bool(), -torch.inf)
    z = rearrange(scores.softmax(-1) @ v, "b h p k -> b p (h k)")
    x = x + z @ masked("blocks.0.attn.W_O", "blocks.0.attn.weight_maskO").T
    post = torch.relu(x @ masked("blocks.0.mlp.W_in", "blocks.0.mlp.weight_mask_in").T)
    x = x + post @ masked("blocks.0.mlp.W_out", "blocks.0.mlp.weight_mask_out").T
    logits = x[:, -1] @ masked("unembed.W_U", "unembed.weight_mask")
    torch.testing.assert_close(run.model()(pair), logits, atol=1e-4, rtol=1e-4)
    assert not run.weights("W_pos").any()


def test_a_mask_of_ones_is_no_mask(tmp_path: Path, tiny_run: Run) -> None:
    state = state_of(tiny_run.model())
    ones = {f"{name}_mask": torch.ones_like(weight) for name, weight in state.items()}
    torch.save(state | ones, tmp_path / "mlp.pt")
    assert import_run([tmp_path / "mlp.pt"], tmp_path / "run").mask is None


def test_a_checkpoint_of_a_run_is_a_file_like_any_other(tmp_path: Path, masked_run: Run) -> None:
    run = import_run([masked_run.file(40), masked_run.file(60)], tmp_path / "run")
    assert run.steps == [40, 60]
    assert run.mask == masked_run.mask
    inputs = masked_run.task.examples.inputs
    assert torch.equal(run.model()(inputs), masked_run.model()(inputs))


def test_a_stack_of_linear_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 1, bias=False)
    )
    torch.save(net.state_dict(), tmp_path / "net.pt")
    run = import_run(
        [tmp_path / "net.pt"], tmp_path / "run", task={"name": "parity", "n": 6, "samples": 30}
    )
    inputs = run.task.examples.inputs
    torch.testing.assert_close(run.model()(inputs), net(inputs))
    assert (run.config.model.n_layers, run.steps) == (2, [0])


@pytest.mark.parametrize("form", ["pickle", "safetensors"])
def test_deep_layers_stand_in_the_order_of_their_numbers(tmp_path: Path, form: str) -> None:
    """Safetensors sorts by name, "10." before "2."; all widths are equal, so no shape objects."""
    torch.manual_seed(0)
    layers = [module for _ in range(7) for module in (nn.Linear(6, 6), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(6, 1))
    file = tmp_path / ("net.pt" if form == "pickle" else "net.safetensors")
    if form == "pickle":
        torch.save(dict(sorted(net.state_dict().items())), file)
    else:
        save_file(net.state_dict(), file)
    run = import_run([file], tmp_path / "run", task={"name": "parity", "n": 6, "samples": 30})
    inputs = run.task.examples.inputs
    torch.testing.assert_close(run.model()(inputs), net(inputs))


def test_layers_without_numbers_stand_as_their_shapes_or_their_writer_have_them(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    names = {"zero.weight": nn.Linear(6, 8), "middle.weight": nn.Linear(8, 8)}
    names["answer.weight"] = nn.Linear(8, 1)
    state = {name: layer.weight.detach() for name, layer in names.items()}
    task = {"name": "parity", "n": 6, "samples": 30}
    save_file(state, tmp_path / "named.safetensors")
    run = import_run([tmp_path / "named.safetensors"], tmp_path / "run", task=task)
    assert torch.equal(run.weights("W_in")[0], state["zero.weight"].T)
    state |= {"also.weight": nn.Linear(8, 8).weight.detach()}
    save_file(state, tmp_path / "many.safetensors")
    with pytest.raises(UserError, match=r"0.weight, 1.weight"):
        import_run([tmp_path / "many.safetensors"], tmp_path / "other", task=task)


def test_a_stack_pruned_by_torch_keeps_its_masks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1))
    prune.l1_unstructured(net[0], "weight", 0.5)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    task = {"name": "parity", "n": 6, "samples": 30}
    run = import_run([tmp_path / "net.pt"], tmp_path / "run", task=task)
    inputs = run.task.examples.inputs
    torch.testing.assert_close(run.model()(inputs), net(inputs))
    assert run.mask is not None
    assert run.mask.density == 0.5


@pytest.mark.parametrize("bias", [True, False])
def test_pruned_biases_are_zero_and_said_so(tmp_path: Path, bias: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1))
    prune.l1_unstructured(net[0], "weight", 0.5)
    if bias:
        prune.l1_unstructured(net[0], "bias", 0.4)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    task = {"name": "parity", "n": 6, "samples": 30}
    with warnings.catch_warnings(record=True) as warned:
        run = import_run([tmp_path / "net.pt"], tmp_path / "run", task=task)
    assert [str(one.message)[:20] for one in warned] == ["net.pt prunes biases"] * bias
    inputs = run.task.examples.inputs
    torch.testing.assert_close(run.model()(inputs), net(inputs))
    assert run.mask is not None
    assert list(run.mask) == ["W_in"]
    assert int((run.weights("b_in") == 0).sum()) == 4 * bias
    assert run.imported is not None
    assert run.imported.compared


@pytest.mark.parametrize("lost", ["b_in", "W_in", "W_out", "mask"])
def test_an_import_that_computes_something_else_is_refused(
    tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is lost or turned on the way from the file to the run."""
    from mechgrok.exchange.importing import making

    def losing(state: dict[str, Tensor], path: Path, **how: Any) -> Any:
        network = recognize(state, path, **how)
        weights = dict(network.weights)
        if lost == "mask":
            return replace(network, mask={})
        weights[lost] = weights[lost] * 0.9
        return replace(network, weights=weights)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1))
    prune.l1_unstructured(net[0], "weight", 0.5)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    task = {"name": "parity", "n": 6, "samples": 30}
    monkeypatch.setattr(making, "recognize", losing)
    with pytest.raises(UserError, match=r"net\.pt .*layout"):
        import_run([tmp_path / "net.pt"], tmp_path / "run", task=task)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0])
def test_a_mask_of_other_values_is_refused(tmp_path: Path, tiny_run: Run, value: float) -> None:
    state = state_of(tiny_run.model())
    torch.save(state | {"W_in_mask": torch.full_like(state["W_in"], value)}, tmp_path / "mlp.pt")
    with pytest.raises(UserError, match=r"W_in_mask .*0 and 1"):
        import_run([tmp_path / "mlp.pt"], tmp_path / "run")


def test_many_steps_in_one_file(tmp_path: Path, tiny_run: Run) -> None:
    states = [state_of(tiny_run.model(step)) for step in (0, 20, 60)]
    torch.save({"checkpoints": states, "checkpoint_epochs": [0, 20, 60]}, tmp_path / "all.pth")
    run = import_run([tmp_path / "all.pth"], tmp_path / "run", task={"train_fraction": 0.7})
    # An epoch is counted from 0, and weights are saved after its update.
    assert run.steps == [1, 21, 61]
    columns = ["train_loss", "test_loss", "train_accuracy", "test_accuracy", "l1", "l2"]
    theirs = tiny_run.metrics.set_index("step").loc[[0, 20, 60], columns]
    np.testing.assert_allclose(run.metrics[columns], theirs, rtol=1e-6)


def test_facts_in_the_file_become_settings(tmp_path: Path) -> None:
    config = {"p": 5, "frac_train": 0.25, "lr": 0.002, "weight_decay": 0.5, "fn_name": "subtract"}
    saved = {"model": older(state_of(transformer())), "epoch": 123, "config": config}
    torch.save(saved, tmp_path / "full.pth")
    run = import_run([tmp_path / "full.pth"], tmp_path / "run")
    assert (run.task.name, run.task.train_fraction, run.steps) == ("sub", 0.25, [124])
    assert run.imported is not None
    assert run.imported.known == {"learning_rate": 0.002, "weight_decay": 0.5}
    # What a person says counts more than what the file says.
    said = import_run([tmp_path / "full.pth"], tmp_path / "said", task={"name": "mul"}, steps=[7])
    assert (said.task.name, said.steps) == ("mul", [7])


def test_weights_are_of_no_later_step_than_their_training_had(
    tmp_path: Path, tiny_run: Run
) -> None:
    files = [tiny_run.file(60), tiny_run.file(20)]
    with pytest.raises(UserError, match=r"step 60 .*5 steps.*--steps"):
        import_run(files, tmp_path / "run", training={"steps": 5})
    assert not (tmp_path / "run").exists()
    run = import_run(files, tmp_path / "run", training={"steps": 60})
    assert run.config.inherited_training()["steps"] == 60


def test_an_imported_run_is_not_resumed(tmp_path: Path, tiny_run: Run) -> None:
    run = import_run([tiny_run.file(0)], tmp_path / "run")
    with pytest.raises(UserError, match="imported"):
        resume(run.path, steps=100)
    assert run.steps == [0]


def test_untrained_weights_are_at_chance_level_and_trained_ones_are_not(
    tmp_path: Path, tiny_run: Run
) -> None:
    right = import_run([tiny_run.file(60)], tmp_path / "right", task={"train_fraction": 0.7})
    assert chance_level_warning(right) is None
    untrained = import_run([tiny_run.file(0)], tmp_path / "untrained")
    assert untrained.metrics.train_accuracy.max() < 2 / 7
    assert "--pairs" in str(chance_level_warning(untrained))


def _state(**changes: Any) -> dict[str, Any]:
    state = older(state_of(transformer()))
    return {name: weight for name, weight in (state | changes).items() if weight is not None}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"a": torch.zeros(2)}, r"a \[2\].*embed.W_E"),
        ({"losses": [1.0, 2.0]}, r"\['losses'\].*embed.W_E"),
        ([torch.zeros(2)], "list.* dictionary"),
        (
            {k: v for k, v in state_of(transformer()).items() if k != "pos_embed.W_pos"},
            "'pos_embed.W_pos'",
        ),
        (_state(**{"blocks.0.attn.W_K": None}), "'blocks.0.attn.W_K'"),
        (_state(**{"blocks.0.mlp.W_out": torch.zeros(12, 11)}), r"W_out is \[12, 11\]"),
        (
            _state(**{"blocks.0.mlp.b_in": torch.zeros(11)}),
            r"b_in .*\[11\].*d_mlp = 10",
        ),
        (_state(**{"blocks.0.ln1.w": torch.ones(12)}), "blocks.0.ln2.w"),
        (_state(**{"ln_final.b": torch.ones(12)}), "ln_final.w"),
        (_state(**{"unembed.b_U": torch.ones(6)}), "unembed.b_U"),
        (_state(**{"embed.W_E_mask": torch.ones(3, 3)}), r"embed.W_E_mask \[3, 3\]"),
        (
            {"embed.W_E": torch.zeros(12, 7), "inproj.W": torch.zeros(8, 11)}
            | {"outproj.W": torch.zeros(12, 8), "unembed.W_U": torch.zeros(12, 7)},
            r"inproj.W .*\[8, 11\]",
        ),
        (
            {"0.weight": torch.zeros(4, 3), "2.weight": torch.zeros(2, 5)},
            r"2.weight .*\[2, 5\].*d_mlp = 4",
        ),
    ],
)
def test_what_is_not_recognized_is_refused_with_what_was_found(
    tmp_path: Path, content: Any, complaint: str
) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match=complaint):
        import_run([tmp_path / "file.pth"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _outputs_of_import(path: Path, out: Path, **options: Any) -> tuple[Run, Tensor]:
    run = import_run([path], out, **options)
    with torch.no_grad():
        return run, run.model(0)(torch.tensor([[1, 2, 5], [4, 0, 5]]))


@pytest.mark.parametrize("turn", [lambda state: state, older], ids=["ours", "older"])
@pytest.mark.parametrize(
    "norm", [{"norm": "layer"}, {"norm": "rms"}, {"norm": "rms", "norm_at": "end"}], ids=str
)
def test_a_normalized_transformer(tmp_path: Path, norm: dict[str, str], turn: Any) -> None:
    model = transformer(**norm)
    torch.save(turn(state_of(model)), tmp_path / "file.pth")
    run, outputs = _outputs_of_import(tmp_path / "file.pth", tmp_path / "run")
    assert {name: getattr(run.config.model, name) for name in norm} == norm
    assert run.config.origin.compared
    expected = model(torch.tensor([[1, 2, 5], [4, 0, 5]]))[:, : outputs.shape[1]]
    torch.testing.assert_close(outputs, expected.detach())


def test_a_normalization_without_scale_is_read_from_the_settings(tmp_path: Path) -> None:
    model = transformer(norm="layer", norm_learned=False)
    content = {"model": state_of(model), "config": {"normalization_type": "LNPre"}}
    torch.save(content, tmp_path / "file.pth")
    run, outputs = _outputs_of_import(tmp_path / "file.pth", tmp_path / "run")
    assert (run.config.model.norm, run.config.model.norm_learned) == ("layer", False)
    expected = model(torch.tensor([[1, 2, 5], [4, 0, 5]]))[:, : outputs.shape[1]]
    torch.testing.assert_close(outputs, expected.detach())
    content["config"] = {"normalization_type": "BatchNorm"}
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match="LNPre"):
        import_run([tmp_path / "file.pth"], tmp_path / "other")


def test_scales_are_folded_into_the_matrices_that_read_them(tmp_path: Path) -> None:
    state = state_of(transformer(norm="layer"))
    for name in ("blocks.0.ln1.b", "ln_final.b"):
        state[name].zero_()
    torch.save(state, tmp_path / "file.pth")
    _, whole = _outputs_of_import(tmp_path / "file.pth", tmp_path / "run")
    run, folded = _outputs_of_import(tmp_path / "file.pth", tmp_path / "fold", fold_norm=True)
    torch.testing.assert_close(folded, whole)
    assert not run.config.model.norm_learned
    assert not run.wiring.normalization_weights
    state["ln_final.b"][0] = 1.0
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(UserError, match="omit --fold-norm"):
        import_run([tmp_path / "file.pth"], tmp_path / "refused", fold_norm=True)


def test_biases_that_are_zero_change_nothing(tmp_path: Path) -> None:
    torch.save(_state(**{"unembed.b_U": torch.zeros(6)}), tmp_path / "file.pth")
    assert import_run([tmp_path / "file.pth"], tmp_path / "run").steps == [0]


@pytest.mark.parametrize(
    ("task", "complaint"),
    [
        ({"p": 6}, "6 .*tokens.* 7.*--p"),
        ({"equals": False, "p": 6}, "3 positions.* 2 tokens.*--equals"),
        ({"p": 1}, "p = 1"),
        ({"name": "parity"}, "6 .*40.*--task"),
        ({"name": "adding"}, "'adding'"),
    ],
)
def test_a_task_that_does_not_fit_the_shapes(
    tmp_path: Path, task: dict[str, Any], complaint: str
) -> None:
    torch.save(_state(), tmp_path / "file.pth")
    with pytest.raises(UserError, match=complaint):
        import_run([tmp_path / "file.pth"], tmp_path / "run", task=task)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", [{}, {"equals": True}, {"equals": False}])
def test_four_tokens_are_not_mended_by_an_equals_sign(tmp_path: Path, task: dict[str, Any]) -> None:
    config = TransformerConfig(d_model=12, n_heads=2, d_mlp=10)
    model = HookedTransformer(config, d_vocab=9, n_ctx=4, d_output=9)
    torch.save(state_of(model), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"--task.* 4 tokens"):
        import_run([tmp_path / "w.pth"], tmp_path / "run", task=task)


def test_files_that_do_not_fit_each_other(tmp_path: Path) -> None:
    for name, d_model in (("1.pth", 12), ("2.pth", 6)):
        torch.save(state_of(transformer(d_model)), tmp_path / name)
    with pytest.raises(UserError, match=r"2\.pth .*1\.pth"):
        import_run([tmp_path / "1.pth", tmp_path / "2.pth"], tmp_path / "run")


def test_steps_that_are_unknown_or_too_few(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        torch.save(state_of(transformer()), tmp_path / name)
    files = [tmp_path / "a.pth", tmp_path / "b.pth"]
    with pytest.raises(UserError, match="--steps"):
        import_run(files, tmp_path / "run")
    with pytest.raises(UserError, match=r"1 .*2 "):
        import_run(files, tmp_path / "run", steps=[5])
    assert import_run(files, tmp_path / "run", steps=[5, 3]).steps == [3, 5]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing.pth"):
        import_run([tmp_path / "nothing.pth"], tmp_path / "run")
    with pytest.raises(UserError, match="file"):
        import_run([], tmp_path / "run")


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="no published file beside the checkout")
def test_a_published_run_is_what_its_authors_say(tmp_path: Path) -> None:
    pairs = [(a, b) for a in range(113) for b in range(113)]
    random.Random(1).shuffle(pairs)  # as their script splits them, with the seed in the file
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train_pairs": pairs[: int(0.3 * len(pairs))]}))
    run = import_run([PUBLISHED], tmp_path / "run", split=split)
    told, last = torch.load(PUBLISHED, "cpu", weights_only=True), run.metrics.iloc[-1]
    # Theirs are of one update before.
    for side in ("train", "test"):
        assert last[f"{side}_loss"] == pytest.approx(told[f"{side}_loss"].item(), rel=0.01)
    task = run.task
    assert (task.p, task.equals, len(task.examples.labels)) == (113, True, 12769)
    assert run.steps == [107791]
    assert len(task.train_index) == int(0.3 * 12769)
    model = run.model()
    with torch.no_grad():
        logits = model(task.examples.inputs)
    assert task.accuracy(logits, task.examples.labels) == 1
    assert task.loss(logits, task.examples.labels).item() == pytest.approx(3.5e-7, rel=0.02)
    amplitude = torch.fft.rfft(model.W_E[:113].detach().double(), dim=0).norm(dim=1)
    amplitude[0] = 0
    assert set(amplitude.topk(5).indices.tolist()) == {23, 6, 37, 41, 39}
    theirs = run.to_transformer_lens()(task.examples.inputs)[:, -1]
    torch.testing.assert_close(theirs, logits, atol=1e-4, rtol=1e-5)
