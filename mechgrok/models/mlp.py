"""The paper's network: embeddings summed, hidden layers, unembedding; and any plain MLP."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Shaped
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.hooked import ACTIVATIONS, HookedModel, Way, normal_weight, uniform_weight

#: Inputs become a float matrix of token counts unless that would hold more numbers than this.
_LARGEST_COUNTS = 2**25


class MLPConfig(BaseModel):
    """The shape of a `HookedMLP`, apart from what the task settles.

    Attributes:
        d_model: width of the embedding and of what the hidden layers write to; None for none, so
            that W_in reads the input and W_out writes the output directly.
        d_mlp: neurons per hidden layer.
        n_layers: hidden layers.
        act: the neurons' non-linearity.
        bias: whether hidden and output layers have biases.
        init: how weights start: "normal" draws them from N(0, κ²/d_in) and biases are 0; "linear"
            draws weights and biases from κ · U(−1/√d_in, 1/√d_in), PyTorch's nn.Linear times κ.
        init_scale: κ.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mlp"] = "mlp"
    d_model: Annotated[int, Field(ge=1)] | None = 500
    d_mlp: Annotated[int, Field(ge=1)] = 48
    n_layers: Annotated[int, Field(ge=1)] = 1
    act: Literal["relu", "gelu"] = "relu"
    bias: bool = False
    init: Literal["normal", "linear"] = "normal"
    init_scale: Annotated[float, Field(gt=0)] = 1.0


class Neurons(nn.Module):
    """The non-linearity, with a hook point before and after it."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, pre: Float[Tensor, "batch d_mlp"]) -> Float[Tensor, "batch d_mlp"]:
        return self.hook_post(self.act(self.hook_pre(pre)))


class HiddenLayer(nn.Module):
    """The hook points of one hidden layer, under the names they have in a transformer's block."""

    def __init__(self, act: Callable[[Tensor], Tensor], *, first: bool, last: bool) -> None:
        super().__init__()
        if first:
            self.hook_resid_pre = HookPoint()
        self.mlp = Neurons(act)
        if last:
            self.hook_mlp_out = HookPoint()


class HookedMLP(HookedModel):
    """f(x) = act(x W_E W_in) W_out W_U, with x the sum of the tokens' one-hot vectors.

    Further hidden layers stand between W_in and W_out as ``W_hidden_1 [d_mlp, d_mlp]`` and so on.
    With a real-valued input x the same formula holds, x being the vector itself.

    Weights: ``W_E [d_vocab, d_model]``, ``W_in [d_model, d_mlp]``, ``W_out [d_mlp, d_model]``,
    ``W_U [d_model, d_output]``; biases ``b_in``, ``b_hidden_1``, …, ``b_out`` where configured.
    Without d_model there is no W_E and no W_U, and W_in and W_out take their place.

    Hooks: ``hook_embed [batch, pos, d_model]``, ``blocks.0.hook_resid_pre [batch, d_model]`` (the
    sum over tokens), ``blocks.l.mlp.hook_pre`` and ``blocks.l.mlp.hook_post [batch, d_mlp]`` for
    each hidden layer l, ``blocks.L.hook_mlp_out [batch, d_model]`` for the last layer L, and
    ``<weight>.hook_mask``.

    Source: Minegishi et al. 2023 (arXiv 2310.19470), section 3.
    """

    def __init__(self, config: MLPConfig, *, d_vocab: int, d_output: int, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.d_vocab, self.d_output = d_vocab, d_output
        act = ACTIVATIONS[config.act]
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

        self.hook_embed = HookPoint()
        last = config.n_layers - 1
        self.blocks: Sequence[HiddenLayer] = nn.ModuleList(  # type: ignore[assignment]
            [HiddenLayer(act, first=layer == 0, last=layer == last) for layer in range(last + 1)]
        )
        self.short_hooks = frozenset(
            f"blocks.{layer}.mlp.{hook}"
            for layer in range(config.n_layers)
            for hook in ("hook_pre", "hook_post")
        )
        self.setup()

    def encode(self, inputs: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """Tokens ``[batch, pos]`` as their counts ``[batch, d_vocab]``; vectors as they are.

        With counts X the embedding is the product X (W_E W_in), whose gradient is a product too:
        both are cheaper than gathering rows and scattering their gradients back.
        """
        if inputs.is_floating_point() or len(inputs) * self.d_vocab > _LARGEST_COUNTS:
            return inputs
        counts = torch.zeros(len(inputs), self.d_vocab, device=inputs.device)
        return counts.scatter_add_(1, inputs, torch.ones_like(inputs, dtype=counts.dtype))

    def input_side(self) -> Float[Tensor, "d_vocab d_mlp"]:
        """W_E W_in: the weight from every input to every neuron of the first hidden layer."""
        return self.W_E @ self.W_in if self.config.d_model is not None else self.W_in

    def output_side(self) -> Float[Tensor, "d_mlp d_output"]:
        """W_out W_U: the weight from every neuron of the last hidden layer to every output."""
        return self.W_out @ self.W_U if self.config.d_model is not None else self.W_out

    def forward(
        self, inputs: Shaped[Tensor, "batch ..."], way: Way = "auto"
    ) -> Float[Tensor, "batch d_output"]:
        """Outputs for tokens ``[batch, pos]``, their `encode`d counts, or real vectors."""
        short = self._takes_short_way(way)
        pre = self._first_pre_short(inputs) if short else self._first_pre_plain(inputs)
        if self.config.bias:
            pre = pre + self.b_in
        post = self.blocks[0].mlp(pre)
        for layer, block in enumerate(self.blocks[1:], 1):
            pre = post @ getattr(self, f"W_hidden_{layer}")
            if self.config.bias:
                pre = pre + getattr(self, f"b_hidden_{layer}")
            post = block.mlp(pre)
        return self._outputs_short(post) if short else self._outputs_plain(post)

    def _first_pre_short(self, inputs: Tensor) -> Float[Tensor, "batch d_mlp"]:
        table = self.input_side()
        if inputs.is_floating_point():
            return inputs @ table
        return nn.functional.embedding_bag(inputs, table, mode="sum")

    def _first_pre_plain(self, inputs: Tensor) -> Float[Tensor, "batch d_mlp"]:
        W_E = self.W_E if self.config.d_model is not None else None
        if inputs.is_floating_point():
            resid_pre = self.hook_embed(inputs if W_E is None else inputs @ W_E)
        else:
            one_hot = W_E if W_E is not None else torch.eye(self.d_vocab, device=inputs.device)
            resid_pre = self.hook_embed(one_hot[inputs]).sum(1)
        return self.blocks[0].hook_resid_pre(resid_pre) @ self.W_in

    def _outputs_short(self, post: Tensor) -> Float[Tensor, "batch d_output"]:
        outputs = post @ self.output_side()
        if not self.config.bias:
            return outputs
        return outputs + (self.b_out if self.config.d_model is None else self.b_out @ self.W_U)

    def _outputs_plain(self, post: Tensor) -> Float[Tensor, "batch d_output"]:
        mlp_out = post @ self.W_out
        if self.config.bias:
            mlp_out = mlp_out + self.b_out
        mlp_out = self.blocks[-1].hook_mlp_out(mlp_out)
        return mlp_out @ self.W_U if self.config.d_model is not None else mlp_out
