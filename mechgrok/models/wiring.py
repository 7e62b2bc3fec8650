"""The wiring of a network: its groups of units and the matrices between them.

Every model declares its wiring: the groups of units, the matrices that connect them, the hidden
layers, and the linear paths from inputs to neurons and from neurons to outputs. Other code uses the
wiring instead of interpreting names or shapes of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Literal

from einops import rearrange

from mechgrok.errors import UserError, choices, warn
from mechgrok.models.paths import (
    LinearPath,
    Normalization,
    Side,
    Weights,
    concatenated,
    product,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer, Num
    from torch import Tensor

#: Separates the names of several paths.
_AND = ", "


@dataclass(frozen=True)
class Group:
    """A group of units of one kind, such as inputs, neurons, or residual dimensions.

    Attributes:
        size: the number of units.
        unit: the kind of unit: "token", "d_model", "neuron", "d_head", "position", "output".
    """

    size: int
    unit: str


@dataclass(frozen=True)
class Connection:
    """The groups that a matrix connects; recurrent if they are the same.

    Attributes:
        source: the group that the matrix reads.
        target: the group that the matrix writes to.
        heads: for a weight with one matrix per head, whether heads are concatenated along
            "columns" (``[head, d_model, d_head]``) or "rows" (``[head, d_head, d_model]``); None
            for a single matrix.
        target_from: the first unit written in the target group, if not all are.
    """

    source: str
    target: str
    heads: Literal["columns", "rows"] | None = None
    target_from: int = 0


@dataclass(frozen=True)
class Layout:
    """The layout of a weight in memory, as a matrix between two groups.

    Attributes:
        n_heads: the number of heads, 1 for a single matrix.
        heads: as in `Connection`.
        inside: whether both groups are hidden units, neither inputs nor outputs.
    """

    n_heads: int
    heads: Literal["columns", "rows"] | None
    inside: bool

    def matrix(self, weight: Num[Tensor, "..."]) -> Num[Tensor, "*step d_in d_out"]:
        """The weight as one matrix with concatenated heads; leading dimensions stay."""
        if self.heads == "columns":
            matrix = rearrange(weight, "... head d_in d_head -> ... d_in (head d_head)")
        elif self.heads == "rows":
            matrix = rearrange(weight, "... head d_head d_out -> ... (head d_head) d_out")
        else:
            return weight
        return matrix.contiguous()

    def weight(self, matrix: Num[Tensor, "*step d_in d_out"]) -> Num[Tensor, "..."]:
        """The weight of a matrix, the inverse of `matrix`."""
        if self.heads == "columns":
            pattern = "... d_in (head d_head) -> ... head d_in d_head"
        elif self.heads == "rows":
            pattern = "... (head d_head) d_out -> ... head d_head d_out"
        else:
            return matrix
        return rearrange(matrix, pattern, head=self.n_heads)


@dataclass(frozen=True)
class HiddenLayer:
    """One layer of neurons.

    Attributes:
        group: the group of its neurons.
        hook: the hook point of their activations, ``[batch, …, neuron]``.
        reads: the weights whose columns are the neurons: one, or several for gated units.
        writes: the weights whose rows are the neurons; recurrent ones are in `reads` too.
        folded: the weights from inputs to neurons, ``[…, input, neuron]``, if the neurons read
            nothing else (W_E W_in of a first layer); else None.
        pattern: the hook point of the preceding attention pattern, if any.
        heads: the hook point of the preceding heads' results, ``[batch, pos, head, d_head]``.
        recurrent: whether the neurons' output may return to them.
    """

    group: str
    hook: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    folded: Callable[[Weights], Float[Tensor, "*step input neuron"]] | None = None
    pattern: str | None = None
    heads: str | None = None
    recurrent: bool = False

    def __post_init__(self) -> None:
        for side in ("reads", "writes"):
            if isinstance(name := getattr(self, side), str):
                warn(f"Write {side}=({name!r},), a tuple of names.", DeprecationWarning)
                object.__setattr__(self, side, (name,))

    def incoming(self, kept: Mapping[str, Bool[Tensor, "..."]]) -> Integer[Tensor, " neuron"]:
        """The number of kept weights into each neuron."""
        return sum(kept[name].sum(0) for name in self.reads)  # type: ignore[return-value]

    def outgoing(self, kept: Mapping[str, Bool[Tensor, "..."]]) -> Integer[Tensor, " neuron"]:
        """The number of kept weights out of each neuron."""
        return sum(kept[name].sum(1) for name in self.writes)  # type: ignore[return-value]


@dataclass(frozen=True)
class Wiring:
    """The wiring of a network.

    Attributes:
        weights: the shapes of all weights, biases included, in the model's order.
        groups: the groups of units, in the order of the units' numbers.
        connections: the groups that each matrix connects, from the inputs to the outputs.
        hidden: the layers of neurons, in order.
        input_paths: paths from the tokens to the neurons of the first hidden layer, each a matrix
            ``[token, neuron]``; the first is the one that carries the answer.
        direct: the input path without attention; for gated units one per input weight, their names
            separated by commas.
        output_path: the path from the last hidden layer to the outputs, ``[neuron, output]``.
        embedding: the tokens' embedding, ``[token, d_model]``; None without one.
        normalizations: the normalizations of activations, in order. Paths include their linear
            parts (`Normalization.linear`), but not the division by an example's scale.
    """

    weights: Mapping[str, tuple[int, ...]]
    groups: Mapping[str, Group]
    connections: Mapping[str, Connection]
    hidden: tuple[HiddenLayer, ...]
    input_paths: Mapping[str, LinearPath]
    direct: str
    output_path: LinearPath
    embedding: LinearPath | None = None
    normalizations: tuple[Normalization, ...] = ()

    @classmethod
    def between(
        cls,
        groups: Mapping[str, Group],
        matrices: Mapping[str, tuple[str, str]],
        hooks: Mapping[str, str],
    ) -> Wiring:
        """The wiring of single matrices, each between two complete groups.

        Groups without an incoming matrix are inputs. Every chain of matrices from tokens to the
        first layer of neurons that visits no group twice is an input path, named by its formula. A
        matrix from a group to itself is recurrent.

        Args:
            groups: the groups of units by name, from the inputs to the outputs.
            matrices: the source and target groups of each weight.
            hooks: the hook point of each group of neurons, in order; recurrent neurons call it
                after every token.

        Raises:
            UserError: a group is unknown, there are no neurons, or a group of neurons has no chain
                of matrices from inputs or to outputs.

        >>> groups = {"tokens": Group(7, "token"), "neurons": Group(5, "neuron")}
        >>> groups["outputs"] = Group(7, "output")
        >>> ends = {"W_in": ("tokens", "neurons"), "W_out": ("neurons", "outputs")}
        >>> wiring = Wiring.between(groups, ends, hooks={"neurons": "hook_post"})
        >>> wiring.weights, list(wiring.input_paths), wiring.output_path.formula
        ({'W_in': (7, 5), 'W_out': (5, 7)}, ['W_in'], 'W_out')
        """
        if not hooks:
            raise UserError("A wiring needs a group of neurons: give its hook point in hooks.")
        for group in [*hooks, *(end for ends in matrices.values() for end in ends)]:
            if group not in groups:
                raise UserError(f"There is no group {group!r}: choose {choices(groups)}.")
        backwards = {name: (target, source) for name, (source, target) in matrices.items()}
        into, *_ = [_chains(group, matrices, "writes to") for group in hooks]
        *_, out = [_chains(group, backwards, "reads") for group in hooks]
        paths, direct = _input_paths(into, matrices, groups)
        return cls(
            weights={
                name: (groups[source].size, groups[target].size)
                for name, (source, target) in matrices.items()
            },
            groups=groups,
            connections={name: Connection(*ends) for name, ends in matrices.items()},
            hidden=tuple(_hidden(group, hook, matrices, into) for group, hook in hooks.items()),
            input_paths=paths,
            direct=direct,
            output_path=product(*reversed(out[0])),
            embedding=product(into[0][0]) if len(into[0]) > 1 else None,
        )

    @property
    def joins(self) -> Mapping[str, Connection]:
        """The former name of `connections`."""
        warn("Wiring.joins is now Wiring.connections.", DeprecationWarning)
        return self.connections

    # --- normalization --------------------------------------------------------------------------

    def is_normalized(self, side: Side) -> bool:
        """Whether a normalization stands before the neurons, between them, or after them."""
        return any(normalization.side == side for normalization in self.normalizations)

    @property
    def has_linear_readout(self) -> bool:
        """Whether the outputs are linear in the activations of the last layer of neurons.

        Not if a normalization follows the neurons, or if they are recurrent.
        """
        return not (self.hidden[-1].recurrent or self.is_normalized("output"))

    @property
    def normalization_weights(self) -> dict[str, float]:
        """The initial value of each weight of a normalization."""
        return {n: v for one in self.normalizations for n, v in one.weights.items()}

    # --- weights --------------------------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """The number of weights, pruned ones included."""
        return sum(prod(shape) for shape in self.weights.values())

    def full_name(self, name: str) -> str:
        """Complete a short name of a weight: W_in stands for blocks.0.mlp.W_in.

        Raises:
            UserError: no weight has this short name, or several have.
        """
        matches = [full for full in self.weights if full == name or full.endswith(f".{name}")]
        if len(matches) != 1:
            raise UserError(
                f"The network has {'several weights' if matches else 'no weight'} {name!r}: choose "
                f"{choices(matches or self.weights)}."
            )
        return matches[0]

    def matrix(self, name: str, weight: Num[Tensor, "..."]) -> Num[Tensor, "*step d_in d_out"]:
        """A weight as one matrix between its groups, with concatenated heads.

        Leading dimensions (steps) stay.
        """
        return self.layout(name).matrix(weight)

    def layout(self, name: str) -> Layout:
        """The layout of a matrix in memory."""
        ends = self.connections[name]
        written = {other.target for other in self.connections.values()}
        inside = ends.source in written and self.groups[ends.target].unit != "output"
        return Layout(self.weights[name][0] if ends.heads else 1, ends.heads, inside)

    def axes(self, name: str) -> tuple[str, str]:
        """The units of a matrix's rows and columns: ("token", "d_model") for W_E."""
        ends = self.connections[name]
        return self.groups[ends.source].unit, self.groups[ends.target].unit

    def paths(self, name: str = "auto") -> list[LinearPath]:
        """The input paths in ``name``, separated by commas.

        "auto" is the path that carries the answer; for gated units, one path per input weight.

        Raises:
            UserError: a path is unknown.
        """
        return [self.input_paths[path] for path in self.path_name(name).split(_AND)]

    def input_path(self, name: str = "auto") -> LinearPath:
        """The single input path ``name``; "auto" is the path that carries the answer.

        Raises:
            UserError: the path is unknown, or there are several.
        """
        first, *others = self.paths(name)
        if others:
            raise UserError(
                "Neurons read the inputs through several weights, but this analysis needs one: "
                f"choose --path {choices(repr(name) for name in self.input_paths)}."
            )
        return first

    def path_name(self, name: str = "auto") -> str:
        """The names of one or several input paths, with "auto" resolved.

        Raises:
            UserError: a path is unknown.
        """
        if name == "auto":
            return self.direct if _AND in self.direct else next(iter(self.input_paths))
        if unknown := [path for path in name.split(_AND) if path not in self.input_paths]:
            raise UserError(
                f"The network has no path {unknown[0]!r} from its inputs to its neurons: choose "
                f"--path {choices(self.input_paths)}."
            )
        return name

    @cached_property
    def embedded(self) -> LinearPath:
        """The representation of tokens, ``[token, width]``: their embedding.

        Without an embedding, the neurons' input weights, concatenated.
        """
        paths = [self.embedding] if self.embedding else self.paths(self.direct)
        return paths[0] if len(paths) == 1 else concatenated(paths, -1)

    # --- numbering of units ---------------------------------------------------------------------

    @property
    def n_units(self) -> int:
        """The number of units of all groups."""
        return sum(group.size for group in self.groups.values())

    @cached_property
    def start(self) -> dict[str, int]:
        """The number of each group's first unit."""
        starts, first = {}, 0
        for name, group in self.groups.items():
            starts[name] = first
            first += group.size
        return starts

    def ends(self, name: str) -> tuple[range, range]:
        """The numbers of the units of a matrix's rows and columns."""
        ends, shape = self.connections[name], self.weights[name]
        columns = self.groups[ends.target].size if ends.heads == "columns" else shape[-1]
        source, target = self.start[ends.source], self.start[ends.target] + ends.target_from
        return (
            range(source, source + self.groups[ends.source].size),
            range(target, target + columns),
        )

    @cached_property
    def group_of(self) -> list[str]:
        """The group of every unit."""
        return [name for name, group in self.groups.items() for _ in range(group.size)]

    @cached_property
    def column(self) -> dict[str, int]:
        """The number of matrices between the inputs and each group: its column in a drawing."""
        written = {ends.target for ends in self.connections.values()}
        column = {group: 0 for group in self.groups if group not in written}
        for _ in self.groups:
            for ends in self.connections.values():
                if ends.source in column and ends.target not in column:
                    column[ends.target] = column[ends.source] + 1
        return column

    @property
    def narrowest(self) -> int:
        """The size of the narrowest group that is both read and written."""
        read = {ends.source for ends in self.connections.values()}
        written = {ends.target for ends in self.connections.values()}
        return min(self.groups[group].size for group in read & written)


