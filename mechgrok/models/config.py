"""The shapes of the models, as ``config.json`` holds them; none of this imports torch."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.fields import Settings

#: The neurons' non-linearity; quadratic is x².
Activation = Literal["relu", "gelu", "quadratic", "tanh", "silu"]
Width = Annotated[int, Field(ge=1, le=10**7)]
Depth = Annotated[int, Field(ge=1, le=1000)]


class ModelShape(Settings):
    """What every model's configuration has: a subclass is a kind of model.

    Attributes:
        kind: the kind, by which `KINDS` knows the class of the model.
        d_model: width of the embedding and of what the hidden layers write to.
        d_mlp: neurons per hidden layer.
        n_layers: hidden layers, or blocks.
        act: the neurons' non-linearity.
        init_scale: κ in N(0, κ²/d_in), from which weights are drawn.
    """

    #: Whether the model can tell (a, b) from (b, a).
    knows_order: ClassVar[bool] = True

    kind: str = Field(description="mlp, positional-mlp, transformer, or your own: file.py:Class.")
    d_model: Width | None = Field(
        default=500, description="Width of the embedding; none for an MLP without one."
    )
    d_mlp: Width = Field(default=48, description="Neurons per layer.")
    n_layers: Depth = Field(default=1, description="Hidden layers, or transformer blocks.")
    act: Activation = Field(
        default="relu", description="The neurons' non-linearity: relu, gelu, quadratic, tanh, silu."
    )
    init_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1.0, description="κ in N(0, κ²/d_in), which draws the weights."
    )

    def widened(self, width: int) -> Self:
        """The shape that is ``width`` times as wide: d_model and d_mlp grow."""
        wider = {"d_mlp": self.d_mlp * width}
        if self.d_model is not None:
            wider["d_model"] = self.d_model * width
        return self.model_copy(update=wider)


class MLPConfig(ModelShape):
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

    knows_order: ClassVar[bool] = False

    kind: Literal["mlp"] = "mlp"
    bias: bool = Field(default=False, description="Biases in hidden and output layers (mlp).")
    init: Literal["normal", "linear"] = Field(
        default="normal",
        description="How an mlp's weights start: normal, or linear (PyTorch's nn.Linear times κ).",
    )


class PositionalMLPConfig(ModelShape):
    """The shape of a `HookedPositionalMLP`, apart from what the task settles.

    Attributes:
        d_model: width of each position's embedding, and of what the neurons write to.
        d_mlp: neurons.
        n_layers: hidden layers.
        act: the neurons' non-linearity.
        join: how the embeddings of the positions meet: "sum" (before the neurons), or "concat":
            side by side, so that W_in has rows for each position.
        init_scale: κ in N(0, κ²/d_in), from which every weight is drawn.
    """

    kind: Literal["positional-mlp"] = "positional-mlp"
    d_model: Width = 500
    join: Literal["sum", "concat"] = Field(
        default="sum", description="How embeddings of positions meet (positional-mlp): sum, concat."
    )
    unembed: bool = Field(
        default=True, description="W_U after W_out (positional-mlp); else W_out writes outputs."
    )


class TransformerConfig(ModelShape):
    """The shape of a `HookedTransformer`, apart from what the task settles.

    Attributes:
        d_model: width of the residual stream.
        n_layers: blocks of attention and MLP.
        n_heads: attention heads per block.
        d_head: width of a head; d_model / n_heads unless given.
        attention_rate: α, between the learned attention pattern (1) and one that is 1 for every
            token (0): α softmax + 1 − α, the step from clocks to pizzas of Zhong et al. 2023 (arXiv
            2306.17844).
        d_mlp: neurons per block.
        act: the neurons' non-linearity.
        init_scale: κ in N(0, κ²/d_in), from which every weight is drawn.
    """

    kind: Literal["transformer"] = "transformer"
    d_model: Width = 500
    n_heads: Width = Field(default=1, description="Attention heads.")
    d_head: Width | None = Field(
        default=None, description="Width of a head; d_model / n_heads unless given."
    )
    d_mlp: Width = 128
    attention_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        exclude_if=lambda rate: rate == 1,
        description="α of a pattern α softmax + 1 − α: 1 learned, 0 the same for all tokens.",
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.d_head is None and self.d_model % self.n_heads:
            raise UserError(
                f"{self.n_heads} heads do not divide a d_model of {self.d_model}: choose a divisor "
                "of d_model, or give d_head."
            )
        return self

    @property
    def head_width(self) -> int:
        """d_head, given or d_model / n_heads."""
        return self.d_head or self.d_model // self.n_heads


#: Every kind of model: its configuration, the class of the network, and how it is wired, in
#: `mechgrok.models.wirings`, which is known without the class and so without TransformerLens.
KINDS: dict[str, tuple[type[ModelShape], str, str]] = {
    "mlp": (MLPConfig, "mechgrok.models.mlp:HookedMLP", "wire_mlp"),
    "positional-mlp": (
        PositionalMLPConfig,
        "mechgrok.models.positional:HookedPositionalMLP",
        "wire_positional_mlp",
    ),
    "transformer": (
        TransformerConfig,
        "mechgrok.models.transformer:HookedTransformer",
        "wire_transformer",
    ),
}
