"""The models' shapes in ``config.json``. This module does not import torch."""

from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.fields import Settings

#: The neurons' nonlinearity; quadratic is x².
Activation = Literal["relu", "gelu", "quadratic", "tanh", "silu"]
#: The kind of normalization, and where it stands.
Norm = Literal["layer", "rms"]
NormAt = Literal["before", "after", "end", "before+end"]
Width = Annotated[int, Field(ge=1, le=10**7)]
Depth = Annotated[int, Field(ge=1, le=1000)]


class ModelShape(Settings):
    """The configuration that all models share; each kind of model has a subclass.

    Attributes:
        kind: the kind of model, a key of `KINDS`.
        d_model: width of the embedding and of the hidden layers' output.
        d_mlp: neurons per hidden layer.
        n_layers: hidden layers, or blocks.
        act: the neurons' nonlinearity.
        init_scale: κ in the initial weights' distribution N(0, κ²/d_in).
    """

    #: Whether the model can tell (a, b) from (b, a).
    knows_order: ClassVar[bool] = True

    kind: str = Field(
        description="Model: mlp, positional-mlp, transformer, or your own, file.py:Class."
    )
    d_model: Width | None = Field(
        default=500, description="Width of the embedding; none for an MLP without one."
    )
    d_mlp: Width = Field(default=48, description="Neurons per layer.")
    n_layers: Depth = Field(default=1, description="Hidden layers, or transformer blocks.")
    act: Activation = Field(
        default="relu", description="Nonlinearity: relu, gelu, quadratic, tanh, silu."
    )
    init_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1.0, description="κ in the initial weights' distribution N(0, κ²/d_in)."
    )

    def widened(self, width: int) -> Self:
        """The shape with d_model and d_mlp multiplied by ``width``."""
        wider = {"d_mlp": self.d_mlp * width}
        if self.d_model is not None:
            wider["d_model"] = self.d_model * width
        return self.model_copy(update=wider)


class NormalizedShape(ModelShape):
    """The configuration of a model that may normalize its activations.

    Attributes:
        norm: "layer" for LayerNorm (Ba et al. 2016, arXiv 1607.06450), "rms" for RMSNorm (Zhang and
            Sennrich 2019, arXiv 1910.07467), or None.
        norm_at: "before" what attention and neurons read; "after" what they write; at the "end",
            before the unembedding; or "before+end", as in TransformerLens.
        norm_learned: whether normalizations have a learned scale and, for LayerNorm, a bias.
    """

    norm: Norm | None = Field(
        default=None,
        exclude_if=lambda norm: norm is None,
        description="Normalization of activations: layer, rms; none unless given.",
    )
    norm_at: NormAt = Field(
        default="before+end",
        exclude_if=lambda place: place == "before+end",
        description="Place of the normalization: before (attention and neurons), after, end "
        "(before the unembedding), before+end.",
    )
    norm_learned: bool = Field(
        default=True,
        exclude_if=lambda learned: learned is True,
        description="Learned scale (and bias, of norm layer) of normalizations.",
    )

    @model_validator(mode="after")
    def _norm_is_given(self) -> Self:
        changed = {"norm_at", "norm_learned"} & self.model_dump(exclude_defaults=True).keys()
        if self.norm is None and changed:
            raise UserError(
                f"The option {min(changed)} needs a normalization: choose --norm layer or rms too."
            )
        return self

    def has_norm(self, place: Literal["before", "after", "end"]) -> bool:
        """Whether a normalization stands at ``place``."""
        return self.norm is not None and place in self.norm_at.split("+")


