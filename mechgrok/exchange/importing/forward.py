"""What a file's own network computes, from its tensors as they stand in the file.

Each function writes down the forward pass of the scripts that save such files, in their names and
their orientation, and knows nothing of how a file is turned into a network of ours: where the two
agree, the import is the network that was saved.
"""

from collections.abc import Callable, Mapping
from itertools import count, takewhile
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn.functional import linear

from mechgrok.errors import UserError
from mechgrok.exchange.importing.layouts import Network
from mechgrok.masks import Mask, apply_mask
from mechgrok.models import load_weights
from mechgrok.models.hooked import ACTIVATIONS
from mechgrok.models.making import model_class, saved_shape

_Weights = Mapping[str, Float[Tensor, "..."]]
_Act = Callable[[Tensor], Tensor]
#: How many inputs are compared.
_INPUTS = 16


def check_outputs(network: Network, model: Mapping[str, Any], file: object) -> bool:
    """Whether there was a forward pass to compare with: then the outputs are equal.

    Outputs of the two are compared on random inputs, in double precision, in which what remains is
    rounding.

    Args:
        network: as it was read.
        model: all fields of its configuration.
        file: where it was read, for the message.

    Raises:
        UserError: the outputs differ.
    """
    if not network.stored:
        return False
    config = saved_shape(model)
    assert network.d_vocab is not None
    assert network.d_output is not None
    n_ctx = network.n_ctx or 2
    ours = model_class(config.kind)(
        config,
        d_vocab=network.d_vocab,
        n_ctx=n_ctx,
        d_output=network.d_output,  # type: ignore[call-arg]
    )
    weights = network.weights
    if config.kind == "transformer":
        positions = {"pos_embed.W_pos": torch.zeros(n_ctx, config.d_model)}
        weights = positions | weights
    load_weights(ours, weights)
    if network.mask:
        apply_mask(ours, Mask(network.mask))
    generator = torch.Generator().manual_seed(0)
    if config.kind == "mlp":
        inputs = torch.randn(_INPUTS, network.d_vocab, generator=generator).double()
    else:
        inputs = torch.randint(network.d_vocab, (_INPUTS, n_ctx), generator=generator)
    stored = {name: weight.double() for name, weight in network.stored.items()}
    with torch.no_grad():
        theirs = _outputs(stored, inputs, ACTIVATIONS[config.act], model)
        if not theirs.isfinite().all():
            return False
        difference = (ours.double()(inputs) - theirs).abs().max()
    if not difference <= 1e-6 * theirs.abs().max():
        raise UserError(
            f"{file} was not read as the network that it holds: its own forward pass has other "
            f"outputs, by up to {float(difference):.3g}. Save its weights in another layout."
        )
    return True


def _outputs(
    weights: _Weights, inputs: Tensor, act: _Act, model: Mapping[str, Any]
) -> Float[Tensor, "batch d_output"]:
    if "blocks.0.attn.W_Q" in weights:
        return _transformer(weights, inputs, act, float(model.get("attention_rate", 1)))
    if "W_x" in weights:
        return _two_embeddings(weights, inputs, act)
    if "inproj.W" in weights:
        return _authors_mlp(weights, inputs, act)
    if "W_in" in weights:
        return _mlp(weights, inputs, act)
    return _linear_stack(weights, inputs, act)


def _linear_stack(weights: _Weights, x: Tensor, act: _Act) -> Tensor:
    layers = [name.removesuffix("weight") for name in weights if name.endswith("weight")]
    for layer in layers:
        x = linear(x, weights[f"{layer}weight"], weights.get(f"{layer}bias"))
        x = x if layer == layers[-1] else act(x)
    return x


def _authors_mlp(weights: _Weights, x: Tensor, act: _Act) -> Tensor:
    """Minegishi et al. 2023: every matrix [d_out, d_in] but the unembedding [d_emb, p]."""
    if "embed.W_E" in weights:
        x = linear(x, weights["embed.W_E"])
    x = act(linear(x, weights["inproj.W"]))
    for name in takewhile(weights.__contains__, (f"mlps.{layer}.W" for layer in count())):
        x = act(linear(x, weights[name]))
    x = linear(x, weights["outproj.W"])
    return x @ weights["unembed.W_U"] if "unembed.W_U" in weights else x


def _two_embeddings(weights: _Weights, tokens: Integer[Tensor, "batch pos"], act: _Act) -> Tensor:
    """Chughtai et al. 2023: the embeddings of both operands side by side."""
    a, b = tokens.unbind(1)
    return act(torch.cat([weights["W_x"][a], weights["W_y"][b]], 1) @ weights["W"]) @ weights["W_U"]


def _mlp(weights: _Weights, x: Tensor, act: _Act) -> Tensor:
    """Products in a row, in the orientation in which each matrix reads what is written before it:
    all [d_in, d_out], or all the other way, or all but the last."""
    hidden = takewhile(weights.__contains__, (f"W_hidden_{layer}" for layer in count(1)))
    active = ["W_in", *hidden]
    chain = [name for name in ("W_E", *active, "W_out", "W_U") if name in weights]
    for turned in ([], chain, chain[:-1]):
        matrices = {n: weights[n].mT if n in turned else weights[n] for n in chain}
        widths = [x.shape[1], *(matrix.shape[1] for matrix in matrices.values())]
        if all(m.shape[0] == width for m, width in zip(matrices.values(), widths, strict=False)):
            break
    for name, matrix in matrices.items():
        x = x @ matrix + weights.get(name.replace("W_", "b_"), 0)
        x = act(x) if name in active else x
    return x


def _transformer(
    weights: _Weights, tokens: Integer[Tensor, "batch pos"], act: _Act, rate: float
) -> Float[Tensor, "batch d_output"]:
    """Nanda et al. 2023 and TransformerLens, which swaps the axes of all but the unembedding.

    At an attention rate (Zhong et al. 2023) the pattern lies between softmax and 1 for each token.
    """
    older = weights["blocks.0.attn.W_O"].ndim == 2

    def turned(name: str) -> Tensor:  # as TransformerLens has it
        return weights[name].mT if older else weights[name]

    n_ctx = tokens.shape[1]
    x = turned("embed.W_E")[tokens]
    if "pos_embed.W_pos" in weights:
        x = x + weights["pos_embed.W_pos"][:n_ctx]
    for block in takewhile(
        lambda block: f"{block}.attn.W_Q" in weights, (f"blocks.{layer}" for layer in count())
    ):
        q, k, v = (x[:, None] @ turned(f"{block}.attn.W_{name}") for name in "QKV")
        scores = q @ k.mT / q.shape[-1] ** 0.5
        seen = torch.ones(n_ctx, n_ctx).tril().bool()
        pattern = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        z = (rate * pattern + (1 - rate) * seen) @ v
        x = x + z.transpose(1, 2).flatten(2) @ turned(f"{block}.attn.W_O").reshape(-1, x.shape[-1])
        pre = x @ turned(f"{block}.mlp.W_in") + weights.get(f"{block}.mlp.b_in", 0)
        x = x + act(pre) @ turned(f"{block}.mlp.W_out") + weights.get(f"{block}.mlp.b_out", 0)
    return x[:, -1] @ weights["unembed.W_U"]
