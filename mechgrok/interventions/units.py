"""Neurons, heads or whole activations: ablated, or patched in from another network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.interventions.base import Hooks, Intervention, Layer, Neurons, Number, Numbers, Word

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from mechgrok.interventions.network import Network
    from mechgrok.models.wiring import HiddenLayer


class _Place(NamedTuple):
    """A hook point, and which entries along one axis of its activation are meant; None for all."""

    hook: str
    which: Bool[Tensor, " unit"] | None
    axis: int


class _Units(Intervention):
    """Units of the network: neurons or heads of a layer, or the activation at a hook point."""

    hook: Word | None = Field(default=None, description="Hook point; the layer's unless given.")
    neurons: Neurons | None = Field(
        default=None, description='Neurons, or "dead": those that no kept weight reaches.'
    )
    heads: Numbers | None = Field(default=None, description="Attention heads.")
    layer: Layer = Field(default=-1, description="Layer of the neurons or heads; the last.")

    @model_validator(mode="after")
    def _one_kind(self) -> _Units:
        name = type(self).__name__
        if self.neurons is None and self.heads is None and self.hook is None:
            raise UserError(f"{name} needs to know what: give neurons, heads or a hook.")
        if self.heads is not None and (self.neurons is not None or self.hook is not None):
            raise UserError(f"{name} takes heads alone, without neurons or a hook.")
        if self.neurons == "dead" and self.hook is not None:
            raise UserError(f"{name} finds the dead neurons of a layer, not of a hook.")
        return self

    def _place(self, network: Network) -> _Place:
        """Where the units are in this network."""
        if self.heads is not None:
            hook = layer_of(network, self.layer).heads
            if hook is None:
                raise UserError(f"The model of {network.run.path} has no attention heads.")
            n_heads = network.run.config.model.n_heads  # type: ignore[attr-defined]
            return _Place(hook, _which(self.heads, n_heads, "heads"), -2)
        if self.hook is None:
            layer = layer_of(network, self.layer)
            assert self.neurons is not None
            return _Place(layer.hook, which_neurons(network, self.neurons, self.layer), -1)
        network.check_hook(self.hook)
        if self.neurons is None:
            return _Place(self.hook, None, -1)
        assert self.neurons != "dead"
        width = network.activation(self.hook, network.run.task.test.inputs).shape[-1]
        return _Place(self.hook, _which(self.neurons, width, f"units at {self.hook}"), -1)


class Ablate(_Units):
    """Units set to zero, to their mean, or to their value on other examples.

    Attributes:
        to: "zero"; "mean": over all examples of the task; "resample": their value on other examples
            of the task, drawn from ``seed``.
        seed: of the draw.
    """

    to: Literal["zero", "mean", "resample"] = Field(
        default="zero", description="What takes their place: zero, mean, resample."
    )
    seed: Number = Field(default=0, description="Seed of the examples that resample draws.")

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        hook, which, axis = self._place(network)
        if self.to == "zero":

            def silence(value: Tensor, hook: Any) -> Tensor:
                return value.masked_fill(_along(which, axis, value), 0.0)

            return [(hook, silence)]
        every = network.activation(hook, network.run.task.examples.inputs)
        if self.to == "mean":
            return [(hook, _placing(every.mean(0, keepdim=True), which, axis))]
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randint(len(every), (len(inputs),), generator=generator)
        return [(hook, _placing(every[drawn], which, axis))]


class Patch(_Units):
    """Units given the value that they have in another network, on the same examples.

    Attributes:
        from_step: a checkpoint; negative ones count from the last. The same step unless given.
        from_run: the folder of a run that reads the same inputs. The same run unless given.
    """

    from_step: Annotated[int, Field(strict=True, ge=-(10**7), le=10**12)] | None = Field(
        default=None, description="Checkpoint that the values are from; the same step."
    )
    from_run: Word | None = Field(
        default=None, description="Run that the values are from; the same run."
    )

    @model_validator(mode="after")
    def _from_elsewhere(self) -> Patch:
        if self.from_step is None and self.from_run is None:
            raise UserError("Patch needs to know from where: give from_step, from_run or both.")
        return self

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        hook, which, axis = self._place(network)
        run = network.run if self.from_run is None else network.donors.run(self.from_run)
        if (run.task.d_vocab, run.task.n_ctx) != (network.run.task.d_vocab, network.run.task.n_ctx):
            raise UserError(
                f"{run.path} reads other inputs than {network.run.path}: nothing can be patched "
                "from it."
            )
        step = network.step if self.from_step is None else self.from_step
        value = network.donors.network(run, step).activation(hook, inputs)

        def patch(here: Tensor, hook: Any) -> Tensor:
            if here.shape != value.shape:
                raise UserError(
                    f"{hook.name} is {list(here.shape[1:])} wide here and {list(value.shape[1:])} "
                    f"in {run.path}: patch a hook of one shape."
                )
            return value if which is None else value.where(_along(which, axis, here), here)

        return [(hook, patch)]


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
    """Whether each neuron of a layer is one of ``neurons``.

    Raises:
        UserError: the layer has no such neuron.
    """
    incoming = layer_of(network, layer).incoming(network.mask)
    if neurons == "dead":
        return incoming == 0
    assert not isinstance(neurons, str)
    return _which(neurons, len(incoming), "neurons")


def _which(numbers: Numbers, n: int, what: str) -> Bool[Tensor, " unit"]:
    if wrong := [number for number in numbers if number >= n]:
        raise UserError(f"There is no {wrong[0]} among the {what}: choose from 0 to {n - 1}.")
    which = torch.zeros(n, dtype=torch.bool)
    which[list(numbers)] = True
    return which


def _along(which: Bool[Tensor, " unit"] | None, axis: int, value: Tensor) -> Bool[Tensor, "..."]:
    """``which`` laid along one of the axes of ``value``, counted from the last."""
    if which is None:
        return torch.ones((), dtype=torch.bool, device=value.device)
    return which.to(value.device).view(-1, *[1] * (-axis - 1))


def _placing(new: Float[Tensor, "..."], which: Bool[Tensor, " unit"] | None, axis: int) -> Any:
    return lambda value, hook: torch.where(_along(which, axis, value), new.to(value), value)
