"""LayerNorm and RMSNorm with TransformerLens's names."""

from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint

from mechgrok.models.config import NormalizedShape
from mechgrok.models.counts import TokenCounts
from mechgrok.models.hooked import HookedModel, any_active, effective_weights, load_weights

#: Added to the variance, as in TransformerLens.
EPSILON = 1e-5


class Normalize(nn.Module):
    """(x − mean) / √(variance + ε) · w + b, or for RMSNorm x / √(mean of squares + ε) · w.

    Hooks: ``hook_scale [..., 1]``, the divisor; ``hook_normalized``, the units before w and b.
    """

    w: nn.Parameter
    b: nn.Parameter

    def __init__(self, config: NormalizedShape) -> None:
        super().__init__()
        self.is_centred, self.is_learned = config.norm == "layer", config.norm_learned
        self.has_bias = self.is_centred and self.is_learned
        self.hook_scale, self.hook_normalized = HookPoint(), HookPoint()

    def forward(self, x: Float[Tensor, "... unit"]) -> Float[Tensor, "... unit"]:
        if not any_active((self.hook_scale, self.hook_normalized)):
            return self.fused(x)
        x = self._centred(x)
        scale = self.hook_scale((x.square().mean(-1, keepdim=True) + EPSILON).sqrt())
        normalized = self.hook_normalized(x / scale)
        scaled = normalized * self.w if self.is_learned else normalized
        return scaled + self.b if self.has_bias else scaled

    def fused(self, x: Float[Tensor, "... unit"]) -> Float[Tensor, "... unit"]:
        """The same by PyTorch's function, without hook points."""
        w, b = self.w if self.is_learned else None, self.b if self.has_bias else None
        if self.is_centred:
            return nn.functional.layer_norm(x, x.shape[-1:], w, b, EPSILON)
        return nn.functional.rms_norm(x, x.shape[-1:], w, EPSILON)

    def between(
        self,
        inputs: Float[Tensor, "n d_in"] | TokenCounts,
        before: Float[Tensor, "d_in unit"],
        after: Float[Tensor, "unit d_out"],
    ) -> Float[Tensor, "n d_out"]:
        """Normalize the units ``inputs @ before``, then multiply by ``after``.

        The units are not computed: centring and w are linear and become part of the table
        ``before @ after``, and the variance of an example x is the quadratic form x G xᵀ with the
        Gram matrix G of ``before``.
        """
        before = self._centred(before)
        gram = before @ before.mT / before.shape[-1]
        if isinstance(inputs, TokenCounts):
            variance = inputs.quadratic(gram)
        else:
            variance = ((inputs @ gram) * inputs).sum(-1, keepdim=True)
        table = (before * self.w if self.is_learned else before) @ after
        # Rounding may make a variance of 0 negative.
        outputs = inputs @ table / (variance.clamp(min=0) + EPSILON).sqrt()
        return outputs + self.b @ after if self.has_bias else outputs

    def _centred(self, x: Float[Tensor, "... unit"]) -> Float[Tensor, "... unit"]:
        return x - x.mean(-1, keepdim=True) if self.is_centred else x


def without_normalization(model: HookedModel) -> HookedModel:
    """A copy of a model with its effective weights, but without its normalizations."""
    shape = model.config.model_copy(update={"norm": None})
    sizes = {"d_vocab": model.d_vocab, "n_ctx": model.n_ctx, "d_output": model.d_output}
    copy = type(model)(shape, **sizes).to(model.device, model.dtype)
    weights = effective_weights(model)
    load_weights(copy, {name: weights[name].detach() for name in copy.wiring.weights})
    return copy
