"""A network as TransformerLens's own native model."""

from typing import Any

import torch
from torch import Tensor
from transformer_lens import TransformerBridge, TransformerBridgeConfig
from transformer_lens.model_bridge.sources import boot_native
from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

from mechgrok.errors import UserError, choices
from mechgrok.models import HookedModel, HookedTransformer, effective_weights

#: The activations of ours that TransformerLens's native model has too.
_NATIVE_ACTIVATIONS = ("relu", "gelu", "silu")


def to_transformer_lens(model: HookedModel) -> TransformerBridge:
    """TransformerLens's native model with the weights of ``model``, masked ones as zeros.

    Its logits ``[batch, pos, d_vocab_out]`` at the last position are those of ``model``.
    TransformerLens gives attention and the unembedding biases, which are zero here.

    Raises:
        UserError: the model is an MLP, of which TransformerLens has no native form, or has an
            activation or an attention pattern that its native form lacks.
    """
    if not isinstance(model, HookedTransformer):
        raise UserError(
            "TransformerLens has no native form of an MLP: use run.model(step), whose hooks carry "
            "TransformerLens's names."
        )
    if model.config.act not in _NATIVE_ACTIVATIONS:
        raise UserError(
            f"TransformerLens's native model has no activation {model.config.act!r}, only "
            f"{choices(_NATIVE_ACTIVATIONS)}: use run.model(step)."
        )
    if model.config.attention_rate != 1:
        raise UserError(
            "TransformerLens's native model has no attention rate, which is "
            f"{model.config.attention_rate:g} here: use run.model(step)."
        )
    config = TransformerBridgeConfig(**transformer_lens_config(model), device="cpu")
    config.architecture = "TransformerLensNative"
    bridge = boot_native(config)
    blank = {name: torch.zeros_like(value) for name, value in bridge.state_dict().items()}
    bridge.load_state_dict(blank | convert_tl_checkpoint(contiguous_weights(model), config))
    return bridge


def transformer_lens_config(model: HookedTransformer) -> dict[str, Any]:
    """The shape of ``model`` in the words of TransformerLens's configuration."""
    return {
        "d_model": model.config.d_model,
        "d_head": model.config.head_width,
        "n_heads": model.config.n_heads,
        "n_layers": model.config.n_layers,
        "n_ctx": model.n_ctx,
        "d_vocab": model.d_vocab,
        "d_vocab_out": model.d_output,
        "d_mlp": model.config.d_mlp,
        "act_fn": model.config.act,
        "normalization_type": None,
    }


def contiguous_weights(model: HookedModel) -> dict[str, Tensor]:
    """The weights that the model computes with, on the CPU and apart from it, by name."""
    return {
        name: weight.detach().cpu().contiguous()
        for name, weight in effective_weights(model).items()
    }
