"""An MLP that knows which operand is which: one embedding per position."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.config import PositionalMLPConfig
from mechgrok.models.counts import TokenCounts
from mechgrok.models.hidden import (
    HiddenBlock,
    hidden_blocks,
    hidden_hooks,
)
from mechgrok.models.hooked import HookedModel, Way, normal_weight
from mechgrok.models.mlp import Inputs
from mechgrok.models.wirings import wire_positional_mlp


class HookedPositionalMLP(HookedModel):
    """f(x) = act((Σ_i x_i W_E_i) W_in) W_out W_U, with x_i the one-hot vector of the token at i.

    The embeddings of the positions are summed; with ``join = "concat"`` they are put side by side,
    so that W_in has rows of its own for each: act([x_0 W_E_0, x_1 W_E_1, …] W_in) W_out W_U.
    Non-commutative tasks need it: a `HookedMLP` sums its tokens and cannot tell a − b from b − a.
    Further hidden layers stand between W_in and W_out as ``W_hidden_1 [d_mlp, d_mlp]`` and so on.

    Weights: ``W_E_0``, ``W_E_1``, … ``[d_vocab, d_model]``, ``W_in [d_model, d_mlp]`` (concat:
    ``[n_ctx · d_model, d_mlp]``), ``W_out [d_mlp, d_model]``, ``W_U [d_model, d_output]``; without
    ``unembed`` no W_U, and ``W_out [d_mlp, d_output]``.

    Hooks: ``hook_embed [batch, pos, d_model]``, ``blocks.0.hook_resid_pre`` (what the neurons
    read), ``blocks.l.mlp.hook_pre`` and ``hook_post [batch, d_mlp]``, ``blocks.L.hook_mlp_out
    [batch, d_model]`` for the last layer L, ``hook_logits [batch, d_output]``, and
    ``<weight>.hook_mask``.

    Source: the architecture of Gromov 2023 (arXiv 2301.02679) where W_in is joined by "concat"; of
    Chughtai et al. 2023 (arXiv 2302.03025) where there is no W_U either.
    """

    Config = PositionalMLPConfig
    wire = staticmethod(wire_positional_mlp)
    config: PositionalMLPConfig
    W_in: nn.Parameter
    W_out: nn.Parameter
    W_U: nn.Parameter

    def __init__(
        self,
        config: PositionalMLPConfig,
        *,
        d_vocab: int,
        n_ctx: int,
        d_output: int,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.d_vocab, self.n_ctx, self.d_output = d_vocab, n_ctx, d_output
        generator = torch.Generator().manual_seed(seed)
        # W_in reads d_model numbers that are a sum, or n_ctx times as many.
        for name, (d_in, d_out) in self.wiring.weights.items():
            drawn = normal_weight(
                d_in, d_out, d_in=d_in, init_scale=config.init_scale, generator=generator
            )
            setattr(self, name, drawn)
        self.hook_embed, self.hook_logits = HookPoint(), HookPoint()
        self.blocks: Sequence[HiddenBlock] = hidden_blocks(  # type: ignore[assignment]
            config.act, config.n_layers
        )
        self.short_hooks = hidden_hooks(config.n_layers) | {"hook_logits"}
        self.setup()

    def encode(self, inputs: Inputs) -> Inputs:
        """Tokens ``[batch, pos]`` as counts of the rows of `_table`; vectors as they are."""
        if isinstance(inputs, TokenCounts) or inputs.is_floating_point():
            return inputs
        return TokenCounts(self._rows(inputs), self.n_ctx * self.d_vocab)

    def linear_flow(self) -> Float[Tensor, ""]:
        shape = (1, self.n_ctx * self.d_vocab)
        return self(torch.ones(shape, dtype=self.dtype, device=self.device)).sum()

    def forward(self, inputs: Inputs, way: Way = "auto") -> Float[Tensor, "batch d_output"]:
        """Outputs for tokens ``[batch, pos]``, or for what `encode` made of them."""
        short = self._takes_short_way(way)
        first, *further = self.blocks
        post = first.mlp(self._short_pre(inputs) if short else self._plain_pre(inputs))
        for layer, block in enumerate(further, 1):
            post = block.mlp(post @ getattr(self, f"W_hidden_{layer}"))
        if short:
            return self.hook_logits(post @ self._output_table())
        mlp_out = self.blocks[-1].hook_mlp_out(post @ self.W_out)
        return self.hook_logits(mlp_out @ self.W_U if self.config.unembed else mlp_out)

    def _embeddings(self) -> list[Float[Tensor, "d_vocab d_model"]]:
        return [getattr(self, f"W_E_{position}") for position in range(self.n_ctx)]

    def _output_table(self) -> Float[Tensor, "d_mlp d_output"]:
        return self.W_out @ self.W_U if self.config.unembed else self.W_out

    def _rows(self, tokens: Integer[Tensor, "batch pos"]) -> Integer[Tensor, "batch pos"]:
        """The tokens' rows in a table that holds those of all positions, one below another."""
        return tokens + self.d_vocab * torch.arange(self.n_ctx, device=tokens.device)

    def _table(self) -> Float[Tensor, "rows d_mlp"]:
        """What each token at each position adds to the neurons."""
        if self.config.join == "sum":
            return torch.cat(self._embeddings()) @ self.W_in
        parts = self.W_in.split(self.config.d_model)
        return torch.cat([W_E @ part for W_E, part in zip(self._embeddings(), parts, strict=True)])

    def _short_pre(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        return self.encode(inputs) @ self._table()

    def _plain_pre(self, inputs: Inputs) -> Float[Tensor, "batch d_mlp"]:
        inputs = self.encode(inputs)
        if isinstance(inputs, TokenCounts):
            embed = torch.cat(self._embeddings())[inputs.tokens]
        else:
            one_hot = inputs.unflatten(1, (self.n_ctx, self.d_vocab))
            embed = torch.einsum("bpv,pvm->bpm", one_hot, torch.stack(self._embeddings()))
        embed = self.hook_embed(embed)
        joined = embed.sum(1) if self.config.join == "sum" else embed.flatten(1)
        return self.blocks[0].hook_resid_pre(joined) @ self.W_in
