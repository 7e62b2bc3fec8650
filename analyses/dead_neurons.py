"""Which neurons are dead, and which does the network need? Their norms; knocked out and revived.

A neuron is dead when nothing reaches it: no weight into it is kept by the mask (in a dense run, by
the checkpoint's magnitude mask), or its input weights have shrunk to a hundredth of the largest
neuron's. Killing the dead and giving them back their edges shows what they are good for; removing
each neuron, and each group of neurons of one frequency, shows what the others do (Minegishi et al.
2023, arXiv 2310.19470, version 2, fig. 13; there 18.75 % of the edges hung on dead neurons).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool
from torch import Tensor

from mechgrok.analyses.drawing import DEAD, Panel, Panels, Row, frequency_color, representatives
from mechgrok.analyses.measures.ablation import Readout
from mechgrok.analyses.measures.curves import judged_curve
from mechgrok.analyses.measures.finite import and_left_out, looked_at
from mechgrok.analyses.measures.masks import kept_edges
from mechgrok.analyses.measures.neurons import Census, dead_since, strongest_frequency
from mechgrok.analyses.measures.places import spread
from mechgrok.analyses.measures.residues import not_modular, residues
from mechgrok.errors import UserError
from mechgrok.interventions import Ablate, Network, Performance, Remask, Revive
from mechgrok.masks import Mask, Scope, check_rate
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.tasks import Task

SIDES = ("train", "test")
#: Which entries of a checkpoint's matrices are edges.
Edges = Callable[[Checkpoint], Mask]
#: The network as it is; its dead neurons killed; under its mask (a dense run under the magnitude
#: mask, others as they are); and under that mask with the dead neurons' edges put back.
STATES = ("whole", "killed", "pruned", "revived")


VARIABLES = {
    "input_norm": Variable(
        "step, neuron",
        "weight",
        "L2 norm of the weights into the neuron; of W_E W_in where it reads the embedding alone",
    ),
    "unconnected": Variable("step, neuron", "none", "whether no kept weight goes into the neuron"),
    "vanished": Variable(
        "step, neuron", "none", "whether the neuron's norm is below {tolerance} of the largest"
    ),
    "dead": Variable("step, neuron", "none", "whether the neuron is unconnected or vanished"),
    "edge_share": Variable(
        "step", "share", "of the kept weights into and out of neurons, the share at dead ones"
    ),
    "died": Variable("neuron", "step", "since when the neuron is dead; −1: alive"),
    "test_accuracy": Variable(
        "step", "share", "right answers on the test set, for tasks judged by them"
    ),
    "test_loss": Variable(
        "step", "{units of the loss}", "the loss on the test set, for tasks judged by it"
    ),
    "accuracy": Variable("knockout, side, state", "share", "right answers in the state"),
    "loss": Variable("knockout, side, state", "{units of the loss}", "the loss in the state"),
    "accuracy_without": Variable("knockout, side, neuron", "share", "accuracy without the neuron"),
    "loss_without": Variable(
        "knockout, side, neuron", "{units of the loss}", "loss without the neuron"
    ),
    "firing": Variable(
        "knockout, neuron", "share", "of all examples, the share on which the neuron is active"
    ),
    "frequency_of": Variable(
        "knockout, neuron",
        "{units of a frequency}",
        "the neuron's strongest frequency, on modular tasks",
    ),
    "accuracy_without_frequency": Variable(
        "knockout, side, frequency",
        "share",
        "accuracy without all living neurons of the frequency; NaN where there are none",
    ),
    "loss_without_frequency": Variable(
        "knockout, side, frequency",
        "{units of the loss}",
        "loss without all living neurons of the frequency; NaN where there are none",
    ),
    "knockout": Variable("knockout", "step", "checkpoints at which neurons are knocked out"),
    "state": Variable(
        "state",
        "none",
        "whole: as it is; killed: without the dead; pruned: under its mask (a dense run's "
        "magnitude mask); revived: pruned, with the dead neurons' edges put back",
    ),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    rate: Annotated[float, "prune rate k of a dense run's magnitude masks"] = 0.6,
    scope: Annotated[Scope, "one threshold, or one per weight"] = "global",
    tolerance: Annotated[float, "share of the largest input norm below which one is dead"] = 0.01,
    knockouts: Annotated[int, "checkpoints at which neurons are knocked out"] = 16,
) -> xr.Dataset:
    """The dead at every checkpoint, or at the given steps, and knock-outs at some of them.

    The neurons are those of the last hidden layer. An input norm is that of the neuron's column of
    W_E W_in where neurons read the embedding alone, else of its columns of all weights that it
    reads by.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: the rate or the tolerance is outside [0, 1), or ``knockouts`` is not positive.
    """
    check_rate(rate)
    if not 0 <= tolerance < 1:
        raise UserError(f"A tolerance of {tolerance} is outside [0, 1): choose one such as 0.01.")
    if knockouts < 1:
        raise UserError(f"{knockouts} knock-outs cannot be measured: choose 1 or more.")
    steps, of_steps = looked_at(run, steps)
    edges = partial(kept_edges, rate=rate, scope=scope)
    task = run.task
    _ = task.train, task.test, run.metrics  # made once, before threads ask for them together
    knocked = spread(steps, knockouts)
    with ThreadPoolExecutor() as pool:
        counts = pool.map(lambda step: _census(run, step, edges), steps)
        dying = _who_is_dead(list(counts), steps, tolerance)
        dead = dict(zip(steps, dying["dead"], strict=True))
        pruning = Remask(rate=rate, scope=scope)
        each = list(pool.map(lambda step: knock_out(run, step, dead[step], pruning), knocked))
    quantity, curve = judged_curve(run, steps)
    with_waves = not not_modular(task)
    n = len(residues(task)) if with_waves else 0
    return described(
        VARIABLES,
        {
            **dying,
            quantity: curve,
            **{name: np.stack([one[name] for one in each]) for name in each[0]},
        },
        {
            "step": steps,
            "knockout": knocked,
            "neuron": np.arange(len(dying["died"])),
            "side": list(SIDES),
            "state": list(STATES),
            **({"frequency": np.arange(n // 2 + 1)} if with_waves else {}),
        },
        {
            "edges": "the run's mask" if run.mask is not None else f"magnitude mask, k = {rate:g}",
            "tolerance": tolerance,
            "quantity": task.criterion.quantity,
            **of_steps,
            **run.milestones,
        },
        {
            "tolerance": f"{tolerance:g}",
            "units of the loss": task.loss_units,
            "units of a frequency": f"cycles per {n}",
        },
    )


# --- who is dead --------------------------------------------------------------------------------


def _census(run: Run, step: int, edges: Edges) -> Census:
    saved = run.checkpoint(step)
    return Census.of(saved, edges(saved), run.wiring.hidden[-1])


def _who_is_dead(
    counts: Sequence[Census], steps: Sequence[int], tolerance: float
) -> dict[str, np.ndarray]:
    """Norms, deaths and their causes, as `VARIABLES` says."""
    norm, unconnected, edges = (np.stack(part) for part in zip(*counts, strict=True))
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


# --- what they do -------------------------------------------------------------------------------


def knock_out(
    run: Run, step: int, dead: Bool[np.ndarray, " neuron"], pruning: Remask
) -> dict[str, np.ndarray]:
    """Accuracy and loss of a checkpoint after every knock-out, as `VARIABLES` says.

    Args:
        run: a run.
        step: which checkpoint.
        dead: its dead neurons.
        pruning: what gives a dense checkpoint its mask in the states "pruned" and "revived".
    """
    task, network, layer = run.task, Network(run, step), run.wiring.hidden[-1]
    killed = torch.from_numpy(dead)
    readout = {side: Readout.of(network.model, layer, getattr(task, side).inputs) for side in SIDES}
    states = {side: _states(network, side, killed, pruning) for side in SIDES}
    active = torch.cat([parts.post > 0 for parts in readout.values()])
    values = _performance(task, states)
    if layer.recurrent:
        each = torch.eye(len(dead), dtype=torch.bool)
        without_each = {side: _without_groups(network, side, readout[side], each) for side in SIDES}
    else:
        without_each = {side: parts.without_each() for side, parts in readout.items()}
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
) -> Iterator[Tensor]:
    """Outputs in each of `STATES`."""
    inputs, neurons = getattr(network.run.task, side).inputs, tuple(np.flatnonzero(dead).tolist())
    yield network.outputs(inputs)
    yield network.under(Ablate(neurons=neurons)).outputs(inputs)
    pruned = network.under(pruning) if network.run.mask is None else network
    yield pruned.outputs(inputs)
    yield pruned.under(Revive(neurons=neurons)).outputs(inputs)


def _without_groups(
    network: Network, side: str, readout: Readout, groups: Bool[Tensor, "neuron group"]
) -> Iterator[Tensor | None]:
    """The outputs without each group of neurons; None for an empty group.

    Recurrent neurons act on one another: the network is run anew without each group.
    """
    for group in groups.T:
        if not group.any():
            yield None
        elif network.run.wiring.hidden[-1].recurrent:
            neurons = tuple(group.nonzero().flatten().tolist())
            inputs = getattr(network.run.task, side).inputs
            yield network.under(Ablate(neurons=neurons)).outputs(inputs)
        else:
            yield readout.without(group)


def _performance(
    task: Task, outputs: Mapping[str, Iterable[Tensor | None]], suffix: str = ""
) -> dict[str, np.ndarray]:
    """Accuracy and loss of every side's outputs, ``[side, …]``; NaN where there are none."""
    nothing = Performance(float("nan"), float("nan"))
    table = np.array(
        [
            [
                nothing if each is None else Performance.of(task, each, getattr(task, side).labels)
                for each in outputs[side]
            ]
            for side in SIDES
        ]
    )
    return {f"accuracy{suffix}": table[..., 0], f"loss{suffix}": table[..., 1]}


