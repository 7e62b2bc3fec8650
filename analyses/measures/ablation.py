"""Ablations of neurons in the last hidden layer, from one forward pass.

If only linear maps follow that layer, its ablated outputs are a sum with fewer terms (`Readout`).
For other ablations see ``mechgrok.interventions``.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mechgrok.models import HookedModel
from mechgrok.models.wiring import HiddenLayer


class Readout(NamedTuple):
    """The outputs of a model, decomposed as past + post @ writes.

    If only linear maps follow the last hidden layer (`Wiring.has_linear_readout`), ablating neurons
    drops their terms from this sum. Of recurrent neurons it has those of the last token; with a
    normalization after the neurons, the outputs are no sum.

    Attributes:
        past: the outputs that bypass the neurons.
        post: the neurons' activations.
        writes: each neuron's contribution to the outputs per unit of activation.

    >>> import torch
    >>> one = Readout(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), torch.eye(2))
    >>> one.without(torch.tensor([False, True]))
    tensor([[1., 0.]])
    >>> [outputs.tolist() for outputs in one.without_each()]
    [[[0.0, 3.0]], [[1.0, 0.0]]]
    """

    past: Float[Tensor, "n d_output"]
    post: Float[Tensor, "n neuron"]
    writes: Float[Tensor, "neuron d_output"]

    @classmethod
    def of(cls, model: HookedModel, layer: HiddenLayer, inputs: Tensor) -> "Readout":
        """Decompose a model's outputs for ``inputs``, in float64."""
        cache = {}

        def store(post: Tensor, hook: Any) -> None:
            cache["post"] = post if post.ndim == 2 else post[:, -1]

        def silence(post: Tensor, hook: Any) -> Tensor:
            store(post, hook)
            return torch.zeros_like(post)

        with torch.no_grad():
            past = model.run_with_hooks(inputs, fwd_hooks=[(layer.hook, silence)])
            if layer.recurrent:  # silenced after one token, neurons read zeros after the next
                model.run_with_hooks(inputs, fwd_hooks=[(layer.hook, store)])
            return cls(past.double(), cache["post"].double(), model.output_side().double())

    def without(self, which: Bool[Tensor, " neuron"]) -> Float[Tensor, "n d_output"]:
        """The outputs without the neurons in ``which``."""
        return self.past + self.post[:, ~which] @ self.writes[~which]

    def without_each(self) -> Iterator[Float[Tensor, "n d_output"]]:
        """Yield the outputs without neuron 0, without neuron 1, and so on."""
        outputs = self.past + self.post @ self.writes
        active = (self.post != 0).sum(1)
        for post, writes in zip(self.post.T, self.writes, strict=True):
            rest = torch.addcmul(outputs, post[:, None], writes, value=-1)
            # Rounding must not decide between equal outputs: if no other neuron is active, the
            # result is exactly the outputs that bypass the neurons.
            is_alone = active == (post != 0)
            yield torch.where(is_alone[:, None], self.past, rest)
