"""How many directions do embedding and unembedding use? Their singular values over training.

A network that adds with m frequencies needs two directions of the embedding space for each, a
cosine and a sine: 2m singular values of W_E and of W_U stay, and the others decay (Nanda et al.
2023, arXiv 2301.05217).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import LogAxis, Measured, Panels
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, with_skipped_note
from mechgrok.analyses.measures.geometry import effective_rank
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

SIDES = ("embedding", "unembedding")

VARIABLES = {
    "embedding": Variable(
        "step, direction",
        "weight",
        "singular values of W_E without the '=' token (without an embedding, of W_in), decreasing; "
        "NaN beyond the smaller side of the matrix",
    ),
    "unembedding": Variable(
        "step, direction", "weight", "as embedding, of W_U (without one, of W_out)"
    ),
    "embedding_rank": Variable(
        "step", "directions", "effective rank exp(−Σ q ln q), q = σ / Σ σ, of the embedding; 0 if 0"
    ),
    "unembedding_rank": Variable("step", "directions", "effective rank of the unembedding"),
    "direction": Variable("direction", "none", "the number of a singular value, from 1"),
}


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Singular values at every checkpoint, or at the given steps.

    Returns:
        `VARIABLES`.
    """
    steps, of_steps = select_finite_steps(run, steps)
    last = next(
        name for name in reversed(list(run.wiring.connections)) if _is_unembedding(run, name)
    )
    tokens = run.task.d_vocab - getattr(run.task, "equals", False)
    matrices = {
        "embedding": run.embedding(steps)[:, :tokens],
        "unembedding": run.weights(last, steps),
    }
    sigma = {side: torch.linalg.svdvals(of.double()) for side, of in matrices.items()}
    most = max(values.shape[1] for values in sigma.values())
    return described(
        VARIABLES,
        {
            **{side: _padded(values, most) for side, values in sigma.items()},
            **{f"{side}_rank": effective_rank(of).numpy() for side, of in matrices.items()},
        },
        {"step": steps, "direction": np.arange(1, most + 1)},
        {"embedding_formula": run.wiring.embedded.formula, "unembedding_formula": last, **of_steps},
    )


def _is_unembedding(run: Run, name: str) -> bool:
    return "output" in run.wiring.axes(name)


def _padded(values: Float[Tensor, "step value"], size: int) -> Float[np.ndarray, "step direction"]:
    missing = size - values.shape[1]
    return torch.nn.functional.pad(values, (0, missing), value=torch.nan).numpy()


def finding(dataset: xr.Dataset) -> str:
    """The change of both effective ranks."""
    ends = ", ".join(
        f"{dataset.attrs[f'{side}_formula']} {format_change(dataset[f'{side}_rank'], '.1f')}"
        for side in SIDES
    )
    return with_skipped_note(f"effective rank: {ends} by step {int(dataset.step[-1]):,}", dataset)


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Effective ranks over training; below, the singular values at a step."""
    figure = Panels(measured, title="Singular values of embedding and unembedding", log=log)
    row = figure.row(height=200)
    for side in SIDES:
        y = {"title": "directions", "rangemode": "tozero"}
        row.over_training(f"effective rank, {side}", y=y).curves(f"{side}_rank", follow=True)
    row = figure.row(height=230)
    for side in SIDES:
        panel = row.panel(side, x="direction", y={"title": "singular value", "rangemode": "tozero"})
        for label, dataset in figure.pictured.items():
            hover = "direction %{x}<br>σ = %{y:.3g}"
            at, x = partial(_values, side=side), dataset.direction.to_numpy()
            panel.add("scatter", run=label, at=at, x=x, mode="lines+markers", hover=hover)
    return figure.draw()


def _values(now: xr.Dataset, side: str) -> dict[str, Any]:
    return {"y": now[side].to_numpy()}
