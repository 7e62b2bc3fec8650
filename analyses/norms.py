"""How large are the weights? L1, L2 and L0 norms over training, whole and weight by weight.

If a falling norm were what makes a network generalize, equally small dense networks would
generalize as early as tickets do. They do not (Minegishi et al. 2023, arXiv 2310.19470, fig. 2 and
11): compare a base run, its ticket, and the controlled dense runs in one figure.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr

from mechgrok.analyses.drawing import Panels
from mechgrok.analyses.measures.words import between_steps, ends
from mechgrok.formatting import norm as show_norm
from mechgrok.models.wiring import short_names
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

PER_STEP = True

NORMS = ("l1", "l2", "l0")
_SYMBOL = {"l1": "L1", "l2": "L2", "l0": "L0"}
_FORMULA = {"l1": "Σ|w|", "l2": "√Σw²", "l0": "number of w ≠ 0"}
_SCALED = {"l1": "mean |w|", "l2": "root mean square of w", "l0": "share of w ≠ 0"}


VARIABLES = {
    "l1": Variable("step, weight, state", "weight", f"{_FORMULA['l1']} of a weight's entries w"),
    "l2": Variable("step, weight, state", "weight", f"{_FORMULA['l2']} of a weight's entries w"),
    "l0": Variable("step, weight, state", "entries", f"{_FORMULA['l0']} of a weight"),
    "total_l1": Variable("step, state", "weight", "L1 of all weights together"),
    "total_l2": Variable("step, state", "weight", "L2 of all weights together"),
    "total_l0": Variable("step, state", "entries", "L0 of all weights together"),
    "mean_l1": Variable("step, state", "weight", "mean of L1 over the weights"),
    "mean_l2": Variable(
        "step, state", "weight", "mean of L2 over the weights, as the paper's authors compare"
    ),
    "n": Variable(
        "weight",
        "entries",
        "number of the weight's entries, by which l1 / n = mean |w| and l2 / √n = √(mean w²)",
    ),
    "state": Variable("state", "none", "raw: θ; masked: θ ⊙ m, what the network computes with"),
}


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Norms at every checkpoint, or at the given steps.

    Returns:
        `VARIABLES`.
    """
    steps = run.select(steps)
    names = run.weight_names
    norms = np.zeros((len(NORMS), len(steps), len(names), 2))
    for row, step in enumerate(steps):
        saved = run.checkpoint(step)
        effective = saved.effective_weights
        for column, name in enumerate(names):
            norms[:, row, column, 0] = _norms(saved.weights[name])
            norms[:, row, column, 1] = _norms(effective[name])
    l1, l2, l0 = norms
    total = {"l1": l1.sum(1), "l2": np.sqrt(np.square(l2).sum(1)), "l0": l0.sum(1)}
    sizes = [run.checkpoint(steps[0]).weights[name].numel() for name in names]
    return described(
        VARIABLES,
        {
            **dict(zip(NORMS, norms, strict=True)),
            **{f"total_{name}": total[name] for name in NORMS},
            "mean_l1": l1.mean(1),
            "mean_l2": l2.mean(1),
            "n": sizes,
        },
        coords={"step": steps, "weight": names, "state": ["raw", "masked"]},
        attrs=run.milestones,
    )


def _norms(weight: torch.Tensor) -> tuple[float, float, float]:
    """L1, L2 and L0, summed in float64."""
    size = weight.double().abs()
    return float(size.sum()), float(size.square().sum().sqrt()), float(size.count_nonzero())


def per_parameter(norm: xr.DataArray, n: xr.DataArray, name: str) -> xr.DataArray:
    """The norm made independent of the number of entries: l1 / n, l2 / √n or l0 / n."""
    return norm / (np.sqrt(n) if name == "l2" else n)


