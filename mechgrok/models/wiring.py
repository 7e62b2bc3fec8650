"""How a network is wired: what each model declares once, and everybody else asks for.

A wiring names the groups of units of a network and the matrices that join them, its hidden layers,
and the linear paths from the inputs to the neurons and from the neurons to the outputs. Nobody but
a model looks at the name or the shape of a weight to find these out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal

from einops import rearrange

from mechgrok.errors import UserError, choices

if TYPE_CHECKING:
    from jaxtyping import Float, Num
    from torch import Tensor

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
class Join:
    """Which groups a matrix joins.

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
        heads: as of `Join`.
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
        reads: the weight whose columns are the neurons.
        writes: the weight whose rows are the neurons.
        folded: what each neuron reads of the inputs, ``[…, input, neuron]``, where it reads
            nothing else (W_E W_in of a first layer); None where it does.
        pattern: the hook point of the attention patterns before it, where there is attention.
        heads: the hook point of what the heads before it read, ``[batch, pos, head, d_head]``.
    """

    group: str
    hook: str
    reads: str
    writes: str
    folded: Callable[[Weights], Float[Tensor, "*step input neuron"]] | None = None
    pattern: str | None = None
    heads: str | None = None


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
        joins: for each matrix the groups that it joins, from the inputs to the outputs.
        hidden: the layers of neurons, in order.
        input_paths: ways from the tokens to the neurons of the first hidden layer, each a matrix
            ``[token, neuron]``; the first is the one on which the answer depends.
        direct: which of them goes through no attention.
        output_path: from the neurons of the last hidden layer to the outputs, ``[neuron, output]``.
        embedding: what tokens are embedded as, ``[token, d_model]``; None without embedding.
    """

    weights: Mapping[str, tuple[int, ...]]
    groups: Mapping[str, Group]
    joins: Mapping[str, Join]
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

        What nothing writes to are inputs; every chain of matrices from one of them to the first
        layer of neurons is an input path, called by its formula.

        Args:
            groups: the groups of units by name, from the inputs to the outputs.
            matrices: for each weight the group that it reads and the one that it writes to.
            hooks: for each group of neurons, in order, the hook point of their activations.

        Raises:
            UserError: a group is unknown, or nothing reads or nothing writes a group of neurons.

        >>> groups = {"tokens": Group(7, "token"), "neurons": Group(5, "neuron")}
        >>> groups["outputs"] = Group(7, "output")
        >>> ends = {"W_in": ("tokens", "neurons"), "W_out": ("neurons", "outputs")}
        >>> wiring = Wiring.between(groups, ends, hooks={"neurons": "hook_post"})
        >>> wiring.weights, list(wiring.input_paths), wiring.output_path.formula
        ({'W_in': (7, 5), 'W_out': (5, 7)}, ['W_in'], 'W_out')
        """
        for group in [*hooks, *(end for ends in matrices.values() for end in ends)]:
            if group not in groups:
                raise UserError(f"There is no group {group!r}: choose {choices(groups)}.")
        joins = {name: Join(*ends) for name, ends in matrices.items()}
        ways = _ways_to(next(iter(hooks)), joins)
        paths = [product(*way) for way in ways]
        return cls(
            weights={
                name: (groups[join.source].size, groups[join.target].size)
                for name, join in joins.items()
            },
            groups=groups,
            joins=joins,
            hidden=tuple(
                HiddenLayer(
                    group,
                    hook,
                    reads=_at(joins, group, "target")[0],
                    writes=_at(joins, group, "source")[0],
                    folded=None if layer else _beside(paths),
                )
                for layer, (group, hook) in enumerate(hooks.items())
            ),
            input_paths={path.formula: path for path in paths},
            direct=paths[0].formula,
            output_path=product(*_way_from(list(hooks)[-1], joins)),
            embedding=product(ways[0][0]) if len(ways[0]) > 1 else None,
        )

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
        join = self.joins[name]
        written = {other.target for other in self.joins.values()}
        inside = join.source in written and self.groups[join.target].unit != "output"
        return Layout(self.weights[name][0] if join.heads else 1, join.heads, inside)

    def axes(self, name: str) -> tuple[str, str]:
        """What the rows and the columns of a matrix stand for: ("token", "d_model") for W_E."""
        join = self.joins[name]
        return self.groups[join.source].unit, self.groups[join.target].unit

    def input_path(self, name: str = "auto") -> LinearPath:
        """The input path called ``name``; "auto" is the one on which the answer depends.

        Raises:
            UserError: the network has none of that name.
        """
        return self.input_paths[self.path_name(name)]

    def path_name(self, name: str = "auto") -> str:
        """The name of an input path, with "auto" settled.

        Raises:
            UserError: the network has none of that name.
        """
        if name == "auto":
            return next(iter(self.input_paths))
        if name not in self.input_paths:
            raise UserError(
                f"The network has no path {name!r} from its inputs to its neurons: choose "
                f"--path {choices(self.input_paths)}."
            )
        return name

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
        join, shape = self.joins[name], self.weights[name]
        columns = self.groups[join.target].size if join.heads == "columns" else shape[-1]
        source, target = self.start[join.source], self.start[join.target] + join.target_from
        return (
            range(source, source + self.groups[join.source].size),
            range(target, target + columns),
        )

    @cached_property
    def group_of(self) -> list[str]:
        """The group of every unit."""
        return [name for name, group in self.groups.items() for _ in range(group.size)]

    @cached_property
    def column(self) -> dict[str, int]:
        """How many matrices lie between the inputs and each group: its place in a drawing."""
        written = {join.target for join in self.joins.values()}
        column = {group: 0 for group in self.groups if group not in written}
        for _ in self.groups:
            for join in self.joins.values():
                if join.source in column and join.target not in column:
                    column[join.target] = column[join.source] + 1
        return column

    @property
    def narrowest(self) -> int:
        """The size of the narrowest group of units that something reads and something writes."""
        read = {join.source for join in self.joins.values()}
        written = {join.target for join in self.joins.values()}
        return min(self.groups[group].size for group in read & written)


def chain(weights: Mapping[str, tuple[int, int]]) -> Wiring:
    """The wiring of matrices of which each reads what the one before it writes.

    Args:
        weights: their shapes by name, in order; all but the last write to neurons.
    """
    names, shapes = list(weights), list(weights.values())
    sizes = [shapes[0][0], *(width for _, width in shapes)]
    layers = [numbered("neurons", layer, len(names) - 1) for layer in range(len(names) - 1)]
    groups = ["inputs", *layers, "outputs"]
    units = ["input", *("neuron" for _ in layers), "output"]
    return Wiring(
        weights=dict(weights),
        groups={g: Group(size, unit) for g, size, unit in zip(groups, sizes, units, strict=True)},
        joins={name: Join(groups[at], groups[at + 1]) for at, name in enumerate(names)},
        hidden=tuple(
            HiddenLayer(layer, "", names[at], names[at + 1]) for at, layer in enumerate(layers)
        ),
        input_paths={"direct": product(names[0])},
        direct="direct",
        output_path=product(names[-1]),
    )


def product(*names: str) -> LinearPath:
    """The path through these weights in turn: ``product("W_E", "W_in")`` is W_E W_in.

    A weight is called by the last part of its name in the formula.
    """

    def multiply(weights: Weights) -> Tensor:
        first, *rest = (weights(name) for name in names)
        for matrix in rest:
            first = first @ matrix
        return first

    return LinearPath(" ".join(name.rpartition(".")[2] for name in names), multiply)


def _at(joins: Mapping[str, Join], group: str, end: Literal["source", "target"]) -> list[str]:
    """The matrices that have a group of neurons at one end."""
    found = [name for name, join in joins.items() if getattr(join, end) == group]
    if not found:
        does = "reads" if end == "source" else "writes to"
        raise UserError(f"No matrix {does} the neurons {group!r}: give one that does.")
    return found


def _ways_to(group: str, joins: Mapping[str, Join]) -> list[tuple[str, ...]]:
    """Every chain of matrices that leads from inputs to a group."""
    last = [name for name, join in joins.items() if join.target == group]
    if not last:
        return [()]
    return [(*way, name) for name in last for way in _ways_to(joins[name].source, joins)]


def _way_from(group: str, joins: Mapping[str, Join]) -> list[str]:
    """The chain of matrices from a group on, by the first that reads what the one before wrote."""
    following = [name for name, join in joins.items() if join.source == group]
    return [following[0], *_way_from(joins[following[0]].target, joins)] if following else []


def _beside(paths: Sequence[LinearPath]) -> Callable[[Weights], Tensor]:
    """What neurons read of all inputs, those of one path below those of another."""

    def stack(weights: Weights) -> Float[Tensor, "*step input neuron"]:
        import torch

        return torch.cat([path.product(weights) for path in paths], dim=-2)

    return stack


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
