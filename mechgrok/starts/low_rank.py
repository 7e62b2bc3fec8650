"""An embedding of low rank, from a smaller trained run (GrokTransfer)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mechgrok.errors import UserError
from mechgrok.starts.base import Drawn, FromRun

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class LowRank(FromRun):
    """E = A B with A the embedding of a smaller run and B drawn; the other weights are drawn.

    B_ij ~ N(0, 1/d) with d the width of A. The network trains E, where GrokTransfer trains both
    factors.

    Source: Xu et al. 2025 (arXiv 2504.13292), GrokTransfer.
    """

    name: str = "low-rank"

    def initial_weights(self, drawn: Drawn) -> Mapping[str, Float[Tensor, "..."]]:
        import torch

        wiring = drawn.wiring
        names = [n for n in wiring.connections if wiring.axes(n) == ("token", "d_model")]
        if not names:
            raise UserError(
                "The network has no embedding of tokens, which low-rank starts need: give it a "
                "--d-model, or choose another start."
            )
        small = {name: self.source_weight(name, drawn) for name in names}
        for name, weight in small.items():
            if weight.ndim != 2 or len(weight) != len(drawn.raw[name]):
                raise UserError(
                    f"{self.described(name)} has shape {tuple(weight.shape)}, but the network has "
                    f"{len(drawn.raw[name])} tokens: choose a run on the same task."
                )
        width, d_model = small[names[0]].shape[1], drawn.raw[names[0]].shape[1]
        B = torch.randn(width, d_model, generator=drawn.generator) / width**0.5
        return {name: self.rescaled(A @ B, drawn.raw[name]) for name, A in small.items()}
