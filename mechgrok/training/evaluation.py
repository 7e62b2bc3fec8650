"""The metrics of a network, or of several networks at once, at one step."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.global_state import in_neutral_state
from mechgrok.metrics import METRICS, column_of, norms
from mechgrok.models import HookedModel
from mechgrok.tasks import Examples, Task
from mechgrok.training.memory import OUTPUTS_AT_ONCE


def on_device(data: Examples, model: HookedModel) -> Examples:
    """Examples where the model is, in the form that it takes fastest."""
    return Examples(model.encode(data.inputs.to(model.device)), data.labels.to(model.device))


@in_neutral_state
@torch.no_grad()
def evaluate(
    model: HookedModel,
    task: Task,
    train_set: Examples,
    test_set: Examples,
    metrics: Sequence[str] = (),
) -> dict[str, float]:
    """One row of the metrics: loss and accuracy on both sides, L1 and L2 norm of the weights.

    Examples are evaluated in parts where their outputs would fill the memory.

    Args:
        model: the network.
        task: its task.
        train_set: of the task, as `on_device` gives it.
        test_set: likewise.
        metrics: further ones, by their names in `mechgrok.metrics.METRICS`.
    """
    size = max(1, OUTPUTS_AT_ONCE // task.d_output)
    sides = {"train": split(train_set, size), "test": split(test_set, size)}
    row = {
        name: value.item() for name, value in scores(sides, model, task.loss, task.accuracy).items()
    }
    row["l1"], row["l2"] = (norm.item() for norm in norms(model))
    return row | further_metrics(model, task, train_set, metrics)


def scores(
    sides: Mapping[str, Iterable[Examples]],
    outputs: Callable[..., Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    accuracy: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, Float[Tensor, "*member"]]:
    """Mean loss and accuracy on each side, in float64.

    Args:
        sides: the examples of each side, in one or several parts.
        outputs: of a network or of several, for inputs.
        loss: mean loss of outputs and labels, for each network.
        accuracy: likewise.
    """
    columns: dict[str, Tensor] = {}
    for side, parts in sides.items():
        parts = list(parts)
        n = sum(len(part.labels) for part in parts)
        for inputs, labels in parts:
            found, share = outputs(inputs), len(labels) / n
            for name, measure in (("loss", loss), ("accuracy", accuracy)):
                value = share * measure(found, labels).double()
                column = f"{side}_{name}"
                columns[column] = columns[column] + value if column in columns else value
    return columns


def further_metrics(
    model: HookedModel, task: Task, train_set: Examples, names: Sequence[str]
) -> dict[str, float]:
    """The metrics that a run records besides the usual ones, by their columns."""
    return {column_of(name): float(METRICS.load(name)(model, task, train_set)) for name in names}


def split(data: Examples, size: int) -> list[Examples]:
    """Examples in parts of at most ``size``."""
    n = len(data.labels)
    if n <= size:
        return [data]  # itself, with what the model has cached of it
    ends = range(0, n, size)
    return [Examples(data.inputs[i : i + size], data.labels[i : i + size]) for i in ends]
