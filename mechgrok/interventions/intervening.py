"""How good a network is with interventions and without, over all of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped
from torch import Tensor

from mechgrok.global_state import in_neutral_state
from mechgrok.interventions.base import Intervention
from mechgrok.interventions.network import Donors, Network
from mechgrok.interventions.writing import as_toml, load_toml
from mechgrok.runs import Run
from mechgrok.tasks import Task

SIDES = ("train", "test")
#: The network as it is, and with all interventions.
STATES = ("whole", "intervened")


class Performance(NamedTuple):
    """How good outputs are, by the task's own accuracy and loss."""

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
    run: Run | str | Path,
    interventions: Sequence[Intervention] | str | Path,
    *,
    steps: Sequence[int] | str | None = None,
    progress: Callable[[int], object] = lambda step: None,
) -> xr.Dataset:
    """Accuracy and loss with and without interventions, at every checkpoint or at some.

    Args:
        run: a run, or its folder.
        interventions: what is done, in this order; or a file that says so in TOML.
        steps: checkpoints, as `Run.select` takes them; all unless given.
        progress: called with each step that is done.

    Returns:
        ``accuracy`` and ``loss`` over ``[step, side, state]``: of the training and the test set, by
        the network as it is ("whole") and with all interventions ("intervened"). The attribute
        ``interventions`` holds them as TOML.

    Raises:
        UserError: one of them cannot be done to this network.
    """
    run = run if isinstance(run, Run) else Run(run)
    if isinstance(interventions, str | Path):
        interventions = load_toml(interventions)
    wanted, donors = run.select(steps), Donors()
    values = np.empty((len(wanted), len(SIDES), len(STATES), 2))
    for row, step in enumerate(wanted):
        values[row] = [list(each) for each in performances(run, step, interventions, donors)]
        progress(step)
    dims = ("step", "side", "state")
    return xr.Dataset(
        {
            "accuracy": (dims, values[..., 0], {"units": "share"}),
            "loss": (dims, values[..., 1], {"units": run.task.loss_units}),
        },
        coords={"step": wanted, "side": list(SIDES), "state": list(STATES)},
        attrs={
            "interventions": as_toml(interventions),
            "quantity": run.task.criterion.quantity,
            **run.milestones,
        },
    )


def performances(
    run: Run, step: int, interventions: Sequence[Intervention], donors: Donors
) -> Iterator[tuple[Performance, Performance]]:
    """On the training set, then on the test set: of the whole network, and under interventions."""
    whole = network = Network(run, step, donors)
    for intervention in interventions:
        network = network.under(intervention)
    for side in SIDES:
        inputs, labels = getattr(run.task, side)
        yield (
            Performance.of(run.task, whole.outputs(inputs), labels),
            Performance.of(run.task, network.outputs(inputs), labels),
        )
