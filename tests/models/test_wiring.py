"""What every model says of itself: its weights, what connects what, and what is folded."""

import pickle
from typing import Any

import pytest
import torch

from mechgrok.analyses.measures.graphs import left_side
from mechgrok.errors import UserError
from mechgrok.models import (
    Group,
    MLPConfig,
    ModelShape,
    PositionalMLPConfig,
    TransformerConfig,
    Wiring,
    make_model,
    raw_weights,
    wiring_of,
)
from mechgrok.models.config import KINDS
from mechgrok.models.wiring import HiddenLayer
from mechgrok.runs import Run
from mechgrok.tasks import make_task

TASK = make_task("add", p=7, pairs="ordered")
SHAPES: dict[str, ModelShape] = {
    "mlp": MLPConfig(d_model=12, d_mlp=5),
    "deep mlp with biases": MLPConfig(d_model=12, d_mlp=5, n_layers=3, bias=True),
    "mlp without embedding": MLPConfig(d_model=None, d_mlp=5, n_layers=2, bias=True),
    "positional, summed": PositionalMLPConfig(d_model=12, d_mlp=5),
    "positional, side by side": PositionalMLPConfig(d_model=12, d_mlp=5, join="concat", n_layers=2),
    "transformer": TransformerConfig(d_model=12, n_heads=3, d_mlp=10),
    "transformer without positions and biases": TransformerConfig(
        d_model=12, n_heads=3, d_mlp=10, positions=False, bias=False
    ),
    # W_O [head, d_head, d_model] is square in its last two: no shape tells how its heads lie.
    "two layers, wide heads": TransformerConfig(
        d_model=6, n_heads=2, d_head=6, d_mlp=10, n_layers=2
    ),
}
#: Networks with a normalization, whose paths hold its linear part but not its scale.
NORMALIZED: dict[str, ModelShape] = {
    "mlp, before": MLPConfig(d_model=12, d_mlp=5, norm="layer"),
    "deep mlp, after": MLPConfig(d_model=12, d_mlp=5, n_layers=2, norm="layer", norm_at="after"),
    "mlp on one-hot vectors": MLPConfig(d_model=None, d_mlp=5, norm="rms", norm_at="before"),
    "positional": PositionalMLPConfig(d_model=12, d_mlp=5, norm="layer"),
    "positional, side by side": PositionalMLPConfig(
        d_model=12, d_mlp=5, join="concat", norm="rms", n_layers=2
    ),
    "transformer, before": TransformerConfig(d_model=12, n_heads=3, d_mlp=10, norm="layer"),
    "transformer, after": TransformerConfig(
        d_model=12, d_mlp=10, n_layers=2, norm="layer", norm_at="after"
    ),
    "transformer, end": TransformerConfig(d_model=12, d_mlp=10, norm="rms", norm_at="end"),
}
each_network = pytest.mark.parametrize(
    "shape", [*SHAPES.values(), *NORMALIZED.values()], ids=[*SHAPES, *NORMALIZED]
)
each_normalized = pytest.mark.parametrize("shape", NORMALIZED.values(), ids=NORMALIZED)
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@each_network
def test_the_wiring_names_every_weight_in_the_models_order(shape: ModelShape) -> None:
    raw = raw_weights(make_model(shape, TASK))
    declared = wiring_of(shape, TASK).weights
    assert {name: tuple(weight.shape) for name, weight in raw.items()} == dict(declared)
    assert list(declared) == list(raw)


@each_network
def test_every_matrix_joins_units_of_its_groups(shape: ModelShape) -> None:
    model = make_model(shape, TASK)
    wiring, raw = model.wiring, raw_weights(model)
    assert set(wiring.connections) == {name for name, weight in raw.items() if weight.ndim >= 2}
    for name in wiring.connections:
        rows, columns = wiring.ends(name)
        assert tuple(wiring.matrix(name, raw[name]).shape) == (len(rows), len(columns))
        sides = left_side(wiring)
        assert (sides[rows.start : rows.stop] != sides[columns.start]).all()
    stacked = {name: torch.stack([weight, -weight]) for name, weight in raw.items()}
    for name in wiring.connections:
        both = wiring.matrix(name, stacked[name])
        assert torch.equal(both[0], wiring.matrix(name, raw[name]))


