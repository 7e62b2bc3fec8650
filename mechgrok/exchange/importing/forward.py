"""Forward passes of imported files' own networks, on their tensors as stored.

They follow the scripts that save such files, in their names and orientations, and do not use
`mechgrok.exchange.importing.layouts`: agreement of both shows that the import is correct.
"""

import re
from collections.abc import Callable, Mapping
from itertools import count, takewhile

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.models import HookedModel
from mechgrok.models.config import Norm
from mechgrok.models.hooked import ACTIVATIONS

_Weights = Mapping[str, Float[Tensor, "..."]]
_Act = Callable[[Tensor], Tensor]
#: Number of random inputs to compare.
_N_INPUTS = 16
_EMBEDDINGS = ("W_E", "embed.W_E")
_UNEMBEDDINGS = ("W_U", "unembed.W_U")


def check_outputs(
    model: HookedModel,
    stored: _Weights,
    file: object,
    order: Integer[Tensor, " n"] | None = None,
) -> bool:
    """Compare the outputs of a file's network with those of its import.

    Inputs are random and weights double precision, so that only rounding errors remain.

    Args:
        model: the import; its weights become doubles.
        stored: the effective weights by the file's names, layer by layer; if empty, nothing is
            compared.
        file: the file, for the message.
        order: our index of each element that the file numbers; default: the same.

    Returns:
        Whether the outputs were compared: the file's are finite.

    Raises:
        UserError: the outputs differ.
    """
    if not stored:
        return False
    generator = torch.Generator().manual_seed(0)
    if model.config.kind == "mlp":
        inputs = ours = torch.randn(_N_INPUTS, model.d_vocab, generator=generator).double()
    else:
        inputs = ours = torch.randint(model.d_vocab, (_N_INPUTS, model.n_ctx), generator=generator)
    answers: slice | Tensor = slice(None)
    if order is not None:  # "=" stays the last token
        ours = torch.cat([order, torch.arange(len(order), model.d_vocab)])[inputs]
        answers = order
    weights = {name: weight.double() for name, weight in stored.items()}
    rate, norm = (getattr(model.config, name, None) for name in ("attention_rate", "norm"))
    with torch.no_grad():
        theirs = _outputs(weights, inputs, ACTIVATIONS[model.config.act], rate, norm)
        difference = (model.double()(ours)[:, answers] - theirs[:, : model.d_output]).abs().max()
    if not theirs.isfinite().all():
        return False
    if not difference <= 1e-6 * theirs.abs().max():
        raise UserError(
            f"{file} was misread: the outputs of its own forward pass differ by up to "
            f"{float(difference):.3g}; save its weights in another layout."
        )
    return True


def _outputs(
    weights: _Weights, inputs: Tensor, act: _Act, rate: float | None, norm: Norm | None
) -> Float[Tensor, "batch d_output"]:
    if "blocks.0.attn.W_Q" in weights:
        return _transformer(weights, inputs, act, 1.0 if rate is None else rate, norm)
    if "W_x" in weights:  # Chughtai et al. 2023
        embedded = [weights["W_x"][inputs[:, 0]], weights["W_y"][inputs[:, 1]]]
        return act(torch.cat(embedded, 1) @ weights["W"]) @ weights["W_U"]
    return _mlp(weights, inputs, act)


def _mlp(
    weights: _Weights, x: Float[Tensor, "batch d_vocab"], act: _Act
) -> Float[Tensor, "batch d_output"]:
    """A chain of matrices: ``torch.nn.Linear`` layers, the MLP of Minegishi et al. 2023 (every
    matrix [d_out, d_in] but the unembedding), or our names in the orientation that makes the widths
    match: none transposed, all, or all but the last."""
    hidden = [name for name in weights if re.fullmatch(r"W_hidden_\d+|mlps\.\d+\.W", name)]
    hidden.sort(key=lambda name: int(re.findall(r"\d+", name)[0]))
    names = ["W_E", "embed.W_E", "W_in", "inproj.W", *hidden, "W_out", "outproj.W", *_UNEMBEDDINGS]
    chain = [name for name in names if name in weights]
    chain = chain or [name for name in weights if name.endswith("weight")]
    orientations = [[n for n in chain if n != "unembed.W_U"]]
    if "W_in" in weights:
        orientations = [[], chain, chain[:-1]]
    for turned in orientations:
        matrices = {n: weights[n].mT if n in turned else weights[n] for n in chain}
        widths = [x.shape[1], *(matrix.shape[1] for matrix in matrices.values())]
        if all(m.shape[0] == width for m, width in zip(matrices.values(), widths, strict=False)):
            break
    last = [name for name in chain if name not in _UNEMBEDDINGS][-1]
    for name, matrix in matrices.items():
        bias = name.replace("W_", "b_") if "W_" in name else f"{name.removesuffix('weight')}bias"
        x = x @ matrix + weights.get(bias, 0)
        x = x if name in (last, *_EMBEDDINGS, *_UNEMBEDDINGS) else act(x)
    return x


def _transformer(
    weights: _Weights,
    tokens: Integer[Tensor, "batch pos"],
    act: _Act,
    rate: float,
    norm: Norm | None,
) -> Float[Tensor, "batch d_output"]:
    """The transformer of Nanda et al. 2023, and of TransformerLens with transposed weights.

    The attention rate (Zhong et al. 2023) interpolates between softmax and 1 for each token.
    """
    is_older = weights["blocks.0.attn.W_O"].ndim == 2

    def turned(name: str) -> Tensor:  # in TransformerLens's orientation
        return weights[name].mT if is_older else weights[name]

    n_ctx = tokens.shape[1]
    x = turned("embed.W_E")[tokens]
    if "pos_embed.W_pos" in weights:
        x = x + weights["pos_embed.W_pos"][:n_ctx]
    blocks = (f"blocks.{layer}" for layer in count())
    for block in takewhile(lambda block: f"{block}.attn.W_Q" in weights, blocks):
        read = _normalized(weights, f"{block}.ln1", x, norm)
        q, k, v = (read[:, None] @ turned(f"{block}.attn.W_{name}") for name in "QKV")
        scores = q @ k.mT / q.shape[-1] ** 0.5
        causal = torch.ones(n_ctx, n_ctx).tril().bool()
        pattern = scores.masked_fill(~causal, -torch.inf).softmax(-1)
        z = (rate * pattern + (1 - rate) * causal) @ v
        x = x + z.transpose(1, 2).flatten(2) @ turned(f"{block}.attn.W_O").reshape(-1, x.shape[-1])
        read = _normalized(weights, f"{block}.ln2", x, norm)
        pre = read @ turned(f"{block}.mlp.W_in") + weights.get(f"{block}.mlp.b_in", 0)
        x = x + act(pre) @ turned(f"{block}.mlp.W_out") + weights.get(f"{block}.mlp.b_out", 0)
    return _normalized(weights, "ln_final", x[:, -1], norm) @ weights["unembed.W_U"]


def _normalized(weights: _Weights, name: str, x: Tensor, norm: Norm | None) -> Tensor:
    """LayerNorm or RMSNorm as in TransformerLens; x itself if the file has others, but not this."""
    is_learned = any(other.endswith((".ln1.w", "ln_final.w")) for other in weights)
    if norm is None or (is_learned and f"{name}.w" not in weights):
        return x
    if norm == "layer":
        x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return x * weights.get(f"{name}.w", 1) + weights.get(f"{name}.b", 0)
