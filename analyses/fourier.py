"""Which frequencies do neurons use? Spectra of weights on the input, embedding and output side.

The input side of a neuron is its column of W_E W_in (through attention in a transformer), a number
per residue; the output side is its row of W_out W_U, a number per answer. A network that has
generalized uses waves: each neuron has most of its power |F(ω)|² at one frequency ω, and the
network uses only a few frequencies (Nanda et al. 2023, arXiv 2301.05217; Minegishi et al. 2023,
arXiv 2310.19470, fig. 4).
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import (
    DEAD,
    SHARE,
    Colors,
    LogAxis,
    Measured,
    Panels,
    Row,
    frequency_color,
)
from mechgrok.analyses.measures.formats import format_percent
from mechgrok.analyses.measures.fourier import (
    dominant_frequency,
    joint_amplitude,
    key_frequencies,
    live,
)
from mechgrok.analyses.measures.harmonics import (
    harmonics,
    no_harmonics,
    part_coordinates,
    part_labels,
    part_units,
)
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.results.variables import Scalar, Variable, described
from mechgrok.runs import Run

PER_STEP = True
VERSION = 2


def applies(run: Run) -> str | None:
    """Requires residues modulo p, or elements of a group, as inputs."""
    return no_harmonics(run.task)


VARIABLES = {
    "input_amplitude": Variable(
        "step, neuron, frequency",
        "weight",
        "|F(ω)|, F(ω) = Σ_x f(x) exp(−2πi ω x / n), of the input side; of a group "
        "√d ‖Σ_g f(g) ρ(g)‖, d the dimension of ρ; of gated units √Σ |F(ω)|² over their weights",
    ),
    "output_amplitude": Variable(
        "step, neuron, frequency", "weight", "as input_amplitude, of the output side"
    ),
    "embedding_amplitude": Variable(
        "step, frequency", "weight", "√Σ_d |F_d(ω)|² over the columns d of W_E"
    ),
    "share": Variable(
        "step, neuron",
        "share of variance",
        "share of the strongest frequency in the power |F(ω)|² of the neuron's input side, ω > 0",
    ),
    "frequency_of": Variable(
        "step, neuron",
        "{units of a frequency}",
        "the strongest frequency of the neuron's input side",
    ),
    "live": Variable(
        "step, neuron", "none", "whether the neuron's input weights are above 1 % of the largest's"
    ),
    "use": Variable(
        "step, frequency",
        "share of variance",
        "share of the frequency in the power of a neuron's input side, ω > 0, mean over live "
        "neurons",
    ),
}
#: Summaries of variables with further dimensions, one number per step.
SCALARS = {
    "share": Scalar("share"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    path: Annotated[str, "from tokens to neurons; auto: attention in a transformer"] = "auto",
    order: Annotated[OrderOption, "of residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Amplitude spectra at every checkpoint, or at the given steps.

    Args:
        run: a run on a modular task.
        steps: the checkpoints; default: all.
        path: the input side is W_E W_in (direct) or Σ_h W_E W_V W_O W_in (attention).
        order: the order of the residues for the transform.

    Returns:
        `VARIABLES`.
    """
    steps, parts = run.select(steps), harmonics(run.task, order)
    along = parts.tokens
    sides = run.input_sides(steps, path=path)[:, :, along].mT
    alive = live(sides.movedim(0, -2).flatten(-2))
    inputs = joint_amplitude(parts.amplitude, sides)
    share = parts.power_share(inputs)
    outputs = parts.amplitude(run.output_side(steps)[..., along])
    embedding = parts.amplitude(run.embedding(steps)[:, along].transpose(1, 2))
    values = {
        "input_amplitude": inputs,
        "output_amplitude": outputs,
        "embedding_amplitude": embedding.norm(dim=1),
        "share": share.amax(-1),
        "frequency_of": dominant_frequency(share),
        "live": alive,
        "use": _mean_over(alive, share),
    }
    return described(
        VARIABLES,
        {name: tensor.numpy() for name, tensor in values.items()},
        coords={
            "step": steps,
            "neuron": np.arange(inputs.shape[1]),
            **part_coordinates(parts),
        },
        attrs={
            "p": parts.n,
            "path": run.wiring.path_name(path),
            "input_formula": ", ".join(weight.formula for weight in run.wiring.paths(path)),
            "output_formula": run.wiring.output_path.formula,
            "embedding": _embedding(run),
            **run.milestones,
        },
        words=part_units(parts),
    )


