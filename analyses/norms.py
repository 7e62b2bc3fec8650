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
from plotly.subplots import make_subplots

from analyses.drawing import TEMPLATE, mark_learning, run_colors, short_names, step_axis
from mechgrok.runs import Run

PER_STEP = True

NORMS = ("l1", "l2", "l0")
_SYMBOL = {"l1": "L1", "l2": "L2", "l0": "L0"}
_FORMULA = {"l1": "Σ|w|", "l2": "√Σw²", "l0": "number of w ≠ 0"}
_SCALED = {"l1": "mean |w|", "l2": "root mean square of w", "l0": "share of w ≠ 0"}


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Norms at every checkpoint, or at the given steps.

    Returns:
        ``l1`` = Σ|w|, ``l2`` = √Σw² and ``l0`` = #{w ≠ 0} over ``[step, weight, state]``; the state
        is "raw" (θ) or "masked" (θ ⊙ m, what the network computes with; the same where there is no
        mask). ``total_l1``, ``total_l2``, ``total_l0 [step, state]`` are those of all weights
        together, and ``n [weight]`` counts the entries, so that l1 / n = mean |w| and
        l2 / √n = √(mean w²) compare weights of different sizes.
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
    each, all_ = ("step", "weight", "state"), ("step", "state")
    definition = {name: {"definition": _FORMULA[name], "units": "1"} for name in NORMS}
    sizes = [run.checkpoint(steps[0]).weights[name].numel() for name in names]
    return xr.Dataset(
        {
            **{name: (each, norms[i], definition[name]) for i, name in enumerate(NORMS)},
            **{f"total_{name}": (all_, total[name], definition[name]) for name in NORMS},
            "n": ("weight", sizes, {"definition": "entries of the weight"}),
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
    ends = ", ".join(
        f"{_SYMBOL[name]} {_number(first[f'total_{name}'])} → {_number(last[f'total_{name}'])}"
        for name in NORMS
    )
    peak = masked.total_l2.idxmax("step")
    return (
        f"{ends} from step {int(first.step):,} to {int(last.step):,}; "
        f"L2 peaks at {_number(masked.total_l2.max())} at step {int(peak):,}"
        + ("" if finite.all() else "; at other steps the weights are not finite numbers")
    )


def _number(value: xr.DataArray) -> str:
    """With a thousands separator, and decimals where the number is small."""
    return f"{float(value):,.{0 if float(value) >= 1000 else 2}f}"


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    norm: Annotated[Literal["l1", "l2", "l0"], "the norm shown weight by weight"] = "l2",
    scaled: Annotated[bool, "divide by the number of entries: comparable across weights"] = False,
    state: Annotated[
        Literal["masked", "raw"], "weights under their mask, or without it"
    ] = "masked",
) -> go.Figure:
    """Norms of the whole network above, one norm of each weight below, runs in colours."""
    colors = run_colors(measured)
    weights = list(dict.fromkeys(str(w) for ds in measured.values() for w in ds.weight.to_numpy()))
    short = short_names(weights)
    columns = 12
    n_across = next(n for n in (4, 3, 2, 1) if len(weights) % n == 0 or n < 3 or len(weights) > n)
    n_rows = -(-len(weights) // n_across)
    wide, narrow = columns // len(NORMS), columns // n_across
    whole: list[dict | None] = [{"colspan": wide}, *[None] * (wide - 1)] * len(NORMS)
    parts: list[dict | None] = [{"colspan": narrow}, *[None] * (narrow - 1)] * n_across
    formula = _SCALED if scaled else {name: f"{_SYMBOL[name]} {_FORMULA[name]}" for name in NORMS}
    figure = make_subplots(
        1 + n_rows,
        columns,
        specs=[whole, *[parts] * n_rows],
        subplot_titles=[
            *(f"{_SYMBOL[name]} of all weights: {_FORMULA[name]}" for name in NORMS),
            *(f"{short[weight]}" for weight in weights),
        ],
        row_heights=[1.3, *[1.0] * n_rows],
        horizontal_spacing=0.035,
        vertical_spacing=0.28 / (1 + n_rows),
    )

    def curve(label: str, y: xr.DataArray, row: int, column: int, *, legend: bool) -> None:
        figure.add_scatter(
            x=y.step,
            y=y.astype(np.float32),
            name=label,
            legendgroup=label,
            showlegend=legend,
            line={"color": colors[label], "width": 2},
            hovertemplate=f"{label}<br>step %{{x:,}}<br>%{{y:,.4g}}<extra></extra>",
            row=row,
            col=column,
        )

    for label, dataset in measured.items():
        at = dataset.sel(state=state)
        for place, name in enumerate(NORMS):
            curve(
                label,
                at[f"total_{name}"],
                1,
                1 + place * wide,
                legend=place == 0 and len(measured) > 1,
            )
        for place, weight in enumerate(weights):
            if weight in at.weight:
                y = at[norm].sel(weight=weight)
                if scaled:
                    y = per_parameter(y, at.n.sel(weight=weight), norm)
                row, column = divmod(place, n_across)
                curve(label, y, 2 + row, 1 + column * narrow, legend=False)
    for place in range(len(NORMS)):
        mark_learning(figure, measured, colors, row=1, col=1 + place * wide)
    for place in range(n_across):
        step_axis(figure, row=1 + n_rows, col=1 + place * narrow)
    figure.update_yaxes(rangemode="tozero", exponentformat="SI")
    for row in range(n_rows):
        figure.update_yaxes(title=formula[norm], row=2 + row, col=1)
    return figure.update_layout(
        template=TEMPLATE,
        height=450 + 260 * n_rows,
        margin={"t": 125},
        title={
            "text": _title(measured, state),
            "subtitle": {
                "text": f"weights {'θ ⊙ m, as the network uses them' if state == 'masked' else 'θ'}"
                "; dotted line: t_mem, dashed line: t_gen; below, weight by weight"
            },
        },
    )


def _title(measured: Mapping[str, xr.Dataset], state: str) -> str:
    """How the last L1 and L2 norms compare: across runs, or with the first ones of the one run."""
    ends = {
        name: [float(ds[f"total_{name}"].sel(state=state)[-1]) for ds in measured.values()]
        for name in ("l1", "l2")
    }
    if len(measured) == 1:
        only = next(iter(measured.values())).sel(state=state)
        change = {name: ends[name][0] / float(only[f"total_{name}"][0]) - 1 for name in ends}
        return " and ".join(
            f"L{name[1]} {'grows' if by > 0 else 'falls'} by {abs(by):.0%}"
            for name, by in change.items()
        )
    apart = {name: max(values) / min(values) - 1 for name, values in ends.items()}
    return f"At the end L2 norms lie {apart['l2']:.0%} apart, L1 norms {apart['l1']:.0%}"
