"""Dropout of neurons: drawn anew in every step, from the seed and the step alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.configuration.training import TrainingConfig
from mechgrok.models import HookedModel

#: What the activations of each hidden layer are multiplied by: 0, or 1 / (1 − rate).
Factors = list[Float[Tensor, "*batch neuron"]]
#: Where something is done to activations, and what.
Hook = tuple[str | Callable[..., Any], Callable[..., Any]]


class Dropout:
    """Each neuron of each hidden layer is off with probability r, for each example by itself.

    Those that are on are multiplied by 1 / (1 − r), so that nothing changes in the mean and a
    network that is evaluated has all of its neurons. As what is drawn depends on the seed and the
    step alone, a run can be resumed anywhere; both gradients of a step (SAM's) have the same off.

    Source: Srivastava et al. 2014 (JMLR 15, 1929), with the rescaling in training.

    Args:
        model: the network.
        training: rate and seed.
        inputs: some that the network reads, to see how many activations an example has.
    """

    def __init__(
        self, model: HookedModel, training: TrainingConfig, inputs: Shaped[Tensor, "n ..."]
    ) -> None:
        self.rate, self.seed = training.dropout, training.dropout_seed
        self.hooks = [layer.hook for layer in model.wiring.hidden]
        self._shapes: list[tuple[int, ...]] = []
        if self.rate:
            with torch.no_grad():
                seen: list[Hook] = [(hook, self._see) for hook in self.hooks]
                model.run_with_hooks(inputs[:1], fwd_hooks=seen)

    def _see(self, activations: Tensor, hook: Any) -> None:
        self._shapes.append(tuple(activations.shape[1:]))

    def factors(self, step: int, n: int, device: torch.device) -> Factors:
        """What activations are multiplied by at ``step``, for a batch of ``n`` examples."""
        draw = np.random.default_rng([self.seed, step])
        return [
            torch.from_numpy((draw.random((n, *shape), np.float32) >= self.rate) / (1 - self.rate))
            .float()
            .to(device)
            for shape in self._shapes
        ]

    @contextmanager
    def applied(self, model: HookedModel, factors: Sequence[Tensor]) -> Iterator[None]:
        """The network with its activations multiplied by these factors while it lasts."""
        hooks: list[Hook] = [
            (name, lambda activations, hook, by=by: activations * by)
            for name, by in zip(self.hooks, factors, strict=False)
        ]
        with model.hooks(fwd_hooks=hooks):
            yield
