"""Which frequencies do neurons use? Spectra of weights on the input, embedding and output side.

The input side of a neuron is its column of W_E W_in (through attention in a transformer), a number
per residue; the output side its row of W_out W_U, a number per answer. A network that has
generalized uses waves: each neuron holds most of its power |F(ω)|² in one frequency ω, and the
network uses only a few of them (Nanda et al. 2023, arXiv 2301.05217; Minegishi et al. 2023, arXiv
2310.19470, fig. 4).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr

from mechgrok.analyses.drawing import DEAD, SHARE, Colors, Panels, frequency_color, representatives
from mechgrok.analyses.measures.fourier import dominant_frequency, joint_amplitude, live
from mechgrok.analyses.measures.harmonics import (
    harmonics,
    no_harmonics,
    part_axis,
    part_coordinates,
    part_names,
    part_units,
    part_word,
    part_words,
)
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

PER_STEP = True


def applies(run: Run) -> str | None:
    """Parts of functions exist where inputs are residues modulo p, or elements of a group."""
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
        "of the power |F(ω)|² of the neuron's input side, ω > 0, the share of the strongest "
        "frequency",
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
        "share of the power of a neuron's input side, ω > 0, at the frequency, mean over live "
        "neurons",
    ),
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
        run: on a modular task.
        steps: the checkpoints; all unless given.
        path: the input side is W_E W_in (direct) or Σ_h W_E W_V W_O W_in (attention).
        order: the order of the residues along which signals are transformed.

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
            "input_formula": ", ".join(one.formula for one in run.wiring.paths(path)),
            "output_formula": run.wiring.output_path.formula,
            "embedding": _embedding(run),
            **run.milestones,
        },
        words=part_units(parts),
    )


def _embedding(run: Run) -> str:
    """What `Run.embedding` is: the embedding, or what neurons read where there is none."""
    wiring = run.wiring
    if wiring.embedding is None:
        return wiring.embedded.formula
    return f"embedding {wiring.embedding.formula}"


def _mean_over(alive: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """The mean of ``share`` over the neurons that are alive, per step."""
    weight = alive[..., None] / alive.sum(1)[:, None, None].clamp(min=1)
    return (share.nan_to_num(0) * weight).sum(1)


def finding(dataset: xr.Dataset) -> str:
    """How concentrated the live neurons are at the last step, and on which frequencies."""
    finite = np.isfinite(dataset.input_amplitude).all(("neuron", "frequency")).to_numpy()
    if not finite.any():
        return "the weights are not finite numbers at any step"
    steps = np.flatnonzero(finite)
    last, first = dataset.isel(step=int(steps[-1])), dataset.isel(step=int(steps[0]))
    if not last.live.any():
        return f"step {int(last.step):,}: no neuron is alive"
    if not np.isfinite(_median_share(last)):
        return f"step {int(last.step):,}: live neurons read all residues alike"
    live_shares = last.share.to_numpy()[last.live.to_numpy()]
    use = last.use.to_numpy()
    names = part_names(dataset)
    key = [names[at] for at in np.argsort(use)[::-1] if use[at] > 0.05]
    was = _median_share(first)
    said = np.isfinite(was) and first.step < last.step
    before = f"; {was:.0%} at step {int(first.step):,}" if said else ""
    lines = [
        f"step {int(last.step):,}: {len(live_shares)} live neurons hold {_median_share(last):.0%}",
        f"of their power in one {part_word(dataset)} (median{before}),",
        f"{(live_shares > 0.5).sum()} of them more than half;",
        f"key {part_words(dataset)} {', '.join(key) or 'none above 5 % of the power'}",
    ]
    return " ".join(lines)


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    side: Annotated[Literal["both", "input", "output"], "spectra to show as heat maps"] = "both",
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """Heat maps of neurons by frequency, shares, and what the network uses, with a slider."""
    sides = ("input", "output") if side == "both" else (side,)
    periodic = all(_median_share(dataset.isel(step=-1)) > 0.5 for dataset in measured.values())
    one = part_word(*measured.values())
    figure = Panels(
        measured,
        title=_title(one) if periodic else "Spectra of the neurons' weights",
        subtitle=f"a row is a neuron, a column a {one}; rows ordered by strongest {one}, dead "
        f"neurons last and grey; a {one} has its colour in all figures",
        log=log,
    )
    colors = {each: _scale(figure, measured, each) for each in sides}
    for label, dataset in representatives(measured).items():
        row = figure.row(height=290)
        for each in sides:
            title = f"{label}: {_name(dataset, each)}"
            row.panel(title, x=part_axis(dataset), y=_neurons(each)).heat(
                colors[each],
                run=label,
                at=partial(_spectra, side=each),
                x=dataset.frequency.to_numpy()[1:],
                hover=f"neuron %{{customdata}}<br>{_symbol(dataset)} = %{{x}}<br>|F| %{{z:.3g}}",
            )
        power = {"title": "share of power", **SHARE, "range": [0, 1.03]}
        panel = row.panel(f"in one {part_word(dataset)}", x=power, y=_neurons("input"), width=0.7)
        words = f"neuron %{{customdata[0]}}<br>{_symbol(dataset)} = %{{text}}<br>share %{{x:.1%}}"
        panel.add("bar", run=label, at=_shares, orientation="h", hover=words)
    _over_training(figure, measured, embedding=side == "both")
    return figure.draw()


def _over_training(figure: Panels, measured: Mapping[str, xr.Dataset], *, embedding: bool) -> None:
    """What the network uses, in its neurons and its embedding, and the median share over steps."""
    row, axis = figure.row(height=200), part_axis(*measured.values())
    share = {"title": "mean share", "tickformat": ".0%"}
    title = f"neurons' use of {part_words(*measured.values())}"
    panels = {"use": (row.panel(title, x=axis, y=share), "mean share %{y:.1%}")}
    if embedding:
        amplitude = {"title": f"|F({_symbol(*measured.values())})| over d_model"}
        of = ", ".join(dict.fromkeys(ds.attrs["embedding"] for ds in measured.values()))
        panel = row.panel(of, x=axis, y=amplitude)
        panels["embedding_amplitude"] = (panel, "|F| %{y:.3g}")
    median = row.over_training(
        "over training", y={"title": "median share", **SHARE}, width=0.7, marks=()
    )
    for label, dataset in measured.items():
        x = dataset.frequency.to_numpy()[1:]
        for name, (panel, words) in panels.items() if label in figure.pictured else ():
            hover = f"{_symbol(dataset)} = %{{x}}<br>{words}"
            panel.add("bar", run=label, at=partial(_spectrum, name=name), x=x, hover=hover)
        shares = [_median_share(dataset.isel(step=at)) for at in range(dataset.sizes["step"])]
        median.lines(dataset.step, shares, run=label, value="median share %{y:.1%}", follow=True)


def _title(one: str) -> str:
    if one == "frequency":
        return "Neurons become periodic: each holds its power in one frequency"
    return "Each neuron comes to hold its power in one representation"


def _symbol(*datasets: xr.Dataset) -> str:
    return "ω" if part_word(*datasets) == "frequency" else "ρ"


def _name(dataset: xr.Dataset, side: str) -> str:
    return f"{side} side {dataset.attrs[f'{side}_formula']}"


def _neurons(side: str) -> dict[str, Any]:
    """The axis of neurons, from top to bottom."""
    title = "neuron" if side == "input" else ""
    return {"title": title, "autorange": "reversed", "showticklabels": False, "ticks": ""}


def _scale(figure: Panels, measured: Mapping[str, xr.Dataset], side: str) -> Colors:
    """One scale for all steps and runs, up to the last step's largest amplitude."""
    last = [ds[f"{side}_amplitude"][-1, :, 1:].to_numpy() for ds in measured.values()]
    symbol = _symbol(*measured.values())
    return figure.colors(
        f"|F({symbol})|", 0, max(float(np.nanmax(each, initial=0)) for each in last)
    )


def _order(now: xr.Dataset) -> np.ndarray:
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
        frequency_color(int(of)) if on else DEAD for on, of in zip(alive, frequency, strict=True)
    ]
    return {
        "x": now.share.to_numpy()[order],
        "customdata": np.stack([order, frequency], axis=1),
        "text": np.array(part_names(now))[frequency],
        "textposition": "none",
        "marker": {"color": color, "line": {"width": 0}},
    }


def _spectrum(now: xr.Dataset, name: str) -> dict[str, Any]:
    """One bar for each frequency above 0."""
    return {"y": now[name].to_numpy()[1:]}


def _median_share(now: xr.Dataset) -> float:
    """The median share of the live neurons at one step; NaN where none has a spectrum."""
    shares = now.share.to_numpy()[now.live.to_numpy()]
    known = shares[np.isfinite(shares)]
    return float(np.median(known)) if known.size else float("nan")
