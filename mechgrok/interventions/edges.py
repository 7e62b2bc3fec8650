"""Masks: by a pruning method, edge by edge, and the edges of neurons given back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.interventions.base import Intervention, Layer, Neurons, Number, PruningMethod, Weight
from mechgrok.interventions.units import layer_of, which_neurons
from mechgrok.masks import Mask, Scope, prune

if TYPE_CHECKING:
    from mechgrok.interventions.network import Network

#: The place of one entry in a matrix: row, column; before them the head where there are heads.
Edge = Annotated[tuple[Number, ...], Field(min_length=2, max_length=3)]
EdgeList = Annotated[tuple[Edge, ...], Field(max_length=10**6)]


class Remask(Intervention):
    """The mask that a pruning method gives this network, in place of the one that is on.

    Attributes:
        rate: the share k of all matrices' entries that is pruned, in [0, 1).
        method: one of `mechgrok.masks.methods.SCORES`.
        scope: "global", or "layer": the rate holds within each matrix.
        options: the method's own, such as ``seed`` of random.
    """

    rate: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = Field(
        description="Share k of the entries that is pruned."
    )
    method: PruningMethod = Field(default="magnitude", description="Pruning method.")
    scope: Scope = Field(default="global", description="One threshold, or one per matrix (layer).")
    options: dict[str, bool | int | float | str] = Field(
        default={}, max_length=20, description="The method's own options."
    )

    def remask(self, network: Network) -> Mask:
        model, task = network.model, network.run.task
        kept = prune(model, task, self.rate, self.method, scope=self.scope, **self.options)
        return Mask({**network.mask, **kept})


class Edges(Intervention):
    """Single entries of a matrix taken out of the mask, or put back.

    Attributes:
        weight: the matrix, by its name or the end of it where that is unique.
        cut: entries that are pruned.
        restore: entries that are kept.
    """

    weight: Weight = Field(description="Matrix.")
    cut: EdgeList = Field(default=(), description="Entries that are pruned.")
    restore: EdgeList = Field(default=(), description="Entries that are kept.")

    @model_validator(mode="after")
    def _something(self) -> Edges:
        if not self.cut and not self.restore:
            raise UserError("Edges needs to know which: give cut, restore or both.")
        return self

    def remask(self, network: Network) -> Mask:
        name = network.run.wiring.full_name(self.weight)
        if name not in network.mask:
            raise UserError(f"{name} is no matrix: only matrices are masked.")
        kept = network.mask[name].clone()
        for edges, keep in ((self.cut, False), (self.restore, True)):
            for edge in edges:
                if len(edge) != kept.ndim or any(
                    at >= size for at, size in zip(edge, kept.shape, strict=True)
                ):
                    raise UserError(
                        f"{name} is {' × '.join(map(str, kept.shape))} and has no entry "
                        f"{list(edge)}."
                    )
                kept[edge] = keep
        return Mask({**network.mask, name: kept})


class Revive(Intervention):
    """Neurons given back all weights into and out of them: their masks are 1.

    What comes back are the raw weights behind the mask: in a ticket they are 0 and nothing changes
    before it is trained; under a magnitude mask or edge-popup they are what was pruned.

    Attributes:
        neurons: their numbers, or "dead": those that no kept weight reaches.
        layer: their layer; the last unless given.
    """

    neurons: Neurons = Field(default="dead", description='Neurons, or "dead".')
    layer: Layer = Field(default=-1, description="Layer of the neurons; the last.")

    def remask(self, network: Network) -> Mask:
        layer = layer_of(network, self.layer)
        which = which_neurons(network, self.neurons, self.layer)
        revived = dict(network.mask)
        for name in layer.reads:
            revived[name] = revived[name].masked_fill(which, True)
        for name in layer.writes:
            revived[name] = revived[name].masked_fill(which[:, None], True)
        return Mask(revived)
