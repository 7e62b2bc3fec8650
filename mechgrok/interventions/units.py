"""Interventions on neurons, heads or complete activations: ablation and patching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.interventions.base import (
    Hook,
    Hooks,
    Intervention,
    Layer,
    Neurons,
    Number,
    Numbers,
    RunFolder,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from mechgrok.interventions.network import Network
    from mechgrok.models.wiring import HiddenLayer


class Place(NamedTuple):
    """The location of units in a network.

    Attributes:
        hook: the hook point.
        which: mask of the chosen entries along one axis of its activation; None for all.
        axis: that axis, counted from the last.
    """

    hook: str
    which: Bool[Tensor, " unit"] | None
    axis: int

    def replace(
        self, value: Float[Tensor, "..."], new: Float[Tensor, "..."] | float
    ) -> Float[Tensor, "..."]:
        """The activation ``value`` with the units' entries from ``new``."""
        if self.which is None:
            return torch.as_tensor(new).to(value).expand_as(value)
        chosen = self.which.to(value.device).view(-1, *[1] * (-self.axis - 1))
        return torch.where(chosen, torch.as_tensor(new).to(value), value)


class UnitIntervention(Intervention):
    """An intervention on neurons or heads of a layer, or on the activation at a hook point.

    A subclass adds its options as fields and overrides `hooks`, which locates units with `place`.
    """

    hook: Hook | None = Field(default=None, description="Hook point; default: the layer's.")
    neurons: Neurons | None = Field(
        default=None, description='Neurons, or "dead": those without a kept input weight.'
    )
    heads: Numbers | None = Field(default=None, description="Attention heads.")
    layer: Layer = Field(default=-1, description="Layer of the neurons or heads; the last.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        name = type(self).__name__
        if self.neurons is None and self.heads is None and self.hook is None:
            raise UserError(f"{name} needs units: give neurons, heads or a hook.")
        if self.heads is not None and (self.neurons is not None or self.hook is not None):
            raise UserError(f"{name} takes heads without neurons or a hook: omit one of them.")
        if self.neurons == "dead" and self.hook is not None:
            raise UserError(f"{name} takes dead neurons of a layer, not of a hook: omit the hook.")
        return self

    def place(self, network: Network) -> Place:
        """The location of the units in this network.

        Raises:
            UserError: the network has no such units.
        """
        if self.heads is not None:
            hook = layer_of(network, self.layer).heads
            if hook is None:
                raise UserError(f"The model of {network.run.path} has no attention heads.")
            n_heads = network.run.config.model.n_heads  # type: ignore[attr-defined]
            return Place(hook, _which(self.heads, n_heads, "heads"), -2)
        if self.hook is None:
            layer = layer_of(network, self.layer)
            assert self.neurons is not None
            return Place(layer.hook, which_neurons(network, self.neurons, self.layer), -1)
        network.check_hook(self.hook)
        if self.neurons is None:
            return Place(self.hook, None, -1)
        assert self.neurons != "dead"
        width = network.activation(self.hook, network.run.task.test.inputs).shape[-1]
        return Place(self.hook, _which(self.neurons, width, f"units at {self.hook}"), -1)


class Ablate(UnitIntervention):
    """Sets units to zero, to their mean, or to their value on other examples.

    Attributes:
        to: "zero"; "mean": over all examples of the task; "resample": the value on random examples
            of the task.
        seed: seed of the random examples.
    """

    to: Literal["zero", "mean", "resample"] = Field(
        default="zero", description="New value: zero, mean, resample."
    )
    seed: Number = Field(default=0, description="Seed of resample's examples.")

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        place, new = self.place(network), torch.zeros(())
        if self.to != "zero":
            new = network.activation(place.hook, network.run.task.examples.inputs)
        if self.to == "mean":
            new = new.mean(0, keepdim=True)
        elif self.to == "resample":
            generator = torch.Generator().manual_seed(self.seed)
            new = new[torch.randint(len(new), (len(inputs),), generator=generator)]
        return [(place.hook, lambda value, hook: place.replace(value, new))]


class Patch(UnitIntervention):
    """Sets units to their value in another network, on the same examples.

    Attributes:
        from_step: the checkpoint of the values, negative from the last; default: the same step.
        from_run: the folder of a run with the same inputs; default: the same run.
    """

    from_step: Annotated[int, Field(strict=True, ge=-(10**7), le=10**12)] | None = Field(
        default=None, description="Checkpoint of the new values; default: the same step."
    )
    from_run: RunFolder | None = Field(
        default=None, description="Run of the new values; default: the same run."
    )

    @model_validator(mode="after")
    def _from_elsewhere(self) -> Patch:
        if self.from_step is None and self.from_run is None:
            raise UserError("Patch needs a source: give from_step, from_run or both.")
        return self

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        place = self.place(network)
        run = network.run if self.from_run is None else network.donors.run(self.from_run)
        if (run.task.d_vocab, run.task.n_ctx) != (network.run.task.d_vocab, network.run.task.n_ctx):
            raise UserError(
                f"{run.path} has other inputs than {network.run.path}, so nothing can be patched "
                "from it: choose another run."
            )
        step = network.step if self.from_step is None else self.from_step
        value = network.donors.network(run, step).activation(place.hook, inputs)

        def patch(old: Tensor, hook: Any) -> Tensor:
            if old.shape != value.shape:
                raise UserError(
                    f"{hook.name} has shape {list(old.shape[1:])} here and {list(value.shape[1:])} "
                    f"in {run.path}: patch a hook with the same shape in both."
                )
            return place.replace(old, value)

        return [(place.hook, patch)]


def layer_of(network: Network, layer: int) -> HiddenLayer:
    """A hidden layer by its number.

    Raises:
        UserError: the network has no such layer.
    """
    hidden = network.run.wiring.hidden
    if not -len(hidden) <= layer < len(hidden):
        raise UserError(f"There is no layer {layer}: the network has {len(hidden)}, from 0 on.")
    return hidden[layer]


def which_neurons(network: Network, neurons: Neurons, layer: int) -> Bool[Tensor, " neuron"]:
    """A boolean mask of ``neurons`` in a layer.

    Raises:
        UserError: the layer has no such neuron.
    """
    incoming = layer_of(network, layer).incoming(network.mask)
    if neurons == "dead":
        return incoming == 0
    assert not isinstance(neurons, str)
    return _which(neurons, len(incoming), "neurons")


def _which(numbers: Numbers, n: int, units: str) -> Bool[Tensor, " unit"]:
    if wrong := [number for number in numbers if number >= n]:
        raise UserError(f"There is no {wrong[0]} among the {units}: choose from 0 to {n - 1}.")
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[list(numbers)] = True
    return chosen
