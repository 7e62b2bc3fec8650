"""Selections of weights: by side or kind, or by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mechgrok.errors import UserError, choices, near

if TYPE_CHECKING:
    from mechgrok.models.wiring import Wiring

#: Selections of all weights; `EACH` one by one.
ALL, EACH = "all", "each"
#: Selections of the matrices before the first layer of neurons, between layers, and after the last.
SIDES = ("input", "inside", "output")
#: Selections of all vectors, and of all matrices.
KINDS = ("biases", "matrices")


def select(of: str, wiring: Wiring) -> list[str]:
    """The names of the weights that ``of`` stands for.

    Args:
        of: all, each, a side, a kind, or names of weights joined with plus signs; short names
            suffice.
        wiring: the network's wiring.

    Raises:
        UserError: the network has no such weight, or none of that side or kind.
    """
    if of in (ALL, EACH):
        return list(wiring.weights)
    if of not in (*SIDES, *KINDS):
        return [_full_name(name, wiring) for name in of.split("+")]
    groups = sides(wiring)
    if of in KINDS:
        kinds = {1: "biases"}
        groups = {n: kinds.get(len(shape), "matrices") for n, shape in wiring.weights.items()}
    names = [name for name, group in groups.items() if group == of]
    if not names:
        what = "biases" if of == "biases" else f"matrix among {of}"
        raise UserError(f"The network has no {what}: name a weight.")
    return names


def _full_name(name: str, wiring: Wiring) -> str:
    weights = wiring.weights
    fitting = [full for full in weights if full == name or full.endswith(f".{name}")]
    if len(fitting) != 1:
        raise UserError(
            f"The network has {'several weights' if fitting else 'no weight'} {name!r}"
            f"{near(name, weights)}: choose {choices(fitting or weights)}, or "
            f"{choices([ALL, EACH, *SIDES, *KINDS])}."
        )
    return fitting[0]


def sides(wiring: Wiring) -> dict[str, str]:
    """The side of each matrix: before the first layer of neurons, after the last, or between.

    A matrix is on the input side if no neuron comes before it, and on the output side if none comes
    after it.
    """
    after: dict[str, set[str]] = defaultdict(set)
    for connection in wiring.connections.values():
        after[connection.source].add(connection.target)
    neurons = {layer.group for layer in wiring.hidden}
    reached = _reachable(neurons, after)
    side = {}
    for name, connection in wiring.connections.items():
        if connection.source not in reached:
            side[name] = "input"
        else:
            onward = _reachable({connection.target}, after)
            side[name] = "inside" if onward & neurons else "output"
    return side


def _reachable(start: set[str], after: Mapping[str, set[str]]) -> set[str]:
    """The groups of units that can be reached from some groups, including these."""
    reached: set[str] = set()
    frontier = set(start)
    while frontier:
        reached |= frontier
        frontier = {group for source in frontier for group in after.get(source, ())} - reached
    return reached
