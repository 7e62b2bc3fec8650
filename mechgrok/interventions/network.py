"""A network with interventions on it, one after another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.errors import UserError, near
from mechgrok.global_state import in_neutral_state, neutral_members
from mechgrok.interventions.base import Hooks, Intervention
from mechgrok.masks import Mask, apply_mask, mask_of, prunable_weights
from mechgrok.models import HookedModel
from mechgrok.runs import Run

#: Checkpoints that activations are patched from, kept open at once.
_MOST_DONORS = 8


class Donors:
    """Networks that activations are patched from, opened once for many steps."""

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
    """A run's network at a step, and what is done to it.

    Each intervention acts on the network as those before it left it: what is ablated to its mean
    is set to the mean of the network that was patched before.

    Attributes:
        run: the run.
        step: the checkpoint.
        model: the live model, ``run.model(step)``.
        mask: which entries of all matrices are kept, interventions included.
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
        self._seen: list[tuple[str, Tensor, Tensor]] = []

    def under(self, intervention: Intervention) -> Network:
        """This network with one more intervention."""
        after = copy(self)
        after.__dict__.pop("_changed", None)
        after._before, after._intervention, after._seen = self, intervention, []
        after.mask = intervention.remask(self)
        return after

    def hooks(self, inputs: Tensor) -> Hooks:
        """All that is done while the model reads ``inputs``: for ``model.run_with_hooks``."""
        return [*self._mask_hooks(), *self._activation_hooks(inputs)]

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Float[Tensor, "batch d_output"]:
        """What the network answers."""
        return self.model.run_with_hooks(inputs, fwd_hooks=self.hooks(inputs))

    @torch.no_grad()
    def activation(self, hook: str, inputs: Tensor) -> Float[Tensor, "batch ..."]:
        """What the network computes at a hook point; kept for the next who asks.

        Raises:
            UserError: the model has no such hook point.
        """
        self.check_hook(hook)
        for name, read, kept in self._seen:
            if name == hook and (
                read is inputs or (read.shape == inputs.shape and torch.equal(read, inputs))
            ):
                return kept
        value = self.run_with_cache(inputs, [hook])[1][hook]
        self._seen = [*self._seen[-7:], (hook, inputs, value)]
        return value

    @torch.no_grad()
    def run_with_cache(
        self, inputs: Tensor, names: Sequence[str]
    ) -> tuple[Float[Tensor, "batch d_output"], dict[str, Float[Tensor, "batch ..."]]]:
        """What the network answers and what it computes at some hook points, from one pass.

        Raises:
            UserError: the model has no such hook point.
        """
        seen: dict[str, Tensor] = {}

        def look(value: Tensor, hook: Any) -> None:
            seen[hook.name] = value

        for name in names:
            self.check_hook(name)
        looking: Hooks = [*self.hooks(inputs), *((name, look) for name in names)]
        outputs = self.model.run_with_hooks(inputs, fwd_hooks=looking)
        if missing := [name for name in names if name not in seen]:
            raise UserError(
                f"Nothing passes the hook point {missing[0]} on the way to the outputs."
            )
        return outputs, seen

    def check_hook(self, hook: str) -> None:
        """Refuse a hook point that the model does not have.

        Raises:
            UserError: it has none of that name.
        """
        if hook not in self.model.hook_dict:
            known = [name for name in self.model.hook_dict if not name.endswith("hook_mask")]
            raise UserError(
                f"The model has no hook point {hook!r}{near(hook, known)}: choose one of "
                f"{', '.join(known)}."
            )

    @cached_property
    def _changed(self) -> list[str]:
        """The weights whose mask interventions changed."""
        return [
            name for name, kept in self.mask.items() if not torch.equal(kept, self.own_mask[name])
        ]

    def _mask_hooks(self) -> Hooks:
        # A mask of ones changes nothing, and can be hooked.
        bare = [name for name in self._changed if f"{name}.hook_mask" not in self.model.hook_dict]
        if bare:
            apply_mask(self.model, Mask({name: self.own_mask[name] for name in bare}))
        return [(f"{name}.hook_mask", _in_place_of(self.mask[name])) for name in self._changed]

    def _activation_hooks(self, inputs: Tensor) -> Hooks:
        if self._before is None or self._intervention is None:
            return []
        earlier = self._before._activation_hooks(inputs)
        return [*earlier, *self._intervention.hooks(self._before, inputs)]


def _in_place_of(kept: Tensor) -> Any:
    return lambda mask, hook: kept.to(mask)


@in_neutral_state
def intervened(run: Run, step: int, interventions: Iterable[Intervention]) -> Network:
    """A run's network at a step with interventions on it, in their order.

    Raises:
        UserError: one of them cannot be done to this network.
    """
    network = Network(run, run.select([step])[0])
    for intervention in interventions:
        network = network.under(intervention)
    return network