@each_shape
def test_what_neurons_read_of_the_inputs_is_what_the_model_computes(shape: ModelShape) -> None:
    """The folded input side, applied to one-hot inputs, gives the neurons of the first layer."""
    model = make_model(shape, TASK)
    layer = model.wiring.hidden[0]
    if layer.folded is None:
        pytest.skip("the neurons read more than the inputs")
    tokens = TASK.examples.inputs
    folded = layer.folded(model.weight)
    d_vocab = TASK.d_vocab
    rows = tokens + d_vocab * torch.arange(2) if len(folded) > d_vocab else tokens
    expected = folded[rows].sum(1)
    if model.wiring.weights.get("b_in"):
        expected = expected + model.weight("b_in")
    _, cache = model.run_with_cache(tokens)
    torch.testing.assert_close(cache["pre", 0], expected)


@each_shape
def test_the_output_path_is_what_a_neuron_adds_to_the_outputs(shape: ModelShape) -> None:
    model = make_model(shape, TASK)
    layer, tokens = model.wiring.hidden[-1], TASK.examples.inputs[:3]
    outputs, cache = model.run_with_cache(tokens)

    def without(post: torch.Tensor, hook: object) -> torch.Tensor:
        changed = post.clone()
        changed[..., 2] = 0
        return changed

    changed = model.run_with_hooks(tokens, fwd_hooks=[(layer.hook, without)])
    post = cache[layer.hook]
    post = post if post.ndim == 2 else post[:, -1]
    lost = post[:, 2:3] * model.output_side()[2]
    torch.testing.assert_close(outputs - changed, lost, atol=1e-5, rtol=1e-4)


@each_normalized
def test_a_normalized_path_is_linear_up_to_the_scale_of_each_example(shape: ModelShape) -> None:
    """With scales of 1, neurons read and outputs get what the paths say."""
    model = make_model(shape, TASK)
    wiring, generator = model.wiring, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in wiring.normalization_weights:
            weight = model.weight(name)
            weight.add_(torch.randn(weight.shape, generator=generator))
    first, last = wiring.hidden[0].hook.replace("hook_post", "hook_pre"), wiring.hidden[-1].hook
    hooks: list[Any] = [
        (f"{norm.name}.hook_scale", lambda scale, hook: torch.ones_like(scale))
        for norm in wiring.normalizations
    ]
    if shape.kind == "transformer":
        hooks.append(("blocks.0.attn.hook_pattern", _only_first))

    def at(hook: str, tokens: list[int], activation: float = 0.0) -> torch.Tensor:
        """The activation at a hook point, with a neuron of the last layer set."""
        seen: list[torch.Tensor] = []

        def set_neuron(post: torch.Tensor, hook: object) -> torch.Tensor:
            return torch.cat([torch.full_like(post[..., :1], activation), post[..., 1:]], -1)

        fwd_hooks = [*hooks, (last, set_neuron), (hook, lambda value, hook: seen.append(value))]
        model.run_with_hooks(torch.tensor([tokens]), fwd_hooks=fwd_hooks)
        return seen[0][0] if seen[0].ndim == 2 else seen[0][0, -1]

    out = at("hook_logits", [1, 2], 1.0) - at("hook_logits", [1, 2])
    torch.testing.assert_close(out, model.output_side()[0], atol=1e-5, rtol=1e-4)
    into = model.input_side("auto")
    torch.testing.assert_close(
        at(first, [3, 2]) - at(first, [1, 2]), into[3] - into[1], atol=1e-5, rtol=1e-4
    )


def _only_first(pattern: torch.Tensor, hook: object) -> torch.Tensor:
    return torch.zeros_like(pattern).index_fill(-1, torch.tensor(0), 1.0)


@each_normalized
def test_the_readout_is_linear_unless_a_normalization_follows_the_neurons(
    shape: ModelShape,
) -> None:
    wiring = wiring_of(shape, TASK)
    assert wiring.has_linear_readout == (shape.norm_at == "before")
    assert wiring_of(shape.model_copy(update={"norm": None}), TASK).has_linear_readout


@each_shape
def test_a_network_that_is_wider_has_more_neurons_and_the_same_inputs(shape: ModelShape) -> None:
    before, after = wiring_of(shape, TASK), wiring_of(shape.widened(3), TASK)
    for name, group in before.groups.items():
        grows = group.unit in ("neuron", "d_model") or (
            group.unit == "d_head" and getattr(shape, "d_head", None) is None
        )
        assert after.groups[name].size == group.size * (3 if grows else 1)