def _embedding(run: Run) -> str:
    """The name of `Run.embedding`: the embedding, or without one the neurons' input weights."""
    wiring = run.wiring
    if wiring.embedding is None:
        return wiring.embedded.formula
    return f"embedding {wiring.embedding.formula}"


def _mean_over(
    alive: Bool[Tensor, "step neuron"], share: Float[Tensor, "step neuron frequency"]
) -> Float[Tensor, "step frequency"]:
    """The mean of ``share`` over the live neurons, at each step."""
    weight = alive[..., None] / alive.sum(1)[:, None, None].clamp(min=1)
    return (share.nan_to_num(0) * weight).sum(1)


def finding(dataset: xr.Dataset) -> str:
    """The concentration of the live neurons at the last step, and the key frequencies."""
    finite = np.isfinite(dataset.input_amplitude).all(("neuron", "frequency")).to_numpy()
    if not finite.any():
        return "the weights are not finite numbers at any step"
    last = dataset.isel(step=int(np.flatnonzero(finite)[-1]))
    n_live, labels = int(last.live.sum()), part_labels(dataset)
    if not n_live:
        return f"no neuron is alive at step {int(last.step):,}"
    key = ", ".join(labels.names[at] for at in _keys(last))
    return (
        f"{n_live} live neurons hold {format_percent(_median_share(last))} of their power in one "
        f"{labels.word} (median) at step {int(last.step):,}; key {labels.plural} {key}"
    )


def _keys(now: xr.Dataset) -> list[int]:
    """The key frequencies of the neurons at a step."""
    return key_frequencies(torch.from_numpy(now.use.to_numpy()))


def draw(
    measured: Measured,
    *,
    side: Annotated[Literal["both", "input", "output"], "spectra to show as heat maps"] = "both",
    log: LogAxis = True,
) -> go.Figure:
    """Heat maps of neurons by frequency, shares, and the network's use, with a slider."""
    sides = ("input", "output") if side == "both" else (side,)
    labels = part_labels(*measured.values())
    figure = Panels(
        measured,
        title="Fourier spectra of the weights over training",
        subtitle=f"a row is a neuron, a column a {labels.word}; rows ordered by strongest "
        f"{labels.word}, dead neurons last and grey; labelled: key {labels.plural}, each in its "
        "colour",
        log=log,
    )
    colors = {name: _scale(figure, name) for name in sides}
    for label, dataset in figure.pictured.items():
        row = figure.row(height=290)
        for name in sides:
            _draw_spectra(row, colors[name], label, dataset, name)
        _draw_shares(row, label, dataset)
    _over_training(figure, embedding=side == "both")
    return figure.draw()


def _draw_spectra(row: Row, colors: Colors, label: str, dataset: xr.Dataset, side: str) -> None:
    """Draw the spectra of all neurons on one side, one row per neuron."""
    labels, formula = part_labels(dataset), dataset.attrs[f"{side}_formula"]
    panel = row.panel(f"{label}: {side} side {formula}", x=labels.axis, y=_neurons(side))
    panel.heat(
        colors,
        run=label,
        at=partial(_spectra, side=side),
        x=dataset.frequency.to_numpy()[1:],
        hover=f"neuron %{{customdata}}<br>{labels.symbol} = %{{x}}<br>|F| %{{z:.3g}}",
    )
    panel.mark_parts(_keys(dataset.isel(step=-1)))


