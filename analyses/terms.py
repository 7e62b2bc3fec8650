"""Which products of waves make up an activation? Variance by term of the 2-D Fourier basis.

Over all pairs (a, b) every activation is a sum of products of a function of a and one of b: const,
cos w_k a, sin w_k a, cos w_k a cos w_j b, … (`mechgrok.fourier_basis_2d`). In a network that has
learned to add, few terms hold most of the variance: the embedding has waves of a or of b alone, and
neurons and logits have the products cos w_k a cos w_k b, sin w_k a sin w_k b, … of a key frequency,
from which cos(w_k (a + b)) is made (Nanda et al. 2023, arXiv 2301.05217).
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panels
from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_percent, with_skipped_note
from mechgrok.analyses.measures.grids import grid_of
from mechgrok.analyses.measures.harmonics import Waves, harmonics, no_harmonics
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.analyses.measures.spacing import thin
from mechgrok.errors import UserError
from mechgrok.interventions import Network
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import fft2d, fourier_basis, term_name

#: Number of checkpoints measured by default.
_STOPS = 20
VERSION = 2
KINDS = ("a alone", "b alone", "one frequency", "two frequencies")
#: Smaller shares are white in the heat map.
_FAINT = 1e-5


def applies(run: Run) -> str | None:
    """Requires one operation on two residues."""
    if not isinstance(run.task, BinaryOperation):
        return f"{run.task.name} is not one operation on two residues."
    if (reason := no_harmonics(run.task)) is not None:
        return reason
    if not isinstance(harmonics(run.task), Waves):
        return "functions on its elements are representations, for which see activations."
    return None


VARIABLES = {
    "share": Variable(
        "step, of_a, of_b",
        "share of variance",
        "share of the term (function of a) × (function of b) in the variance over all pairs, "
        "summed over the units of the hook; 0 for the constant term",
    ),
    "kind_share": Variable(
        "step, kind",
        "share of variance",
        "share of the terms of a alone, of b alone, of products of waves of one frequency, and of "
        "products of two frequencies",
    ),
    "strongest_share": Variable(
        "step, term", "share of variance", "share of the strongest terms of the last step"
    ),
    "variance": Variable(
        "step", "activation squared", "variance over all pairs, summed over the units"
    ),
    "of_a": Variable("of_a", "none", "the function of a: const, cos 1, sin 1, …"),
    "of_b": Variable("of_b", "none", "the function of b"),
    "kind": Variable("kind", "none", "a group of terms"),
    "term": Variable("term", "none", "a term's name, the strongest first"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    hook: Annotated[
        str, "a hook point; default: the activations of the last hidden layer (hook_post)"
    ] = "neurons",
    position: Annotated[int, "position of the activation; of attention, that of the query"] = -1,
    units: Annotated[
        list[int] | None, "units of the hook to sum over, such as the neurons of a cluster; all"
    ] = None,
    strongest: Annotated[int, "number of terms to name"] = 10,
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Variance by term over all pairs (a, b), at 20 checkpoints or at ``steps``.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: there is no such hook point, position or unit.
    """
    check_at_least(1, strongest=strongest)
    units = [units] if isinstance(units, int) else units
    steps, of_steps = select_finite_steps(run, steps, partial(thin, count=_STOPS))
    parts = harmonics(run.task, order)
    hook = run.wiring.hidden[-1].hook if hook == "neurons" else hook
    grids = (grid_of(Network(run, step), hook, parts, position) for step in steps)
    power = torch.stack([_power(_only(grid, units, hook)) for grid in grids])
    variance = power.sum((1, 2))
    share = power / torch.where(variance > 0, variance, torch.nan)[:, None, None]
    names = fourier_basis(parts.n).names
    falling = power[-1].flatten().argsort(descending=True, stable=True)[:strongest]
    # Unflatten by hand, to name the terms.
    of_a, of_b = falling // parts.n, falling % parts.n
    terms = [term_name(names[i], names[j]) for i, j in zip(of_a, of_b, strict=True)]
    return described(
        VARIABLES,
        {
            "share": share.float().numpy(),
            "kind_share": _by_kind(share, parts.n).numpy(),
            "strongest_share": share[:, of_a, of_b].numpy(),
            "variance": variance.numpy(),
        },
        coords={
            "step": steps,
            "of_a": list(names),
            "of_b": list(names),
            "kind": list(KINDS),
            "term": terms,
        },
        attrs={
            "hook": _named(hook, units),
            "order": "additive" if parts.n == run.task.d_output else "multiplicative",
            **of_steps,
        },
    )


def _named(hook: str, units: list[int] | None) -> str:
    if units is None:
        return hook
    return f"{hook}, unit {units[0]}" if len(units) == 1 else f"{hook}, {len(units)} units"


