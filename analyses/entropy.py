"""How many frequencies does a neuron mix? Entropy of its spectrum, beside test accuracy.

H_i = −Σ_ω q_i(ω) ln q_i(ω), where q_i is the spectrum of neuron i's weights over the residues,
normalized to sum 1 over ω = 1 … ⌊n/2⌋. A neuron that is one wave has 0 nats; a flat spectrum has
ln ⌊n/2⌋ (ln 33 = 3.50 for p = 67). The mean over neurons is the frequency entropy of Minegishi et
al. 2023 (arXiv 2310.19470, version 2, fig. 5), who leave open whether amplitude or power is meant.
Their code takes ω = 1 … ⌊n/2⌋ − 1 and −Σ q ln softmax(q) (``definition="paper-code"``). For a group
q is over its irreducible representations, and "flat" is the spectrum of white noise.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import SHARE, Panel, Panels
from mechgrok.analyses.measures.fourier import (
    joint_amplitude,
    live,
    softmax_cross_entropy,
    spectral_entropy,
)
from mechgrok.analyses.measures.harmonics import Representations, harmonics, no_harmonics
from mechgrok.analyses.measures.places import spread
from mechgrok.analyses.measures.ranks import rank_correlation
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.analyses.measures.words import between_steps, ends
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

PER_STEP = True

#: The entropy, or what the paper's authors plot under that name.
Definition = Literal["plain", "paper-code"]
_FORMULA = {"plain": "−Σ_ω q ln q", "paper-code": "−Σ_ω q ln softmax(q)"}

SIDES = {"input": "input side", "output": "output side", "embedding": "embedding W_E"}


def applies(run: Run) -> str | None:
    """Parts of functions exist where inputs are residues modulo p, or elements of a group."""
    return no_harmonics(run.task)


VARIABLES = {
    "input_entropy": Variable("step", "nats", "mean over neurons of input_entropy_of"),
    "input_entropy_of": Variable(
        "step, input_neuron",
        "nats",
        "{−Σ_ω q ln q}, q the {amplitude} spectrum of the neuron's input side, ω > 0, with sum 1",
    ),
    "input_live": Variable(
        "step, input_neuron",
        "none",
        "whether the neuron's input weights are above 1 % of the largest's",
    ),
    "output_entropy": Variable("step", "nats", "mean over neurons of output_entropy_of"),
    "output_entropy_of": Variable(
        "step, output_neuron",
        "nats",
        "{−Σ_ω q ln q}, q the {amplitude} spectrum of the neuron's output side, ω > 0, with sum 1",
    ),
    "output_live": Variable(
        "step, output_neuron",
        "none",
        "whether the neuron's output weights are above 1 % of the largest's",
    ),
    "embedding_entropy": Variable(
        "step",
        "nats",
        "{−Σ_ω q ln q}, q the {amplitude} spectrum √Σ_d |F_d(ω)|² over the columns d of W_E, "
        "with sum 1",
    ),
    "test_accuracy": Variable(
        "step", "share", "right answers on the test set; NaN where it was not evaluated"
    ),
    "input_neuron": Variable("input_neuron", "none", "a neuron's number"),
    "output_neuron": Variable("output_neuron", "none", "a neuron's number"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    spectrum: Annotated[
        Literal["amplitude", "power"], "normalize |F(ω)| or |F(ω)|² to sum 1"
    ] = "amplitude",
    definition: Annotated[
        Definition, "entropy; or as the paper's authors compute it, which stays near a flat one's"
    ] = "plain",
    neurons: Annotated[
        Literal["live", "all"], "average over live neurons (weights above 1 % of the largest), all"
    ] = "live",
    path: Annotated[str, "from tokens to neurons; auto: attention in a transformer"] = "auto",
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Entropy of the spectra on the input side, the output side and in W_E, in nats.

    Returns:
        `VARIABLES`. Columns of W_E are no neurons and have no basis of their own: their spectra are
        added first. In the attributes are t_mem and t_gen where reached, and ``flat``, the entropy
        of a flat spectrum (of white noise, in which representations of dimension d have d times
        the amplitude).
    """
    steps = run.select(steps)
    parts = harmonics(run.task, order)
    tokens = parts.tokens
    exponent = {"amplitude": 1, "power": 2}[spectrum]

    entropy_of = {"plain": spectral_entropy, "paper-code": softmax_cross_entropy}[definition]

    def entropy(amplitude: Float[Tensor, "... frequency"]) -> Float[Tensor, "..."]:
        return entropy_of(amplitude.double() ** exponent)

    inputs = run.input_sides(steps, path=path)[:, :, tokens].mT
    outputs = run.output_side(steps)[None, ..., tokens]
    alive = {"input": live(inputs.movedim(0, -2).flatten(-2)), "output": live(outputs[0])}
    values: dict[str, Tensor] = {}
    for side, signals in (("input", inputs), ("output", outputs)):
        each = entropy(joint_amplitude(parts.amplitude, signals))
        counted = alive[side] if neurons == "live" else torch.ones_like(alive[side])
        mean = torch.where(counted, each, torch.nan).nanmean(-1)
        values[f"{side}_entropy"] = mean
        values[f"{side}_entropy_of"] = each
        values[f"{side}_live"] = alive[side]
    if run.wiring.embedding is not None:
        columns = run.embedding(steps)[:, tokens].transpose(1, 2)
        values["embedding_entropy"] = entropy(parts.amplitude(columns).norm(dim=1))
    accuracy = run.metrics.drop_duplicates("step").set_index("step").test_accuracy.reindex(steps)
    reached = {"t_mem": run.t_mem, "t_gen": run.t_gen}
    return described(
        VARIABLES,
        {
            **{name: tensor.numpy() for name, tensor in values.items()},
            "test_accuracy": accuracy.to_numpy(float),
        },
        coords={
            "step": steps,
            "input_neuron": np.arange(inputs.shape[2]),
            "output_neuron": np.arange(outputs.shape[2]),
        },
        attrs={
            "spectrum": spectrum,
            "neurons": neurons,
            "path": run.wiring.path_name(path),
            "flat": float(entropy(parts.noise_amplitude).nan_to_num()),
            "parts": "representations" if isinstance(parts, Representations) else "frequencies",
            **{mark: step for mark, step in reached.items() if step is not None},
        },
        words={"−Σ_ω q ln q": _FORMULA[definition], "amplitude": spectrum},
    )