def _draw_shares(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw the share of each neuron's power in its strongest part."""
    labels = part_labels(dataset)
    power = {"title": "share of power", **SHARE, "range": [0, 1.03]}
    panel = row.panel(f"in one {labels.word}", x=power, y=_neurons("input"), width=0.7)
    hover = f"neuron %{{customdata[0]}}<br>{labels.symbol} = %{{text}}<br>share %{{x:.1%}}"
    panel.add("bar", run=label, at=_shares, orientation="h", hover=hover)


def _over_training(figure: Panels, *, embedding: bool) -> None:
    """Draw the use of frequencies in neurons and embedding, and the median share over steps."""
    row, labels = figure.row(height=200), part_labels(*figure.measured.values())
    share = {"title": "mean share", "tickformat": ".0%"}
    title = f"neurons' use of {labels.plural}"
    panels = {"use": (row.panel(title, x=labels.axis, y=share), "mean share %{y:.1%}")}
    if embedding:
        of = ", ".join(dict.fromkeys(ds.attrs["embedding"] for ds in figure.measured.values()))
        panel = row.panel(of, x=labels.axis, y=f"|F({labels.symbol})| over d_model")
        panels["embedding_amplitude"] = (panel, "|F| %{y:.3g}")
    for name, (panel, value) in panels.items():
        for label, dataset in figure.pictured.items():
            x = dataset.frequency.to_numpy()[1:]
            hover = f"{labels.symbol} = %{{x}}<br>{value}"
            panel.add(
                "bar", run=label, at=partial(_spectrum, name=name), x=x, hover=hover,
                color=None if len(figure.measured) > 1 else [frequency_color(int(k)) for k in x],
            )  # fmt: skip
            panel.mark_parts(_keys(dataset.isel(step=-1)))
    median = {"title": "median share", **SHARE}
    panel = row.over_training("over training", y=median, width=0.7, marks=())
    panel.curves(_median_shares, value="median share %{y:.1%}", follow=True)


def _neurons(side: str) -> dict[str, Any]:
    """The axis of neurons, from top to bottom."""
    title = "neuron" if side == "input" else ""
    return {"title": title, "autorange": "reversed", "showticklabels": False, "ticks": ""}


def _scale(figure: Panels, side: str) -> Colors:
    """One scale for all steps and runs, up to the last step's largest amplitude."""
    datasets = figure.measured.values()
    last = [ds[f"{side}_amplitude"][-1, :, 1:].to_numpy() for ds in datasets]
    top = max(float(np.nanmax(amplitude, initial=0)) for amplitude in last)
    return figure.colors(f"|F({part_labels(*datasets).symbol})|", 0, top)


def _order(now: xr.Dataset) -> Integer[np.ndarray, " neuron"]:
    """Neurons by strongest frequency, the most concentrated first, dead ones last."""
    return np.lexsort((-now.share.to_numpy(), now.frequency_of.to_numpy(), ~now.live.to_numpy()))


def _spectra(now: xr.Dataset, side: str) -> dict[str, Any]:
    order = _order(now)
    amplitude = now[f"{side}_amplitude"].to_numpy()[order, 1:].astype(np.float32)
    return {"z": amplitude, "customdata": np.repeat(order[:, None], amplitude.shape[1], axis=1)}


def _shares(now: xr.Dataset) -> dict[str, Any]:
    order = _order(now)
    alive, frequency = now.live.to_numpy()[order], now.frequency_of.to_numpy()[order]
    color = [
        frequency_color(int(k)) if on else DEAD for on, k in zip(alive, frequency, strict=True)
    ]
    return {
        "x": now.share.to_numpy()[order],
        "customdata": np.stack([order, frequency], axis=1),
        "text": np.array(part_labels(now).names)[frequency],
        "textposition": "none",
        "marker": {"color": color, "line": {"width": 0}},
    }


def _spectrum(now: xr.Dataset, name: str) -> dict[str, Any]:
    """One bar for each frequency above 0."""
    return {"y": now[name].to_numpy()[1:]}


def _median_share(now: xr.Dataset) -> float:
    """The median share of the live neurons at one step; NaN if none has a spectrum."""
    return float(_median_shares(now))


def _median_shares(dataset: xr.Dataset) -> xr.DataArray:
    """The median share of the live neurons at every step; NaN if none has a spectrum."""
    return dataset.share.where(dataset.live).median("neuron", skipna=True)
