"""The wirings of the built-in models.

They need neither TransformerLens nor weights, which halves the start-up time of analyses that only
read weights.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.models.config import (
    MLPConfig,
    NormalizedShape,
    PositionalMLPConfig,
    TransformerConfig,
)
from mechgrok.models.paths import (
    LinearPath,
    Normalization,
    Side,
    Weights,
    concatenated,
    product,
)
from mechgrok.models.wiring import Connection, Group, HiddenLayer, Wiring, numbered


def wire_mlp(config: MLPConfig, *, d_vocab: int, n_ctx: int, d_output: int) -> Wiring:
    """A chain: inputs, resid_pre, neurons, mlp_out, outputs.

    Without d_model there is no resid_pre and no mlp_out.
    """
    d_model, d_mlp, n_layers = config.d_model, config.d_mlp, config.n_layers
    groups = {
        "inputs": Group(d_vocab, "input" if d_model is None else "token"),
        **_residual("resid_pre", d_model),
        **{layer: Group(d_mlp, "neuron") for layer in hidden_groups(n_layers)},
        **_residual("mlp_out", d_model),
        "outputs": Group(d_output, "output"),
    }
    names = hidden_weights(n_layers)
    if d_model is not None:
        names = ["W_E", *names, "W_U"]
    connections = {n: Connection(*ends) for n, ends in zip(names, pairwise(groups), strict=True)}
    weights: dict[str, tuple[int, ...]] = dict(_shapes(connections, groups))
    if config.bias:
        weights |= {f"b{name[1:]}": weights[name][1:] for name in hidden_weights(n_layers)}
    norms = _mlp_norms(config, groups)
    embedding, unembedding = (["W_E"], ["W_U"]) if d_model is not None else ([], [])
    into = product(*embedding, *norms.to_neurons, "W_in")
    return Wiring(
        weights=weights | norms.weights,
        groups=groups,
        connections=connections,
        hidden=hidden_layers(n_layers, into.product),
        input_paths={"direct": into},
        direct="direct",
        output_path=product(*norms.of_neurons, "W_out", *norms.to_outputs, *unembedding),
        embedding=None if d_model is None else product("W_E"),
        normalizations=norms.every,
    )


def wire_positional_mlp(
    config: PositionalMLPConfig, *, d_vocab: int, n_ctx: int, d_output: int
) -> Wiring:
    """Inputs of each position, resid_pre, neurons, mlp_out, outputs."""
    d_model, n_layers = config.d_model, config.n_layers
    concat = config.join == "concat"
    groups = {
        **{f"inputs {position}": Group(d_vocab, "token") for position in range(n_ctx)},
        "resid_pre": Group(d_model * n_ctx if concat else d_model, "d_model"),
        **{layer: Group(config.d_mlp, "neuron") for layer in hidden_groups(n_layers)},
        **_residual("mlp_out", d_model if config.unembed else None),
        "outputs": Group(d_output, "output"),
    }
    names = [*hidden_weights(n_layers), *(["W_U"] if config.unembed else [])]
    connections = {
        f"W_E_{position}": Connection(
            f"inputs {position}", "resid_pre", target_from=position * d_model if concat else 0
        )
        for position in range(n_ctx)
    } | {
        name: Connection(*ends)
        for name, ends in zip(names, pairwise(list(groups)[n_ctx:]), strict=True)
    }
    embeddings = {f"W_E_{position}": (d_vocab, d_model) for position in range(n_ctx)}
    width = d_model if concat else None
    norms = _mlp_norms(config, groups)
    into, unembedding = product(*norms.to_neurons, "W_in"), ["W_U"] if config.unembed else []
    paths = {
        f"position-{at}": LinearPath(
            f"W_E_{at} {into.formula}", partial(_into_neurons, at, width, into)
        )
        for at in range(n_ctx)
    }
    return Wiring(
        weights=_shapes(connections, groups) | embeddings | norms.weights,
        groups=groups,
        connections=connections,
        hidden=hidden_layers(n_layers, concatenated(list(paths.values()), -2).product),
        input_paths=paths,
        direct="position-0",
        output_path=product(*norms.of_neurons, "W_out", *norms.to_outputs, *unembedding),
        embedding=product("W_E_0"),
        normalizations=norms.every,
    )


def _residual(name: str, d_model: int | None) -> dict[str, Group]:
    """A group of residual dimensions; empty without a width."""
    return {} if d_model is None else {name: Group(d_model, "d_model")}


def _shapes(
    connections: Mapping[str, Connection], groups: Mapping[str, Group]
) -> dict[str, tuple[int, int]]:
    """The shapes of matrices between complete groups."""
    return {
        name: (groups[ends.source].size, groups[ends.target].size)
        for name, ends in connections.items()
    }


def _into_neurons(
    position: int, width: int | None, into: LinearPath, weights: Weights
) -> Float[Tensor, "*step d_vocab d_mlp"]:
    """W_E_i W_in of a position, with its own ``width`` rows of W_in if there are any."""
    rows = slice(None) if width is None else slice(position * width, (position + 1) * width)
    return weights(f"W_E_{position}") @ into.product(weights)[..., rows, :]


class _Norms(NamedTuple):
    """The normalizations of a network, and those on its linear paths.

    Attributes:
        every: all, in the order of their weights.
        to_heads: between the embedding and the first block's heads.
        to_neurons: between the embedding, or the first block's heads, and the first neurons.
        of_neurons: between the last neurons and W_out.
        to_outputs: between W_out and the unembedding.
    """

    every: tuple[Normalization, ...] = ()
    to_heads: Sequence[Normalization] = ()
    to_neurons: Sequence[Normalization] = ()
    of_neurons: Sequence[Normalization] = ()
    to_outputs: Sequence[Normalization] = ()

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """The shapes of their weights."""
        return {name: (norm.size,) for norm in self.every for name in norm.weights}


def _norm(
    config: NormalizedShape, groups: Mapping[str, Group], name: str, group: str, side: Side
) -> Normalization:
    assert config.norm is not None
    return Normalization(name, group, groups[group].size, config.norm, config.norm_learned, side)


def _mlp_norms(config: MLPConfig | PositionalMLPConfig, groups: Mapping[str, Group]) -> _Norms:
    """The normalizations of what each layer of neurons reads or gives, and ln_final."""
    make, layers = partial(_norm, config, groups), hidden_groups(config.n_layers)
    before = ["resid_pre" if "resid_pre" in groups else "inputs", *layers[:-1]]
    read = [
        make(f"blocks.{layer}.ln2", group, "inside" if layer else "input")
        for layer, group in enumerate(before)
        if config.has_norm("before")
    ]
    given = [
        make(f"blocks.{layer}.ln2", group, "output" if group == layers[-1] else "inside")
        for layer, group in enumerate(layers)
        if config.has_norm("after")
    ]
    final = [make("ln_final", "mlp_out", "output")] if config.has_norm("end") else []
    return _Norms((*read, *given, *final), (), read[:1], given[-1:], final)


def _transformer_norms(config: TransformerConfig, groups: Mapping[str, Group]) -> _Norms:
    """ln1 and ln2 of each block, and ln_final."""
    make, blocks = partial(_norm, config, groups), []
    is_after = config.has_norm("after")
    for layer in range(config.n_layers) if is_after or config.has_norm("before") else ():
        first: Side = "inside" if layer else "input"
        after_neurons: Side = "inside" if layer < config.n_layers - 1 else "output"
        ln1 = make(f"blocks.{layer}.ln1", "resid", first)
        ln2 = make(f"blocks.{layer}.ln2", "resid", after_neurons if is_after else first)
        blocks.append((ln1, ln2))
    final = [make("ln_final", "resid", "output")] if config.has_norm("end") else []
    every = tuple(norm for block in blocks for norm in block)
    if not blocks or is_after:
        return _Norms((*every, *final), (), every[:1], (), [*every[-1:], *final])
    return _Norms((*every, *final), every[:1], every[1:2], (), final)


def wire_transformer(
    config: TransformerConfig, *, d_vocab: int, n_ctx: int, d_output: int
) -> Wiring:
    """The wiring of a transformer, whose matrices read or write the residual stream.

    The units of a block are its queries, keys, heads (values and results) and neurons.
    """
    layers = range(config.n_layers)
    groups = {
        "inputs": Group(d_vocab, "token"),
        "resid": Group(config.d_model, "d_model"),
    }
    connections = {"embed.W_E": Connection("inputs", "resid")}
    if config.positions:
        groups["positions"] = Group(n_ctx, "position")
        connections["pos_embed.W_pos"] = Connection("positions", "resid")
    weights: dict[str, tuple[int, ...]] = dict(_shapes(connections, groups))
    norms = _transformer_norms(config, groups)
    for layer in layers:
        groups |= _block_groups(config, layer)
        connections |= _block_connections(config, layer)
        weights |= _block_weights(config, layer)
        in_block = f"blocks.{layer}."
        weights |= {n: shape for n, shape in norms.weights.items() if n.startswith(in_block)}
    groups["outputs"] = Group(d_output, "output")
    connections["unembed.W_U"] = Connection("resid", "outputs")
    return Wiring(
        weights=weights | norms.weights | {"unembed.W_U": (config.d_model, d_output)},
        groups=groups,
        connections=connections,
        hidden=tuple(_block_layer(config, layer) for layer in layers),
        input_paths={
            "attention": _through_attention(norms),
            "direct": product("embed.W_E", *norms.to_neurons, "blocks.0.mlp.W_in"),
        },
        direct="direct",
        output_path=product(f"blocks.{layers[-1]}.mlp.W_out", *norms.to_outputs, "unembed.W_U"),
        embedding=product("embed.W_E"),
        normalizations=norms.every,
    )


def _block_groups(config: TransformerConfig, layer: int) -> dict[str, Group]:
    """The units of a block."""
    inside = Group(config.n_heads * config.head_width, "d_head")
    sizes = {"queries": inside, "keys": inside, "heads": inside}
    sizes["neurons"] = Group(config.d_mlp, "neuron")
    return {numbered(name, layer, config.n_layers): group for name, group in sizes.items()}


def _block_connections(config: TransformerConfig, layer: int) -> dict[str, Connection]:
    """The groups that a block's matrices connect."""
    block, (queries, keys, heads, neurons) = f"blocks.{layer}", _block_groups(config, layer)
    return {
        f"{block}.attn.W_Q": Connection("resid", queries, "columns"),
        f"{block}.attn.W_K": Connection("resid", keys, "columns"),
        f"{block}.attn.W_V": Connection("resid", heads, "columns"),
        f"{block}.attn.W_O": Connection(heads, "resid", "rows"),
        f"{block}.mlp.W_in": Connection("resid", neurons),
        f"{block}.mlp.W_out": Connection(neurons, "resid"),
    }