def chain(weights: Mapping[str, tuple[int, int]]) -> Wiring:
    """The wiring of a chain of matrices, each reading the output of the one before it.

    Args:
        weights: the matrices' shapes by name, in order; all but the last write to neurons.
    """
    sizes = [next(iter(weights.values()))[0], *(width for _, width in weights.values())]
    layers = [numbered("neurons", layer, len(weights) - 1) for layer in range(len(weights) - 1)]
    names, units = ["inputs", *layers, "outputs"], ["input", *("neuron" for _ in layers), "output"]
    groups = {n: Group(size, unit) for n, size, unit in zip(names, sizes, units, strict=True)}
    ends = dict(zip(weights, pairwise(names), strict=True))
    return Wiring.between(groups, ends, hooks=dict.fromkeys(layers, ""))


def _chains(
    group: str, matrices: Mapping[str, tuple[str, str]], verb: str, visited: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """All chains of matrices from inputs to a group that visit no group twice.

    Raises:
        UserError: a group of neurons has no such chain.
    """
    into = {name: source for name, (source, target) in matrices.items() if target == group}
    if visited and not into:
        return [()]
    visited = (*visited, group)
    chains = [
        (*chain, name)
        for name, source in into.items()
        if source not in visited
        for chain in _chains(source, matrices, verb, visited)
    ]
    if not chains and visited == (group,):
        raise UserError(
            f"No matrix {verb} the neurons {group!r}, except from neurons to neurons: add one."
        )
    return chains


def _input_paths(
    chains: Sequence[tuple[str, ...]],
    matrices: Mapping[str, tuple[str, str]],
    groups: Mapping[str, Group],
) -> tuple[dict[str, LinearPath], str]:
    """The paths of the chains that start at tokens, and the names of the direct ones.

    Direct is the first path from the first group of tokens, for each of a gated unit's weights.
    """
    first = matrices[chains[0][0]][0]
    paths: dict[str, LinearPath] = {}
    direct: dict[str, str] = {}
    for chain in chains:
        source, path = matrices[chain[0]][0], product(*chain)
        if groups[source] == groups[first]:
            paths[path.formula] = path
        if source == first:
            direct.setdefault(chain[-1], path.formula)
    return paths, _AND.join(direct.values())


def _hidden(
    group: str,
    hook: str,
    matrices: Mapping[str, tuple[str, str]],
    chains: Sequence[tuple[str, ...]],
) -> HiddenLayer:
    """The layer of a group of neurons.

    Args:
        group: the group.
        hook: the hook point of its activations.
        matrices: the source and target groups of each weight.
        chains: the chains of matrices from inputs to the first layer.
    """
    reached = {target for source, target in matrices.values() if source == group}
    for _ in matrices:
        reached |= {target for source, target in matrices.values() if source in reached}
    recurrent, first = group in reached, matrices[chains[0][-1]][1] == group
    paths = [product(*chain) for chain in chains]
    return HiddenLayer(
        group,
        hook,
        reads=tuple(name for name, (_, target) in matrices.items() if target == group),
        writes=tuple(name for name, (source, _) in matrices.items() if source == group),
        folded=concatenated(paths, -2).product if first and not recurrent else None,
        recurrent=recurrent,
    )


def numbered(name: str, layer: int, n_layers: int) -> str:
    """The name of a layer's group, with the layer's number if there are several layers."""
    return f"{name} {layer}" if n_layers > 1 else name


def short_names(weights: Sequence[str]) -> dict[str, str]:
    """Short names of weights for figures.

    W_in for blocks.0.mlp.W_in; 0.W_in, with the layer, if several layers have one.

    >>> short_names(["embed.W_E", "blocks.0.mlp.W_in", "blocks.1.mlp.W_in"]).values()
    dict_values(['W_E', '0.W_in', '1.W_in'])
    """
    last = [name.rpartition(".")[2] for name in weights]
    layer = [name.removeprefix("blocks.").partition(".")[0] for name in weights]
    return {
        name: end if last.count(end) == 1 else f"{number}.{end}"
        for name, end, number in zip(weights, last, layer, strict=True)
    }
