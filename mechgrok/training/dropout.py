"""Dropout of neurons, which depends only on the seed and the step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.configuration.training import TrainingConfig
from mechgrok.models import HookedModel

#: Factors on the activations of each hidden layer: 0 or 1 / (1 − rate).
Factors = list[Float[Tensor, "*batch neuron"]]
#: A hook point and its hook function.
Hook = tuple[str | Callable[..., Any], Callable[..., Any]]


class Dropout:
    """Switches each hidden neuron off with probability r, independently per example.

    The other activations are multiplied by 1 / (1 − r), so the mean stays the same and an evaluated
    network needs no dropout. The draw depends only on the seed and the step, so a run can be
    resumed anywhere; both gradients of a SAM step share one draw.

    Source: Srivastava et al. 2014 (JMLR 15, 1929), with the rescaling in training.

    Args:
        model: the network.
        training: gives the rate and the seed.
        inputs: example inputs, which show the shape of the activations.
    """

    def __init__(
        self, model: HookedModel, training: TrainingConfig, inputs: Shaped[Tensor, "n ..."]
    ) -> None:
        self.rate, self.seed = training.dropout, training.dropout_seed
        self.hooks = [layer.hook for layer in model.wiring.hidden]
        self._shapes: list[tuple[int, ...]] = []
        if self.rate:
            with torch.no_grad():
                hooks: list[Hook] = [(hook, self._record_shape) for hook in self.hooks]
                model.run_with_hooks(inputs[:1], fwd_hooks=hooks)

    def _record_shape(self, activations: Tensor, hook: Any) -> None:
        self._shapes.append(tuple(activations.shape[1:]))

    def factors(self, step: int, n: int, device: torch.device) -> Factors:
        """The factors on activations at ``step``, for a batch of ``n`` examples."""
        draw = np.random.default_rng([self.seed, step])
        return [
            torch.from_numpy((draw.random((n, *shape), np.float32) >= self.rate) / (1 - self.rate))
            .float()
            .to(device)
            for shape in self._shapes
        ]

    @contextmanager
    def applied(self, model: HookedModel, factors: Sequence[Tensor]) -> Iterator[None]:
        """Multiply the network's activations by these factors within the context."""
        hooks: list[Hook] = [
            (name, lambda activations, hook, scale=scale: activations * scale)
            for name, scale in zip(self.hooks, factors, strict=False)
        ]
        with model.hooks(fwd_hooks=hooks):
            yield
