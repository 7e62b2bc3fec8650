"""Conversion of a network to TransformerLens's native model."""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens import TransformerBridge, TransformerBridgeConfig
from transformer_lens.model_bridge.sources import boot_native
from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

from mechgrok.errors import UserError, choices
from mechgrok.models.config import TransformerConfig
from mechgrok.models.hooked import HookedModel, effective_weights

#: The nonlinearities that TransformerLens's native model supports.
_NATIVE_ACTIVATIONS = ("relu", "gelu", "silu")


def to_transformer_lens(model: HookedModel) -> TransformerBridge:
    """TransformerLens's native model with the weights of a transformer, pruned entries as zeros.

    Its logits ``[batch, pos, d_vocab_out]`` at the last position equal those of ``model``.
    TransformerLens's biases of attention and unembedding are zero.

    Raises:
        UserError: the native model does not support the transformer's nonlinearity, attention rate
            or place of normalization.
    """
    shape = cast(TransformerConfig, model.config)
    if shape.act not in _NATIVE_ACTIVATIONS:
        raise UserError(
            f"TransformerLens's native model has no activation {shape.act!r}, only "
            f"{choices(_NATIVE_ACTIVATIONS)}: use run.model(step)."
        )
    if shape.attention_rate != 1:
        raise UserError(
            "TransformerLens's native model has no attention rate, but this model's is "
            f"{shape.attention_rate:g}: use run.model(step)."
        )
    if not is_normalized_as_natively(shape):
        raise UserError(
            "TransformerLens's native model normalizes before+end or not at all, but this model's "
            f"norm_at is {shape.norm_at}: use run.model(step)."
        )
    config = TransformerBridgeConfig(**transformer_lens_config(model), device="cpu")
    config.architecture = "TransformerLensNative"
    bridge = boot_native(config)
    blank = {name: torch.zeros_like(value) for name, value in bridge.state_dict().items()}
    bridge.load_state_dict(blank | convert_tl_checkpoint(contiguous_weights(model), config))
    return bridge.eval()


def is_normalized_as_natively(shape: TransformerConfig) -> bool:
    """Whether TransformerLens's native model can have the normalizations of this shape."""
    return shape.norm is None or shape.norm_at == "before+end"


def transformer_lens_config(model: HookedModel) -> dict[str, Any]:
    """The shape of a transformer as arguments of TransformerLens's configuration."""
    shape = cast(TransformerConfig, model.config)
    return {
        "d_model": shape.d_model,
        "d_head": shape.head_width,
        "n_heads": shape.n_heads,
        "n_layers": shape.n_layers,
        "n_ctx": model.n_ctx,
        "d_vocab": model.d_vocab,
        "d_vocab_out": model.d_output,
        "d_mlp": shape.d_mlp,
        "act_fn": shape.act,
        "normalization_type": model.normalization_type,
    }


def contiguous_weights(model: HookedModel) -> dict[str, Float[Tensor, "..."]]:
    """The model's effective weights by name, detached and on the CPU."""
    return {
        name: weight.detach().cpu().contiguous()
        for name, weight in effective_weights(model).items()
    }
