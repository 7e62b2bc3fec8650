"""The optimizers against torch.optim's, number for number."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mechgrok.optimization import fused
from mechgrok.optimization.fused import TorchOptimizer

PAIRS: dict[str, tuple[Callable[[list], TorchOptimizer], Callable[[list], TorchOptimizer]]] = {
    "adamw": (
        lambda groups: fused.Adam(groups, lr=1e-2, betas=(0.9, 0.98)),
        lambda groups: torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.98), fused=True),
    ),
    "adam": (
        lambda groups: fused.Adam(groups, lr=1e-2, betas=(0.9, 0.98), decoupled=False),
        lambda groups: torch.optim.Adam(groups, lr=1e-2, betas=(0.9, 0.98), fused=True),
    ),
    "sgd": (
        lambda groups: fused.SGD(groups, lr=1e-2),
        lambda groups: torch.optim.SGD(groups, lr=1e-2, fused=True),
    ),
    "sgd with momentum": (
        lambda groups: fused.SGD(groups, lr=1e-2, momentum=0.9),
        lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, fused=True),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_five_steps_are_those_of_torch_to_the_bit(name: str) -> None:
    ends = []
    for make in PAIRS[name]:
        generator = torch.Generator().manual_seed(0)
        weights = [nn.Parameter(torch.randn(3, 4, generator=generator)) for _ in range(3)]
        optimizer = make(
            [
                {"params": weights[:1], "weight_decay": 0.5},
                {"params": weights[1:], "weight_decay": 0.0},
            ]
        )
        for _ in range(5):
            optimizer.zero_grad()
            # The last weight has no part in the loss and must stay as it is.
            (weights[0] * weights[1]).square().sum().backward()
            optimizer.step()
        ends.append(weights)
        kept = {key for weight in weights for key in optimizer.state.get(weight, {})}
        ends[-1].append(kept)
    ours, theirs = ends
    assert all(torch.equal(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True))
    assert ours[3] == theirs[3], "resume.safetensors keeps the names that torch gives"
