"""Interventions on neurons, heads or complete activations: ablation and patching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.interventions.fields import (
    Described,
    Hook,
    Hooks,
    Layer,
    Neurons,
    Number,
    Numbers,
    RunFolder,
    one_or_several,
)
from mechgrok.interventions.network import Intervention, Network

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from mechgrok.models.wiring import HiddenLayer


#: The axis of heads, counted from the last, in the activations of attention.
_HEAD_AXES = {
    **dict.fromkeys(("hook_q", "hook_k", "hook_v", "hook_z", "hook_result"), -2),
    **dict.fromkeys(("hook_attn_scores", "hook_pattern"), -3),
}
#: A position, counted from the first, or with a negative number from the last.
Position = Annotated[int, Field(ge=-(10**7), le=10**7, strict=True)]
Positions = Annotated[tuple[Position, ...], Field(max_length=10**5), one_or_several]
Step = Annotated[int, Field(strict=True, ge=-(10**7), le=10**12)]


class Place(NamedTuple):
    """The location of units in a network.

    Attributes:
        hook: the hook point.
        which: mask of the chosen entries along one axis of its activation; None for all.
        axis: that axis, counted from the last.
        positions: mask of the chosen positions; None for all.
    """

    hook: str
    which: Bool[Tensor, " unit"] | None
    axis: int
    positions: Bool[Tensor, " pos"] | None = None

    def replace(
        self, value: Float[Tensor, "..."], new: Float[Tensor, "..."] | float
    ) -> Float[Tensor, "..."]:
        """The activation ``value`` with the units' entries from ``new``."""
        new = torch.as_tensor(new).to(value)
        by_query = self.hook.endswith(("hook_attn_scores", "hook_pattern"))
        position_axis = -2 if by_query else 1 - value.ndim
        for chosen, axis in ((self.which, self.axis), (self.positions, position_axis)):
            if chosen is not None:
                new = torch.where(chosen.to(value.device).view(-1, *[1] * (-axis - 1)), new, value)
        return new.expand_as(value)