class MLPConfig(NormalizedShape):
    """The shape of a `HookedMLP`; the task sets the sizes of input and output.

    Attributes:
        norm, norm_at, norm_learned: the normalization of activations.
        d_model: width of the embedding and of the hidden layers' output; None for no embedding, so
            that W_in reads the input and W_out writes the output directly.
        d_mlp: neurons per hidden layer.
        n_layers: hidden layers.
        act: the neurons' nonlinearity.
        bias: whether hidden and output layers have biases.
        init: initialization: "normal" draws weights from N(0, κ²/d_in), with biases 0; "linear"
            draws weights and biases from κ · U(−1/√d_in, 1/√d_in), PyTorch's nn.Linear times κ.
        init_scale: κ.
    """

    knows_order: ClassVar[bool] = False

    kind: Literal["mlp"] = "mlp"
    bias: bool = Field(
        default=False,
        description="Biases in hidden and output layers (mlp), or of the neurons (transformer).",
    )
    init: Literal["normal", "linear"] = Field(
        default="normal",
        description="Initialization of an mlp: normal, or linear (PyTorch's nn.Linear times κ).",
    )

    @model_validator(mode="after")
    def _norm_has_place(self) -> Self:
        return _without_unembedding(self) if self.d_model is None else self


class PositionalMLPConfig(NormalizedShape):
    """The shape of a `HookedPositionalMLP`; the task sets the sizes of input and output.

    Attributes:
        norm, norm_at, norm_learned: the normalization of activations.
        d_model: width of each position's embedding and of the neurons' output.
        d_mlp: neurons per hidden layer.
        n_layers: hidden layers.
        act: the neurons' nonlinearity.
        join: combination of the positions' embeddings: "sum", or "concat", so that W_in has rows
            for each position.
        unembed: whether the network has an unembedding W_U.
        init_scale: κ in the initial weights' distribution N(0, κ²/d_in).
    """

    kind: Literal["positional-mlp"] = "positional-mlp"
    d_model: Width = 500
    join: Literal["sum", "concat"] = Field(
        default="sum",
        description="Combination of positions' embeddings (positional-mlp): sum, concat.",
    )
    unembed: bool = Field(
        default=True,
        description="Apply W_U after W_out, which else gives outputs (positional-mlp).",
    )

    @model_validator(mode="after")
    def _norm_has_place(self) -> Self:
        return self if self.unembed else _without_unembedding(self)


Shape = TypeVar("Shape", bound=NormalizedShape)


def _without_unembedding(shape: Shape) -> Shape:
    """A shape without unembedding.

    Raises:
        UserError: a normalization stands before the unembedding.
    """
    if shape.has_norm("end"):
        raise UserError(
            f"norm_at {shape.norm_at} needs an unembedding, which this network lacks: choose "
            "--norm-at before or after."
        )
    return shape


class TransformerConfig(NormalizedShape):
    """The shape of a `HookedTransformer`; the task sets the sizes of input and output.

    Attributes:
        norm, norm_at, norm_learned: the normalization of activations.
        d_model: width of the residual stream.
        n_layers: blocks of attention and MLP.
        n_heads: attention heads per block.
        d_head: width of a head; default: d_model / n_heads.
        attention_rate: α in the attention pattern α softmax + 1 − α, from learned attention (1) to
            a constant 1 for every token (0): the interpolation from clocks to pizzas of Zhong et
            al. 2023 (arXiv 2306.17844).
        d_mlp: neurons per block.
        act: the neurons' nonlinearity.
        positions: whether there is a positional embedding W_pos.
        bias: whether the neurons have biases.
        init_scale: κ in the initial weights' distribution N(0, κ²/d_in).
    """

    kind: Literal["transformer"] = "transformer"
    d_model: Width = 500
    n_heads: Width = Field(default=1, description="Attention heads.")
    d_head: Width | None = Field(
        default=None, description="Width of a head; default: d_model / n_heads."
    )
    d_mlp: Width = 128
    attention_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        exclude_if=lambda rate: rate == 1,
        description="α in the attention pattern α softmax + 1 − α: 1 learned, 0 constant.",
    )
    positions: bool = Field(
        default=True,
        exclude_if=lambda positions: positions,
        description="A positional embedding (transformer).",
    )
    bias: bool = Field(
        default=True,
        exclude_if=lambda bias: bias,
        description="Biases in hidden and output layers (mlp), or of the neurons (transformer).",
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
        """d_head; default: d_model / n_heads."""
        return self.d_head or self.d_model // self.n_heads


#: Every kind of model: its configuration, its class, and its function in `mechgrok.models.wirings`,
#: which needs neither the class nor TransformerLens.
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
