"""A transformer with TransformerLens's hook names, with or without normalization."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from transformer_lens import FactoredMatrix, TransformerBridge
from transformer_lens.hook_points import HookPoint

from mechgrok.errors import warn
from mechgrok.models.config import TransformerConfig
from mechgrok.models.hooked import ACTIVATIONS, LensConfig, Mode, ReturnType
from mechgrok.models.normalization import Normalize
from mechgrok.models.wired import WiredModel
from mechgrok.models.wirings import wire_transformer


class Embed(nn.Module):
    """The token embedding W_E [d_vocab, d_model]."""

    W_E: nn.Parameter

    def forward(self, tokens: Integer[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return self.W_E[tokens]


class PosEmbed(nn.Module):
    """The learned positional embedding W_pos [n_ctx, d_model], or zeros."""

    W_pos: Tensor

    def forward(self, tokens: Integer[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return self.W_pos[: tokens.shape[1]].expand(len(tokens), -1, -1)


class Attention(nn.Module):
    """Causal self-attention without biases, with scores divided by √d_head."""

    W_Q: nn.Parameter
    W_K: nn.Parameter
    W_V: nn.Parameter
    W_O: nn.Parameter
    hook_q_input: HookPoint | None
    hook_k_input: HookPoint | None
    hook_v_input: HookPoint | None
    hook_result: HookPoint | None

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.scale = config.head_width**-0.5
        self.rate = config.attention_rate
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()
        self.hook_z = HookPoint()
        # The model's set_use_split_qkv_input and set_use_attn_result add these.
        self.hook_q_input = self.hook_k_input = self.hook_v_input = self.hook_result = None

    def forward(
        self,
        resid: Float[Tensor, "batch pos d_model"],
        normalize: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The output at every position, from the residual stream and its normalization."""
        read, equation = self._read(resid, normalize or (lambda x: x))
        q = self.hook_q(torch.einsum(equation, read[0], self.W_Q))
        k = self.hook_k(torch.einsum(equation, read[1], self.W_K))
        v = self.hook_v(torch.einsum(equation, read[2], self.W_V))
        scores = torch.einsum("bqhk,bphk->bhqp", q, k) * self.scale
        n_pos = resid.shape[1]
        future = torch.ones(n_pos, n_pos, dtype=torch.bool, device=resid.device).triu(1)
        scores = self.hook_attn_scores(scores.masked_fill(future, -torch.inf))
        pattern = self.hook_pattern(self.pattern(scores, -1))
        z = self.hook_z(torch.einsum("bhqp,bphk->bqhk", pattern, v))
        if self.hook_result is not None:
            return self.hook_result(torch.einsum("bqhk,hkm->bqhm", z, self.W_O)).sum(2)
        return torch.einsum("bqhk,hkm->bqm", z, self.W_O)

    def _read(
        self, resid: Float[Tensor, "batch pos d_model"], normalize: Callable[[Tensor], Tensor]
    ) -> tuple[Sequence[Tensor], str]:
        """What queries, keys and values read, and the equation that multiplies it by a weight."""
        hooks = self.hook_q_input, self.hook_k_input, self.hook_v_input
        if hooks[0] is None:
            return [normalize(resid)] * 3, "bpm,hmk->bphk"
        by_head = resid[:, :, None].expand(-1, -1, len(self.W_Q), -1)
        return [normalize(hook(by_head.clone())) for hook in hooks if hook], "bphm,hmk->bphk"

    def pattern(self, scores: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
        """The attention pattern: α softmax(scores) + 1 − α with the attention rate α."""
        softmax = scores.softmax(dim)
        if self.rate == 1:
            return softmax
        return self.rate * softmax + (1 - self.rate) * (scores > -torch.inf)

    def last(self, resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """The output at the last position, which attends to all positions."""
        q = torch.einsum("bm,hmk->bhk", resid[:, -1], self.W_Q)
        k = torch.einsum("bpm,hmk->bphk", resid, self.W_K)
        v = torch.einsum("bpm,hmk->bphk", resid, self.W_V)
        return self.attend(q, k, v)

    def attend(
        self,
        q: Float[Tensor, "batch n_heads d_head"],
        k: Float[Tensor, "batch pos n_heads d_head"],
        v: Float[Tensor, "batch pos n_heads d_head"],
    ) -> Float[Tensor, "batch d_model"]:
        """The output at the last position, from its query and all keys and values."""
        pattern = self.pattern(torch.einsum("bhk,bphk->bhp", q, k) * self.scale, -1)
        z = torch.einsum("bhp,bphk->bhk", pattern, v)
        return torch.einsum("bhk,hkm->bm", z, self.W_O)


class MLP(nn.Module):
    """act(x W_in + b_in) W_out + b_out; without biases, b_in and b_out are zeros."""

    W_in: nn.Parameter
    b_in: Tensor
    W_out: nn.Parameter
    b_out: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        if not config.bias:
            self.register_buffer("b_in", torch.zeros(config.d_mlp), persistent=False)
            self.register_buffer("b_out", torch.zeros(config.d_model), persistent=False)
        self.act = ACTIVATIONS[config.act]
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, resid: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        pre = self.hook_pre(resid @ self.W_in + self.b_in)
        return self.hook_post(self.act(pre)) @ self.W_out + self.b_out


class Block(nn.Module):
    """Attention, then the MLP, each added to the residual stream.

    ln1 and ln2 normalize what they read (``norm_at`` before), or the stream after each addition
    (after).
    """

    hook_mlp_in: HookPoint | None

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(config), MLP(config)
        self._norm_before, self._norm_after = config.has_norm("before"), config.has_norm("after")
        if self._norm_before or self._norm_after:
            self.ln1, self.ln2 = Normalize(config), Normalize(config)
        self.hook_resid_pre, self.hook_resid_mid = HookPoint(), HookPoint()
        self.hook_attn_out, self.hook_mlp_out = HookPoint(), HookPoint()
        self.hook_resid_post = HookPoint()
        self.hook_mlp_in = None  # The model's set_use_hook_mlp_in adds it.

    def forward(
        self, resid: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        resid_pre = self.hook_resid_pre(resid)
        attn_out = self.attn(resid_pre, self.ln1 if self._norm_before else None)
        resid_mid = self.hook_resid_mid(resid_pre + self.hook_attn_out(attn_out))
        resid_mid = self.ln1(resid_mid) if self._norm_after else resid_mid
        mlp_in = resid_mid if self.hook_mlp_in is None else self.hook_mlp_in(resid_mid.clone())
        before = self.ln2(mlp_in) if self._norm_before else mlp_in
        resid_post = self.hook_resid_post(resid_mid + self.hook_mlp_out(self.mlp(before)))
        return self.ln2(resid_post) if self._norm_after else resid_post

    def last(self, resid: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """The residual stream after this block, at the last position."""
        return self.after(resid[:, -1], self.attn.last(self.before_attention(resid)))

    def before_attention(
        self, resid: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_model"]:
        """What attention reads of the residual stream."""
        return self.ln1.fused(resid) if self._norm_before else resid

    def after(
        self, resid: Float[Tensor, "batch d_model"], attn_out: Float[Tensor, "batch d_model"]
    ) -> Float[Tensor, "batch d_model"]:
        """The residual stream after this block at one position, given attention's output."""
        resid_mid = resid + attn_out
        resid_mid = self.ln1.fused(resid_mid) if self._norm_after else resid_mid
        before = self.ln2.fused(resid_mid) if self._norm_before else resid_mid
        mlp = self.mlp
        resid_post = resid_mid + mlp.act(before @ mlp.W_in + mlp.b_in) @ mlp.W_out + mlp.b_out
        return self.ln2.fused(resid_post) if self._norm_after else resid_post


class Unembed(nn.Module):
    """The unembedding W_U [d_model, d_output]."""

    W_U: nn.Parameter

    def forward(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_output"]:
        return resid @ self.W_U


def _stacked(module: str, name: str) -> Any:
    """A property: a weight of all blocks, stacked."""

    def stack(self: "HookedTransformer") -> Float[Tensor, "layer ..."]:
        return torch.stack([getattr(getattr(block, module), name) for block in self.blocks])

    return property(stack, doc=f"blocks.l.{module}.{name} of all layers l, stacked.")


class HookedTransformer(WiredModel):
    """A decoder-only transformer that answers at the last position.

    Without ``positions`` there is no W_pos, without ``bias`` no b_in and b_out.

    Weights: ``embed.W_E [d_vocab, d_model]``, ``pos_embed.W_pos [n_ctx, d_model]``,
    ``blocks.l.attn.W_Q``, ``W_K``, ``W_V [n_heads, d_model, d_head]``,
    ``W_O [n_heads, d_head, d_model]``, ``blocks.l.mlp.W_in [d_model, d_mlp]``, ``b_in``,
    ``W_out [d_mlp, d_model]``, ``b_out`` and ``unembed.W_U [d_model, d_output]``; with learned
    normalizations ``blocks.l.ln1.w``, ``ln2.w`` and ``ln_final.w [d_model]``, for LayerNorm also
    ``b``.

    Hooks: ``hook_embed``, ``hook_pos_embed``, and in each block ``hook_resid_pre``,
    ``attn.hook_q``/``k``/``v``/``z [batch, pos, n_heads, d_head]``, ``attn.hook_attn_scores`` and
    ``attn.hook_pattern [batch, n_heads, pos, pos]``, ``hook_attn_out``, ``hook_resid_mid``,
    ``mlp.hook_pre`` and ``mlp.hook_post [batch, pos, d_mlp]``, ``hook_mlp_out``,
    ``hook_resid_post``; ``hook_logits [batch, d_output]``; and ``<weight>.hook_mask``. A
    normalization has ``hook_scale [batch, pos, 1]`` and ``hook_normalized [batch, pos, d_model]``.
    As in TransformerLens, `set_use_attn_result`, `set_use_hook_mlp_in` and
    `set_use_split_qkv_input` add more.

    Stacked over layers, TransformerLens's names are properties: ``W_Q [layer, n_heads, d_model,
    d_head]``, ``W_in [layer, d_model, d_mlp]``, ``QK``, ``OV``, …

    Source: Minegishi et al. 2023 (arXiv 2310.19470), appendix A.2; the architecture is that of
    Nanda et al. 2023 (arXiv 2301.05217).
    """

    Config = TransformerConfig
    wire = staticmethod(wire_transformer)
    config: TransformerConfig
    folded_hooks = frozenset({"hook_logits"})
    optional_hooks: ClassVar[Mapping[str, str]] = {
        "hook_result": "set_use_attn_result",
        "hook_mlp_in": "set_use_hook_mlp_in",
        **{f"hook_{name}_input": "set_use_split_qkv_input" for name in "qkv"},
    }
    #: Whether `forward` returns logits at every position by default.
    return_positions: bool = False

    W_Q: Float[Tensor, "layer n_heads d_model d_head"] = _stacked("attn", "W_Q")
    W_K: Float[Tensor, "layer n_heads d_model d_head"] = _stacked("attn", "W_K")
    W_V: Float[Tensor, "layer n_heads d_model d_head"] = _stacked("attn", "W_V")
    W_O: Float[Tensor, "layer n_heads d_head d_model"] = _stacked("attn", "W_O")
    W_in: Float[Tensor, "layer d_model d_mlp"] = _stacked("mlp", "W_in")
    b_in: Float[Tensor, "layer d_mlp"] = _stacked("mlp", "b_in")
    W_out: Float[Tensor, "layer d_mlp d_model"] = _stacked("mlp", "W_out")
    b_out: Float[Tensor, "layer d_model"] = _stacked("mlp", "b_out")

    def add_modules(self) -> None:
        self.embed, self.pos_embed = Embed(), PosEmbed()
        if not self.config.positions:
            zeros = torch.zeros(self.n_ctx, self.config.d_model)
            self.pos_embed.register_buffer("W_pos", zeros, persistent=False)
        self.blocks: Sequence[Block] = nn.ModuleList(  # type: ignore[assignment]
            [Block(self.config) for _ in range(self.config.n_layers)]
        )
        self._norm_at_end = self.config.has_norm("end")
        if self._norm_at_end:
            self.ln_final = Normalize(self.config)
        self.unembed = Unembed()
        self.hook_embed, self.hook_pos_embed = HookPoint(), HookPoint()
        self.hook_logits = HookPoint()

    def d_in(self, name: str) -> int:
        """The number of units that a matrix reads; d_model for W_pos, to keep it small."""
        return self.config.d_model if name == "pos_embed.W_pos" else super().d_in(name)

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """The token embedding."""
        return self.embed.W_E

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"]:
        """The positional embedding."""
        return self.pos_embed.W_pos

    @property
    def W_U(self) -> Float[Tensor, "d_model d_output"]:
        """The unembedding."""
        return self.unembed.W_U

    @property
    def QK(self) -> FactoredMatrix:
        """W_Q W_Kᵀ ``[layer, n_heads, d_model, d_model]``, as a product of two factors."""
        return FactoredMatrix(self.W_Q, self.W_K.mT)

    @property
    def OV(self) -> FactoredMatrix:
        """W_V W_O ``[layer, n_heads, d_model, d_model]``, as a product of two factors."""
        return FactoredMatrix(self.W_V, self.W_O)

    @property
    def cfg(self) -> LensConfig:
        """The shape under TransformerLens's names, for `ActivationCache` and its functions."""
        cfg, block = super().cfg, self.blocks[0]
        vars(cfg).update(
            d_head=self.config.head_width,
            n_key_value_heads=None,
            use_attn_scale=True,
            attn_scale=self.config.head_width**0.5,
            positional_embedding_type="standard",
            use_attn_result=block.attn.hook_result is not None,
            use_split_qkv_input=block.attn.hook_q_input is not None,
            use_hook_mlp_in=block.hook_mlp_in is not None,
            use_attn_in=False,
        )
        return cfg

    def set_use_attn_result(self, use: bool) -> None:
        """Add or remove ``attn.hook_result [batch, pos, n_heads, d_model]``: each head's output."""
        self._switch(use, "attn.hook_result")

    def set_use_hook_mlp_in(self, use: bool) -> None:
        """Add or remove ``hook_mlp_in [batch, pos, d_model]``: what the MLP reads, before ln2."""
        self._switch(use, "hook_mlp_in")

    def set_use_split_qkv_input(self, use: bool) -> None:
        """Add or remove ``attn.hook_q_input``, ``k_input`` and ``v_input``.

        They are ``[batch, pos, n_heads, d_model]``: what each head's queries, keys and values read,
        before ln1.
        """
        self._switch(use, *(f"attn.hook_{name}_input" for name in "qkv"))

    def _switch(self, use: bool, *hooks: str) -> None:
        for block in self.blocks:
            for path in hooks:
                owner, _, name = path.rpartition(".")
                module = block.get_submodule(owner)
                if use != (getattr(module, name) is not None):
                    setattr(module, name, HookPoint().train(self.training) if use else None)
        self.setup()

    def accumulated_bias(
        self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Float[Tensor, " d_model"]:
        """The sum of the biases b_out before a layer; attention has none."""
        biases = self.b_out[:layer] if include_mlp_biases else self.b_out[:0]
        return biases.sum(0)

    def all_head_labels(self) -> list[str]:
        """``L0H0``, ``L0H1``, … in the order of `ActivationCache.stack_head_results`."""
        heads = range(self.config.n_heads)
        return [f"L{layer}H{head}" for layer in range(len(self.blocks)) for head in heads]

    def tl(self) -> TransformerBridge:
        from mechgrok.models.native import to_transformer_lens

        return to_transformer_lens(self)

    def linear_flow(self) -> Float[Tensor, ""]:
        """The sum of the outputs for an input of ones, with linear attention.

        The pattern is the scores without softmax, so that every weight is on a path of products.
        """
        recorded: list[Tensor] = []

        def ones(embed: Tensor, hook: HookPoint) -> Tensor:
            return self.W_E.sum(0).expand_as(embed)

        def record(scores: Tensor, hook: HookPoint) -> None:
            recorded.append(scores.where(scores.isfinite(), 0))  # Future positions have −∞.

        def linear(pattern: Tensor, hook: HookPoint) -> Tensor:
            return recorded.pop()

        tokens = torch.zeros(1, self.n_ctx, dtype=torch.long, device=self.device)
        hooks: list[tuple[Any, Callable[..., Any]]] = [("hook_embed", ones)]
        for layer in range(len(self.blocks)):
            hooks.append((f"blocks.{layer}.attn.hook_attn_scores", record))
            hooks.append((f"blocks.{layer}.attn.hook_pattern", linear))
        return self.run_with_hooks(tokens, fwd_hooks=hooks).sum()

    def forward(
        self,
        inputs: Integer[Tensor, "batch pos"],
        mode: Mode = "auto",
        return_positions: bool | None = None,
        *,
        return_type: ReturnType = "logits",
        labels: Integer[Tensor, " batch"] | None = None,
        stop_at_layer: int | None = None,
        all_positions: bool | None = None,
        way: str | None = None,
    ) -> Any:
        """The logits at the last position ``[batch, d_output]``.

        Args:
            inputs: the tokens; a list, an array, or one example ``[pos]`` work too.
            mode: "folded", "full", or "auto": folded if hooks allow it.
            return_positions: return logits at every position, ``[batch, pos, d_output]``, as
                TransformerLens's models do; default: the model's ``return_positions``, False.
            return_type: "logits"; "loss" of the last position; "both"; None for neither.
            labels: the labels of the loss.
            stop_at_layer: return the residual stream ``[batch, pos, d_model]`` before this layer.
            all_positions: the former name of ``return_positions``.
            way: the former name of ``mode``.

        Raises:
            UserError: the loss lacks labels, or there is no such ``return_type``.
        """
        inputs = self.to_tokens(inputs)
        if all_positions is not None:
            warn("all_positions is now called return_positions.", DeprecationWarning)
            return_positions = all_positions
        if return_positions is None:
            return_positions = self.return_positions
        if stop_at_layer is not None:
            return self._through(inputs, stop_at_layer)
        if return_positions or not self._is_folded(way or mode):
            resid = self._through(inputs)
            resid = self.ln_final(resid) if self._norm_at_end else resid
            logits = self.hook_logits((resid if return_positions else resid[:, -1]) @ self.W_U)
        else:
            logits = self._folded(inputs)
        if return_type == "logits":
            return logits
        return self._returned(logits, return_type, labels)

    def _through(
        self, tokens: Integer[Tensor, "batch pos"], layer: int | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream before a layer; default: after the last."""
        resid = self._embed(tokens)
        for block in self.blocks[:layer]:
            resid = block(resid)
        return resid

    def _folded(self, inputs: Integer[Tensor, "batch pos"]) -> Float[Tensor, "batch d_output"]:
        """The logits at the last position by the folded pass."""
        if len(self.blocks) == 1 and self.config.norm:
            return self._at_end(self._normalized_from_tables(inputs))
        if len(self.blocks) == 1:
            return self.hook_logits(self._from_tables(inputs))
        return self._at_end(self.blocks[-1].last(self._through(inputs, -1)))

    def _at_end(self, resid: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch d_output"]:
        """The logits at the last position from the residual stream there."""
        resid = self.ln_final.fused(resid) if self._norm_at_end else resid
        return self.hook_logits(resid @ self.W_U)

    def _embed(self, tokens: Integer[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        embed = self.hook_embed(self.W_E[tokens])
        positions = self.W_pos[: tokens.shape[1]].expand_as(embed)
        return embed + self.hook_pos_embed(positions)

    def _from_tables(self, tokens: Integer[Tensor, "b pos"]) -> Float[Tensor, "b d_output"]:
        """The folded pass of one block: per-token quantities are computed once per token.

        With S the stacked embeddings of tokens and positions, an attention score is the sum of two
        entries of S_q W_Q W_Kᵀ Sᵀ, for the token and for its position. A head's input is the rows
        of S weighted by the pattern. Its contribution to the neurons and the logits is a chain of
        products, which einsum computes in the cheapest order.
        """
        attn, mlp = self.blocks[0].attn, self.blocks[0].mlp
        n_pos = tokens.shape[1]
        stacked = torch.cat([self.W_E, self.W_pos[:n_pos]])  # [d_vocab + pos, d_model]
        at_end = self.W_E + self.W_pos[n_pos - 1]  # the last position's input, per token
        last = tokens[:, -1]

        query = torch.einsum("vm,hmk->vhk", at_end, attn.W_Q) * attn.scale
        key = torch.einsum("sm,hmk->shk", stacked, attn.W_K)
        table = torch.einsum("vhk,shk->vsh", query, key)
        row = last[:, None] * len(stacked)
        positions = torch.arange(self.d_vocab, len(stacked), device=tokens.device)
        entries = torch.cat([row + tokens, row + positions], dim=1)
        by_token, by_position = nn.functional.embedding(entries, table.flatten(0, 1)).chunk(2, 1)
        pattern = attn.pattern(by_token + by_position, 1)  # [b, pos, n_heads]

        heads = pattern.shape[-1]
        read = torch.cat([pattern.new_zeros(len(tokens), self.d_vocab, heads), pattern], dim=1)
        read = read.scatter_add(1, tokens[:, :, None].expand_as(pattern), pattern)
        write = torch.cat([mlp.W_in, self.W_U], dim=1)  # [d_model, d_mlp + d_output]
        value = torch.einsum("sm,hmk->shk", stacked, attn.W_V)
        both = torch.einsum("bsh,shk,hkm,mc->bc", read, value, attn.W_O, write)
        both = both + nn.functional.embedding(last, at_end @ write)
        pre, direct = both.split([mlp.W_in.shape[1], self.d_output], dim=1)
        post = mlp.act(pre + mlp.b_in)
        return direct + post @ (mlp.W_out @ self.W_U) + mlp.b_out @ self.W_U

    def _normalized_from_tables(
        self, tokens: Integer[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch d_model"]:
        """The residual stream after one block with normalization, at the last position.

        What attention reads depends only on the token and its position, so it is normalized and
        multiplied by W_Q, W_K and W_V once per token and position. From the output of attention on,
        a scale depends on all tokens, so nothing is folded.
        """
        block, n_pos = self.blocks[0], tokens.shape[1]
        attn = block.attn
        resid = self.W_E + self.W_pos[:n_pos, None]  # [pos, d_vocab, d_model]
        read = block.before_attention(resid)
        positions = torch.arange(n_pos, device=tokens.device)
        rows, last = tokens + self.d_vocab * positions, tokens[:, -1]

        def project(
            units: Float[Tensor, "row d_model"], weight: Tensor, row: Integer[Tensor, "*batch"]
        ) -> Float[Tensor, "*batch n_heads d_head"]:
            table = torch.einsum("rm,hmk->rhk", units, weight)
            chosen = nn.functional.embedding(row, table.flatten(1))
            return chosen.unflatten(-1, table.shape[1:])

        q = project(read[-1], attn.W_Q, last)
        k, v = (project(read.flatten(0, 1), weight, rows) for weight in (attn.W_K, attn.W_V))
        return block.after(nn.functional.embedding(last, resid[-1]), attn.attend(q, k, v))
