"""Do embeddings lie on circles? W_E in the planes of its key frequencies, and by PCA.

For a frequency k the directions u = Σ_x cos(2πkx/n) E_x and v = Σ_x sin(2πkx/n) E_x span a plane of
the embedding space. If the network represents residue x as an angle, its token is at 2πkx/n on a
circle in this plane (Liu et al. 2022, arXiv 2205.10343; Nanda et al. 2023, arXiv 2301.05217). In a
space wider than p, *any* embedding, even a random one, shows circles in its own planes. All steps
therefore use the planes of the last step, and the radius measures the strength of a circle. For a
group, whose representations can have more dimensions, the plane of a representation ρ is the one in
which the component Σ_g ρ_ij(g) E_g of the embedding is widest.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import Measured, Panels, Row, frequency_color, representatives
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_number, format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import key_frequencies
from mechgrok.analyses.measures.geometry import frequency_plane, part_plane, principal_plane
from mechgrok.analyses.measures.harmonics import (
    Harmonics,
    Waves,
    harmonics,
    no_harmonics,
    part_coordinates,
    part_labels,
    part_units,
)
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.analyses.measures.spacing import thin
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

#: Number of checkpoints measured by default.
_STOPS = 30
#: The most key frequencies; with PCA and the spectrum they fill three rows.
_PLANES = 6
_COLUMNS = 3
#: Tokens with a name in each plane.
_NAMED = 7


def applies(run: Run) -> str | None:
    """Requires residues modulo p, or elements of a group, as inputs."""
    return no_harmonics(run.task)


VARIABLES = {
    "circle": Variable(
        "step, key, axis, token",
        "length in the embedding space",
        "coordinates in the plane of Σ_x cos(2πkx/n) E_x and Σ_x sin(2πkx/n) E_x at the last step; "
        "of a group, in the plane in which Σ_g ρ_ij(g) E_g is widest",
    ),
    "power": Variable(
        "step, frequency",
        "share of variance",
        "share of the embedding's variance over tokens, at each frequency",
    ),
    "roundness": Variable(
        "step, key",
        "share of variance",
        "share of the variance of the circle's coordinates in the wave of its frequency",
    ),
    "pca": Variable(
        "step, component, token",
        "length in the embedding space",
        "coordinates along the principal components of the step",
    ),
    "pca_share": Variable(
        "step, component",
        "share of variance",
        "share of the embedding's variance over tokens along the component",
    ),
    "key": Variable(
        "key",
        "{units of a frequency}",
        "at most six key frequencies, with at least twice the mean power at the last step; of a "
        "group, representations with at least the share of white noise",
    ),
    "axis": Variable(
        "axis", "none", "directions of the plane: cos, sin; of a group: first, second"
    ),
    "token": Variable("token", "none", "tokens, in the order of the residues or elements"),
    "component": Variable("component", "none", "a principal component's number"),
    "element": Variable("token", "none", "of a group: the element's name"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    of: Annotated[
        Literal["embedding", "neurons"], "rows of W_E, or of W_E W_in (tokens as neurons read them)"
    ] = "embedding",
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Tokens in the planes of key frequencies and of the two largest principal components.

    Key frequencies have at least twice the mean power in the last step's embedding, and number at
    most six; key representations have at least the share of white noise.

    Returns:
        `VARIABLES`.
    """
    steps, of_steps = select_finite_steps(run, steps, partial(thin, count=_STOPS))
    parts = harmonics(run.task, order)
    tokens, is_wave = parts.tokens, isinstance(parts, Waves)
    embedding = _rows(run, steps, of)[:, tokens].double()
    power = parts.power_share(parts.amplitude(embedding.transpose(1, 2)).norm(dim=1))
    # Keep every representation above white noise; there are only a few representations.
    noise = None if is_wave else parts.of_noise / 2
    keys = key_frequencies(power[-1], noise, most=_PLANES)
    circle = torch.stack([_plane_of(parts, embedding, key) for key in keys], dim=1)
    shares = parts.power_share(parts.amplitude(circle).norm(dim=2))
    round_ = torch.stack([shares[:, at, key] for at, key in enumerate(keys)], dim=1)
    pca, pca_share = principal_plane(embedding)
    return described(
        VARIABLES,
        {"circle": circle, "power": power, "roundness": round_, "pca": pca, "pca_share": pca_share},
        coords={
            "step": steps,
            "key": keys,
            "axis": ["cos", "sin"] if is_wave else ["first", "second"],
            "token": tokens.numpy(),
            "component": [1, 2],
            **part_coordinates(parts),
            **({} if is_wave else {"element": run.task.vocabulary[: parts.n]}),
        },
        attrs={
            "of": of,
            "order": "additive" if parts.n == run.task.d_output else "multiplicative",
            **of_steps,
        },
        words=part_units(parts),
    )


def _rows(run: Run, steps: Sequence[int], of: str) -> Float[Tensor, "step d_vocab d"]:
    """A row for every token; without W_E, tokens are rows of W_in."""
    return run.embedding(steps) if of == "embedding" else torch.cat([*run.input_sides(steps)], -1)