# --- in words and in a figure -------------------------------------------------------------------

#: As many neurons as a panel has room for: evenly chosen for norms, those that matter for bars.
_SHOWN = 128


def finding(dataset: xr.Dataset) -> str:
    """How many are dead at the end and at most, and what killing the dead and the living costs."""
    count = dataset.dead.sum("neuron")
    quantity = dataset.attrs["quantity"]
    last = dataset.isel(knockout=-1).sel(side="test")
    whole = float(last[quantity].sel(state="whole"))
    told = ("{:.1%}" if quantity == "accuracy" else "{:.3g}").format
    words = (
        f"{int(count[-1])} of {dataset.sizes['neuron']} neurons dead at step "
        f"{int(dataset.step[-1]):,} ({float(dataset.edge_share[-1]):.2%} of their edges), at most "
        f"{int(count.max())} at step {int(count.idxmax('step')):,}; test {quantity} {told(whole)}, "
        f"{told(float(last[quantity].sel(state='killed')))} with the dead killed"
    )
    if int(count[-1]) == dataset.sizes["neuron"]:
        words = (
            f"no neuron is alive at step {int(dataset.step[-1]):,}; test {quantity} {told(whole)}"
        )
        return and_left_out(words, dataset)
    for what in ("neuron", "frequency"):
        without = last.get(f"{quantity}_without{'_frequency' if what == 'frequency' else ''}")
        if without is not None and without.notnull().any():
            worst = int(without.idxmin() if quantity == "accuracy" else without.idxmax())
            words += f", {told(float(without.sel({what: worst})))} without {what} {worst}"
    return and_left_out(words, dataset)


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    side: Annotated[
        Literal["train", "test"], "the examples that knock-outs are judged on"
    ] = "test",
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """Counts of the dead, what killing and reviving does, norms, and knock-outs with a slider."""
    if len(measured) > 6:
        raise UserError(f"{len(measured)} runs do not fit into one figure: give at most 6.")
    quantity = str(next(iter(measured.values())).attrs["quantity"])
    figure = Panels(
        measured,
        title=_title(measured, side, quantity),
        subtitle=_subtitle(measured),
        log=log,
        along="knockout",
    )
    _draw_counts(figure, side, quantity)
    row = figure.row(height=200)
    for label, dataset in measured.items():
        _draw_norms(row, dataset, label)
    what = f"fall of {side} accuracy" if quantity == "accuracy" else f"rise of {side} loss"
    row = figure.row(height=200)
    for label, dataset in representatives(measured).items():
        by = "strongest frequency" if "frequency" in dataset.dims else "cost"
        panel = row.panel(
            f"{label}: {what} without one neuron",
            x={"title": f"neuron, by {by}", "showticklabels": False, "ticks": ""},
            y={"title": what, **_same_scale(measured, f"{quantity}_without", side, quantity)},
        )
        _draw_without_one(panel, dataset, label, side, quantity)
    if any("frequency" in dataset.dims for dataset in measured.values()):
        row = figure.row(height=200)
        for label, dataset in representatives(measured).items():
            if "frequency" in dataset.dims:
                name = f"{quantity}_without_frequency"
                panel = row.panel(
                    f"{label}: {what} without a frequency",
                    x="frequency ω of the group",
                    y={"title": what, **_same_scale(measured, name, side, quantity)},
                )
                _draw_without_frequency(panel, dataset, label, side, quantity)
            else:
                row.empty()
    return figure.draw()


