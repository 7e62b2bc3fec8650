"""How a network is wired: what each model declares once, and everybody else asks for.

A wiring names the groups of units of a network, the matrices that connect them, its hidden layers,
and the linear paths from the inputs to the neurons and from the neurons to the outputs. Nobody but
a model looks at the name or the shape of a weight to find these out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import pairwise
from math import prod
from operator import matmul
from typing import TYPE_CHECKING, Literal

from einops import rearrange

from mechgrok.errors import UserError, choices, warn

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Integer, Num
    from torch import Tensor

#: Between the names of several paths.
_AND = ", "
#: Gives a weight by its full name; all may have the same leading dimensions, such as steps.
Weights = Callable[[str], "Tensor"]


@dataclass(frozen=True)
class Group:
    """Units of one kind: so many inputs, neurons, dimensions of a residual stream.

    Attributes:
        size: how many there are.
        unit: what one of them is: "token", "d_model", "neuron", "d_head", "position", "output".
    """

    size: int
    unit: str


@dataclass(frozen=True)
class Connection:
    """Which groups a matrix connects; recurrent where they are the same.

    Attributes:
        source: the group that it reads.
        target: the group that it writes to.
        heads: where a weight holds one matrix per head: whether the heads' matrices lie side by
            side in the "columns" (``[head, d_model, d_head]``) or one below the other in the
            "rows" (``[head, d_head, d_model]``); None for a single matrix.
        target_from: the first unit of the target group that it writes to, where it does not write
            to all of them.
    """

    source: str
    target: str
    heads: Literal["columns", "rows"] | None = None
    target_from: int = 0


@dataclass(frozen=True)
class Layout:
    """How a weight lies in memory as a matrix between two groups.

    Attributes:
        n_heads: of the weight, where it holds one matrix per head.
        heads: as of `Connection`.
        inside: whether both groups are hidden units, neither inputs nor outputs.
    """

    n_heads: int
    heads: Literal["columns", "rows"] | None
    inside: bool

    def matrix(self, weight: Num[Tensor, "..."]) -> Num[Tensor, "*step d_in d_out"]:
        """The weight as one matrix, the heads side by side; leading dimensions stay."""
        if self.heads == "columns":
            laid = rearrange(weight, "... head d_in d_head -> ... d_in (head d_head)")
        elif self.heads == "rows":
            laid = rearrange(weight, "... head d_head d_out -> ... (head d_head) d_out")
        else:
            return weight
        return laid.contiguous()

    def weight(self, matrix: Num[Tensor, "*step d_in d_out"]) -> Num[Tensor, "..."]:
        """The matrix as the weight, back from `matrix`."""
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
        group: the group that its neurons are.
        hook: the hook point of their activations, ``[batch, …, neuron]``.
        reads: the weights whose columns are the neurons: one, or several for gated units.
        writes: the weights whose rows are the neurons; recurrent ones are in `reads` too.
        folded: what each neuron reads of the inputs, ``[…, input, neuron]``, where it reads
            nothing else (W_E W_in of a first layer); None where it does.
        pattern: the hook point of the attention patterns before it, where there is attention.
        heads: the hook point of what the heads before it read, ``[batch, pos, head, d_head]``.
        recurrent: whether what the neurons write may come back to them.
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
        """How many weights into each neuron a mask keeps."""
        return sum(kept[name].sum(0) for name in self.reads)  # type: ignore[return-value]

    def outgoing(self, kept: Mapping[str, Bool[Tensor, "..."]]) -> Integer[Tensor, " neuron"]:
        """How many weights out of each neuron a mask keeps."""
        return sum(kept[name].sum(1) for name in self.writes)  # type: ignore[return-value]


@dataclass(frozen=True)
class LinearPath:
    """A chain of matrices through the network, multiplied out.

    Attributes:
        formula: the chain as the field writes it: "W_E W_in".
        product: the matrix that it makes of the weights.
    """

    formula: str
    product: Callable[[Weights], Float[Tensor, "*step row column"]]


@dataclass(frozen=True)
class Wiring:
    """How a network is wired.

    Attributes:
        weights: the shape of every weight, biases too, in the order in which the model holds them.
        groups: the groups of units, in the order in which the units are numbered.
        connections: for each matrix the groups that it connects, from the inputs to the outputs.
        hidden: the layers of neurons, in order.
        input_paths: paths from the tokens to the neurons of the first hidden layer, each a matrix
            ``[token, neuron]``; the first is the one on which the answer depends.
        direct: which of them goes through no attention; of gated units one for each weight that
            they read by, with commas between their names.
        output_path: from the neurons of the last hidden layer to the outputs, ``[neuron, output]``.
        embedding: what tokens are embedded as, ``[token, d_model]``; None without embedding.
    """

    weights: Mapping[str, tuple[int, ...]]
    groups: Mapping[str, Group]
    connections: Mapping[str, Connection]
    hidden: tuple[HiddenLayer, ...]
    input_paths: Mapping[str, LinearPath]
    direct: str
    output_path: LinearPath
    embedding: LinearPath | None = None

    @classmethod
    def between(
        cls,
        groups: Mapping[str, Group],
        matrices: Mapping[str, tuple[str, str]],
        hooks: Mapping[str, str],
    ) -> Wiring:
        """The wiring of plain matrices, each between two whole groups: all else follows of these.

        Groups that nothing writes to are inputs. Every chain of matrices from tokens to the first
        layer of neurons, through no group twice, is an input path, called by its formula. A matrix
        from a group to itself is recurrent.

        Args:
            groups: the groups of units by name, from the inputs to the outputs.
            matrices: for each weight the group that it reads and the one that it writes to.
            hooks: for each group of neurons, in order, the hook point of their activations, which
                recurrent neurons pass after every token.

        Raises:
            UserError: a group is unknown, there are no neurons, or no chain of matrices leads from
                inputs to a group of neurons, or from there to outputs.

        >>> groups = {"tokens": Group(7, "token"), "neurons": Group(5, "neuron")}
        >>> groups["outputs"] = Group(7, "output")
        >>> ends = {"W_in": ("tokens", "neurons"), "W_out": ("neurons", "outputs")}
        >>> wiring = Wiring.between(groups, ends, hooks={"neurons": "hook_post"})
        >>> wiring.weights, list(wiring.input_paths), wiring.output_path.formula
        ({'W_in': (7, 5), 'W_out': (5, 7)}, ['W_in'], 'W_out')
        """
        if not hooks:
            raise UserError("A wiring needs a group of neurons: give its name and hook in hooks.")
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

    # --- weights --------------------------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """The number of weights, pruned ones included."""
        return sum(prod(shape) for shape in self.weights.values())

    def full_name(self, name: str) -> str:
        """The full name of a weight from a name that ends it: W_in for blocks.0.mlp.W_in.

        Raises:
            UserError: no weight ends so, or several do.
        """
        ending = [full for full in self.weights if full == name or full.endswith(f".{name}")]
        if len(ending) != 1:
            raise UserError(
                f"The network has {'several weights' if ending else 'no weight'} {name!r}: choose "
                f"{choices(ending or self.weights)}."
            )
        return ending[0]

    def matrix(self, name: str, weight: Num[Tensor, "..."]) -> Num[Tensor, "*step d_in d_out"]:
        """A weight as one matrix between its groups: the heads of an attention weight side by side.

        Leading dimensions (steps) stay.
        """
        return self.layout(name).matrix(weight)

    def layout(self, name: str) -> Layout:
        """How a matrix between two groups lies in memory."""
        ends = self.connections[name]
        written = {other.target for other in self.connections.values()}
        inside = ends.source in written and self.groups[ends.target].unit != "output"
        return Layout(self.weights[name][0] if ends.heads else 1, ends.heads, inside)

    def axes(self, name: str) -> tuple[str, str]:
        """What the rows and the columns of a matrix stand for: ("token", "d_model") for W_E."""
        ends = self.connections[name]
        return self.groups[ends.source].unit, self.groups[ends.target].unit

    def paths(self, name: str = "auto") -> list[LinearPath]:
        """The input paths called ``name``: one, or several with commas between their names.

        "auto" is the one on which the answer depends; of gated units, which read by several
        weights, one for each weight.

        Raises:
            UserError: the network has none of that name.
        """
        return [self.input_paths[one] for one in self.path_name(name).split(_AND)]

    def input_path(self, name: str = "auto") -> LinearPath:
        """The one input path called ``name``; "auto" is the one on which the answer depends.

        Raises:
            UserError: the network has none of that name, or several where one is needed.
        """
        first, *others = self.paths(name)
        if others:
            raise UserError(
                "Each neuron reads the inputs by several weights, and this is defined for one: "
                f"choose --path {choices(repr(name) for name in self.input_paths)}."
            )
        return first

    def path_name(self, name: str = "auto") -> str:
        """The name of an input path, or of several, with "auto" resolved.

        Raises:
            UserError: the network has none of that name.
        """
        if name == "auto":
            return self.direct if _AND in self.direct else next(iter(self.input_paths))
        if unknown := [one for one in name.split(_AND) if one not in self.input_paths]:
            raise UserError(
                f"The network has no path {unknown[0]!r} from its inputs to its neurons: choose "
                f"--path {choices(self.input_paths)}."
            )
        return name

    @cached_property
    def embedded(self) -> LinearPath:
        """What a token is turned into, ``[token, width]``.

        Its embedding; without one what neurons read of it, by several weights side by side.
        """
        paths = [self.embedding] if self.embedding else self.paths(self.direct)
        return paths[0] if len(paths) == 1 else concatenated(paths, -1)

    # --- units, numbered through ----------------------------------------------------------------

    @property
    def n_units(self) -> int:
        """The number of units of all groups."""
        return sum(group.size for group in self.groups.values())

    @cached_property
    def start(self) -> dict[str, int]:
        """The number of each group's first unit."""
        starts, at = {}, 0
        for name, group in self.groups.items():
            starts[name] = at
            at += group.size
        return starts

    def ends(self, name: str) -> tuple[range, range]:
        """The numbers of the units that the rows and the columns of a matrix are."""
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
        """How many matrices lie between the inputs and each group: its place in a drawing."""
        written = {ends.target for ends in self.connections.values()}
        column = {group: 0 for group in self.groups if group not in written}
        for _ in self.groups:
            for ends in self.connections.values():
                if ends.source in column and ends.target not in column:
                    column[ends.target] = column[ends.source] + 1
        return column

    @property
    def narrowest(self) -> int:
        """The size of the narrowest group of units that something reads and something writes."""
        read = {ends.source for ends in self.connections.values()}
        written = {ends.target for ends in self.connections.values()}
        return min(self.groups[group].size for group in read & written)


