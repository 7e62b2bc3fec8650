"""How the kinds of network here are wired.

It takes neither TransformerLens nor a weight to find out, so that an analysis that only reads
weights starts in half the time.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.models.config import MLPConfig, PositionalMLPConfig, TransformerConfig
from mechgrok.models.wiring import (
    Group,
    HiddenLayer,
    Join,
    LinearPath,
    Weights,
    Wiring,
    numbered,
    product,
)


def wire_mlp(config: MLPConfig, *, d_vocab: int, n_ctx: int, d_output: int) -> Wiring:
    """A chain: inputs, resid_pre, neurons, mlp_out, outputs; without d_model without the two
    in between."""
    d_model, d_mlp, n_layers = config.d_model, config.d_mlp, config.n_layers
    embedded = d_model is not None
    layers = hidden_groups(n_layers)
    groups = {"inputs": Group(d_vocab, "token" if embedded else "input")}
    if d_model is not None:
        groups["resid_pre"] = Group(d_model, "d_model")
    groups |= {layer: Group(d_mlp, "neuron") for layer in layers}
    if d_model is not None:
        groups["mlp_out"] = Group(d_model, "d_model")
    groups["outputs"] = Group(d_output, "output")

    chain = ["W_E"] * embedded + hidden_weights(n_layers) + ["W_U"] * embedded
    joins = {
        name: Join(source, target)
        for name, (source, target) in zip(chain, pairwise(groups), strict=True)
    }
    weights: dict[str, tuple[int, ...]] = {
        name: (groups[join.source].size, groups[join.target].size) for name, join in joins.items()
    }
    if config.bias:
        weights |= {"b_in": (d_mlp,)}
        weights |= {f"b_hidden_{layer}": (d_mlp,) for layer in range(1, n_layers)}
        weights |= {"b_out": (d_output if d_model is None else d_model,)}

    into = product("W_E", "W_in") if embedded else product("W_in")
    return Wiring(
        weights=weights,
        groups=groups,
        joins=joins,
        hidden=hidden_layers(n_layers, into.product),
        input_paths={"direct": into},
        direct="direct",
        output_path=product("W_out", "W_U") if embedded else product("W_out"),
        embedding=product("W_E") if embedded else None,
    )


def wire_positional_mlp(
    config: PositionalMLPConfig, *, d_vocab: int, n_ctx: int, d_output: int
) -> Wiring:
    """Inputs of each position, resid_pre, neurons, mlp_out, outputs."""
    d_model, d_mlp, n_layers = config.d_model, config.d_mlp, config.n_layers
    beside = config.join == "concat"
    read = d_model * n_ctx if beside else d_model
    layers = hidden_groups(n_layers)
    inputs = [f"inputs {position}" for position in range(n_ctx)]
    groups = {
        **{name: Group(d_vocab, "token") for name in inputs},
        "resid_pre": Group(read, "d_model"),
        **{name: Group(d_mlp, "neuron") for name in layers},
        **({"mlp_out": Group(d_model, "d_model")} if config.unembed else {}),
        "outputs": Group(d_output, "output"),
    }
    ends = pairwise(["resid_pre", *layers, "mlp_out" if config.unembed else "outputs"])
    joins = {
        f"W_E_{position}": Join(
            source, "resid_pre", target_from=position * d_model if beside else 0
        )
        for position, source in enumerate(inputs)
    }
    joins |= {
        name: Join(*groups_of)
        for name, groups_of in zip(hidden_weights(n_layers), ends, strict=True)
    }
    if config.unembed:
        joins["W_U"] = Join("mlp_out", "outputs")
    embeddings = {name: (d_vocab, d_model) for name in joins if name.startswith("W_E_")}
    weights = embeddings | {
        name: (groups[join.source].size, groups[join.target].size)
        for name, join in joins.items()
        if name not in embeddings
    }
    paths = {
        f"position-{position}": LinearPath(
            f"W_E_{position} W_in", _into_neurons(position, d_model, beside)
        )
        for position in range(n_ctx)
    }
    return Wiring(
        weights=weights,
        groups=groups,
        joins=joins,
        hidden=hidden_layers(n_layers, _all_positions(list(paths.values()))),
        input_paths=paths,
        direct="position-0",
        output_path=product("W_out", "W_U") if config.unembed else product("W_out"),
        embedding=product("W_E_0"),
    )


def _into_neurons(position: int, d_model: int, beside: bool) -> Callable[[Weights], Tensor]:
    rows = slice(position * d_model, (position + 1) * d_model) if beside else slice(None)

    def multiply(weights: Weights) -> Float[Tensor, "*step d_vocab d_mlp"]:
        return weights(f"W_E_{position}") @ weights("W_in")[..., rows, :]

    return multiply


def _all_positions(paths: Sequence[LinearPath]) -> Callable[[Weights], Tensor]:
    def stack(weights: Weights) -> Float[Tensor, "*step input d_mlp"]:
        return torch.cat([path.product(weights) for path in paths], dim=-2)

    return stack


def wire_transformer(
    config: TransformerConfig, *, d_vocab: int, n_ctx: int, d_output: int
) -> Wiring:
    """Everything reads the residual stream or writes to it.

    The units of a block are its queries, keys, heads (a value and what the head passes on of
    it) and neurons.
    """
    d_model, d_mlp, n_layers = config.d_model, config.d_mlp, config.n_layers
    inside = config.n_heads * config.head_width
    groups = {
        "inputs": Group(d_vocab, "token"),
        "resid": Group(d_model, "d_model"),
        "positions": Group(n_ctx, "position"),
    }
    joins = {
        "embed.W_E": Join("inputs", "resid"),
        "pos_embed.W_pos": Join("positions", "resid"),
    }
    weights: dict[str, tuple[int, ...]] = {
        "embed.W_E": (d_vocab, d_model),
        "pos_embed.W_pos": (n_ctx, d_model),
    }
    hidden = []
    for layer in range(n_layers):
        block = f"blocks.{layer}"
        queries, keys, heads, neurons = (
            numbered(name, layer, n_layers) for name in ("queries", "keys", "heads", "neurons")
        )
        groups |= {name: Group(inside, "d_head") for name in (queries, keys, heads)}
        groups |= {neurons: Group(d_mlp, "neuron")}
        joins |= {
            f"{block}.attn.W_Q": Join("resid", queries, "columns"),
            f"{block}.attn.W_K": Join("resid", keys, "columns"),
            f"{block}.attn.W_V": Join("resid", heads, "columns"),
            f"{block}.attn.W_O": Join(heads, "resid", "rows"),
            f"{block}.mlp.W_in": Join("resid", neurons),
            f"{block}.mlp.W_out": Join(neurons, "resid"),
        }
        head = (config.n_heads, d_model, config.head_width)
        weights |= {f"{block}.attn.{name}": head for name in ("W_Q", "W_K", "W_V")}
        weights |= {
            f"{block}.attn.W_O": (config.n_heads, config.head_width, d_model),
            f"{block}.mlp.W_in": (d_model, d_mlp),
            f"{block}.mlp.b_in": (d_mlp,),
            f"{block}.mlp.W_out": (d_mlp, d_model),
            f"{block}.mlp.b_out": (d_model,),
        }
        hidden.append(
            HiddenLayer(
                neurons,
                hook=f"{block}.mlp.hook_post",
                reads=f"{block}.mlp.W_in",
                writes=f"{block}.mlp.W_out",
                pattern=f"{block}.attn.hook_pattern",
                heads=f"{block}.attn.hook_z",
            )
        )
    groups["outputs"] = Group(d_output, "output")
    joins["unembed.W_U"] = Join("resid", "outputs")
    weights["unembed.W_U"] = (d_model, d_output)
    return Wiring(
        weights=weights,
        groups=groups,
        joins=joins,
        hidden=tuple(hidden),
        input_paths={
            "attention": LinearPath("W_E W_V W_O W_in", _through_attention),
            "direct": product("embed.W_E", "blocks.0.mlp.W_in"),
        },
        direct="direct",
        output_path=product(hidden[-1].writes, "unembed.W_U"),
        embedding=product("embed.W_E"),
    )


def _through_attention(weights: Weights) -> Float[Tensor, "*step d_vocab d_mlp"]:
    """Σ_h W_E W_V^h W_O^h W_in: what a neuron reads where every head attends to the token.

    The attention pattern scales each head's part.
    """
    W_E, W_in = weights("embed.W_E"), weights("blocks.0.mlp.W_in")
    W_V, W_O = weights("blocks.0.attn.W_V"), weights("blocks.0.attn.W_O")
    values = torch.einsum("...vm,...hmk->...hvk", W_E, W_V)
    return torch.einsum(
        "...hvk,...hkn->...vn", values, torch.einsum("...hkm,...mn->...hkn", W_O, W_in)
    )


def hidden_weights(n_layers: int) -> list[str]:
    """The weights around the layers of neurons: W_in, W_hidden_1, …, W_out.

    >>> hidden_weights(2)
    ['W_in', 'W_hidden_1', 'W_out']
    """
    return ["W_in", *(f"W_hidden_{layer}" for layer in range(1, n_layers)), "W_out"]


def hidden_groups(n_layers: int) -> list[str]:
    """The groups that the layers' neurons are, by name."""
    return [numbered("neurons", layer, n_layers) for layer in range(n_layers)]


def hidden_layers(
    n_layers: int, folded: Callable[[Weights], Float[Tensor, "*step input d_mlp"]]
) -> tuple[HiddenLayer, ...]:
    """The layers as a wiring tells of them.

    Args:
        n_layers: how many there are.
        folded: what the neurons of the first read of the inputs.
    """
    between = pairwise(hidden_weights(n_layers))
    return tuple(
        HiddenLayer(
            group,
            hook=f"blocks.{layer}.mlp.hook_post",
            reads=reads,
            writes=writes,
            folded=None if layer else folded,
        )
        for layer, (group, (reads, writes)) in enumerate(
            zip(hidden_groups(n_layers), between, strict=True)
        )
    )
