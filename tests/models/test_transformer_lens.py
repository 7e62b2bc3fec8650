"""A HookedTransformer is TransformerLens's native model with the same weights."""

import pytest
import torch
from transformer_lens import TransformerBridge, TransformerBridgeConfig
from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

from mechgrok.models import HookedTransformer, TransformerConfig
from mechgrok.models.config import Norm
from mechgrok.models.native import to_transformer_lens

P, D_MODEL, D_MLP = 13, 24, 17
#: TransformerLens's name of each normalization.
NORMALIZATIONS: dict[tuple[Norm | None, bool], str | None] = {
    (None, True): None,
    ("layer", True): "LN",
    ("layer", False): "LNPre",
    ("rms", True): "RMS",
    ("rms", False): "RMSPre",
}
each_norm = pytest.mark.parametrize("norm", NORMALIZATIONS, ids=str)


def native(model: HookedTransformer) -> TransformerBridge:
    """TransformerLens's own model carrying the weights of ours."""
    config = TransformerBridgeConfig(
        d_model=D_MODEL,
        d_head=model.config.head_width,
        n_heads=model.config.n_heads,
        n_layers=model.config.n_layers,
        n_ctx=2,
        d_vocab=P,
        d_mlp=D_MLP,
        act_fn=model.config.act,
        normalization_type=NORMALIZATIONS[model.config.norm, model.config.norm_learned],
        architecture="TransformerLensNative",
    )
    bridge = TransformerBridge.boot_native(config)
    state = bridge.state_dict()
    ours = convert_tl_checkpoint({n: w.detach() for n, w in model.named_parameters()}, config)
    missing = {name: torch.zeros_like(state[name]) for name in state if name not in ours}
    assert all("bias" in name for name in missing)  # attention's and the unembedding's, which are 0
    bridge.load_state_dict(ours | missing)
    return bridge


def with_vectors(model: HookedTransformer) -> HookedTransformer:
    """The model with other biases and learned scales than those it starts with."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape))
    return model


def test_without_positions_and_biases_the_native_model_has_zeros_there() -> None:
    config = TransformerConfig(d_model=D_MODEL, d_mlp=D_MLP, positions=False, bias=False)
    model = HookedTransformer(config, d_vocab=P, n_ctx=2, d_output=P, seed=3)
    assert {name.rpartition(".")[2] for name in dict(model.named_parameters())} == {
        *("W_E", "W_Q", "W_K", "W_V", "W_O", "W_in", "W_out", "W_U")
    }
    tokens = torch.cartesian_prod(torch.arange(P), torch.arange(P))
    theirs = to_transformer_lens(model)(tokens)
    torch.testing.assert_close(model(tokens), theirs[:, -1], atol=1e-5, rtol=1e-5)


@each_norm
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("n_heads", [1, 4])
@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_logits_equal(
    n_layers: int, n_heads: int, act: str, norm: tuple[Norm | None, bool]
) -> None:
    kind, learned = norm
    config = TransformerConfig(
        d_model=D_MODEL,
        d_mlp=D_MLP,
        n_layers=n_layers,
        n_heads=n_heads,
        act=act,
        norm=kind,
        norm_learned=learned,
    )
    model = with_vectors(HookedTransformer(config, d_vocab=P, n_ctx=2, d_output=P, seed=3))
    tokens = torch.cartesian_prod(torch.arange(P), torch.arange(P))
    theirs = native(model)(tokens)
    torch.testing.assert_close(model(tokens, return_positions=True), theirs, atol=1e-5, rtol=1e-5)
    for mode in ("folded", "full"):
        torch.testing.assert_close(model(tokens, mode=mode), theirs[:, -1], atol=1e-5, rtol=1e-5)


@each_norm
def test_activations_have_their_names_and_values(norm: tuple[Norm | None, bool]) -> None:
    kind, learned = norm
    config = TransformerConfig(
        d_model=D_MODEL, d_mlp=D_MLP, n_heads=4, norm=kind, norm_learned=learned
    )
    model = with_vectors(HookedTransformer(config, d_vocab=P, n_ctx=2, d_output=P))
    tokens = torch.cartesian_prod(torch.arange(P), torch.arange(P))
    _, ours = model.run_with_cache(tokens)
    _, theirs = native(model).run_with_cache(tokens)
    # TransformerLens's models have no hook on their logits; ours call it hook_logits.
    torch.testing.assert_close(ours["hook_logits"], model(tokens, mode="full"))
    for name in set(ours) - {"blocks.0.attn.hook_attn_scores", "hook_logits"}:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-5)
    # The native model shows the pattern under this name too; ours are q·k/√d_head, −∞ where masked,
    # as TransformerLens's models had them before version 4.
    scores = ours["blocks.0.attn.hook_attn_scores"]
    torch.testing.assert_close(scores.softmax(-1), theirs["blocks.0.attn.hook_attn_scores"])
