"""Interventions on masks: prune again, cut or restore edges, revive neurons."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from mechgrok.errors import UserError
from mechgrok.interventions.fields import Layer, Neurons, Number, PruningMethod, Weight
from mechgrok.interventions.network import Intervention, Network
from mechgrok.interventions.units import layer_of, which_neurons
from mechgrok.masks import Mask, Scope, prune

#: The index of a matrix entry: row, column; preceded by the head, if any.
Edge = Annotated[tuple[Number, ...], Field(min_length=2, max_length=3)]
EdgeList = Annotated[
    tuple[Edge, ...],
    BeforeValidator(lambda edges: (edges,) if edges and isinstance(edges[0], int) else edges),
    Field(max_length=10**6),
]


class Remask(Intervention):
    """Replaces the mask by one from a pruning method.

    Attributes:
        rate: the pruned share k of all matrices' entries, in [0, 1).
        method: one of `mechgrok.masks.methods.SCORES`.
        scope: "global", or "layer": the rate applies within each matrix.
        options: the method's own options, such as ``seed`` of random.
    """

    rate: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = Field(
        description="Share k of the entries to prune."
    )
    method: PruningMethod = Field(default="magnitude", description="Pruning method.")
    scope: Scope = Field(default="global", description="One threshold, or one per matrix (layer).")
    options: dict[str, bool | int | float | str] = Field(
        default={}, max_length=20, description="The method's own options."
    )

    def remask(self, network: Network) -> Mask:
        model, task = network.model, network.run.task
        pruned = prune(model, task, self.rate, self.method, scope=self.scope, **self.options)
        return Mask({**network.mask, **pruned})


class Edges(Intervention):
    """Removes single entries of a matrix from the mask, or restores them.

    Attributes:
        weight: the matrix, by its full or its short name.
        cut: entries to prune.
        restore: entries to keep.
    """

    weight: Weight = Field(description="Matrix.")
    cut: EdgeList = Field(default=(), description="Entries to prune.")
    restore: EdgeList = Field(default=(), description="Entries to keep.")

    @model_validator(mode="after")
    def _check_edges(self) -> Edges:
        if not self.cut and not self.restore:
            raise UserError("Edges needs entries: give cut, restore or both.")
        return self

    def remask(self, network: Network) -> Mask:
        name = network.run.wiring.full_name(self.weight)
        if name not in network.mask:
            raise UserError(f"{name} is not a matrix: only matrices are masked.")
        entries = network.mask[name].clone()
        for edges, keep in ((self.cut, False), (self.restore, True)):
            for edge in edges:
                if len(edge) != entries.ndim or any(
                    index >= size for index, size in zip(edge, entries.shape, strict=True)
                ):
                    raise UserError(
                        f"{name} is {' × '.join(map(str, entries.shape))} and has no entry "
                        f"{list(edge)}."
                    )
                entries[edge] = keep
        return Mask({**network.mask, name: entries})


class Revive(Intervention):
    """Unmasks all weights into and out of neurons.

    This restores the raw weights behind the mask: zeros in an untrained ticket, the pruned weights
    under a magnitude mask or edge-popup.

    Attributes:
        neurons: their numbers, or "dead": those without a kept input weight.
        layer: their layer; default: the last.
    """

    neurons: Neurons = Field(default="dead", description='Neurons, or "dead".')
    layer: Layer = Field(default=-1, description="Layer of the neurons; the last.")

    def remask(self, network: Network) -> Mask:
        layer = layer_of(network, self.layer)
        chosen = which_neurons(network, self.neurons, self.layer)
        revived = dict(network.mask)
        for name in layer.reads:
            revived[name] = revived[name].masked_fill(chosen, True)
        for name in layer.writes:
            revived[name] = revived[name].masked_fill(chosen[:, None], True)
        return Mask(revived)