def _title(measured: Mapping[str, xr.Dataset], side: str, quantity: str) -> str:
    """What killing the dead, and what removing a single neuron, costs at most."""
    killed, single = 0.0, 0.0
    for dataset in measured.values():
        judged = dataset[quantity].sel(side=side)
        whole = judged.sel(state="whole")
        killed = max(killed, float(abs(judged.sel(state="killed") - whole).max()))
        without = dataset[f"{quantity}_without"].sel(side=side)
        single = max(single, float(abs(without - whole).max()))
    by = [
        f"{100 * each:.2g} points" if quantity == "accuracy" else f"{each:.2g}"
        for each in (killed, single)
    ]
    if not any(bool(dataset.dead.any()) for dataset in measured.values()):
        return f"No neuron is dead; removing one changes {side} {quantity} by up to {by[1]}"
    return (
        f"Killing all dead neurons changes {side} {quantity} by at most {by[0]}, removing one "
        f"neuron by up to {by[1]}"
    )


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    kinds = "; ".join(f"{label}: {dataset.edges}" for label, dataset in measured.items())
    tolerance = next(iter(measured.values())).tolerance
    return (
        f"dead: no kept weight into it ({kinds}), or input norm below {tolerance:g} of the "
        "largest; grey bars are dead"
    )


