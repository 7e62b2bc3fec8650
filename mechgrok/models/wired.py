"""The base class for new architectures: a model with the weights of its wiring."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.hooked import HookedModel


class WiredModel(HookedModel):
    """A model with the weights and hook points of its wiring.

    A subclass defines `wire`, usually with `Wiring.between`, and `forward`. The model has a
    parameter for every weight: matrices are drawn from N(0, κ²/d_in) with d_in their input units,
    vectors are zero. It has a hook point for every layer of neurons, and ``hook_logits``. To add
    hook points, call this ``__init__``, add them, then call ``self.setup()``.
    """

    def __init__(
        self, config: Any, *, d_vocab: int, d_output: int, n_ctx: int = 1, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.d_vocab, self.n_ctx, self.d_output = d_vocab, n_ctx, d_output
        self.add_modules()
        generator = torch.Generator().manual_seed(seed)
        constants = self.wiring.normalization_weights
        for name, shape in self.wiring.weights.items():
            path, _, attribute = name.rpartition(".")
            if name in constants:
                weight = torch.full(shape, constants[name])
            else:
                weight = self.initial_weight(name, shape, generator)
            setattr(self.get_submodule(path), attribute, nn.Parameter(weight))
        self.setup()

    def add_modules(self) -> None:
        """Add the hook points, and the modules of weights with a dot in their names."""
        for hook in [*(layer.hook for layer in self.wiring.hidden), "hook_logits"]:
            setattr(self, hook, HookPoint())

    def initial_weight(
        self, name: str, shape: tuple[int, ...], generator: torch.Generator
    ) -> Float[Tensor, "..."]:
        """An initial weight: a matrix from N(0, κ²/d_in) with κ the ``init_scale``, or zeros."""
        if len(shape) == 1:
            return torch.zeros(shape)
        scale = self.config.init_scale / math.sqrt(self.d_in(name))
        return torch.randn(shape, generator=generator) * scale

    def d_in(self, name: str) -> int:
        """The number of units that a matrix reads."""
        return self.wiring.groups[self.wiring.connections[name].source].size
