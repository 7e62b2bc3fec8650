"""The common part of the MLPs: consecutive hidden layers between input and output tables."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.errors import UserError
from mechgrok.models.config import MLPConfig, PositionalMLPConfig
from mechgrok.models.counts import TokenCounts
from mechgrok.models.hooked import ACTIVATIONS, Mode, ReturnType
from mechgrok.models.normalization import Normalize
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
    """The hook points and the normalization of a hidden layer, named as in a transformer block."""

    def __init__(self, config: MLPConfig | PositionalMLPConfig, layer: int) -> None:
        super().__init__()
        if layer == 0:
            self.hook_resid_pre = HookPoint()
        self.mlp = Neurons(ACTIVATIONS[config.act])
        if layer == config.n_layers - 1:
            self.hook_mlp_out = HookPoint()
        if config.has_norm("before") or config.has_norm("after"):
            self.ln2 = Normalize(config)


class LayeredMLP(WiredModel):
    """Hidden layers between an input table and an output table, W_E W_in and W_out W_U."""

    W_in: nn.Parameter
    W_out: nn.Parameter
    W_U: nn.Parameter
    b_in: nn.Parameter
    b_out: nn.Parameter
    blocks: Sequence[HiddenBlock]
    config: MLPConfig | PositionalMLPConfig

    def add_modules(self) -> None:
        self.hook_embed, self.hook_logits = HookPoint(), HookPoint()
        layers, config = range(self.config.n_layers), self.config
        blocks = [HiddenBlock(config, layer) for layer in layers]
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]
        self._norm_before, self._norm_after = config.has_norm("before"), config.has_norm("after")
        if config.has_norm("end"):
            self.ln_final = Normalize(config)
        self.folded_hooks = frozenset(
            f"blocks.{layer}.mlp.{hook}" for layer in layers for hook in ("hook_pre", "hook_post")
        ) | {"hook_logits"}

    def forward(
        self,
        inputs: Inputs,
        mode: Mode = "auto",
        *,
        return_type: ReturnType = "logits",
        labels: Shaped[Tensor, "batch ..."] | None = None,
        return_positions: bool = False,
        stop_at_layer: int | None = None,
        way: str | None = None,
    ) -> Any:
        """Outputs ``[batch, d_output]`` for tokens ``[batch, pos]``, encoded or not, or vectors.

        Args:
            inputs: the inputs; a list, an array, or the tokens ``[pos]`` of one example work too.
            mode: "folded", "full", or "auto": folded if hooks allow it.
            return_type: "logits" (the outputs), "loss", "both", or None for neither.
            labels: the labels of the loss.
            return_positions, stop_at_layer: arguments of a transformer.
            way: the former name of ``mode``.

        Raises:
            UserError: an argument needs a transformer, the loss lacks labels, or there is no such
                ``return_type``.
        """
        if return_positions or stop_at_layer is not None:
            raise UserError(
                "An MLP has one output per example and no residual stream: omit return_positions "
                'and stop_at_layer; read a layer as cache["post", 0] of run_with_cache.'
            )
        if not isinstance(inputs, TokenCounts):
            inputs = self.to_tokens(inputs)
        folded = self._is_folded(way or mode)
        pre = self._folded_pre(self.encode(inputs)) if folded else self._full_pre(inputs)
        if self._has_biases:
            pre = pre + self.b_in
        # Iterate, because indexing or slicing a ModuleList takes longer than the ReLU.
        first, *further = self.blocks
        post = self._activations(first, pre)
        for layer, block in enumerate(further, 1):
            pre = self._read(block, post) @ getattr(self, f"W_hidden_{layer}")
            if self._has_biases:
                pre = pre + getattr(self, f"b_hidden_{layer}")
            post = self._activations(block, pre)
        outputs = self._folded_outputs(post) if folded else self._full_outputs(post)
        outputs = self.hook_logits(outputs)
        if return_type == "logits":
            return outputs
        return self._returned(outputs, return_type, labels)

    def _read(
        self, block: HiddenBlock, units: Float[Tensor, "batch unit"]
    ) -> Float[Tensor, "batch unit"]:
        """The units that the layer's neurons read, normalized if ``norm_at`` is before."""
        return block.ln2(units) if self._norm_before else units

    def _activations(
        self, block: HiddenBlock, pre: Float[Tensor, "batch d_mlp"]
    ) -> Float[Tensor, "batch d_mlp"]:
        """The layer's activations, normalized if ``norm_at`` is after."""
        return block.ln2(block.mlp(pre)) if self._norm_after else block.mlp(pre)

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
    def _embedding_table(self) -> Float[Tensor, "row d_model"]:
        """The weights from each entry of an encoded input to what W_in reads."""

    def _folded_pre(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        """The first layer's pre-activations without bias, from tables."""
        if not self._norm_before:
            return inputs @ self._input_table()
        if isinstance(inputs, TokenCounts):
            return self.blocks[0].ln2.between(inputs, self._embedding_table(), self.W_in)
        return self._full_pre(inputs)

    @abstractmethod
    def _full_pre(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        """The first layer's pre-activations without bias, computed through all hook points."""

    def _folded_outputs(
        self, post: Float[Tensor, "batch d_mlp"]
    ) -> Float[Tensor, "batch d_output"]:
        if self.config.has_norm("end"):
            return self._folded_outputs_with_norm(post)
        outputs = post @ (self.W_out @ self.W_U if self._unembeds else self.W_out)
        if not self._has_biases:
            return outputs
        return outputs + (self.b_out @ self.W_U if self._unembeds else self.b_out)

    def _folded_outputs_with_norm(
        self, post: Float[Tensor, "batch d_mlp"]
    ) -> Float[Tensor, "batch d_output"]:
        W_out: Tensor = self.W_out
        if self._has_biases:
            W_out = torch.cat([W_out, self.b_out[None]])
            post = torch.cat([post, torch.ones_like(post[:, :1])], 1)
        if len(W_out) < W_out.shape[1]:
            return self.ln_final.between(post, W_out, self.W_U)
        return self.ln_final(post @ W_out) @ self.W_U

    def _full_outputs(self, post: Float[Tensor, "batch d_mlp"]) -> Float[Tensor, "batch d_output"]:
        mlp_out = post @ self.W_out
        if self._has_biases:
            mlp_out = mlp_out + self.b_out
        mlp_out = self.blocks[-1].hook_mlp_out(mlp_out)
        if self.config.has_norm("end"):
            mlp_out = self.ln_final(mlp_out)
        return mlp_out @ self.W_U if self._unembeds else mlp_out
