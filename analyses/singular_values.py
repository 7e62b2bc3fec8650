"""How many directions do embedding and unembedding use? Their singular values over training.

A network that adds with m frequencies needs two directions of the embedding space for each, a
cosine and a sine: 2m singular values of W_E and of W_U stay, and the others decay (Nanda et al.
2023, arXiv 2301.05217).
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

from mechgrok.analyses.drawing import LogAxis, Measured, Panels
from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, with_skipped_note
from mechgrok.analyses.measures.geometry import effective_rank
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

VERSION = 2
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
    "embedding_vector": Variable(
        "step, vector, token",
        "none",
        "only with vectors: the left singular vectors of the embedding, functions of the token; of "
        "each pair of signs the one with a positive largest entry",
    ),
    "unembedding_vector": Variable(
        "step, vector, answer",
        "none",
        "only with vectors: the right singular vectors of the unembedding, functions of the answer",
    ),
    "vector": Variable("vector", "none", "the number of a singular vector, from 1"),
    "token": Variable("token", "none", "a token, or without an embedding an input"),
    "answer": Variable("answer", "none", "an output"),
    "direction": Variable("direction", "none", "the number of a singular value, from 1"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    vectors: Annotated[int, "number of singular vectors, the strongest first"] = 0,
) -> xr.Dataset:
    """Singular values at every checkpoint, or at the given steps.

    Returns:
        `VARIABLES`.
    """
    check_at_least(0, vectors=vectors)
    steps, of_steps = select_finite_steps(run, steps)
    last = next(
        name for name in reversed(list(run.wiring.connections)) if _is_unembedding(run, name)
    )
    tokens = run.task.d_vocab - getattr(run.task, "equals", False)
    matrices = {
        "embedding": run.embedding(steps)[:, :tokens],
        "unembedding": run.weights(last, steps),
    }
    functions = {"embedding": matrices["embedding"], "unembedding": matrices["unembedding"].mT}
    sigma = {side: torch.linalg.svdvals(of.double()) for side, of in matrices.items()}
    most = max(values.shape[1] for values in sigma.values())
    vectors = min(vectors, *(min(of.shape[1:]) for of in matrices.values()))
    of_vectors = {
        "vector": np.arange(1, vectors + 1),
        "token": np.arange(matrices["embedding"].shape[1]),
        "answer": np.arange(matrices["unembedding"].shape[2]),
    }
    return described(
        VARIABLES,
        {
            **{
                f"{side}_vector": _vectors(of, vectors).numpy()
                for side, of in functions.items()
                if vectors
            },
            **{side: _padded(values, most) for side, values in sigma.items()},
            **{f"{side}_rank": effective_rank(of).numpy() for side, of in matrices.items()},
        },
        {
            "step": steps,
            "direction": np.arange(1, most + 1),
            **(of_vectors if vectors else {}),
        },
        {"embedding_formula": run.wiring.embedded.formula, "unembedding_formula": last, **of_steps},
    )


def _vectors(
    functions: Float[Tensor, "step x direction"], count: int
) -> Float[Tensor, "step vector x"]:
    """The strongest left singular vectors, each with a positive largest entry."""
    vectors = torch.linalg.svd(functions, full_matrices=False).U[..., :count].mT
    largest = vectors.abs().argmax(-1, keepdim=True)
    return vectors * vectors.gather(-1, largest).sign()


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
    for side, x in zip(SIDES, ("token", "answer"), strict=True):
        for label, dataset in figure.pictured.items():
            if "vector" in dataset.dims:
                _draw_vectors(figure, label, dataset, side, x)
    return figure.draw()


def _draw_vectors(figure: Panels, label: str, dataset: xr.Dataset, side: str, x: str) -> None:
    """Draw up to four singular vectors as functions of the token or the answer."""
    row = figure.row(height=130)
    for number in dataset.vector.to_numpy()[:4].tolist():
        title = f"<b>{label}</b>: {side}, vector 1" if number == 1 else f"vector {number}"
        panel = row.panel(title, x=x, y="")
        at = partial(_vector, name=f"{side}_vector", number=number)
        hover = f"{x} %{{x}}<br>%{{y:.3f}}"
        panel.add("scatter", run=label, at=at, x=dataset[x].to_numpy(), mode="lines", hover=hover)


def _vector(now: xr.Dataset, name: str, number: int) -> dict[str, Any]:
    return {"y": now[name].sel(vector=number).to_numpy()}


def _values(now: xr.Dataset, side: str) -> dict[str, Any]:
    return {"y": now[side].to_numpy()}