def test_the_heads_of_a_layer_lie_side_by_side_and_undo_each_other() -> None:
    model = make_model(TransformerConfig(d_model=6, n_heads=2, d_head=6, d_mlp=10), TASK)
    W_V, W_O = (f"blocks.0.attn.{name}" for name in ("W_V", "W_O"))
    value, output = (model.wiring.matrix(n, model.weight(n)) for n in (W_V, W_O))
    assert value.shape == (6, 12)
    assert output.shape == (12, 6)
    through = torch.einsum("hmk,hkn->mn", model.weight(W_V), model.weight(W_O))
    torch.testing.assert_close(value @ output, through)


def test_the_path_through_attention_is_the_sum_over_heads(tiny_transformer_run: Run) -> None:
    run = tiny_transformer_run
    weights = run.checkpoint(20).weights
    attn = "blocks.0.attn."
    expected = sum(
        weights["embed.W_E"]
        @ weights[f"{attn}W_V"][head]
        @ weights[f"{attn}W_O"][head]
        @ weights["blocks.0.mlp.W_in"]
        for head in range(2)
    )
    assert run.wiring.path_name("auto") == "attention"
    found = run.input_side([20], path="auto")[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    direct = weights["embed.W_E"] @ weights["blocks.0.mlp.W_in"]
    torch.testing.assert_close(run.input_side([20])[0], direct)


def test_chunks_of_steps_make_no_difference(
    tiny_transformer_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny_transformer_run.input_side(path="auto")
    monkeypatch.setattr("mechgrok.runs.run._LARGEST_STACK", 1)
    torch.testing.assert_close(tiny_transformer_run.input_side(path="auto"), whole)


def test_a_path_that_a_network_lacks_is_refused(tiny_run: Run) -> None:
    assert tiny_run.wiring.path_name() == "direct"
    with pytest.raises(UserError, match=r"'attention'.*--path direct"):
        tiny_run.input_side(path="attention")


def test_caches_answer_to_transformer_lens_s_short_names(tiny_transformer_run: Run) -> None:
    model = tiny_transformer_run.model()
    _, cache = model.run_with_cache(TASK.examples.inputs[:4])
    assert cache["pattern", 0].shape == (4, 2, 2, 2)
    assert torch.equal(cache["post", -1], cache["blocks.0.mlp.hook_post"])
    assert torch.equal(cache["embed"], cache["hook_embed"])
    stack = cache.accumulated_resid(layer=1)
    torch.testing.assert_close(stack[-1], cache["resid_post", 0])
    _, plain = model.run_with_cache(TASK.examples.inputs[:4], return_cache_object=False)
    assert isinstance(plain, dict)


def test_configurations_of_models_need_no_torch() -> None:
    import subprocess
    import sys

    program = "import sys; import mechgrok.models.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert set(KINDS) == {"mlp", "positional-mlp", "transformer"}


def test_a_wiring_of_plain_matrices_is_that_of_the_same_mlp() -> None:
    """All that is asked of a wiring follows of which groups each matrix joins."""
    known = wiring_of(SHAPES["deep mlp with biases"].model_copy(update={"bias": False}), TASK)
    ends = {name: (join.source, join.target) for name, join in known.connections.items()}
    hooks = {layer.group: layer.hook for layer in known.hidden}
    made = Wiring.between(known.groups, ends, hooks)
    assert (made.weights, made.connections) == (known.weights, known.connections)
    for own, other in zip(made.hidden, known.hidden, strict=True):
        assert (own.reads, own.writes, own.hook) == (other.reads, other.writes, other.hook)
    weights = {name: torch.randn(2, *shape) for name, shape in known.weights.items()}.__getitem__
    for own, other in (
        (made.input_path(), known.input_path()),
        (made.output_path, known.output_path),
        (made.embedding, known.embedding),
    ):
        assert own is not None
        assert other is not None
        assert own.formula == other.formula
        assert torch.equal(own.product(weights), other.product(weights))
    assert made.hidden[0].folded is not None
    assert torch.equal(made.hidden[0].folded(weights), made.input_path().product(weights))


def test_what_two_inputs_give_to_a_neuron_lies_one_below_the_other() -> None:
    token = Group(3, "token")
    groups = {"a": token, "b": token, "neurons": Group(2, "neuron"), "out": Group(3, "output")}
    ends = {"W_a": ("a", "neurons"), "W_b": ("b", "neurons"), "W_out": ("neurons", "out")}
    wiring = Wiring.between(groups, ends, {"neurons": "hook_post"})
    assert list(wiring.input_paths) == ["W_a", "W_b"]
    assert wiring.embedding is None
    weights = {"W_a": torch.zeros(3, 2), "W_b": torch.ones(3, 2)}.__getitem__
    assert wiring.hidden[0].folded is not None
    assert torch.equal(wiring.hidden[0].folded(weights).sum(1), torch.tensor([0.0, 0, 0, 2, 2, 2]))


def test_a_recurrent_matrix_is_on_no_path() -> None:
    groups = {"in": Group(3, "token"), "neurons": Group(2, "neuron"), "out": Group(3, "output")}
    ends = {"W": ("in", "neurons"), "U": ("neurons", "neurons"), "V": ("neurons", "out")}
    wiring = Wiring.between(groups, ends, {"neurons": "hook_post"})
    (layer,) = wiring.hidden
    assert (layer.reads, layer.writes) == (("W", "U"), ("U", "V"))
    assert layer.recurrent
    assert layer.folded is None
    assert list(wiring.input_paths) == [wiring.direct] == ["W"]
    assert wiring.output_path.formula == "V"
    assert wiring.layout("U").inside


def test_neurons_may_write_to_what_they_read() -> None:
    """A residual stream: the cycle through it is on no path either."""
    groups = {"in": Group(3, "token"), "resid": Group(4, "d_model")}
    groups |= {"neurons": Group(2, "neuron"), "out": Group(3, "output")}
    ends = {"W_E": ("in", "resid"), "W_in": ("resid", "neurons"), "W_out": ("neurons", "resid")}
    ends["W_U"] = ("resid", "out")
    wiring = Wiring.between(groups, ends, {"neurons": "hook_post"})
    assert list(wiring.input_paths) == ["W_E W_in"]
    assert wiring.output_path.formula == "W_out W_U"


def test_gates_are_read_together_and_positions_one_at_a_time() -> None:
    token, neuron = Group(3, "token"), Group(2, "neuron")
    groups = {"a": token, "b": token, "neurons": neuron, "out": Group(3, "output")}
    ends = {f"{side}_{gate}": (side, "neurons") for side in "ab" for gate in ("gate", "value")}
    wiring = Wiring.between(groups, {**ends, "W_out": ("neurons", "out")}, {"neurons": "hook_post"})
    assert wiring.path_name("auto") == wiring.direct == "a_gate, a_value"
    assert [path.formula for path in wiring.paths("auto")] == ["a_gate", "a_value"]
    assert [path.formula for path in wiring.paths("b_value")] == ["b_value"]
    weights = {name: torch.full((3, 2), float(at)) for at, name in enumerate(ends)}.__getitem__
    assert wiring.embedded.product(weights).tolist() == [[0, 0, 1, 1]] * 3
    with pytest.raises(UserError, match="--path"):
        wiring.input_path("auto")


def test_one_name_still_makes_a_layer_that_reads_by_one_weight() -> None:
    with pytest.warns(DeprecationWarning, match="tuple"):
        layer = HiddenLayer("neurons", hook="", reads="W_in", writes=("W_out",))  # type: ignore[arg-type]
    assert layer.reads == ("W_in",)


@each_shape
def test_a_model_can_be_pickled(shape: ModelShape) -> None:
    model = make_model(shape, TASK)
    copied = pickle.loads(pickle.dumps(model))
    assert torch.equal(copied(TASK.examples.inputs), model(TASK.examples.inputs))
    assert copied.wiring.path_name() == model.wiring.path_name()


def test_a_wiring_that_leads_nowhere_is_refused() -> None:
    groups = {"in": Group(3, "token"), "neurons": Group(2, "neuron")}
    with pytest.raises(UserError, match=r"'neuron'.*in or neurons"):
        Wiring.between(groups, {"W": ("in", "neuron")}, {"neurons": "hook_post"})
    with pytest.raises(UserError, match=r"reads .*'neurons'"):
        Wiring.between(groups, {"W": ("in", "neurons")}, {"neurons": "hook_post"})
    only_recurrent = {"U": ("neurons", "neurons"), "W": ("neurons", "in")}
    with pytest.raises(UserError, match=r"writes .*'neurons'"):
        Wiring.between(groups, only_recurrent, {"neurons": "hook_post"})
    with pytest.raises(UserError, match="neurons"):
        Wiring.between(groups, {"W": ("in", "neurons")}, {})