def _draw_without_one(
    panel: Panel, dataset: xr.Dataset, label: str, side: str, quantity: str
) -> None:
    """What removing each neuron costs; the dead are grey, others have their frequency's colour."""
    with_frequency = "frequency" in dataset.dims

    def at(now: xr.Dataset) -> dict[str, Any]:
        dead = dataset.dead.sel(step=int(now.knockout)).to_numpy()
        cost = _cost(now, f"{quantity}_without", side, quantity).to_numpy()
        told = [np.arange(len(cost)), now.firing.to_numpy()]
        color = np.full(len(cost), panel.figure.color_of(label))
        order = np.argsort(-cost, kind="stable")[:_SHOWN]
        if with_frequency:
            frequency = now.frequency_of.to_numpy()
            told.append(frequency)
            color = np.array([frequency_color(each) for each in frequency.tolist()])
            order = np.lexsort((-cost, frequency, dead))
        return {
            "x": np.arange(len(order)),
            "y": cost[order],
            "customdata": np.stack(told, 1)[order],
            "marker": {"color": np.where(dead, DEAD, color)[order]},
        }

    wave = ", ω = %{customdata[2]}" if with_frequency else ""
    hover = f"neuron %{{customdata[0]}}{wave}<br>fires on %{{customdata[1]:.0%}} of all examples"
    panel.add("bar", run=label, at=at, hover=f"{hover}<br>%{{y:.3g}}")


def _draw_without_frequency(
    panel: Panel, dataset: xr.Dataset, label: str, side: str, quantity: str
) -> None:
    """What removing all living neurons of a frequency costs."""
    omega = dataset.frequency.to_numpy().tolist()

    def at(now: xr.Dataset) -> dict[str, Any]:
        alive = ~dataset.dead.sel(step=int(now.knockout)).to_numpy()
        cost = _cost(now, f"{quantity}_without_frequency", side, quantity)
        members = np.bincount(now.frequency_of.to_numpy()[alive], minlength=len(omega))
        return {"y": cost.fillna(0).to_numpy(), "customdata": members}

    panel.add(
        "bar",
        run=label,
        at=at,
        hover="ω = %{x}: %{customdata} neurons<br>%{y:.3g}",
        x=omega,
        marker={"color": [frequency_color(each) for each in omega]},
    )


def _cost(dataset: xr.Dataset, name: str, side: str, quantity: str) -> xr.DataArray:
    """How much worse it is without: the fall of accuracy, or the rise of loss."""
    sign = -1 if quantity == "accuracy" else 1
    judged = dataset.sel(side=side)
    return sign * (judged[name] - judged[quantity].sel(state="whole", drop=True))