def _block_weights(config: TransformerConfig, layer: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a block's weights."""
    block, d_model, d_mlp = f"blocks.{layer}", config.d_model, config.d_mlp
    weights = {
        **{
            f"{block}.attn.{name}": (config.n_heads, d_model, config.head_width)
            for name in ("W_Q", "W_K", "W_V")
        },
        f"{block}.attn.W_O": (config.n_heads, config.head_width, d_model),
        f"{block}.mlp.W_in": (d_model, d_mlp),
        f"{block}.mlp.b_in": (d_mlp,),
        f"{block}.mlp.W_out": (d_mlp, d_model),
        f"{block}.mlp.b_out": (d_model,),
    }
    if config.bias:
        return weights
    return {name: shape for name, shape in weights.items() if len(shape) > 1}


def _block_layer(config: TransformerConfig, layer: int) -> HiddenLayer:
    """The neurons of a block."""
    block = f"blocks.{layer}"
    return HiddenLayer(
        numbered("neurons", layer, config.n_layers),
        hook=f"{block}.mlp.hook_post",
        reads=(f"{block}.mlp.W_in",),
        writes=(f"{block}.mlp.W_out",),
        pattern=f"{block}.attn.hook_pattern",
        heads=f"{block}.attn.hook_z",
    )


def _through_attention(norms: _Norms) -> LinearPath:
    """Σ_h W_E W_V^h W_O^h W_in: a neuron's input if every head attends to the token.

    The attention pattern scales each head's part.
    """
    read = product("embed.W_E", *norms.to_heads)
    write = product(*norms.to_neurons, "blocks.0.mlp.W_in")
    return LinearPath(
        f"{read.formula} W_V W_O {write.formula}", partial(_multiply_heads, read, write)
    )


def _multiply_heads(
    read: LinearPath, write: LinearPath, weights: Weights
) -> Float[Tensor, "*step d_vocab d_mlp"]:
    W_E, W_in = read.product(weights), write.product(weights)
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
    """The names of the layers' groups of neurons."""
    return [numbered("neurons", layer, n_layers) for layer in range(n_layers)]


def hidden_layers(
    n_layers: int, folded: Callable[[Weights], Float[Tensor, "*step input d_mlp"]]
) -> tuple[HiddenLayer, ...]:
    """The layers of neurons of an MLP.

    Args:
        n_layers: the number of layers.
        folded: computes the weights from inputs to the first layer.
    """
    weights = pairwise(hidden_weights(n_layers))
    return tuple(
        HiddenLayer(
            group,
            hook=f"blocks.{layer}.mlp.hook_post",
            reads=(reads,),
            writes=(writes,),
            folded=None if layer else folded,
        )
        for layer, (group, (reads, writes)) in enumerate(
            zip(hidden_groups(n_layers), weights, strict=True)
        )
    )
