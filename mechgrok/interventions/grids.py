"""Activations over the grid of all pairs (a, b), and changes to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.interventions.logits import place_of
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import Harmonics, harmonics, no_harmonics

if TYPE_CHECKING:
    from mechgrok.interventions.network import Network

#: Activations of attention, which have their positions behind the heads.
BY_QUERY = ("hook_attn_scores", "hook_pattern")


def task_and_harmonics(network: Network) -> tuple[BinaryOperation, Harmonics]:
    """The network's task, and its waves or representations.

    Raises:
        UserError: the task has none.
    """
    task = network.run.task
    if not isinstance(task, BinaryOperation) or no_harmonics(task):
        raise UserError(
            f"{task} has no frequencies: choose a run on one modular operation on two "
            "residues, or on a group."
        )
    return task, harmonics(task)


def all_pairs(task: BinaryOperation, parts: Harmonics) -> Integer[Tensor, "pair pos"]:
    """The tokens of all pairs (a, b), b running fastest, in the order of the harmonics.

    >>> import mechgrok
    >>> from mechgrok.tasks.harmonics import harmonics
    >>> task = mechgrok.Run("data/base").task
    >>> all_pairs(task, harmonics(task))[:2].tolist()
    [[0, 0], [0, 1]]
    """
    return task.tokens(torch.cartesian_prod(parts.tokens, parts.tokens))


def grid_of(
    network: Network, hook: str, parts: Harmonics, position: int = -1
) -> Float[Tensor, "n n unit"]:
    """The activation at a hook point over all pairs, in float64, with all units on one axis.

    Args:
        network: a network on a binary operation.
        hook: the hook point. Of attention, a unit is the weight of a head on a position.
        parts: the order of a and b.
        position: the position whose activation is taken; of attention, that of the query. Masked
            attention scores count as 0.

    Raises:
        UserError: there is no such hook point or position, or it is that of a mask.

    >>> import mechgrok
    >>> from mechgrok.interventions import Network
    >>> from mechgrok.tasks.harmonics import harmonics
    >>> run = mechgrok.Run("data/base")
    >>> grid_of(Network(run, 30000), "hook_logits", harmonics(run.task)).shape
    torch.Size([67, 67, 67])
    """
    task, n = network.run.task, parts.n
    assert isinstance(task, BinaryOperation)
    if hook.endswith("hook_mask"):
        raise UserError(f"{hook} is a mask, the same for all inputs: choose an activation.")
    value = _at(network.activation(hook, all_pairs(task, parts)), hook, position).double()
    return value.where(value.isfinite(), 0).reshape(n, n, -1)


def _at(value: Float[Tensor, "pair ..."], hook: str, position: int) -> Float[Tensor, "pair ..."]:
    """A view of an activation at a position; all of it if it has no positions."""
    axis = 2 if hook.endswith(BY_QUERY) else 1
    if value.ndim == 2:
        return value
    if not -value.shape[axis] <= position < value.shape[axis]:
        raise UserError(
            f"{hook} has no position {position}: choose from 0 to {value.shape[axis] - 1}."
        )
    return value.select(axis, position)


def subtracted_on_grid(
    network: Network,
    name: str,
    parts: Harmonics,
    inputs: Integer[Tensor, "batch pos"],
    removed: Callable[[Float[Tensor, "n n unit"]], Float[Tensor, "n n unit"]],
) -> Callable[..., Float[Tensor, "batch ..."]]:
    """A hook that subtracts a part of an activation, computed from its values on all pairs.

    Args:
        network: the network whose activations over all pairs are used.
        name: the hook point; only the last position of its activation changes.
        parts: the order of a and b; inputs with an operand outside it keep their activation.
        inputs: the batch that the hook acts on.
        removed: computes the part from the activation over all pairs, as `grid_of` gives it.

    Raises:
        UserError: there is no such hook point.
    """
    table = removed(grid_of(network, name, parts))
    places = place_of(parts.tokens, network.run.task.d_vocab)
    a, b = (places[inputs[:, operand]] for operand in (0, 1))
    in_order = (a >= 0) & (b >= 0)
    of_batch = torch.where(in_order[:, None], table[a, b], 0)

    def subtract(value: Tensor, hook: Any = None) -> Tensor:
        changed = value.clone()
        last = _at(changed, name, -1)
        last -= of_batch.view_as(last).to(last)
        return changed

    return subtract
