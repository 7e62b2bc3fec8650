"""Parts of a network by name: weights, heads, and neurons."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.models import Wiring

#: Which entries of each weight belong to a part, by the weight's name.
Part = dict[str, Bool[Tensor, "..."]]


def parts_of(wiring: Wiring, names: str) -> dict[str, Part]:
    """The entries of each weight that belong to the parts, by the part's name.

    Args:
        wiring: the network's wiring.
        names: parts, separated by commas: a weight; "matrices", each of them; "head 1", the entries
            of W_Q, W_K, W_V and W_O of that head in every block; "heads", each of them; "neurons
            0-11", all weights into and out of these neurons in every layer, "neurons 3" of one.

    Raises:
        UserError: a part is unknown.

    >>> import mechgrok
    >>> parts = parts_of(mechgrok.Run("data/base").wiring, "W_in, neurons 0-11")
    >>> {name: size_of(part) for name, part in parts.items()}
    {'W_in': 24000, 'neurons 0-11': 12000}
    """
    parts = {}
    for name in (part.strip() for part in names.split(",")):
        for single in _expanded(wiring, name):
            part = {n: torch.zeros(shape, dtype=torch.bool) for n, shape in wiring.weights.items()}
            kind, _, numbers = single.partition(" ")
            if kind == "head" and numbers:
                _mark_head(wiring, part, numbers)
            elif kind == "neurons" and numbers:
                _mark_neurons(wiring, part, numbers)
            else:
                part[wiring.full_name(single)][:] = True
            parts[single] = part
    return parts


def _expanded(wiring: Wiring, name: str) -> list[str]:
    """The single parts that a name stands for."""
    if name == "matrices":
        return list(wiring.connections)
    if name == "heads":
        n_heads = max((wiring.layout(matrix).n_heads for matrix in _of_heads(wiring)), default=0)
        return [f"head {number}" for number in range(n_heads)]
    return [name]


def _of_heads(wiring: Wiring) -> list[str]:
    """The weights with one matrix per head.

    Raises:
        UserError: the network has no heads.
    """
    weights = [name for name, ends in wiring.connections.items() if ends.heads]
    if not weights:
        raise UserError("The network has no heads: choose a weight or neurons as a part.")
    return weights


def _mark_head(wiring: Wiring, part: Part, number: str) -> None:
    weights = _of_heads(wiring)
    n_heads = wiring.layout(weights[0]).n_heads
    if not number.isdecimal() or int(number) >= n_heads:
        raise UserError(f"There is no head {number}: choose one from 0 to {n_heads - 1}.")
    for name in weights:
        part[name][int(number)] = True


def _mark_neurons(wiring: Wiring, part: Part, numbers: str) -> None:
    first, _, last = numbers.partition("-")
    last = last or first
    size = min(wiring.groups[layer.group].size for layer in wiring.hidden)
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < size):
        raise UserError(f"There are no neurons {numbers}: choose, say, neurons 0-{size - 1}.")
    which = slice(int(first), int(last) + 1)
    for layer in wiring.hidden:
        for name in layer.reads:
            part[name][:, which] = True
        for name in layer.writes:
            part[name][which] = True


def size_of(part: Part) -> int:
    """The number of entries of a part.

    >>> size_of({"W_in": torch.tensor([[True, False], [True, True]])})
    3
    """
    return sum(int(entries.sum()) for entries in part.values())
