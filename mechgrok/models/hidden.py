"""Layers of neurons one behind another: what every MLP here consists of between its two ends."""

from collections.abc import Callable
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.config import Activation
from mechgrok.models.hooked import ACTIVATIONS
from mechgrok.models.wiring import HiddenLayer, Weights, numbered


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


def hidden_weights(n_layers: int) -> list[str]:
    """The weights around the layers of neurons: W_in, W_hidden_1, …, W_out.

    >>> hidden_weights(2)
    ['W_in', 'W_hidden_1', 'W_out']
    """
    return ["W_in", *(f"W_hidden_{layer}" for layer in range(1, n_layers)), "W_out"]


def hidden_groups(n_layers: int) -> list[str]:
    """The groups that the layers' neurons are, by name."""
    return [numbered("neurons", layer, n_layers) for layer in range(n_layers)]


def hidden_layers(
    n_layers: int, folded: Callable[[Weights], Float[Tensor, "*step input d_mlp"]]
) -> tuple[HiddenLayer, ...]:
    """The layers as a wiring tells of them.

    Args:
        n_layers: how many there are.
        folded: what the neurons of the first read of the inputs.
    """
    between = pairwise(hidden_weights(n_layers))
    return tuple(
        HiddenLayer(
            group,
            hook=f"blocks.{layer}.mlp.hook_post",
            reads=reads,
            writes=writes,
            folded=None if layer else folded,
        )
        for layer, (group, (reads, writes)) in enumerate(
            zip(hidden_groups(n_layers), between, strict=True)
        )
    )