class Units(Described):
    """Neurons or heads of a layer, or the activation at a hook point."""

    what: ClassVar[str] = "choice of units"

    hook: Hook | None = Field(default=None, description="Hook point; default: the layer's.")
    neurons: Neurons | None = Field(
        default=None, description='Neurons, or "dead": those without a kept input weight.'
    )
    heads: Numbers | None = Field(default=None, description="Attention heads.")
    layer: Layer = Field(default=-1, description="Layer of the neurons or heads; the last.")
    positions: Positions | None = Field(
        default=None, description="Positions of the tokens, negative from the last; default: all."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        name = type(self).__name__
        if self.neurons is None and self.heads is None and self.hook is None:
            raise UserError(f"{name} needs units: give neurons, heads or a hook.")
        if self.heads is not None and self.neurons is not None:
            raise UserError(f"{name} takes heads or neurons, not both: omit one of them.")
        if self.neurons == "dead" and self.hook is not None:
            raise UserError(f"{name} takes dead neurons of a layer, not of a hook: omit the hook.")
        return self

    def place(self, network: Network) -> Place:
        """The location of the units in this network.

        Raises:
            UserError: the network has no such units.
        """
        place = self._heads(network) if self.heads is not None else self._neurons(network)
        if self.positions is None:
            return place
        shape = network.activation(place.hook, network.run.task.test.inputs).shape
        if len(shape) < 3:
            raise UserError(f"{place.hook} has no positions: omit them.")
        n = shape[1] if len(shape) < 4 or shape[-1] != shape[-2] else shape[-2]
        if wrong := [at for at in self.positions if not -n <= at < n]:
            raise UserError(f"There is no position {wrong[0]}: choose from 0 to {n - 1}.")
        return place._replace(positions=_which([at % n for at in self.positions], n, "positions"))

    def _heads(self, network: Network) -> Place:
        hook = self.hook or layer_of(network, self.layer).heads
        if hook is None:
            raise UserError(f"The model of {network.run.path} has no attention heads.")
        network.check_hook(hook)
        axis = _HEAD_AXES.get(hook.rpartition(".")[2]) if self.hook else -2
        if axis is None:
            raise UserError(f"{hook} has no heads: choose a hook such as blocks.0.attn.hook_q.")
        assert self.heads is not None
        n_heads = network.run.config.model.n_heads  # type: ignore[attr-defined]
        return Place(hook, _which(self.heads, n_heads, "heads"), axis)

    def _neurons(self, network: Network) -> Place:
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


class UnitIntervention(Units, Intervention):
    """An intervention on neurons or heads of a layer, or on the activation at a hook point.

    A subclass adds its options as fields and overrides `hooks`, which locates units with `place`.
    """

    what: ClassVar[str] = Intervention.what


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

    from_step: Step | None = Field(
        default=None, description="Checkpoint of the new values; default: the same step."
    )
    from_run: RunFolder | None = Field(
        default=None, description="Run of the new values; default: the same run."
    )

    @model_validator(mode="after")
    def _from_elsewhere(self) -> Self:
        _check_source(self)
        return self

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        return [_patch(self, self.place(network), network, inputs)]


class PatchPath(Intervention):
    """Sets the receiver to its value if it alone read the sender's value in another network.

    The sender has its value at another checkpoint or in another run, on the same examples. All
    heads and neurons computed between sender and receiver keep their activations, so the change
    takes only direct paths: the residual stream and normalizations. Then the network runs with the
    receiver's value.

    Source: path patching of Wang et al. 2022 (arXiv 2211.00593) and Goldowsky-Dill et al. 2023
    (arXiv 2304.05969).

    Attributes:
        sender: units that write into the residual stream, such as ``{"heads": [1], "layer": 0}``.
        receiver: units that are computed later, such as ``{"neurons": [3]}`` or ``{"hook":
            "hook_logits"}``.
        from_step: the checkpoint of the sender's value, negative from the last; default: the same.
        from_run: the folder of a run with the same inputs; default: the same run.
    """

    sender: Units = Field(
        description="Units with a new value, such as heads = [1], layer = 0.",
        json_schema_extra={"type": "object"},
    )
    receiver: Units = Field(
        description='Units that read it, such as hook = "hook_logits".',
        json_schema_extra={"type": "object"},
    )
    from_step: Step | None = Field(
        default=None, description="Checkpoint of the sender's value; default: the same step."
    )
    from_run: RunFolder | None = Field(
        default=None, description="Run of the sender's value; default: the same run."
    )

    def __init__(self, sender: Any = None, receiver: Any = None, /, **options: Any) -> None:
        units = {"sender": sender, "receiver": receiver}
        given = {name: value for name, value in units.items() if value is not None}
        super().__init__(**given, **options)

    @model_validator(mode="after")
    def _from_elsewhere(self) -> Self:
        _check_source(self)
        return self

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        sender, receiver = self.sender.place(network), self.receiver.place(network)
        patch = _patch(self, sender, network, inputs)
        hidden = network.run.wiring.hidden
        nodes = [hook for layer in hidden for hook in (layer.heads, layer.hook) if hook]
        names = list(dict.fromkeys([sender.hook, *nodes, receiver.hook]))
        unpatched = network.run_with_cache(inputs, names)[1]
        order = list(unpatched)  # as the forward pass computes them
        start, end = order.index(sender.hook), order.index(receiver.hook)
        if start >= end:
            raise UserError(
                f"{receiver.hook} is not computed after {sender.hook}: exchange sender and "
                "receiver, or choose a later receiver."
            )
        # A sender such as hook_q acts through the z of its own heads.
        own = {hook.rpartition(".")[0] for hook in (sender.hook, receiver.hook)} - {""}
        between = [name for name in order[start + 1 : end] if name.rpartition(".")[0] not in own]
        freeze: Hooks = [(name, _replace_by(unpatched[name])) for name in between]
        patched = network.run_with_cache(inputs, [receiver.hook], [patch, *freeze])[1]
        value = patched[receiver.hook]
        return [(receiver.hook, lambda old, hook: receiver.replace(old, value))]


def _replace_by(value: Tensor) -> Callable[..., Tensor]:
    return lambda old, hook: value


def _check_source(intervention: Patch | PatchPath) -> None:
    """Raise an error for an intervention without a source.

    Raises:
        UserError: it has neither a step nor a run.
    """
    if intervention.from_step is None and intervention.from_run is None:
        name = type(intervention).__name__
        raise UserError(f"{name} needs a source: give from_step, from_run or both.")


def _patch(
    source: Patch | PatchPath, place: Place, network: Network, inputs: Tensor
) -> tuple[str, Callable[..., Tensor]]:
    """The hook that sets units to their value in the source's network.

    Raises:
        UserError: the source's run has other inputs, or its activation another shape.
    """
    run = network.run if source.from_run is None else network.donors.run(source.from_run)
    if (run.task.d_vocab, run.task.n_ctx) != (network.run.task.d_vocab, network.run.task.n_ctx):
        raise UserError(
            f"{run.path} has other inputs than {network.run.path}, so nothing can be patched "
            "from it: choose another run."
        )
    step = network.step if source.from_step is None else source.from_step
    value = network.donors.network(run, step).activation(place.hook, inputs)

    def patch(old: Tensor, hook: Any) -> Tensor:
        if old.shape != value.shape:
            raise UserError(
                f"{hook.name} has shape {list(old.shape[1:])} here and {list(value.shape[1:])} "
                f"in {run.path}: patch a hook with the same shape in both."
            )
        return place.replace(old, value)

    return place.hook, patch


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


def _which(numbers: Sequence[int], n: int, units: str) -> Bool[Tensor, " unit"]:
    if wrong := [number for number in numbers if number >= n]:
        raise UserError(f"There is no {wrong[0]} among the {units}: choose from 0 to {n - 1}.")
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[list(numbers)] = True
    return chosen
