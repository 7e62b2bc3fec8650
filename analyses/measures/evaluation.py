"""Loss and accuracy of arbitrary weights on a run's task."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.models import HookedModel, load_weights, make_model
from mechgrok.runs import Run
from mechgrok.tasks import Examples

#: The most outputs per batch, as numbers.
_LARGEST_OUTPUTS = 2**23


def subsample(examples: Examples, most: int, seed: int = 0) -> Examples:
    """At most ``most`` random examples; all if there are no more.

    >>> few = subsample(Examples(torch.arange(10), torch.arange(10)), 3)
    >>> len(few.labels), bool((few.inputs == few.labels).all())
    (3, True)
    """
    if len(examples.labels) <= most:
        return examples
    order = torch.randperm(len(examples.labels), generator=torch.Generator().manual_seed(seed))
    return Examples(*(tensor[order[:most]] for tensor in examples))


@torch.no_grad()
def outputs_of(model: HookedModel, inputs: Tensor) -> Float[Tensor, "example d_output"]:
    """A model's outputs for many inputs, in batches that limit memory.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> outputs_of(run.model(0), run.task.test.inputs[:5]).shape
    torch.Size([5, 67])
    """
    size = max(1, _LARGEST_OUTPUTS // model.d_output)
    return torch.cat([model(batch) for batch in inputs.split(size)])


class Evaluator:
    """Evaluates effective weights, without a mask, on a run's task.

    Args:
        run: the run with the model and the task.
        sides: "train", "test", or both.
        most: the most examples of each side.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> (loss,), (accuracy,) = Evaluator(run, ["test"])(run.checkpoint(-1).effective_weights)
    >>> accuracy
    1.0
    """

    def __init__(self, run: Run, sides: Sequence[str], most: int = 2**62) -> None:
        self.run = run
        self.model = make_model(run.config.model, run.task)
        examples = (subsample(getattr(run.task, side), most) for side in sides)
        self.examples = [(self.model.encode(inputs), labels) for inputs, labels in examples]

    @torch.no_grad()
    def __call__(
        self, weights: Mapping[str, Float[Tensor, "..."]]
    ) -> tuple[list[float], list[float]]:
        """The losses and the accuracies of the sides, in order."""
        load_weights(self.model, dict(weights))
        losses, accuracies = [], []
        for inputs, labels in self.examples:
            outputs = self.model(inputs)
            losses.append(float(self.run.task.loss(outputs, labels)))
            accuracies.append(float(self.run.task.accuracy(outputs, labels)))
        return losses, accuracies
