"""Dead neurons, and the network's performance without them and without each other neuron."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mechgrok.analyses.measures.ablation import Readout
from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.curves import JUDGED, judged_curve
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_number, with_skipped_note
from mechgrok.analyses.measures.masks import kept_edges
from mechgrok.analyses.measures.neurons import Census, dead_since, strongest_frequency
from mechgrok.analyses.measures.residues import not_modular, residues
from mechgrok.analyses.measures.spacing import thin
from mechgrok.errors import UserError
from mechgrok.interventions import Ablate, Network, Performance, Remask, Revive
from mechgrok.masks import Mask, Scope, check_rate
from mechgrok.results.variables import Scalar, Variable, described
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.tasks import Task

SIDES = ("train", "test")
#: The function that selects a checkpoint's edges among the entries of its matrices.
Edges = Callable[[Checkpoint], Mask]
#: The value of ``edges`` for a run with a mask.
RUN_MASK = "the run's mask"
#: The unchanged network; its dead neurons killed; under its mask (a dense run under its magnitude
#: mask, others unchanged); and under that mask with the edges of dead neurons restored.
STATES = ("whole", "killed", "pruned", "revived")


VARIABLES = {
    "input_norm": Variable(
        "step, neuron",
        "weight",
        "L2 norm of the weights into the neuron; of W_E W_in where it reads the embedding alone",
    ),
    "unconnected": Variable(
        "step, neuron", "none", "whether all input weights of the neuron are pruned"
    ),
    "vanished": Variable(
        "step, neuron", "none", "whether the neuron's norm is below {tolerance} of the largest"
    ),
    "dead": Variable("step, neuron", "none", "whether the neuron is unconnected or vanished"),
    "edge_share": Variable(
        "step",
        "share",
        "share of the unpruned weights into and out of neurons that belong to dead neurons",
    ),
    "died": Variable("neuron", "step", "the step at which the neuron died for good; −1: alive"),
    **JUDGED,
    "accuracy": Variable("knockout, side, state", "share", "right answers in the state"),
    "loss": Variable("knockout, side, state", "{units of the loss}", "the loss in the state"),
    "accuracy_without": Variable("knockout, side, neuron", "share", "accuracy without the neuron"),
    "loss_without": Variable(
        "knockout, side, neuron", "{units of the loss}", "loss without the neuron"
    ),
    "firing": Variable(
        "knockout, neuron", "share", "share of all examples on which the neuron is active"
    ),
    "frequency_of": Variable(
        "knockout, neuron",
        "{units of a frequency}",
        "the neuron's strongest frequency, on modular tasks",
    ),
    "accuracy_without_frequency": Variable(
        "knockout, side, frequency",
        "share",
        "accuracy without all living neurons of the frequency; NaN if it has none",
    ),
    "loss_without_frequency": Variable(
        "knockout, side, frequency",
        "{units of the loss}",
        "loss without all living neurons of the frequency; NaN if it has none",
    ),
    "knockout": Variable("knockout", "step", "checkpoints at which neurons are knocked out"),
    "state": Variable(
        "state",
        "none",
        "whole: unchanged; killed: without dead neurons; pruned: under its mask (a dense run's "
        "magnitude mask); revived: pruned, with the edges of dead neurons restored",
    ),
}
#: Summaries of variables with further dimensions, one number per step.
SCALARS = {
    "dead": Scalar("dead"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("test_accuracy", "test_loss")


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    rate: Annotated[float, "prune rate k of a dense run's magnitude masks"] = 0.6,
    scope: Annotated[Scope, "one threshold, or one per weight"] = "global",
    tolerance: Annotated[
        float, "share of the largest input norm below which a neuron is dead"
    ] = 0.01,
    knockouts: Annotated[int, "checkpoints at which neurons are knocked out"] = 16,
) -> xr.Dataset:
    """Find dead neurons at every checkpoint, or at the given steps, and knock neurons out at some.

    All neurons are in the last hidden layer. The input norm is the norm of the neuron's column of
    W_E W_in if neurons read the embedding alone, else of its columns in all input weights.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: the rate or the tolerance is outside [0, 1), or ``knockouts`` is not positive.
    """
    check_rate(rate)
    if not 0 <= tolerance < 1:
        raise UserError(f"A tolerance of {tolerance} is outside [0, 1): choose one such as 0.01.")
    check_at_least(1, knockouts=knockouts)
    steps, of_steps = select_finite_steps(run, steps)
    edges = partial(kept_edges, rate=rate, scope=scope)
    task = run.task
    _ = task.train, task.test, run.metrics  # cache before threads share them
    knocked = thin(steps, knockouts)
    with ThreadPoolExecutor() as pool:
        counts = pool.map(lambda step: _census(run, step, edges), steps)
        deaths = _deaths(list(counts), steps, tolerance)
        dead = dict(zip(steps, deaths["dead"], strict=True))
        pruning = Remask(rate=rate, scope=scope)
        knock_outs = list(pool.map(lambda step: knock_out(run, step, dead[step], pruning), knocked))
    quantity, curve = judged_curve(run, steps)
    with_waves = not not_modular(task)
    n = len(residues(task)) if with_waves else 0
    return described(
        VARIABLES,
        {
            **deaths,
            quantity: curve,
            **{name: np.stack([row[name] for row in knock_outs]) for name in knock_outs[0]},
        },
        {
            "step": steps,
            "knockout": knocked,
            "neuron": np.arange(len(deaths["died"])),
            "side": list(SIDES),
            "state": list(STATES),
            **({"frequency": np.arange(n // 2 + 1)} if with_waves else {}),
        },
        {
            "edges": RUN_MASK if run.mask is not None else f"magnitude mask, k = {rate:g}",
            "tolerance": tolerance,
            "quantity": task.criterion.quantity,
            **of_steps,
        },
        {
            "tolerance": f"{tolerance:g}",
            "units of the loss": task.loss_units,
            "units of a frequency": f"cycles per {n}",
        },
    )


# --- deaths --------------------------------------------------------------------------------------


def _census(run: Run, step: int, edges: Edges) -> Census:
    saved = run.checkpoint(step)
    return Census.of(saved, edges(saved), run.wiring.hidden[-1])


def _deaths(
    counts: Sequence[Census], steps: Sequence[int], tolerance: float
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Norms, deaths and their causes, as in `VARIABLES`."""
    norm, unconnected, edges = (np.stack(values) for values in zip(*counts, strict=True))
    vanished = norm < tolerance * norm.max(1, keepdims=True)
    dead = unconnected | vanished
    total = edges.sum(1)
    share = np.divide((edges * dead).sum(1), total, out=np.zeros(len(total)), where=total > 0)
    return {
        "input_norm": norm,
        "unconnected": unconnected,
        "vanished": vanished,
        "dead": dead,
        "edge_share": share,
        "died": dead_since(dead, steps),
    }