def finding(dataset: xr.Dataset) -> str:
    """Where each side's entropy starts and ends, and how it moves with test accuracy."""
    changes = [
        f"{name} {_change(dataset[f'{side}_entropy'])}"
        for side, name in SIDES.items()
        if f"{side}_entropy" in dataset
    ]
    text = f"entropy {between_steps(dataset)} in nats: {', '.join(changes)}"
    rank = rank_correlation(dataset.input_entropy.to_numpy(), dataset.test_accuracy.to_numpy())
    if np.isfinite(rank):
        text += f"; rank correlation of the input side with test accuracy {rank:+.2f}"
    return text


def _change(entropy: xr.DataArray) -> str:
    """The first and the last value of a curve, in words where there is none."""
    known = entropy.dropna("step")
    if not known.size:
        return "has no spectrum (weights are constant, or no numbers)"
    return ends(f"{float(known[0]):.2f}", f"{float(known[-1]):.2f}")


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """One panel for each side: the mean, every neuron behind it, and test accuracy on the right."""
    sides = [side for side in SIDES if any(f"{side}_entropy" in ds for ds in measured.values())]
    figure = Panels(
        measured,
        title=_title(measured),
        subtitle=f"thin: single neurons; grey and dotted: {_unlearned(measured)}",
        log=log,
    )
    row = figure.row(height=330)
    flat = sorted({round(ds.attrs["flat"], 6) for ds in measured.values()})
    for at, side in enumerate(sides):
        entropy = {"title": "entropy (nats)" if at == 0 else "", "range": [0, 1.08 * flat[-1]]}
        panel = row.over_training(SIDES[side], y=entropy)
        accuracy = panel.right(
            SHARE | {"range": [0, 1.08], "title": "test accuracy" if side == sides[-1] else ""}
        )
        for height in flat:
            panel.level(height)
        for label, dataset in measured.items():
            if f"{side}_entropy" not in dataset:
                continue
            if f"{side}_entropy_of" in dataset:
                _single_neurons(panel, dataset, side, label)
            mean, nats = dataset[f"{side}_entropy"], "%{y:.3f} nats"
            panel.lines(dataset.step, mean, run=label, key="mean over neurons", width=3, value=nats)
            accuracy.lines(
                dataset.step,
                dataset.test_accuracy,
                run=label,
                key="test accuracy (right axis)",
                dash="dot",
                width=1.5,
                value="%{y:.1%}",
            )
    return figure.draw()


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """What happened to the input side, in all runs."""
    first = next(iter(measured.values())).attrs
    spectrum, parts = first["spectrum"], first.get("parts", "frequencies")
    ends = [
        ds.input_entropy.to_numpy()[[0, -1]] for ds in measured.values() if ds.sizes["step"] > 1
    ]
    if ends and all(end < 0.8 * start for start, end in ends):
        return f"Neurons settle on single {parts}: the entropy of their {spectrum} spectra falls"
    return f"Entropy of the neurons' {spectrum} spectra over training"


#: Neurons and steps of each that are drawn one by one behind the mean.
_NEURONS_SHOWN, _STEPS_SHOWN = 48, 120


def _unlearned(measured: Mapping[str, xr.Dataset]) -> str:
    """What the grey line is: representations of larger dimension hold more of white noise."""
    waves = any(dataset.attrs["parts"] == "frequencies" for dataset in measured.values())
    return "a flat spectrum" if waves else "white noise, whose representations differ in size"


def _single_neurons(panel: Panel, dataset: xr.Dataset, side: str, label: str) -> None:
    """The entropies of evenly chosen neurons, where they are alive."""
    each = dataset[f"{side}_entropy_of"].where(dataset[f"{side}_live"])
    steps = spread(dataset.step.to_numpy().tolist(), _STEPS_SHOWN)
    neurons = spread(range(dataset.sizes[f"{side}_neuron"]), _NEURONS_SHOWN)
    curves = each.sel(step=steps).isel({f"{side}_neuron": neurons}).transpose(..., "step")
    panel.bundle(steps, curves, run=label)
