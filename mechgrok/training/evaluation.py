"""Evaluation: the metrics of one network, or of several stacked ones, at one step."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.global_state import in_neutral_state
from mechgrok.metrics import METRICS, column_of, norms
from mechgrok.models import HookedModel
from mechgrok.tasks import Examples, Task
from mechgrok.training.memory import OUTPUTS_AT_ONCE
from mechgrok.user_code import reraise_as_user_error


def on_device(data: Examples, model: HookedModel) -> Examples:
    """Examples on the model's device, encoded for its folded forward pass."""
    return Examples(model.encode(data.inputs.to(model.device)), data.labels.to(model.device))


@in_neutral_state
@torch.no_grad()
def evaluate(
    model: HookedModel,
    task: Task,
    train_set: Examples,
    test_set: Examples,
    metrics: Sequence[str] = (),
    temperature: float = 1,
) -> dict[str, float]:
    """One row of metrics: loss and accuracy on both sides, L1 and L2 norm of the weights.

    Large sets are evaluated in parts to limit memory.

    Args:
        model: the network.
        task: its task.
        train_set: the training set, from `on_device`.
        test_set: the test set, from `on_device`.
        metrics: names of further metrics in `mechgrok.metrics.METRICS`.
        temperature: divides the logits in the loss.
    """
    size = max(1, OUTPUTS_AT_ONCE // task.d_output)
    sides = {"train": split(train_set, size), "test": split(test_set, size)}
    row = {
        name: value.item()
        for name, value in scores(sides, model, task.loss_at(temperature), task.accuracy).items()
    }
    row["l1"], row["l2"] = (norm.item() for norm in norms(model))
    return row | further_metrics(model, task, train_set, metrics, temperature)


def scores(
    sides: Mapping[str, Iterable[Examples]],
    outputs: Callable[..., Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    accuracy: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, Float[Tensor, "*member"]]:
    """Mean loss and accuracy on each side, in float64.

    Args:
        sides: the examples of each side, in one or several parts.
        outputs: maps inputs to the outputs of one or several networks.
        loss: maps outputs and labels to the mean loss, per network.
        accuracy: maps outputs and labels to the accuracy, per network.
    """
    columns: dict[str, Tensor] = {}
    for side, parts in sides.items():
        parts = list(parts)
        n = sum(len(part.labels) for part in parts)
        for inputs, labels in parts:
            logits, share = outputs(inputs), len(labels) / n
            for name, measure in (("loss", loss), ("accuracy", accuracy)):
                value = share * measure(logits, labels).double()
                column = f"{side}_{name}"
                columns[column] = columns[column] + value if column in columns else value
    return columns


def further_metrics(
    model: HookedModel,
    task: Task,
    train_set: Examples,
    names: Sequence[str],
    temperature: float = 1,
) -> dict[str, float]:
    """A run's further metrics, by column."""
    row = {}
    for name in names:
        with reraise_as_user_error(name):
            metric = METRICS.load(name)
            takes = inspect.signature(metric).parameters
            at = {"temperature": temperature} if "temperature" in takes else {}
            row[column_of(name)] = float(metric(model, task, train_set, **at))
    return row


def split(data: Examples, size: int) -> list[Examples]:
    """Split examples into parts of at most ``size``."""
    n = len(data.labels)
    if n <= size:
        return [data]  # The same object, whose inputs may cache their sort.
    starts = range(0, n, size)
    return [Examples(data.inputs[i : i + size], data.labels[i : i + size]) for i in starts]
