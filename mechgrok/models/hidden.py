"""Layers of neurons one behind another: what every MLP here consists of between its two ends."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.config import Activation
from mechgrok.models.hooked import ACTIVATIONS


class Neurons(nn.Module):
    """The non-linearity, with a hook point before and after it."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, pre: Float[Tensor, "batch d_mlp"]) -> Float[Tensor, "batch d_mlp"]:
        return self.hook_post(self.act(self.hook_pre(pre)))


class HiddenBlock(nn.Module):
    """The hook points of one hidden layer, under the names they have in a transformer's block."""

    def __init__(self, act: Callable[[Tensor], Tensor], *, first: bool, last: bool) -> None:
        super().__init__()
        if first:
            self.hook_resid_pre = HookPoint()
        self.mlp = Neurons(act)
        if last:
            self.hook_mlp_out = HookPoint()


def hidden_blocks(act: Activation, n_layers: int) -> nn.ModuleList:
    """The hook points of all hidden layers."""
    return nn.ModuleList(
        HiddenBlock(ACTIVATIONS[act], first=layer == 0, last=layer == n_layers - 1)
        for layer in range(n_layers)
    )


def hidden_hooks(n_layers: int) -> frozenset[str]:
    """The hooks of the neurons, by name; they are reached however the ends are computed."""
    return frozenset(
        f"blocks.{layer}.mlp.{hook}"
        for layer in range(n_layers)
        for hook in ("hook_pre", "hook_post")
    )
