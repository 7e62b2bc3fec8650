"""What a user of TransformerLens, NumPy and a notebook does out of habit works on our models."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformer_lens import patching

import mechgrok
from mechgrok.errors import UserError
from mechgrok.interventions import Ablate, Edges, PatchPath, Remove, intervene, intervened
from mechgrok.masks import Mask, apply_mask
from mechgrok.models import HookedTransformer, TransformerConfig
from mechgrok.runs import Run
from mechgrok.sweeps import Sweep

P, LAYERS, HEADS, D_MODEL, D_MLP = 7, 2, 3, 12, 10
TOKENS = torch.cartesian_prod(torch.arange(P), torch.arange(P))
DOCS = Path(mechgrok.__file__).resolve().parents[1] / "docs"


@pytest.fixture
def model() -> HookedTransformer:
    shape = {"d_model": D_MODEL, "d_mlp": D_MLP, "n_layers": LAYERS, "n_heads": HEADS}
    config = TransformerConfig(**shape, norm="layer")
    return HookedTransformer(config, d_vocab=P, n_ctx=2, d_output=P).eval()


def logits(model: HookedTransformer) -> Tensor:
    return model(TOKENS, return_positions=True)


# --- TransformerLens ----------------------------------------------------------------------------


def test_weights_are_stacked_by_layer(model: HookedTransformer):
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        for layer, block in enumerate(model.blocks):
            assert torch.equal(getattr(model, name)[layer], getattr(block.attn, name))
    for name in ("W_in", "b_in", "W_out", "b_out"):
        for layer, block in enumerate(model.blocks):
            assert torch.equal(getattr(model, name)[layer], getattr(block.mlp, name))
    torch.testing.assert_close(model.QK.AB, model.W_Q @ model.W_K.mT)
    torch.testing.assert_close(model.OV.AB, model.W_V @ model.W_O)


def test_stacked_weights_have_their_masks(model: HookedTransformer):
    weight = model.blocks[1].attn.W_Q
    apply_mask(model, Mask({"blocks.1.attn.W_Q": torch.zeros(weight.shape, dtype=torch.bool)}))
    assert model.W_Q[1].abs().sum() == 0 < model.W_Q[0].abs().sum()


def test_cfg_has_transformer_lens_s_names(model: HookedTransformer):
    sizes = {"n_layers": 2, "n_heads": 3, "d_head": 4, "d_model": 12, "d_mlp": 10}
    more = {"n_ctx": 2, "d_vocab": 7, "d_vocab_out": 7, "act_fn": "relu", "dtype": torch.float32}
    for name, value in (sizes | more).items():
        assert getattr(model.cfg, name) == value
    with pytest.raises(UserError, match="new run"):
        model.cfg.d_mlp = 3


def test_a_forward_pass_returns_what_return_type_says(tiny_run: Run, tiny_transformer_run: Run):
    for run in (tiny_run, tiny_transformer_run):
        model, (inputs, labels) = run.model(), run.task.test
        outputs, loss = model(inputs, return_type="both", labels=labels)
        assert torch.equal(outputs, model(inputs))
        assert torch.equal(loss, run.task.loss(outputs, labels))
        assert torch.equal(loss, model(inputs, return_type="loss", labels=labels))
        assert model(inputs, return_type=None) is None
        with pytest.raises(UserError, match="labels="):
            model(inputs, return_type="loss")
        with pytest.raises(UserError, match="logits, loss, both or None"):
            model(inputs, return_type="losses", labels=labels)
        _, cache = model.run_with_cache(inputs, return_type="loss", labels=labels, incl_bwd=True)
        assert cache["blocks.0.mlp.hook_post_grad"].abs().sum() > 0


def test_a_pass_stops_before_a_layer(model: HookedTransformer):
    _, cache = model.run_with_cache(TOKENS)
    for layer, name in (
        (0, "0.hook_resid_pre"),
        (1, "0.hook_resid_post"),
        (-1, "1.hook_resid_pre"),
    ):
        torch.testing.assert_close(model(TOKENS, stop_at_layer=layer), cache[f"blocks.{name}"])


def test_logits_at_every_position(model: HookedTransformer, tiny_transformer_run: Run):
    assert logits(model).shape == (P * P, 2, P)
    torch.testing.assert_close(logits(model)[:, -1], model(TOKENS))
    with pytest.warns(DeprecationWarning, match="return_positions"):
        assert torch.equal(model(TOKENS, all_positions=True), logits(model))
    always = tiny_transformer_run.model(return_positions=True)
    torch.testing.assert_close(always(TOKENS), tiny_transformer_run.model().tl()(TOKENS))


def test_an_mlp_says_what_it_has_instead_of_positions(tiny_run: Run):
    model = tiny_run.model()
    for option in ({"return_positions": True}, {"stop_at_layer": 0}):
        with pytest.raises(UserError, match="omit"):
            model(TOKENS, **option)
    with pytest.raises(UserError, match="omit"):
        tiny_run.model(return_positions=True)
    with pytest.raises(UserError, match="whose hooks"):
        model.tl()


def test_a_stock_model_has_the_mask_on(tiny_transformer_run: Run):
    model = tiny_transformer_run.model()
    kept = torch.rand(model.blocks[0].mlp.W_in.shape) < 0.5
    apply_mask(model, Mask({"blocks.0.mlp.W_in": kept}))
    torch.testing.assert_close(model.tl()(TOKENS)[:, -1], model(TOKENS), atol=1e-5, rtol=1e-5)


def test_optional_hooks_show_their_activations_and_change_nothing(model: HookedTransformer):
    before, names = model(TOKENS, mode="full"), set(model.hook_dict)
    with pytest.raises(KeyError, match=r"set_use_attn_result\(True\)"):
        model.run_with_cache(TOKENS, names_filter="blocks.0.attn.hook_result")
    model.cfg.use_attn_result = True
    model.set_use_hook_mlp_in(True)
    model.set_use_split_qkv_input(True)
    after, cache = model.run_with_cache(TOKENS)
    torch.testing.assert_close(after, before)
    attn_out = cache["blocks.1.attn.hook_result"].sum(2)
    torch.testing.assert_close(attn_out, cache["attn_out", 1])
    assert torch.equal(cache["mlp_in", 0], cache["resid_mid", 0])
    read = cache["blocks.1.attn.hook_q_input"]
    assert torch.equal(read, cache["resid_pre", 1][:, :, None].expand_as(read))
    for switch in ("attn_result", "hook_mlp_in", "split_qkv_input"):
        setattr(model.cfg, f"use_{switch}", False)
    assert set(model.hook_dict) == names
    assert torch.equal(model(TOKENS, mode="full"), before)


def test_a_cache_decomposes_the_residual_stream(model: HookedTransformer):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape) / 10
    last, cache = model.run_with_cache(TOKENS)
    resid = cache["resid_post", -1]
    parts, labels = cache.decompose_resid(return_labels=True)
    assert labels[:3] == ["embed", "pos_embed", "0_attn_out"]
    torch.testing.assert_close(parts.sum(0), resid, atol=1e-5, rtol=1e-5)
    assert torch.equal(cache.accumulated_resid()[-1], resid)
    everything = cache.get_full_resid_decomposition()
    torch.testing.assert_close(everything.sum(0), resid, atol=1e-5, rtol=1e-5)
    heads, labels = cache.stack_head_results(return_labels=True)
    assert labels == model.all_head_labels()
    attn_out = cache["attn_out", 0] + cache["attn_out", 1]
    torch.testing.assert_close(heads.sum(0), attn_out, atol=1e-5, rtol=1e-5)
    lens = cache.accumulated_resid(apply_ln=True, pos_slice=-1)[-1] @ model.W_U
    torch.testing.assert_close(lens, last, atol=1e-5, rtol=1e-5)


def test_logit_attributions_add_up_to_the_logits(tiny_transformer_run: Run):
    model, answers = tiny_transformer_run.model(), TOKENS[:, 0]
    last, cache = model.run_with_cache(TOKENS)
    parts = cache.decompose_resid(pos_slice=-1)
    found = cache.logit_attrs(parts, answers, pos_slice=-1).sum(0)
    torch.testing.assert_close(found, last[range(P * P), answers], atol=1e-5, rtol=1e-5)


def test_patching_helpers_run(model: HookedTransformer):
    clean, corrupted = TOKENS[:5], TOKENS[5:10]
    expected, cache = model.run_with_cache(clean)
    _, before = model.run_with_cache(corrupted)

    def metric(outputs: Tensor) -> Tensor:
        return outputs[:, 3].mean()

    last = patching.get_act_patch_resid_pre(model, corrupted, cache, metric)
    assert last.shape == (LAYERS, 2)
    heads = patching.get_act_patch_attn_head_all_pos_every(model, corrupted, cache, metric)
    assert heads.shape == (5, LAYERS, HEADS)
    blocks = patching.get_act_patch_block_every(model, corrupted, cache, metric)
    assert blocks.shape == (3, LAYERS, 2)
    direct = patching.get_act_patch_direct_path(model, corrupted, cache, before, metric, 0, 1)
    assert direct[1].ne(metric(model(corrupted))).all()
    assert "blocks.1.attn.hook_q_input" not in model.hook_dict
    everywhere = model.run_with_hooks(
        corrupted, fwd_hooks=[("blocks.0.hook_resid_pre", lambda old, hook: cache[hook.name])]
    )
    torch.testing.assert_close(everywhere, expected, atol=1e-5, rtol=1e-5)


def test_a_run_s_models_are_in_evaluation_mode(tiny_run: Run, masked_run: Run):
    for run in (tiny_run, masked_run):
        assert not any(module.training for module in run.model().modules())


@pytest.mark.parametrize("wrong", ["blocks.0.mlp.hook_pots", "blocks.0.mlp.hok_post"])
def test_a_misspelled_hook_suggests_the_nearest(tiny_run: Run, wrong: str):
    model, inputs = tiny_run.model(), tiny_run.task.test.inputs
    cache = model.run_with_cache(inputs)[1]

    def same(value: Tensor, hook: object) -> Tensor:
        return value

    for attempt in (
        lambda: model.run_with_hooks(inputs, fwd_hooks=[(wrong, same)]),
        lambda: model.add_hook(wrong, same),
        lambda: model.run_with_cache(inputs, names_filter=wrong),
        lambda: model.run_with_cache(inputs, names_filter=("hook_embed", wrong)),
        lambda: cache[wrong],
        lambda: intervene(tiny_run, Ablate(hook=wrong)),
    ):
        with pytest.raises(UserError, match=r"did you mean blocks\.0\.mlp\.hook_post\?") as caught:
            attempt()
        assert isinstance(caught.value, KeyError)
        assert not str(caught.value).startswith(("'", '"'))


def test_the_script_of_the_docs_runs_on_ours_and_on_a_stock_model(
    tiny_transformer_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "transformer").symlink_to(tiny_transformer_run.path.resolve())
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    (script,) = (
        code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "get_act_patch" in code
    )
    exec(script, {})
    ours = capsys.readouterr().out
    line = 'model = run.model("last", return_positions=True)'
    assert line in script
    exec(script.replace(line, 'model = run.model("last").tl()'), {})
    assert capsys.readouterr().out == ours
    assert "0_attn_out" in ours


# --- Python -------------------------------------------------------------------------------------


def test_tokens_come_as_lists_arrays_and_single_examples(tiny_run: Run, tiny_transformer_run: Run):
    for run in (tiny_run, tiny_transformer_run):
        model = run.model()
        expected = model(torch.tensor([[2, 5]]))
        for tokens in ([2, 5], [[2, 5]], (2, 5), np.array([[2, 5]]), torch.tensor([2, 5])):
            assert torch.equal(model(tokens), expected)
            assert model.run_with_cache(tokens)[1]["post", 0].shape[0] == 1
        with pytest.raises(UserError, match="numbers"):
            model("2 + 5")


def test_several_numbers_come_in_any_form():
    expected = Ablate(neurons=[1, 2])
    array = np.array([0.0, 1.0, 2.0])
    for neurons in (
        np.flatnonzero(array),
        torch.tensor([1, 2]),
        range(1, 3),
        (1, 2),
        {2, 1},
        [np.int64(1), 2],
    ):
        assert Ablate(neurons=neurons) == expected
    assert Ablate(heads=np.int64(1)) == Ablate(heads=1) == Ablate(heads=[1])
    assert Remove(frequencies=5) == Remove(frequencies=[5])
    assert Edges(weight="W_in", cut=(1, 2)) == Edges(weight="W_in", cut=np.array([[1, 2]]))
    with pytest.raises(UserError, match=r"neurons.*-1"):
        Ablate(neurons=-1)


def test_one_intervention_and_one_step_need_no_list(tiny_run: Run):
    change = Ablate(neurons=3)
    alone = intervene(tiny_run, change, steps=60)
    assert alone.identical(intervene(tiny_run, [change], steps=[60]))
    assert alone.identical(intervene(tiny_run, change, steps="last"))
    inputs = tiny_run.task.test.inputs
    one, several = (intervened(tiny_run, "last", each) for each in (change, [change]))
    assert torch.equal(one.outputs(inputs), several.outputs(inputs))


def test_a_model_is_opened_by_a_step_in_any_form(tiny_run: Run):
    expected = tiny_run.model(-1).W_in
    for step in ("last", 60, "60", np.int64(60)):
        assert torch.equal(tiny_run.model(step).W_in, expected)
    with pytest.raises(UserError, match="one is needed"):
        tiny_run.model("0:60:20")


def test_help_and_completion_show_the_fields():
    import inspect
    import pydoc

    for kind in (Ablate, PatchPath):
        parameters = inspect.signature(kind).parameters
        assert list(parameters) == list(kind.model_fields)
        text = pydoc.plain(pydoc.render_doc(kind))
        assert "pydantic_" not in text
        assert "FieldInfo" not in text
        for name in parameters:
            assert f"{name}: " in (kind.__doc__ or "")
    shown = dir(Ablate(neurons=3))
    assert {"neurons", "heads", "to", "hooks"} <= set(shown)
    assert not [name for name in shown if name.startswith(("model_", "_"))]


def test_the_answer_of_interventions_is_drawn(tiny_run: Run, tmp_path: Path):
    change = Ablate(neurons=3)
    figure = mechgrok.draw(intervene(tiny_run, change))
    assert "Ablate(neurons=[3])" in str(figure.layout.title.text)
    fields = {"task.p": 7, "model.d_model": 4, "model.d_mlp": 4, "training.steps": 2}
    sweep: Sweep = mechgrok.sweep(tmp_path / "sweep", "quick", seeds=[0, 1], **fields)
    answer = intervene(sweep, change)
    assert answer.accuracy.dims[0] == "seed"
    names = {trace.name for trace in mechgrok.draw(answer).data}
    assert any("seed=0" in str(name) for name in names)
