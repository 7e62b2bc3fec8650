"""A model that is made of its wiring: what a new architecture begins with."""

from typing import Any

import torch
from torch import nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.hooked import HookedModel, normal_weight


class WiredModel(HookedModel):
    """A model whose weights and hook points are those that its wiring names.

    A subclass gives `wire`, mostly by `Wiring.between`, and `forward`. It has a parameter for every
    weight, matrices drawn from N(0, κ²/d_in) with d_in the rows, vectors zero; and a hook point for
    every layer of neurons and ``hook_logits`` for the outputs. More are made in its own
    ``__init__``, after this one and followed by ``self.setup()``.
    """

    def __init__(
        self, config: Any, *, d_vocab: int, n_ctx: int, d_output: int, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.d_vocab, self.n_ctx, self.d_output = d_vocab, n_ctx, d_output
        generator = torch.Generator().manual_seed(seed)
        for name, shape in self.wiring.weights.items():
            setattr(self, name, self._drawn(shape, generator))
        for hook in [*(layer.hook for layer in self.wiring.hidden), "hook_logits"]:
            setattr(self, hook, HookPoint())
        self.setup()

    def _drawn(self, shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
        if len(shape) == 1:
            return nn.Parameter(torch.zeros(shape))
        scale = self.config.init_scale
        return normal_weight(*shape, d_in=shape[-2], init_scale=scale, generator=generator)