def finding(dataset: xr.Dataset) -> str:
    """Where each norm of the whole network starts and ends, and where L2 peaked."""
    masked = dataset.sel(state="masked")
    finite = np.isfinite(masked.total_l2).to_numpy()
    if not finite.any():
        return "the weights are not finite numbers at any step"
    masked = masked.isel(step=finite)
    first, last = masked.isel(step=0), masked.isel(step=-1)
    changes = ", ".join(
        f"{_SYMBOL[name]} " + ends(_size(first[f"total_{name}"]), _size(last[f"total_{name}"]))
        for name in NORMS
    )
    at = int(masked.total_l2.idxmax("step"))
    peak = f"; L2 peaks at {_size(masked.total_l2.max())} at step {at:,}"
    return (
        f"{changes} {between_steps(masked)}"
        + (peak if masked.sizes["step"] > 1 else "")
        + ("" if finite.all() else "; at other steps the weights are not finite numbers")
    )


def _size(value: xr.DataArray) -> str:
    return show_norm(float(value), digits=0 if float(value) >= 1000 else 2)


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    norm: Annotated[Literal["l1", "l2", "l0"], "the norm shown weight by weight"] = "l2",
    whole: Annotated[
        Literal["all", "mean"], "above: norms of all weights together, or means over the weights"
    ] = "all",
    scaled: Annotated[bool, "divide by the number of entries: comparable across weights"] = False,
    state: Annotated[
        Literal["masked", "raw"], "weights under their mask, or without it"
    ] = "masked",
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """Norms of the whole network above, one norm of each weight below, runs in colours."""
    what = "θ ⊙ m, as the network uses them" if state == "masked" else "θ"
    subtitle = f"weights {what}; below, weight by weight"
    figure = Panels(measured, title=_title(measured, state), subtitle=subtitle, log=log)
    row = figure.row(height=230)
    for name in NORMS:
        is_mean = whole == "mean" and name != "l0"
        of = "mean over weights" if is_mean else "all weights"
        panel = row.over_training(f"{_SYMBOL[name]}, {of}: {_FORMULA[name]}", y=_SIZE)
        for label, dataset in measured.items():
            norms = dataset[f"{'mean' if is_mean else 'total'}_{name}"]
            panel.lines(dataset.step, norms.sel(state=state), run=label)
    weights = list(dict.fromkeys(str(w) for ds in measured.values() for w in ds.weight.to_numpy()))
    short = short_names(weights)
    formula = _SCALED[norm] if scaled else f"{_SYMBOL[norm]} {_FORMULA[norm]}"
    for at, weight in enumerate(weights):
        if at % _ACROSS == 0:
            row = figure.row(height=160)
        title = {"title": formula} if at % _ACROSS == 0 else {}
        panel = row.over_training(short[weight], y=_SIZE | title, marks=())
        for label, dataset in measured.items():
            if weight not in dataset.weight:
                continue
            each = dataset.sel(weight=weight, state=state)
            y = per_parameter(each[norm], each.n, norm) if scaled else each[norm]
            panel.lines(dataset.step, y, run=label)
    row.fill(_ACROSS)
    return figure.draw()


#: Weights beside one another, and the axis of a size.
_ACROSS = 4
_SIZE = {"rangemode": "tozero", "exponentformat": "SI"}


def _title(measured: Mapping[str, xr.Dataset], state: str) -> str:
    """How the last L1 and L2 norms compare: across runs, or with the first ones of the one run."""
    lasts = {
        name: [float(ds[f"total_{name}"].sel(state=state)[-1]) for ds in measured.values()]
        for name in ("l1", "l2")
    }
    firsts = [float(ds.total_l1.sel(state=state)[0]) for ds in measured.values()]
    if not all(np.isfinite(size) and size > 0 for size in [*firsts, *lasts["l1"], *lasts["l2"]]):
        return "Norms of the weights over training"
    if len(measured) == 1 and next(iter(measured.values())).sizes["step"] == 1:
        return "Norms of the weights at the one checkpoint there is"
    if len(measured) == 1:
        only = next(iter(measured.values())).sel(state=state)
        change = {name: lasts[name][0] / float(only[f"total_{name}"][0]) - 1 for name in lasts}
        return " and ".join(
            f"L{name[1]} {'grows' if by > 0 else 'falls'} by {abs(by):.0%}"
            for name, by in change.items()
        )
    apart = {name: max(values) / min(values) - 1 for name, values in lasts.items()}
    return f"At the end L2 norms lie {apart['l2']:.0%} apart, L1 norms {apart['l1']:.0%}"
