"""What a network does without some of its parts: neurons silenced, killed and revived.

The outputs without some neurons of the last hidden layer need no second pass: nothing but linear
maps follows that layer, so they are a sum with fewer terms (`Readout`). Where more than that layer
is touched, hooks say what to do (`killing`, `reviving`), for ``model.run_with_hooks``.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mechgrok.masks import mask_hooks
from mechgrok.models import HookedModel
from mechgrok.models.wiring import HiddenLayer
from mechgrok.tasks import Task

#: What ``model.run_with_hooks(inputs, fwd_hooks=…)`` takes.
Hooks = list[tuple[Any, Callable[..., Any]]]


def killing(layer: HiddenLayer, which: Bool[Tensor, " neuron"]) -> Hooks:
    """Hooks that silence neurons: their activations are 0.

    >>> import mechgrok, torch
    >>> run = mechgrok.Run("data/base")
    >>> nobody = torch.zeros(run.config.model.d_mlp, dtype=torch.bool)
    >>> model, inputs = run.model(-1), run.task.test.inputs
    >>> outputs = model.run_with_hooks(inputs, fwd_hooks=killing(run.wiring.hidden[-1], nobody))
    >>> torch.equal(outputs, model(inputs))
    True
    """
    return [(layer.hook, lambda post, hook: post.masked_fill(which, 0.0))]


def reviving(model: HookedModel, layer: HiddenLayer, which: Bool[Tensor, " neuron"]) -> Hooks:
    """Hooks that set the masks of all weights into and out of neurons to 1.

    A weight that carries no mask is whole already. What comes back are the raw weights behind the
    mask: in a ticket they are 0 and nothing changes before it is trained; under a magnitude mask
    or edge-popup they are what was pruned.

    >>> import mechgrok, torch
    >>> run = mechgrok.Run("data/ticket")
    >>> model, everybody = run.model(-1), torch.ones(run.config.model.d_mlp, dtype=torch.bool)
    >>> [name for name, _ in reviving(model, run.wiring.hidden[-1], everybody)]
    ['W_in.hook_mask', 'W_out.hook_mask']
    """

    def into(mask: Tensor, hook: Any) -> Tensor:
        return mask.masked_fill(which, 1.0)

    def out_of(mask: Tensor, hook: Any) -> Tensor:
        return mask.masked_fill(which[:, None], 1.0)

    masked = mask_hooks(model)
    pairs = ((layer.reads, into), (layer.writes, out_of))
    return [(f"{name}.hook_mask", hook) for name, hook in pairs if name in masked]


class Readout(NamedTuple):
    """The outputs of a model, taken apart: past + post @ writes.

    Nothing but linear maps follows the last hidden layer (the models have no layer norm), so that
    the outputs without some neurons are this sum without their terms.

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

        def silence(post: Tensor, hook: Any) -> Tensor:
            seen["post"] = post if post.ndim == 2 else post[:, -1]
            return torch.zeros_like(post)

        with torch.no_grad():
            past = model.run_with_hooks(inputs, fwd_hooks=[(layer.hook, silence)])
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


class Performance(NamedTuple):
    """How good outputs are, by the task's own accuracy and loss."""

    accuracy: float
    loss: float

    @classmethod
    def of(
        cls, task: Task, outputs: Float[Tensor, "n d_output"], labels: Shaped[Tensor, "n ..."]
    ) -> "Performance":
        """Accuracy and loss of ``outputs`` against ``labels``.

        >>> import mechgrok, torch
        >>> task = mechgrok.Run("data/base").task
        >>> right = torch.nn.functional.one_hot(task.test.labels, 67).float() * 100
        >>> accuracy, loss = Performance.of(task, right, task.test.labels)
        >>> accuracy, loss < 1e-30
        (1.0, True)
        """
        return cls(float(task.accuracy(outputs, labels)), float(task.loss(outputs, labels)))