def chain(weights: Mapping[str, tuple[int, int]]) -> Wiring:
    """The wiring of matrices of which each reads what the one before it writes.

    Args:
        weights: their shapes by name, in order; all but the last write to neurons.
    """
    sizes = [next(iter(weights.values()))[0], *(width for _, width in weights.values())]
    layers = [numbered("neurons", layer, len(weights) - 1) for layer in range(len(weights) - 1)]
    names, units = ["inputs", *layers, "outputs"], ["input", *("neuron" for _ in layers), "output"]
    groups = {n: Group(size, unit) for n, size, unit in zip(names, sizes, units, strict=True)}
    ends = dict(zip(weights, pairwise(names), strict=True))
    return Wiring.between(groups, ends, hooks=dict.fromkeys(layers, ""))


def product(*names: str) -> LinearPath:
    """The path through these weights in turn: ``product("W_E", "W_in")`` is W_E W_in.

    A weight is called by the last part of its name in the formula.
    """
    formula = " ".join(name.rpartition(".")[2] for name in names)
    return LinearPath(formula, partial(_multiply, names))


def _multiply(names: Sequence[str], weights: Weights) -> Tensor:
    return reduce(matmul, map(weights, names))


def _chains(
    group: str, matrices: Mapping[str, tuple[str, str]], does: str, passed: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """Every chain of matrices that leads from inputs to a group, through no group twice.

    Raises:
        UserError: there is none to a group of neurons.
    """
    into = {name: source for name, (source, target) in matrices.items() if target == group}
    if passed and not into:
        return [()]
    passed = (*passed, group)
    chains = [
        (*chain, name)
        for name, source in into.items()
        if source not in passed
        for chain in _chains(source, matrices, does, passed)
    ]
    if not chains and passed == (group,):
        raise UserError(
            f"No matrix {does} the neurons {group!r} but those between neurons: give one that does."
        )
    return chains


def _input_paths(
    chains: Sequence[tuple[str, ...]],
    matrices: Mapping[str, tuple[str, str]],
    groups: Mapping[str, Group],
) -> tuple[dict[str, LinearPath], str]:
    """The paths of the chains that begin at tokens, and which of them are direct.

    Direct is the first from the first group of tokens; of gated units the first for each gate.
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
    """A layer of neurons between plain matrices.

    Args:
        group: the group that its neurons are.
        hook: the hook point of their activations.
        matrices: for each weight the group that it reads and the one that it writes to.
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


def concatenated(paths: Sequence[LinearPath], dim: Literal[-1, -2]) -> LinearPath:
    """The matrices of several paths, one below the other (−2) or side by side (−1)."""
    formula = ", ".join(path.formula for path in paths)
    return LinearPath(formula, partial(_concatenate, paths, dim))


def _concatenate(paths: Sequence[LinearPath], dim: int, weights: Weights) -> Tensor:
    import torch

    return torch.cat([path.product(weights) for path in paths], dim)


def numbered(name: str, layer: int, n_layers: int) -> str:
    """The name of a layer's group: with the layer's number where there are several."""
    return f"{name} {layer}" if n_layers > 1 else name


def short_names(weights: Sequence[str]) -> dict[str, str]:
    """The names of weights as a figure has room for them.

    W_in for blocks.0.mlp.W_in; with the layer, 0.W_in, where several layers have one.

    >>> short_names(["embed.W_E", "blocks.0.mlp.W_in", "blocks.1.mlp.W_in"]).values()
    dict_values(['W_E', '0.W_in', '1.W_in'])
    """
    last = [name.rpartition(".")[2] for name in weights]
    layer = [name.removeprefix("blocks.").partition(".")[0] for name in weights]
    return {
        name: end if last.count(end) == 1 else f"{number}.{end}"
        for name, end, number in zip(weights, last, layer, strict=True)
    }
