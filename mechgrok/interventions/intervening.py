"""Accuracy and loss with and without interventions, over training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.global_state import in_neutral_state
from mechgrok.interventions.base import Intervention, listed
from mechgrok.interventions.network import Donors, Network
from mechgrok.interventions.writing import as_toml, load_toml
from mechgrok.runs import Run, RunCollection, RunLike, open_run
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
        values[row] = [list(states) for states in performances(run, step, interventions, donors)]
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


def performances(
    run: Run, step: int, interventions: Sequence[Intervention], donors: Donors
) -> Iterator[tuple[Performance, Performance]]:
    """Performance without and with interventions, on the training set, then on the test set."""
    whole = network = Network(run, step, donors)
    for intervention in interventions:
        network = network.under(intervention)
    for side in SIDES:
        inputs, labels = getattr(run.task, side)
        yield (
            Performance.of(run.task, whole.outputs(inputs), labels),
            Performance.of(run.task, network.outputs(inputs), labels),
        )
