"""Interventions, and a network under a sequence of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state, neutral_members
from mechgrok.interventions.fields import Described, Hooks
from mechgrok.masks import Mask, apply_mask, mask_of, prunable_weights
from mechgrok.models import HookedModel
from mechgrok.runs import Run

#: The number of donor networks in memory.
_MOST_DONORS = 8


class Intervention(Described):
    """A change to a network, described by its fields; a new kind is a registered subclass.

    The explorer builds a form from the fields' types, bounds and descriptions. A subclass overrides
    `hooks`, `remask` or both, which apply the change.

    Raises:
        UserError: an option is unknown or its value is invalid.
    """

    def hooks(self, network: Network, inputs: Shaped[Tensor, "batch ..."]) -> Hooks:
        """The forward hooks that change activations when the network reads ``inputs``.

        Args:
            network: the network under all earlier interventions.
            inputs: the batch that the hooks apply to.

        Raises:
            UserError: the intervention does not apply to this network.
        """
        return []

    def remask(self, network: Network) -> Mask:
        """The mask of all matrices under this intervention.

        Raises:
            UserError: the intervention does not apply to this network.
        """
        return network.mask


def listed(interventions: Intervention | Iterable[Intervention]) -> list[Intervention]:
    """One intervention or several as a list."""
    return [interventions] if isinstance(interventions, Intervention) else list(interventions)


class Donors:
    """Cached networks that activations are patched from."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.networks: OrderedDict[tuple[str, int], Network] = OrderedDict()

    def run(self, path: str | Path) -> Run:
        """The run in a folder."""
        key = str(Path(path).resolve())
        if key not in self.runs:
            self.runs[key] = Run(path)
        return self.runs[key]

    def network(self, run: Run, step: int) -> Network:
        """A run's network at a step, without interventions."""
        step = run.select([step])[0]
        key = (str(run.path.resolve()), step)
        if key not in self.networks:
            self.networks[key] = Network(run, step, self)
            if len(self.networks) > _MOST_DONORS:
                self.networks.popitem(last=False)
        return self.networks[key]


@neutral_members
class Network:
    """A run's network at a step, under interventions.

    Each intervention acts on the network under all earlier ones: a mean ablation after a patch uses
    the mean of the patched network.

    Attributes:
        run: the run.
        step: the checkpoint.
        model: the live model, ``run.model(step)``.
        mask: the mask of all matrices, interventions included.
    """

    def __init__(self, run: Run, step: int, donors: Donors | None = None) -> None:
        self.run, self.step = run, step
        self.donors = donors or Donors()
        self.model: HookedModel = run.model(step)
        full = Mask.full({name: w.detach() for name, w in prunable_weights(self.model).items()})
        self.own_mask = Mask({**full, **(mask_of(self.model) or {})})
        self.mask = self.own_mask
        self._before: Network | None = None
        self._intervention: Intervention | None = None
        self._recent: list[tuple[str, Tensor, Tensor]] = []

    def under(self, intervention: Intervention) -> Network:
        """This network with one more intervention."""
        after = copy(self)
        after.__dict__.pop("_changed", None)
        after._before, after._intervention, after._recent = self, intervention, []
        after.mask = intervention.remask(self)
        return after

    def hooks(self, inputs: Shaped[Tensor, "batch ..."]) -> Hooks:
        """All hooks of the interventions on ``inputs``, for ``model.run_with_hooks``."""
        return [*self._mask_hooks(), *self._activation_hooks(inputs)]

    @torch.no_grad()
    def outputs(self, inputs: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch d_output"]:
        """The network's outputs."""
        return self.model.run_with_hooks(inputs, fwd_hooks=self.hooks(inputs))

    @torch.no_grad()
    def activation(
        self, hook: str, inputs: Shaped[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch ..."]:
        """The activation at a hook point; recent results are cached.

        Raises:
            UserError: the model has no such hook point.
        """
        self.check_hook(hook)
        for name, batch, value in self._recent:
            if name == hook and (
                batch is inputs or (batch.shape == inputs.shape and torch.equal(batch, inputs))
            ):
                return value
        value = self.run_with_cache(inputs, [hook])[1][hook]
        self._recent = [*self._recent[-7:], (hook, inputs, value)]
        return value

    @torch.no_grad()
    def run_with_cache(
        self, inputs: Shaped[Tensor, "batch ..."], names: Sequence[str], more: Iterable[Any] = ()
    ) -> tuple[Float[Tensor, "batch d_output"], dict[str, Float[Tensor, "batch ..."]]]:
        """The outputs and the activations at these hook points, from one forward pass.

        Args:
            inputs: the batch.
            names: the hook points.
            more: hooks that act after the interventions.

        Raises:
            UserError: the model has no such hook point, or does not compute its activation.
        """
        activations: dict[str, Tensor] = {}

        def record(value: Tensor, hook: Any) -> None:
            activations[hook.name] = value

        for name in names:
            self.check_hook(name)
        hooks: Hooks = [*self.hooks(inputs), *more, *((name, record) for name in names)]
        outputs = self.model.run_with_hooks(inputs, fwd_hooks=hooks)
        if missing := [name for name in names if name not in activations]:
            raise UserError(f"The outputs do not depend on the hook point {missing[0]}.")
        return outputs, activations

    def check_hook(self, hook: str) -> None:
        """Raise an error for a hook point that the model does not have.

        Raises:
            UserError: the model has no such hook point.
        """
        self.model.check_hook(hook)

    @cached_property
    def _changed(self) -> list[str]:
        """The weights with masks changed by interventions."""
        own = self.own_mask
        return [name for name, mask in self.mask.items() if not torch.equal(mask, own[name])]

    def _mask_hooks(self) -> Hooks:
        # A mask of ones changes nothing but provides a hook point.
        bare = [name for name in self._changed if f"{name}.hook_mask" not in self.model.hook_dict]
        if bare:
            apply_mask(self.model, Mask({name: self.own_mask[name] for name in bare}))
        return [(f"{name}.hook_mask", _replace_by(self.mask[name])) for name in self._changed]

    def _activation_hooks(self, inputs: Tensor) -> Hooks:
        if self._before is None or self._intervention is None:
            return []
        earlier = self._before._activation_hooks(inputs)
        return [*earlier, *self._intervention.hooks(self._before, inputs)]


def _replace_by(new: Tensor) -> Any:
    return lambda mask, hook: new.to(mask)


@in_neutral_state
def intervened(
    run: Run, step: int | str, interventions: Intervention | Iterable[Intervention]
) -> Network:
    """A run's network at a step under one intervention, or several in order.

    Raises:
        UserError: an intervention does not apply to this network.
    """
    network = Network(run, run.checkpoint_step(step))
    for intervention in listed(interventions):
        network = network.under(intervention)
    return network
