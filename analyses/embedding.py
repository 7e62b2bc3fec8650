"""Do embeddings lie on circles? W_E in the planes of its key frequencies, and by PCA.

For a frequency k the directions u = Σ_x cos(2πkx/n) E_x and v = Σ_x sin(2πkx/n) E_x span a plane of
the embedding space; where the network holds residue x as an angle, the token lies at 2πkx/n on a
circle in it (Liu et al. 2022, arXiv 2205.10343; Nanda et al. 2023, arXiv 2301.05217). In a space
wider than p *any* embedding, a random one too, shows circles in its own planes. The planes here
are therefore those of the last step at every step, and the radius says what a circle is worth.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from plotly.subplots import make_subplots
from torch import Tensor

from analyses.drawing import TEMPLATE, run_colors, slider_steps, spread, with_slider
from analyses.measures.finite import and_left_out, finite_steps, left_out
from analyses.measures.fourier import amplitude_spectrum, key_frequencies, power_share
from analyses.measures.geometry import frequency_plane, principal_plane, roundness
from analyses.measures.residues import OrderOption, not_modular, residues
from mechgrok.runs import Run

#: Checkpoints that are measured unless steps are given.
_STOPS = 30
#: The most frequencies whose planes are measured: with PCA and the spectrum they fill two rows.
_PLANES = 6
_COLUMNS = 4


def applies(run: Run) -> str | None:
    """Circles belong to residues."""
    return not_modular(run.task)


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

    Key frequencies are those with at least twice the mean power in the last step's embedding, at
    most six.

    Returns:
        ``circle [step, key, axis, token]``: coordinates (axis cos, sin) along orthonormal
        directions of the plane that the last step's embedding gives frequency ``key``; ``power
        [step, frequency]``: share of the variance of the embedding over tokens that each frequency
        holds; ``roundness [step, key]``: share of the variance of the shown coordinates that is
        the wave of that frequency; ``pca [step, component, token]``: coordinates along the first
        two principal components of each step; ``pca_share [step, component]``: the share of
        variance that these hold.
    """
    asked = spread(run.steps, _STOPS) if steps is None else run.select(steps)
    steps = finite_steps(run, asked)
    tokens = residues(run.task, order)
    n = len(tokens)
    embedding = _rows(run, steps, of)[:, tokens].double()
    power = power_share(amplitude_spectrum(embedding.transpose(1, 2)).norm(dim=1), n)
    keys = key_frequencies(power[-1])[:_PLANES]
    circle = torch.stack([frequency_plane(embedding, frequency) for frequency in keys], dim=1)
    round_ = torch.stack(
        [roundness(circle[:, at], frequency) for at, frequency in enumerate(keys)], dim=1
    )
    pca, pca_share = principal_plane(embedding)
    length = {"units": "length in the embedding space"}
    variance = {"units": "share of variance"}
    return xr.Dataset(
        {
            "circle": (("step", "key", "axis", "token"), circle.numpy(), length),
            "power": (("step", "frequency"), power.numpy(), variance),
            "roundness": (("step", "key"), round_.numpy(), variance),
            "pca": (("step", "component", "token"), pca.numpy(), length),
            "pca_share": (("step", "component"), pca_share.numpy(), variance),
        },
        coords={
            "step": steps,
            "key": keys,
            "axis": ["cos", "sin"],
            "token": tokens.numpy(),
            "frequency": np.arange(n // 2 + 1),
            "component": [1, 2],
        },
        attrs={
            "definition": "planes spanned by Σ_x cos(2πkx/n) E_x and Σ_x sin(2πkx/n) E_x at the "
            "last step",
            "of": of,
            "order": "additive" if n == run.task.d_output else "multiplicative",
            **left_out(asked, steps),
        },
    )


def _rows(run: Run, steps: Sequence[int], of: str) -> Float[Tensor, "step d_vocab d"]:
    """A row for every token; a network without W_E reads tokens by W_in itself."""
    return run.embedding(steps) if of == "embedding" else run.input_side(steps)


def finding(dataset: xr.Dataset) -> str:
    """The key frequencies with their shares of the variance, and how round their circles are."""
    last = dataset.isel(step=-1)
    if not np.isfinite(last.power).any():
        return and_left_out(f"all tokens lie in one point at step {int(last.step):,}", dataset)
    keys: Integer[np.ndarray, " key"] = dataset.key.to_numpy()
    each = ", ".join(
        f"{key} ({float(last.power.sel(frequency=key)):.0%}, roundness "
        f"{float(last.roundness.sel(key=key)):.2f})"
        for key in keys.tolist()
    )
    share = float(last.power.sel(frequency=keys).sum())
    start = float(dataset.isel(step=0).power.sel(frequency=keys).sum())
    text = (
        f"step {int(last.step):,}: frequencies {each} hold {share:.0%} of the variance of the "
        f"{dataset.attrs['of']} ({start:.0%} at step {int(dataset.step[0]):,})"
    )
    return and_left_out(text, dataset)


def draw(measured: Mapping[str, xr.Dataset]) -> go.Figure:
    """A row for each run: the planes of its key frequencies, PCA, and the power of frequencies."""
    colors = run_colors(measured)
    stops = slider_steps(measured)
    figure = make_subplots(
        2 * len(measured),
        _COLUMNS,
        subplot_titles=[title for label, ds in measured.items() for title in _titles(label, ds)],
        horizontal_spacing=0.05,
        vertical_spacing=0.16 / len(measured),
    )

    def changing(step: int) -> list[dict[str, Any]]:
        traces: list[dict[str, Any]] = []
        for dataset in measured.values():
            at = dataset.sel(step=step, method="nearest")
            planes = [at.circle.sel(key=key).to_numpy() for key in dataset.key.to_numpy()]
            for x, y in [*planes, at.pca.to_numpy()]:
                traces.append({"type": "scatter", "x": x, "y": y})
            traces.append({"type": "bar", "y": at.power.to_numpy()[1:]})
        return traces

    traces = iter(changing(stops[-1]))
    for number, (label, dataset) in enumerate(measured.items()):
        for panel in range(dataset.sizes["key"] + 1):
            figure.add_trace(_style_points(next(traces), dataset), *_cell(number, panel))
        hover = f"{label}<br>frequency %{{x}}<br>%{{y:.1%}} of variance<extra></extra>"
        bar = go.Bar(next(traces), x=dataset.frequency[1:], hovertemplate=hover)
        bar.update(marker={"color": colors[label]})
        figure.add_trace(bar, *_cell(number, dataset.sizes["key"] + 1))
        _frame(figure, dataset, number)
    figure.update_layout(
        template=TEMPLATE,
        showlegend=False,
        height=190 + 640 * len(measured),
        bargap=0.1,
        title={"text": _title(measured), "subtitle": {"text": _subtitle(measured)}},
        margin={"t": 140},
    )
    return with_slider(figure, stops, changing)


def _cell(number: int, panel: int) -> tuple[int, int]:
    """Row and column of a run's panel: two rows of panels for each run."""
    row, column = divmod(panel, _COLUMNS)
    return 2 * number + row + 1, column + 1


def _titles(label: str, dataset: xr.Dataset) -> list[str]:
    last = dataset.isel(step=-1)
    planes = [
        f"frequency {key}<br><sup>ends with {float(last.power.sel(frequency=key)):.0%} of variance"
        "</sup>"
        for key in dataset.key.to_numpy().tolist()
    ]
    planes[0] = f"<b>{label}</b>: {planes[0]}"
    share = float(last.pca_share.sum())
    pca = f"principal components<br><sup>end with {share:.0%} of variance</sup>"
    return [*planes, pca, "power by frequency", *[""] * (_PLANES - len(planes))]


def _style_points(trace: dict[str, Any], dataset: xr.Dataset) -> go.Scatter:
    """Tokens as their numbers, coloured by their value around the colour circle."""
    token = dataset.token.to_numpy()
    shade = [f"hsl({360 * x / (token.max() + 1):.0f}, 75%, 38%)" for x in token]
    return go.Scatter(
        trace,
        mode="text",
        text=[str(x) for x in token],
        textfont={"size": 10 if len(token) <= 70 else 7, "color": shade},
        hovertemplate="token %{text}<br>(%{x:.3g}, %{y:.3g})<extra></extra>",
    )


def _frame(figure: go.Figure, dataset: xr.Dataset, number: int) -> None:
    """One scale for all circles of a run at all steps, so that growing and shrinking show."""
    last = dataset.isel(step=-1)
    size = 1.15 * max(float(np.abs(last[name]).max()) for name in ("circle", "pca"))
    n_keys = dataset.sizes["key"]
    for panel in range(n_keys + 1):
        row, column = _cell(number, panel)
        names = ("component 1", "component 2") if panel == n_keys else ("along cos", "along sin")
        common = {"range": [-size, size], "nticks": 5, "row": row}
        x_axis = figure.get_subplot(row, column).xaxis.plotly_name.replace("axis", "")
        figure.update_xaxes(title={"text": names[0], "standoff": 2}, col=column, **common)
        figure.update_yaxes(
            title={"text": names[1], "standoff": 0},
            scaleanchor=x_axis,
            constrain="domain",
            col=column,
            **common,
        )
        figure.update_xaxes(constrain="domain", row=row, col=column)
    row, column = _cell(number, n_keys + 1)
    figure.update_xaxes(title={"text": "frequency", "standoff": 2}, row=row, col=column)
    for panel in range(n_keys + 2, _PLANES + 2):
        empty_row, empty_column = _cell(number, panel)
        figure.update_xaxes(visible=False, row=empty_row, col=empty_column)
        figure.update_yaxes(visible=False, row=empty_row, col=empty_column)
    figure.update_yaxes(
        title="share of variance",
        range=[0, 1.1 * float(dataset.power.max())],
        tickformat=".0%",
        row=row,
        col=column,
    )


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """Whether frequencies hold the embedding, in all runs."""
    held = [float(ds.isel(step=-1).power.sel(frequency=ds.key).sum()) for ds in measured.values()]
    if min(held) > 0.5:
        return "Tokens lie on circles: a few frequencies hold the embedding"
    return "The embedding in the planes of its strongest frequencies"


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    """How much the shown frequencies hold, from the first step to the last."""
    parts = []
    for label, dataset in measured.items():
        held = dataset.power.sel(frequency=dataset.key).sum("key")
        parts.append(f"{label}: {float(held[0]):.0%} → {float(held[-1]):.0%} of the variance")
    return "; ".join(parts) + "<br>planes are those of the last step; colours follow the residue"
