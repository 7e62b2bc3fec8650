"""What a network does without some neurons of its last hidden layer, from one forward pass.

Nothing but linear maps follows that layer, so its outputs are a sum with fewer terms (`Readout`).
Where more than that layer is touched, ``mechgrok.interventions`` say what to do.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mechgrok.models import HookedModel
from mechgrok.models.wiring import HiddenLayer


class Readout(NamedTuple):
    """The outputs of a model, taken apart: past + post @ writes.

    Nothing but linear maps follows the last hidden layer (the models have no layer norm), so that
    the outputs without some neurons are this sum without their terms; of recurrent neurons, without
    what they are after the last token.

    Attributes:
        past: what does not go through the neurons.
        post: their activations.
        writes: what each adds to the outputs when its activation is 1.

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
        """The parts of a model's outputs for ``inputs``, in float64."""
        seen = {}

        def look(post: Tensor, hook: Any) -> None:
            seen["post"] = post if post.ndim == 2 else post[:, -1]

        def silence(post: Tensor, hook: Any) -> Tensor:
            look(post, hook)
            return torch.zeros_like(post)

        with torch.no_grad():
            past = model.run_with_hooks(inputs, fwd_hooks=[(layer.hook, silence)])
            if layer.recurrent:  # silenced after one token, neurons read zeros after the next
                model.run_with_hooks(inputs, fwd_hooks=[(layer.hook, look)])
            return cls(past.double(), seen["post"].double(), model.output_side().double())

    def without(self, which: Bool[Tensor, " neuron"]) -> Float[Tensor, "n d_output"]:
        """The outputs without the neurons in ``which``."""
        return self.past + self.post[:, ~which] @ self.writes[~which]

    def without_each(self) -> Iterator[Float[Tensor, "n d_output"]]:
        """The outputs without neuron 0, without neuron 1, and so on."""
        whole = self.past + self.post @ self.writes
        active = (self.post != 0).sum(1)
        for post, writes in zip(self.post.T, self.writes, strict=True):
            rest = torch.addcmul(whole, post[:, None], writes, value=-1)
            # Rounding must not decide between outputs that are equal: where no other neuron
            # speaks, what is left is exactly what goes past them.
            is_alone = active == (post != 0)
            yield torch.where(is_alone[:, None], self.past, rest)
