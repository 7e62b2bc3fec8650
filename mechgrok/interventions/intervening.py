"""Accuracy and loss with and without interventions, over training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.global_state import in_neutral_state, threads
from mechgrok.interventions.network import Donors, Intervention, Network, listed
from mechgrok.interventions.writing import as_toml, load_toml
from mechgrok.runs import RunCollection, RunLike, open_run
from mechgrok.tasks import Task

SIDES = ("train", "test")
#: The network without and with the interventions.
STATES = ("whole", "intervened")


class Performance(NamedTuple):
    """The task's accuracy and loss."""

    accuracy: float
    loss: float

    @classmethod
    def of(
        cls, task: Task, outputs: Float[Tensor, "n d_output"], labels: Shaped[Tensor, "n ..."]
    ) -> Self:
        """Accuracy and loss of ``outputs`` against ``labels``.

        >>> import mechgrok, torch
        >>> task = mechgrok.Run("data/base").task
        >>> right = torch.nn.functional.one_hot(task.test.labels, 67).float() * 100
        >>> accuracy, loss = Performance.of(task, right, task.test.labels)
        >>> accuracy, loss < 1e-30
        (1.0, True)
        """
        return cls(float(task.accuracy(outputs, labels)), float(task.loss(outputs, labels)))


@in_neutral_state
def intervene(
    run: RunLike | RunCollection,
    interventions: Intervention | Sequence[Intervention] | str | Path,
    *,
    steps: int | Iterable[int] | str | None = None,
    progress: Callable[[int], object] = lambda step: None,
) -> xr.Dataset:
    """Accuracy and loss with and without interventions, at checkpoints.

    Args:
        run: a run, or its folder; or a sweep, whose settings become the first dimensions.
        interventions: one intervention, or several in order, or a TOML file of them.
        steps: checkpoints, as for `Run.select`; default: all.
        progress: called with each step after its evaluation.

    Returns:
        ``accuracy`` and ``loss`` over ``[step, side, state]``: on the training and the test set,
        for the network without ("whole") and with all interventions ("intervened"). The attribute
        ``interventions`` has them as TOML.

    Raises:
        UserError: an intervention does not apply to this network.
    """
    if isinstance(interventions, str | Path):
        interventions = load_toml(interventions)
    interventions = listed(interventions)
    if isinstance(run, RunCollection):
        return run.stack(
            {
                name: intervene(member, interventions, steps=steps, progress=progress)
                for name, member in run.runs.items()
            }
        )
    run = open_run(run)
    selected, donors = run.select(steps), Donors()
    values = np.empty((len(selected), len(SIDES), len(STATES), 2))
    for row, step in enumerate(selected):
        with threads(1):
            whole = Network(run, step, donors)
            networks = whole, under(whole, interventions)
            for state, network in enumerate(networks):
                values[row, :, state] = [side.performance for side in evaluate(network)]
        progress(step)
    dims = ("step", "side", "state")
    return xr.Dataset(
        {
            "accuracy": (dims, values[..., 0], {"units": "share"}),
            "loss": (dims, values[..., 1], {"units": run.task.loss_units}),
        },
        coords={"step": selected, "side": list(SIDES), "state": list(STATES)},
        attrs={
            "interventions": as_toml(interventions),
            "quantity": run.task.criterion.quantity,
            **run.milestones,
        },
    )


class Evaluation(NamedTuple):
    """A network on the training or the test set.

    Attributes:
        performance: accuracy and loss.
        outputs: the outputs.
        activations: the activations by hook point.
    """

    performance: Performance
    outputs: Float[Tensor, "n d_output"]
    activations: dict[str, Float[Tensor, "n ..."]]


def evaluate(network: Network, hooks: Sequence[str] = ()) -> list[Evaluation]:
    """The network on the training set, then on the test set, from one forward pass each.

    Args:
        network: a network, with or without interventions.
        hooks: the hook points whose activations are returned.

    Raises:
        UserError: an intervention does not apply to this network.
    """
    task, evaluations = network.run.task, []
    for side in SIDES:
        inputs, labels = getattr(task, side)
        outputs, activations = network.run_with_cache(inputs, hooks)
        performance = Performance.of(task, outputs, labels)
        evaluations.append(Evaluation(performance, outputs, activations))
    return evaluations


def under(network: Network, interventions: Sequence[Intervention]) -> Network:
    """The network under interventions, in order.

    Raises:
        UserError: an intervention does not apply to this network.
    """
    for intervention in interventions:
        network = network.under(intervention)
    return network
