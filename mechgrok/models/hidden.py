"""The common part of the MLPs: consecutive hidden layers between input and output tables."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.counts import TokenCounts
from mechgrok.models.hooked import ACTIVATIONS, Mode
from mechgrok.models.wired import WiredModel

#: Tokens ``[batch, pos]``, their counts, or real vectors ``[batch, d_vocab]``.
Inputs = Shaped[Tensor, "batch ..."] | TokenCounts


class Neurons(nn.Module):
    """The nonlinearity, with a hook point before and after it."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, pre: Float[Tensor, "batch d_mlp"]) -> Float[Tensor, "batch d_mlp"]:
        return self.hook_post(self.act(self.hook_pre(pre)))


class HiddenBlock(nn.Module):
    """The hook points of one hidden layer, named as in a transformer block."""

    def __init__(self, act: Callable[[Tensor], Tensor], *, first: bool, last: bool) -> None:
        super().__init__()
        if first:
            self.hook_resid_pre = HookPoint()
        self.mlp = Neurons(act)
        if last:
            self.hook_mlp_out = HookPoint()


class LayeredMLP(WiredModel):
    """Hidden layers between an input table and an output table, W_E W_in and W_out W_U."""

    W_in: nn.Parameter
    W_out: nn.Parameter
    W_U: nn.Parameter
    b_in: nn.Parameter
    b_out: nn.Parameter
    blocks: Sequence[HiddenBlock]

    def add_modules(self) -> None:
        self.hook_embed, self.hook_logits = HookPoint(), HookPoint()
        layers = range(self.config.n_layers)
        act = ACTIVATIONS[self.config.act]
        blocks = (HiddenBlock(act, first=at == 0, last=at == layers[-1]) for at in layers)
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.folded_hooks = frozenset(
            f"blocks.{layer}.mlp.{hook}" for layer in layers for hook in ("hook_pre", "hook_post")
        ) | {"hook_logits"}

    def forward(
        self, inputs: Inputs, mode: Mode = "auto", *, way: str | None = None
    ) -> Float[Tensor, "batch d_output"]:
        """Outputs for tokens ``[batch, pos]``, encoded tokens (`encode`), or vectors.

        Args:
            inputs: the inputs.
            mode: "folded", "full", or "auto": folded if hooks allow it.
            way: the former name of ``mode``.
        """
        folded = self._is_folded(way or mode)
        pre = self.encode(inputs) @ self._input_table() if folded else self._full_pre(inputs)
        if self._has_biases:
            pre = pre + self.b_in
        # Iterate, because indexing or slicing a ModuleList takes longer than the ReLU.
        first, *further = self.blocks
        post = first.mlp(pre)
        for layer, block in enumerate(further, 1):
            pre = post @ getattr(self, f"W_hidden_{layer}")
            if self._has_biases:
                pre = pre + getattr(self, f"b_hidden_{layer}")
            post = block.mlp(pre)
        return self.hook_logits(self._folded_outputs(post) if folded else self._full_outputs(post))

    @property
    def _unembeds(self) -> bool:
        return "W_U" in self.wiring.weights

    @property
    def _has_biases(self) -> bool:
        return "b_in" in self.wiring.weights

    @abstractmethod
    def _input_table(self) -> Float[Tensor, "row d_mlp"]:
        """The weights from each entry of an encoded input to the first layer's neurons."""

    @abstractmethod
    def _full_pre(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        """The first layer's pre-activations without bias, computed through all hook points."""

    def _folded_outputs(
        self, post: Float[Tensor, "batch d_mlp"]
    ) -> Float[Tensor, "batch d_output"]:
        outputs = post @ (self.W_out @ self.W_U if self._unembeds else self.W_out)
        if not self._has_biases:
            return outputs
        return outputs + (self.b_out @ self.W_U if self._unembeds else self.b_out)

    def _full_outputs(self, post: Float[Tensor, "batch d_mlp"]) -> Float[Tensor, "batch d_output"]:
        mlp_out = post @ self.W_out
        if self._has_biases:
            mlp_out = mlp_out + self.b_out
        mlp_out = self.blocks[-1].hook_mlp_out(mlp_out)
        return mlp_out @ self.W_U if self._unembeds else mlp_out