# --- knock-outs ---------------------------------------------------------------------------------


def knock_out(
    run: Run, step: int, dead: Bool[np.ndarray, " neuron"], pruning: Remask
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Accuracy and loss of a checkpoint after every knock-out, as in `VARIABLES`.

    Args:
        run: a run.
        step: the step of the checkpoint.
        dead: the checkpoint's dead neurons.
        pruning: makes the mask of a dense checkpoint in the states "pruned" and "revived".
    """
    task, network, layer = run.task, Network(run, step), run.wiring.hidden[-1]
    killed = torch.from_numpy(dead)
    readout = {side: Readout.of(network.model, layer, getattr(task, side).inputs) for side in SIDES}
    states = {side: _states(network, side, killed, pruning) for side in SIDES}
    active = torch.cat([side.post > 0 for side in readout.values()])
    values = _performance(task, states)
    if not run.wiring.has_linear_readout:
        singles = torch.eye(len(dead), dtype=torch.bool)
        without_each = {s: _without_groups(network, s, readout[s], singles) for s in SIDES}
    else:
        without_each = {s: outputs.without_each() for s, outputs in readout.items()}
    values |= _performance(task, without_each, "_without")
    values["firing"] = active.double().mean(0).numpy()
    if not not_modular(task):
        frequency = strongest_frequency(run, step)
        n_frequencies = len(residues(task)) // 2 + 1
        groups = torch.nn.functional.one_hot(frequency, n_frequencies).bool() & ~killed[:, None]
        without = {side: _without_groups(network, side, readout[side], groups) for side in SIDES}
        values["frequency_of"] = frequency.numpy()
        values |= _performance(task, without, "_without_frequency")
    return values


def _states(
    network: Network, side: str, dead: Bool[Tensor, " neuron"], pruning: Remask
) -> Iterator[Float[Tensor, "n d_output"]]:
    """Yield the outputs in each of `STATES`."""
    inputs, neurons = getattr(network.run.task, side).inputs, tuple(np.flatnonzero(dead).tolist())
    yield network.outputs(inputs)
    yield network.under(Ablate(neurons=neurons)).outputs(inputs)
    pruned = network.under(pruning) if network.run.mask is None else network
    yield pruned.outputs(inputs)
    yield pruned.under(Revive(neurons=neurons)).outputs(inputs)


def _without_groups(
    network: Network, side: str, readout: Readout, groups: Bool[Tensor, "neuron group"]
) -> Iterator[Float[Tensor, "n d_output"] | None]:
    """Yield the outputs without each group of neurons, None for an empty group.

    If the outputs are not linear in the neurons, the network runs again without each group.
    """
    for group in groups.T:
        if not group.any():
            yield None
        elif not network.run.wiring.has_linear_readout:
            neurons = tuple(group.nonzero().flatten().tolist())
            inputs = getattr(network.run.task, side).inputs
            yield network.under(Ablate(neurons=neurons)).outputs(inputs)
        else:
            yield readout.without(group)


def _performance(
    task: Task, outputs: Mapping[str, Iterable[Tensor | None]], suffix: str = ""
) -> dict[str, Float[np.ndarray, "side ..."]]:
    """Accuracy and loss of each side's outputs; NaN for None."""
    nothing = Performance(float("nan"), float("nan"))
    table = np.array(
        [
            [
                nothing if out is None else Performance.of(task, out, getattr(task, side).labels)
                for out in outputs[side]
            ]
            for side in SIDES
        ]
    )
    return {f"accuracy{suffix}": table[..., 0], f"loss{suffix}": table[..., 1]}


def _by_which(dataset: xr.Dataset) -> str:
    """The mask under which neurons of a dense run count as dead, which the run does not have."""
    mask = str(dataset.attrs["edges"])
    return "" if mask == RUN_MASK else f" (under a {mask}; the run is dense)"


def finding(dataset: xr.Dataset) -> str:
    """The number of dead neurons at the last step and at most, and the cost of killing them."""
    count, quantity = dataset.dead.sum("neuron"), dataset.attrs["quantity"]
    last, n = int(count[-1]), dataset.sizes["neuron"]
    whole, killed = (
        format_number(dataset[quantity][-1].sel(side="test", state=state))
        for state in ("whole", "killed")
    )
    dead = f"{last} of {n} neurons dead" if last < n else "no neuron is alive"
    text = (
        f"{dead} at step {int(dataset.step[-1]):,}, at most {int(count.max())} at step "
        f"{int(count.idxmax('step')):,}{_by_which(dataset)}; test {quantity} {whole}, {killed} "
        "with the dead killed"
    )
    return with_skipped_note(text, dataset)
