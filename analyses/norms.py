"""How large are the weights? L1, L2 and L0 norms over training, in total and weight by weight.

If a falling norm caused generalization, equally small dense networks would generalize as early as
tickets. They do not (Minegishi et al. 2023, arXiv 2310.19470, fig. 2 and 11): compare a base run,
its ticket, and the controlled dense runs in one figure.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float

from mechgrok.analyses.drawing import LogAxis, Measured, Panels, draw_weights
from mechgrok.analyses.measures.formats import format_change, format_steps
from mechgrok.results.variables import Scalar, Variable, described
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
        "step, state", "weight", "mean of L2 over the weights, as in the paper's code"
    ),
    "n": Variable(
        "weight",
        "entries",
        "number of the weight's entries: l1 / n = mean |w| and l2 / √n = √(mean w²)",
    ),
    "state": Variable("state", "none", "raw: θ; masked: θ ⊙ m, the effective weights"),
}
#: Summaries of variables with further dimensions, one number per step.
SCALARS = {
    "total_l1": Scalar("total_l1", {"state": "masked"}),
    "total_l2": Scalar("total_l2", {"state": "masked"}),
    "total_l0": Scalar("total_l0", {"state": "masked"}),
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


def _norms(weight: Float[torch.Tensor, "..."]) -> tuple[float, float, float]:
    """L1, L2 and L0, summed in float64."""
    size = weight.double().abs()
    return float(size.sum()), float(size.square().sum().sqrt()), float(size.count_nonzero())


def per_parameter(norm: xr.DataArray, n: xr.DataArray, name: str) -> xr.DataArray:
    """The norm divided by the number of entries: l1 / n, l2 / √n or l0 / n."""
    return norm / (np.sqrt(n) if name == "l2" else n)


def finding(dataset: xr.Dataset) -> str:
    """The first and the last norm of the whole network."""
    masked = dataset.sel(state="masked")
    changes = (
        f"{_SYMBOL[name]} {format_change(masked[f'total_{name}'], form)}"
        for name, form in (("l1", ",.1f"), ("l2", ".2f"), ("l0", ",.0f"))
    )
    return f"{', '.join(changes)} {format_steps(dataset)}"


#: The axis of a size.
_SIZE: dict[str, Any] = {"rangemode": "tozero", "exponentformat": "SI"}


def draw(
    measured: Measured,
    *,
    norm: Annotated[Literal["l1", "l2", "l0"], "the norm in the panels of single weights"] = "l2",
    whole: Annotated[
        Literal["all", "mean"],
        "in the first row: norms of all weights together, or means over the weights",
    ] = "all",
    scaled: Annotated[bool, "divide by the number of entries, to compare weights"] = False,
    state: Annotated[Literal["masked", "raw"], "weights with their mask, or without"] = "masked",
    log: LogAxis = True,
) -> go.Figure:
    """Norms of the whole network above, one norm of each weight below, runs in colours."""
    formula = "θ ⊙ m (effective)" if state == "masked" else "θ"
    subtitle = f"weights {formula}; below, weight by weight"
    figure = Panels(
        measured, title="Norms of the weights over training", subtitle=subtitle, log=log
    )
    row = figure.row(height=230)
    for name in NORMS:
        is_mean = whole == "mean" and name != "l0"
        of = "mean over weights" if is_mean else "all weights"
        panel = row.over_training(f"{_SYMBOL[name]}, {of}: {_FORMULA[name]}", y=_SIZE)
        panel.curves(f"{'mean' if is_mean else 'total'}_{name}", where={"state": state})

    def curves(dataset: xr.Dataset) -> Iterator[tuple[xr.DataArray, dict[str, Any]]]:
        values = dataset[norm].sel(state=state)
        yield per_parameter(values, dataset.n, norm) if scaled else values, {}

    formula = _SCALED[norm] if scaled else f"{_SYMBOL[norm]} {_FORMULA[norm]}"
    draw_weights(figure, curves, height=160, title=formula, **_SIZE)
    return figure.draw()