def _same_scale(
    measured: Mapping[str, xr.Dataset], name: str, side: str, quantity: str
) -> dict[str, Any]:
    """One range for all steps and runs, so that bars can be compared along the slider."""
    costs = [_cost(ds, name, side, quantity) for ds in measured.values() if name in ds]
    low = min(0.0, *(float(cost.min()) for cost in costs))
    high = max(1e-3, *(float(cost.max()) for cost in costs))
    margin = 0.05 * (high - low)
    percent = {"tickformat": ".1%" if high < 0.05 else ".0%"} if quantity == "accuracy" else {}
    return {"range": [low - margin, high + margin], **percent}


#: How a state is drawn over training: the dash tells, and the width of the network as it is.
_LOOKS: dict[str, dict[str, Any]] = {
    "whole": {"dash": "solid", "width": 3, "opacity": 0.5},
    "killed": {"dash": "longdash"},
    "pruned": {"dash": "dashdot"},
    "revived": {"dash": "dot"},
}


def _draw_counts(figure: Panels, side: str, quantity: str) -> None:
    """The first row: how many are dead, their share of edges, and what kills and revivals do."""
    measured = figure.measured
    most = max(float(dataset.dead.sum("neuron").max()) for dataset in measured.values())
    share = max(float(dataset.edge_share.max()) for dataset in measured.values())
    row = figure.row(height=200)
    counts = row.over_training(
        "dead neurons", y={"title": "neurons", "range": [0, 1.08 * max(4, most)]}
    )
    shares = row.over_training(
        "edges at dead neurons",
        y={"title": "share", "tickformat": ".2~%", "range": [0, 1.08 * max(0.01, share)]},
    )
    judged = row.over_training(
        f"{side} {quantity}: whole, dead killed, under the mask, dead revived",
        y={"tickformat": "~%"} if quantity == "accuracy" else {"type": "log"},
    )
    for label, dataset in measured.items():
        counts.lines(dataset.step, dataset.dead.sum("neuron"), run=label, value="%{y} dead")
        shares.lines(dataset.step, dataset.edge_share, run=label, value="%{y:.2%} of the edges")
        for state, look in _LOOKS.items():
            curve = dataset[quantity].sel(side=side, state=state)
            judged.lines(dataset.knockout, curve, run=label, key=state, **look)


def _draw_norms(row: Row, dataset: xr.Dataset, label: str) -> None:
    """A line for each neuron's input norm over the largest; those that die in black."""
    relative = dataset.input_norm / dataset.input_norm.max("neuron")
    tolerance = dataset.attrs["tolerance"]
    # Neurons without any kept weight have norm 0 and no place on a logarithmic axis.
    lowest = max(1e-5, min(float(relative.where(relative > 0).min()), tolerance or 1))
    panel = row.over_training(
        f"{label}: input norm of each neuron",
        y={
            "title": "share of the largest",
            "type": "log",
            "dtick": 1,
            "exponentformat": "power",
            "range": [np.log10(lowest) - 0.2, 0.1],
        },
        marks=[label],
    )
    shown = spread(dataset.neuron.to_numpy().tolist(), _SHOWN)
    x = np.append(dataset.step.to_numpy().astype(float), np.nan)
    ever_dead = dataset.dead.any("step").to_numpy()
    for is_dead in (False, True):
        chosen = [neuron for neuron in shown if ever_dead[neuron] == is_dead]
        if not chosen:
            continue
        values = relative.sel(neuron=chosen).transpose("neuron", "step").to_numpy()
        gaps = np.full((len(chosen), 1), np.nan)
        panel.lines(
            np.tile(x, len(chosen)),
            np.concatenate([np.where(values > 0, values, np.nan), gaps], 1).ravel(),
            run=label,
            entry="dead at some step" if is_dead else None,
            mode="lines" if dataset.sizes["step"] > 1 else "markers",
            color="#000000" if is_dead else None,
            customdata=np.repeat(chosen, len(x)),
            value="neuron %{customdata}<br>%{y:.3g} of the largest",
            width=0.8,
            opacity=0.8 if is_dead else 0.35,
        )
    if tolerance > 0:
        panel.level(tolerance, "dead below")
