"""The paper's MLP: summed embeddings, hidden layers, unembedding; also a plain MLP."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechgrok.models.config import MLPConfig
from mechgrok.models.counts import TokenCounts
from mechgrok.models.hidden import Inputs, LayeredMLP
from mechgrok.models.hooked import add_gradients
from mechgrok.models.wirings import wire_mlp


class HookedMLP(LayeredMLP):
    """f(x) = act(x W_E W_in) W_out W_U, with x the sum of the tokens' one-hot vectors.

    Further hidden layers have weights ``W_hidden_1 [d_mlp, d_mlp]`` and so on, between W_in and
    W_out. A real-valued input is x itself.

    Weights: ``W_E [d_vocab, d_model]``, ``W_in [d_model, d_mlp]``, ``W_out [d_mlp, d_model]``,
    ``W_U [d_model, d_output]``; optional biases ``b_in``, ``b_hidden_1``, …, ``b_out``. Without
    d_model there is no W_E and no W_U; W_in reads the input and W_out writes the output.

    Hooks: ``hook_embed [batch, pos, d_model]``, ``blocks.0.hook_resid_pre [batch, d_model]`` (the
    sum over tokens), ``blocks.l.mlp.hook_pre`` and ``blocks.l.mlp.hook_post [batch, d_mlp]`` for
    each hidden layer l, ``blocks.L.hook_mlp_out [batch, d_model]`` for the last layer L,
    ``hook_logits [batch, d_output]`` (the outputs, logits or not), and ``<weight>.hook_mask``.

    Source: Minegishi et al. 2023 (arXiv 2310.19470), section 3.
    """

    Config = MLPConfig
    wire = staticmethod(wire_mlp)
    reads_vectors: ClassVar[bool] = True
    config: MLPConfig
    W_E: nn.Parameter

    def initial_weight(
        self, name: str, shape: tuple[int, ...], generator: torch.Generator
    ) -> Float[Tensor, "..."]:
        """An initial weight; "linear" draws matrices and biases from κ · U(−1/√d_in, 1/√d_in)."""
        if self.config.init == "normal":
            return super().initial_weight(name, shape, generator)
        scale = self.config.init_scale / math.sqrt(self.d_in(f"W{name[1:]}"))  # b_in: as W_in
        return (2 * torch.rand(shape, generator=generator) - 1) * scale

    def encode(self, inputs: Inputs) -> Inputs:
        """Encode tokens ``[batch, pos]`` as counts; vectors stay as they are."""
        if isinstance(inputs, TokenCounts) or inputs.is_floating_point():
            return inputs
        return TokenCounts(inputs, self.d_vocab)

    def _input_table(self) -> Float[Tensor, "d_vocab d_mlp"]:
        return self.W_E @ self.W_in if self.config.d_model is not None else self.W_in

    def _embedding_table(self) -> Float[Tensor, "d_vocab d_model"]:
        if self.config.d_model is not None:
            return self.W_E
        return torch.eye(self.d_vocab, dtype=self.dtype, device=self.device)

    def vjp(self, inputs: Inputs) -> tuple[Tensor, Callable[[Tensor], None]]:
        """Outputs and their pull-back, coded by hand for one ReLU layer without active hooks.

        With X the counts, T = W_E W_in, U = W_out W_U, H = relu(X T), outputs H U and their
        gradient G: ∂L/∂U = Hᵀ G and ∂L/∂T = Xᵀ (G Uᵀ ⊙ [H > 0]), from which ∂L/∂W_E = ∂L/∂T W_inᵀ,
        ∂L/∂W_in = W_Eᵀ ∂L/∂T, and so on. Autograd gives bitwise the same result but takes a third
        of a step longer; it still handles masks and edge-popup's scores.
        """
        config = self.config
        usual = config.act == "relu" and config.n_layers == 1 and not (config.bias or config.norm)
        if not usual or not isinstance(inputs, TokenCounts) or self.has_active_hooks:
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
            # Multiplying by (post > 0) takes five times as long.
            at_pre = torch.ops.aten.threshold_backward(at_outputs @ out.T, post, 0)
            at_into = inputs.sums_of_examples(at_pre)
            reads, writes = _halves(used)
            add_gradients(used, [*_unfolded(at_into, reads), *_unfolded(at_out, writes)])

        return outputs, pull_back

    def _full_pre(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        embeds = self.config.d_model is not None
        if isinstance(inputs, TokenCounts):
            inputs = inputs.tokens
        if inputs.is_floating_point():
            resid_pre = self.hook_embed(inputs @ self.W_E if embeds else inputs)
        else:
            resid_pre = self.hook_embed(self._embedding_table()[inputs]).sum(1)
        first = self.blocks[0]
        return self._read(first, first.hook_resid_pre(resid_pre)) @ self.W_in


def _halves(weights: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The weights before and after the neurons."""
    middle = len(weights) // 2
    return weights[:middle], weights[middle:]


def _folded(chain: Sequence[Tensor]) -> Tensor:
    """A matrix, or the product of two."""
    return chain[0] if len(chain) == 1 else chain[0] @ chain[1]


def _unfolded(at_product: Tensor, chain: Sequence[Tensor]) -> list[Tensor]:
    """The gradients at the matrices, from the gradient at their product (`_folded`)."""
    if len(chain) == 1:
        return [at_product]
    first, second = chain
    return [at_product @ second.T, first.T @ at_product]