def _only(
    grid: Float[Tensor, "n n unit"], units: list[int] | None, hook: str
) -> Float[Tensor, "n n chosen"]:
    if units is None:
        return grid
    size = grid.shape[-1]
    if wrong := [unit for unit in units if not 0 <= unit < size]:
        raise UserError(f"{hook} has no unit {wrong[0]}: choose from 0 to {size - 1}.")
    return grid[..., units]


def _power(grid: Float[Tensor, "n n unit"]) -> Float[Tensor, "n n"]:
    """The part of each term in the variance of all units; 0 for constants and rounding errors."""
    varies = (grid != grid[:1, :1]).any(0).any(0)
    power = fft2d(grid[..., varies]).square().sum(-1) / len(grid) ** 2
    power[0, 0] = 0
    return power


def _by_kind(share: Float[Tensor, "step n n"], n: int) -> Float[Tensor, "step kind"]:
    """The total share of each of `KINDS`."""
    frequency = (torch.arange(n) + 1) // 2
    a, b = frequency[:, None], frequency[None, :]
    members = ((b == 0), (a == 0), (a == b), (a != b) & (a > 0) & (b > 0))
    groups = [member & ((a > 0) | (b > 0)) for member in members]
    return torch.stack([share[:, group].sum(1) for group in groups], dim=1)


def finding(dataset: xr.Dataset) -> str:
    """The strongest terms, and the shares of the kinds of terms."""
    last = dataset.isel(step=-1)
    hook, step = dataset.attrs["hook"], int(last.step)
    if not float(last.variance) > 0:
        return with_skipped_note(f"{hook} is constant over all pairs at step {step:,}", dataset)
    terms = ", ".join(
        f"{term.item()} ({format_percent(share)})"
        for term, share in zip(last.term[:4], last.strongest_share[:4], strict=True)
    )
    kinds = ", ".join(
        f"{kind.item()} {format_percent(last.kind_share.sel(kind=kind))}" for kind in last.kind
    )
    text = f"terms of {hook} at step {step:,}: {terms}; by kind: {kinds}"
    return with_skipped_note(text, dataset)


# --- figure -------------------------------------------------------------------------------------


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """A heat map of the terms and the strongest ones at a step; below, kinds over training."""
    hooks = ", ".join(dict.fromkeys(dataset.attrs["hook"] for dataset in measured.values()))
    figure = Panels(
        measured,
        title=f"Variance of {hooks} over all pairs, by term",
        subtitle="rows: functions of a, columns: of b; bars: the last step's strongest terms",
        log=log,
        stops=_STOPS,
    )
    ticks = {
        "tickvals": [0, -1, -2, -3, -4, -5],
        "ticktext": ["100%", "10%", "1%", "0.1%", "", "0.001%"],
    }
    colors = figure.colors("share", float(np.log10(_FAINT)), 0, **ticks)
    for label, dataset in figure.pictured.items():
        row = figure.row(height=380)
        axis = {"type": "category", "nticks": 20, "tickfont": {"size": 10}, "showgrid": False}
        x, y = (axis | {"title": f"function of {operand}"} for operand in "ba")
        panel = row.panel(f"<b>{label}</b>", x=x, y=y | {"autorange": "reversed"}, width=1.5)
        names = {"x": dataset.of_b.to_numpy(), "y": dataset.of_a.to_numpy()}
        hover = "%{y} of a × %{x} of b<br>%{customdata:.2%} of variance"
        panel.heat(colors, run=label, at=_shares, hover=hover, **names)
        share = {"title": "share of variance", "tickformat": ".0%"}
        y = {"type": "category", "autorange": "reversed", "tickfont": {"size": 11}}
        panel = row.panel(
            "strongest terms", x=share, y=y | {"title": " ", "ticklabelposition": "inside"}
        )
        terms = dataset.term.to_numpy()
        bars: dict[str, Any] = {"orientation": "h", "y": terms, "marker": {"opacity": 0.6}}
        panel.add("bar", run=label, at=_strongest, hover="%{y}: %{x:.2%}", **bars)
    row = figure.row(height=170)
    for kind in KINDS:
        title = "of variance" if kind == KINDS[0] else ""
        panel = row.over_training(kind, y={**SHARE, "title": title}, marks=())
        panel.curves("kind_share", where={"kind": kind}, value="%{y:.1%}", follow=True)
    return figure.draw()


def _shares(now: xr.Dataset) -> dict[str, Any]:
    share = now.share.to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"z": np.where(share >= _FAINT, np.log10(share), np.nan), "customdata": share}


def _strongest(now: xr.Dataset) -> dict[str, Any]:
    return {"x": now.strongest_share.to_numpy()}
