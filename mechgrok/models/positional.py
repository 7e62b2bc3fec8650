"""An MLP with one embedding per position, which distinguishes the operands."""

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.models.config import PositionalMLPConfig
from mechgrok.models.counts import TokenCounts
from mechgrok.models.hidden import Inputs, LayeredMLP
from mechgrok.models.wirings import wire_positional_mlp


class HookedPositionalMLP(LayeredMLP):
    """f(x) = act((Σ_i x_i W_E_i) W_in) W_out W_U, with x_i the one-hot vector of the token at i.

    The embeddings of the positions are summed. With ``join = "concat"`` they are concatenated, so
    that W_in has separate rows for each: act([x_0 W_E_0, x_1 W_E_1, …] W_in) W_out W_U.
    Non-commutative tasks need this model: a `HookedMLP` sums its tokens and cannot distinguish
    a − b from b − a. Further hidden layers have weights ``W_hidden_1 [d_mlp, d_mlp]`` and so on,
    between W_in and W_out.

    Weights: ``W_E_0``, ``W_E_1``, … ``[d_vocab, d_model]``, ``W_in [d_model, d_mlp]`` (concat:
    ``[n_ctx · d_model, d_mlp]``), ``W_out [d_mlp, d_model]``, ``W_U [d_model, d_output]``; without
    ``unembed`` no W_U, and ``W_out [d_mlp, d_output]``.

    Hooks: ``hook_embed [batch, pos, d_model]``, ``blocks.0.hook_resid_pre`` (the neurons'
    input), ``blocks.l.mlp.hook_pre`` and ``hook_post [batch, d_mlp]``, ``blocks.L.hook_mlp_out
    [batch, d_model]`` for the last layer L, ``hook_logits [batch, d_output]``, and
    ``<weight>.hook_mask``.

    Source: with "concat", the architecture of Gromov 2023 (arXiv 2301.02679); also without W_U,
    that of Chughtai et al. 2023 (arXiv 2302.03025).
    """

    Config = PositionalMLPConfig
    wire = staticmethod(wire_positional_mlp)
    config: PositionalMLPConfig

    def encode(self, inputs: Inputs) -> Inputs:
        """Encode tokens ``[batch, pos]`` as counts of input-table rows; vectors stay as they are.

        The table stacks the rows of all positions vertically.
        """
        if isinstance(inputs, TokenCounts) or inputs.is_floating_point():
            return inputs
        rows = inputs + self.d_vocab * torch.arange(self.n_ctx, device=inputs.device)
        return TokenCounts(rows, self.n_ctx * self.d_vocab)

    def linear_flow(self) -> Float[Tensor, ""]:
        shape = (1, self.n_ctx * self.d_vocab)
        return self(torch.ones(shape, dtype=self.dtype, device=self.device)).sum()

    def _embeddings(self) -> list[Float[Tensor, "d_vocab d_model"]]:
        return [getattr(self, f"W_E_{position}") for position in range(self.n_ctx)]

    def _input_table(self) -> Float[Tensor, "row d_mlp"]:
        if self.config.join == "sum":
            return torch.cat(self._embeddings()) @ self.W_in
        parts = self.W_in.split(self.config.d_model)
        return torch.cat([W_E @ part for W_E, part in zip(self._embeddings(), parts, strict=True)])

    def _embedding_table(self) -> Float[Tensor, "row d_model"]:
        embeddings = self._embeddings()
        return torch.cat(embeddings) if self.config.join == "sum" else torch.block_diag(*embeddings)

    def _full_pre(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        inputs = self.encode(inputs)
        if isinstance(inputs, TokenCounts):
            embed = torch.cat(self._embeddings())[inputs.tokens]
        else:
            one_hot = inputs.unflatten(1, (self.n_ctx, self.d_vocab))
            embed = torch.einsum("bpv,pvm->bpm", one_hot, torch.stack(self._embeddings()))
        embed = self.hook_embed(embed)
        joined = embed.sum(1) if self.config.join == "sum" else embed.flatten(1)
        first = self.blocks[0]
        return self._read(first, first.hook_resid_pre(joined)) @ self.W_in