def _plane_of(
    parts: Harmonics, points: Float[Tensor, "step n d"], part: int
) -> Float[Tensor, "step 2 n"]:
    """Coordinates in the last step's plane of a frequency or representation."""
    if isinstance(parts, Waves):
        return frequency_plane(points, part)
    return part_plane(points, parts.basis(part))


def finding(dataset: xr.Dataset) -> str:
    """The key frequencies, with their shares of the variance and the roundness of their circles."""
    last, labels = dataset.isel(step=-1), part_labels(dataset)
    keys = ", ".join(
        f"{labels.names[key]} ({format_percent(last.power.sel(frequency=key))}, roundness "
        f"{format_number(last.roundness.sel(key=key), '.2f')})"
        for key in dataset.key.to_numpy().tolist()
    )
    held = format_percent(last.power.sel(frequency=dataset.key).sum())
    text = (
        f"{labels.plural} {keys} hold {held} of the variance of the {dataset.attrs['of']} at step "
        f"{int(last.step):,}"
    )
    return with_skipped_note(text, dataset)


def draw(measured: Measured) -> go.Figure:
    """Rows for each run: the planes of its key frequencies, PCA, and power by frequency."""
    measured = representatives(measured)
    parts = part_labels(*measured.values()).plural
    figure = Panels(
        measured,
        title=f"The embedding in the planes of its strongest {parts} over training",
        subtitle="planes and shares are those of the last step; colours follow the tokens' order",
    )
    for label, dataset in measured.items():
        planes = [("circle", key) for key in dataset.key.to_numpy().tolist()] + [("pca", None)]
        for at, (name, key) in enumerate(planes):
            if at % _COLUMNS == 0:
                row = figure.row(height=195)
            _draw_plane(row, label, dataset, name, key)
        if len(row.panels) == _COLUMNS:
            row = figure.row(height=195)
        _draw_power(row, label, dataset)
        row.fill(_COLUMNS)
    return figure.draw()


def _draw_plane(row: Row, label: str, dataset: xr.Dataset, name: str, key: int | None) -> None:
    """Draw tokens in the plane of a key frequency, or of the two principal components.

    All steps and all planes of the kind share one scale, so that growth is visible.
    """
    last, labels = dataset.isel(step=-1), part_labels(dataset)
    if key is None:
        share, plane = last.pca_share.sum(), "two components"
        axes = ["component 1", "component 2"]
    else:
        share, plane = last.power.sel(frequency=key), f"{labels.word} {labels.names[key]}"
        axes = [f"along {axis}" for axis in dataset.axis.to_numpy()]
    run = f"<b>{label}</b>: " if not row.panels else ""
    size = 1.12 * float(np.nanmax(np.abs(dataset[name].to_numpy()), initial=0)) or 1.0
    along = {"range": [-size, size], "nticks": 5}
    x, y = ({"title": axis, **along} for axis in axes)
    title = f"{run}{plane}, {format_percent(share)} of variance"
    panel = row.panel(title, x=x, y=y, square=True)
    token = dataset.token.to_numpy()
    shown = dataset.element.to_numpy() if "element" in dataset.coords else token

    def at(now: xr.Dataset) -> dict[str, np.ndarray]:
        places = now[name] if key is None else now[name].sel(key=key)
        return dict(zip("xy", places.values, strict=True))

    angle = np.arctan2(*[at(last)[axis] for axis in "yx"])
    # Names all around the circle; hover gives the others.
    around = np.linspace(0, len(token), _NAMED, endpoint=False).astype(int)
    named = np.isin(np.arange(len(token)), np.argsort(angle)[around])
    colors = [f"hsl({360 * t / (token.max() + 1):.0f}, 75%, 38%)" for t in token]
    panel.add(
        "scatter",
        run=label,
        at=at,
        mode="markers+text",
        text=np.where(named, shown.astype(str), ""),
        textfont={"size": 11, "color": colors},
        marker={"size": np.where(named, 0, 4), "color": colors},
        customdata=shown,
        hover="token %{customdata}<br>(%{x:.3g}, %{y:.3g})",
    )


def _draw_power(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw the share of the variance at each frequency, in the frequency's colour."""
    labels, frequency = part_labels(dataset), dataset.frequency.to_numpy()[1:]
    top = float(np.nanmax(dataset.power.to_numpy(), initial=0)) or 1.0
    share = {"title": "share of variance", "tickformat": ".0%", "range": [0, 1.1 * top]}
    panel = row.panel(f"power by {labels.word}", x=labels.axis, y=share)
    panel.add(
        "bar",
        run=label,
        at=lambda now: {"y": now.power.to_numpy()[1:]},
        x=frequency,
        color=[frequency_color(int(k)) for k in frequency],
        text=labels.names[1:],
        textposition="none",
        hover=f"{labels.word} %{{text}}<br>%{{y:.1%}} of variance",
    )
    panel.mark_parts(dataset.key.to_numpy().tolist())
