"""The paper's network: embeddings summed, hidden layers, unembedding; and any plain MLP."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.config import MLPConfig
from mechgrok.models.counts import TokenCounts
from mechgrok.models.hidden import (
    HiddenBlock,
    hidden_blocks,
    hidden_hooks,
)
from mechgrok.models.hooked import HookedModel, Way, add_gradients, normal_weight, uniform_weight
from mechgrok.models.wirings import wire_mlp

#: Tokens ``[batch, pos]``, their counts, or real vectors ``[batch, d_vocab]``.
Inputs = Tensor | TokenCounts


class HookedMLP(HookedModel):
    """f(x) = act(x W_E W_in) W_out W_U, with x the sum of the tokens' one-hot vectors.

    Further hidden layers stand between W_in and W_out as ``W_hidden_1 [d_mlp, d_mlp]`` and so on.
    With a real-valued input x the same formula holds, x being the vector itself.

    Weights: ``W_E [d_vocab, d_model]``, ``W_in [d_model, d_mlp]``, ``W_out [d_mlp, d_model]``,
    ``W_U [d_model, d_output]``; biases ``b_in``, ``b_hidden_1``, …, ``b_out`` where configured.
    Without d_model there is no W_E and no W_U, and W_in and W_out take their place.

    Hooks: ``hook_embed [batch, pos, d_model]``, ``blocks.0.hook_resid_pre [batch, d_model]`` (the
    sum over tokens), ``blocks.l.mlp.hook_pre`` and ``blocks.l.mlp.hook_post [batch, d_mlp]`` for
    each hidden layer l, ``blocks.L.hook_mlp_out [batch, d_model]`` for the last layer L,
    ``hook_logits [batch, d_output]``, the outputs whatever they mean, and ``<weight>.hook_mask``.

    Source: Minegishi et al. 2023 (arXiv 2310.19470), section 3.
    """

    Config = MLPConfig
    wire = staticmethod(wire_mlp)
    reads_vectors: ClassVar[bool] = True
    config: MLPConfig

    def __init__(
        self, config: MLPConfig, *, d_vocab: int, d_output: int, n_ctx: int = 1, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.d_vocab, self.n_ctx, self.d_output = d_vocab, n_ctx, d_output
        generator = torch.Generator().manual_seed(seed)

        draw = uniform_weight if config.init == "linear" else normal_weight

        def weight(d_in: int, d_out: int) -> nn.Parameter:
            return draw(d_in, d_out, d_in=d_in, init_scale=config.init_scale, generator=generator)

        def bias(d_in: int, d_out: int) -> nn.Parameter:
            if config.init == "normal":
                return nn.Parameter(torch.zeros(d_out))
            return draw(d_out, d_in=d_in, init_scale=config.init_scale, generator=generator)

        d_mlp = config.d_mlp
        if config.d_model is not None:
            self.W_E = weight(d_vocab, config.d_model)
        self.W_in = weight(config.d_model or d_vocab, d_mlp)
        for layer in range(1, config.n_layers):
            setattr(self, f"W_hidden_{layer}", weight(d_mlp, d_mlp))
        self.W_out = weight(d_mlp, config.d_model or d_output)
        if config.d_model is not None:
            self.W_U = weight(config.d_model, d_output)
        if config.bias:
            self.b_in = bias(config.d_model or d_vocab, d_mlp)
            for layer in range(1, config.n_layers):
                setattr(self, f"b_hidden_{layer}", bias(d_mlp, d_mlp))
            self.b_out = bias(d_mlp, config.d_model or d_output)

        self.hook_embed, self.hook_logits = HookPoint(), HookPoint()
        self.blocks: Sequence[HiddenBlock] = hidden_blocks(  # type: ignore[assignment]
            config.act, config.n_layers
        )
        self.short_hooks = hidden_hooks(config.n_layers) | {"hook_logits"}
        self.setup()

    def encode(self, inputs: Inputs) -> Inputs:
        """Tokens ``[batch, pos]`` as their counts, which multiply a table; vectors as they are."""
        if isinstance(inputs, TokenCounts) or inputs.is_floating_point():
            return inputs
        return TokenCounts(inputs, self.d_vocab)

    def _input_table(self) -> Float[Tensor, "d_vocab d_mlp"]:
        return self.W_E @ self.W_in if self.config.d_model is not None else self.W_in

    def _output_table(self) -> Float[Tensor, "d_mlp d_output"]:
        return self.W_out @ self.W_U if self.config.d_model is not None else self.W_out

    def forward(self, inputs: Inputs, way: Way = "auto") -> Float[Tensor, "batch d_output"]:
        """Outputs for tokens ``[batch, pos]``, their counts (`encode`), or real vectors."""
        short = self._takes_short_way(way)
        pre = self._first_pre_short(inputs) if short else self._first_pre_plain(inputs)
        if self.config.bias:
            pre = pre + self.b_in
        # By iteration: an index into a ModuleList, and more so a slice, takes longer than the ReLU.
        first, *further = self.blocks
        post = first.mlp(pre)
        for layer, block in enumerate(further, 1):
            pre = post @ getattr(self, f"W_hidden_{layer}")
            if self.config.bias:
                pre = pre + getattr(self, f"b_hidden_{layer}")
            post = block.mlp(pre)
        return self.hook_logits(self._outputs_short(post) if short else self._outputs_plain(post))

    def vjp(self, inputs: Inputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        """Outputs and their pull-back, by hand for one layer of ReLUs that nothing listens to.

        With X the counts, T = W_E W_in, U = W_out W_U, H = relu(X T), outputs H U and their
        gradient G: ∂L/∂U = Hᵀ G and ∂L/∂T = Xᵀ (G Uᵀ ⊙ [H > 0]), from which ∂L/∂W_E = ∂L/∂T W_inᵀ,
        ∂L/∂W_in = W_Eᵀ ∂L/∂T, and so on. Autograd computes the same to the bit, and spends a
        third of a step on its bookkeeping; it is left what lies between the weights and what is
        trained: masks and edge-popup's scores.
        """
        usual = self.config.act == "relu" and self.config.n_layers == 1 and not self.config.bias
        if not usual or not isinstance(inputs, TokenCounts) or self.is_listened_to:
            return super().vjp(inputs)
        used = [self.W_in, self.W_out]
        if self.config.d_model is not None:
            used = [self.W_E, self.W_in, self.W_out, self.W_U]
        with torch.no_grad():
            into, out = (_folded(chain) for chain in _halves(used))
            post = inputs.sums_of_rows(into).relu_()
            outputs = post @ out

        @torch.no_grad()
        def pull_back(at_outputs: Float[Tensor, "batch d_output"]) -> None:
            at_out = post.T @ at_outputs
            # A product with (post > 0) takes five times as long.
            at_pre = torch.ops.aten.threshold_backward(at_outputs @ out.T, post, 0)
            at_into = inputs.sums_of_examples(at_pre)
            reads, writes = _halves(used)
            add_gradients(used, [*_unfolded(at_into, reads), *_unfolded(at_out, writes)])

        return outputs, pull_back

    def _first_pre_short(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        return self.encode(inputs) @ self._input_table()

    def _first_pre_plain(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        W_E = self.W_E if self.config.d_model is not None else None
        if isinstance(inputs, TokenCounts):
            inputs = inputs.tokens
        if inputs.is_floating_point():
            resid_pre = self.hook_embed(inputs if W_E is None else inputs @ W_E)
        else:
            one_hot = (
                W_E
                if W_E is not None
                else torch.eye(self.d_vocab, dtype=self.dtype, device=inputs.device)
            )
            resid_pre = self.hook_embed(one_hot[inputs]).sum(1)
        return self.blocks[0].hook_resid_pre(resid_pre) @ self.W_in

    def _outputs_short(self, post: Tensor) -> Float[Tensor, "batch d_output"]:
        outputs = post @ self._output_table()
        if not self.config.bias:
            return outputs
        return outputs + (self.b_out if self.config.d_model is None else self.b_out @ self.W_U)

    def _outputs_plain(self, post: Tensor) -> Float[Tensor, "batch d_output"]:
        mlp_out = post @ self.W_out
        if self.config.bias:
            mlp_out = mlp_out + self.b_out
        mlp_out = self.blocks[-1].hook_mlp_out(mlp_out)
        return mlp_out @ self.W_U if self.config.d_model is not None else mlp_out


def _halves(weights: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The weights before the neurons, and those behind them."""
    middle = len(weights) // 2
    return weights[:middle], weights[middle:]


def _folded(chain: Sequence[Tensor]) -> Tensor:
    """A matrix, or the product of two."""
    return chain[0] if len(chain) == 1 else chain[0] @ chain[1]


def _unfolded(at_product: Tensor, chain: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of the matrices from that of what `_folded` made of them."""
    if len(chain) == 1:
        return [at_product]
    first, second = chain
    return [at_product @ second.T, first.T @ at_product]
