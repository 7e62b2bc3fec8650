"""How many frequencies does a neuron mix? Entropy of its spectrum, with test accuracy.

H_i = −Σ_ω q_i(ω) ln q_i(ω), where q_i is the spectrum of neuron i's weights over the residues,
normalized to sum 1 over ω = 1 … ⌊n/2⌋. A neuron that is one wave has 0 nats; a flat spectrum has
ln ⌊n/2⌋ (ln 33 = 3.50 for p = 67). The mean over neurons is the frequency entropy of Minegishi et
al. 2023 (arXiv 2310.19470, version 2, fig. 5), who do not specify amplitude or power.
Their code takes ω = 1 … ⌊n/2⌋ − 1 and −Σ q ln softmax(q) (``definition="paper-code"``). For a group
q is over its irreducible representations, and "flat" is the spectrum of white noise.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panel, Panels
from mechgrok.analyses.measures.formats import format_change, format_number, format_steps
from mechgrok.analyses.measures.fourier import (
    joint_amplitude,
    live,
    softmax_cross_entropy,
    spectral_entropy,
)
from mechgrok.analyses.measures.harmonics import Representations, harmonics, no_harmonics
from mechgrok.analyses.measures.ranks import rank_correlation
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.analyses.measures.spacing import thin
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

PER_STEP = True
VERSION = 2

#: The entropy, or the quantity that the paper's code plots as entropy.
Definition = Literal["plain", "paper-code"]
_FORMULA = {"plain": "−Σ_ω q ln q", "paper-code": "−Σ_ω q ln softmax(q)"}

SIDES = {"input": "input side", "output": "output side", "embedding": "embedding W_E"}


def applies(run: Run) -> str | None:
    """Requires residues modulo p, or elements of a group, as inputs."""
    return no_harmonics(run.task)


VARIABLES = {
    "input_entropy": Variable("step", "nats", "mean over neurons of input_entropy_of"),
    "input_entropy_of": Variable(
        "step, input_neuron",
        "nats",
        "{−Σ_ω q ln q}, q the {amplitude} spectrum of the neuron's input side, ω > 0, with sum 1",
    ),
    "input_spread": Variable("step", "nats", "standard deviation over neurons of input_entropy_of"),
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
    "output_spread": Variable(
        "step", "nats", "standard deviation over neurons of output_entropy_of"
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
        "step", "share", "right answers on the test set; NaN between evaluations"
    ),
    "input_neuron": Variable("input_neuron", "none", "a neuron's number"),
    "output_neuron": Variable("output_neuron", "none", "a neuron's number"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("test_accuracy",)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    spectrum: Annotated[
        Literal["amplitude", "power"], "normalize |F(ω)| or |F(ω)|² to sum 1"
    ] = "amplitude",
    definition: Annotated[
        Definition, "entropy; or the paper's code, whose values stay near a flat spectrum's"
    ] = "plain",
    neurons: Annotated[
        Literal["live", "all"],
        "average over live neurons (weights above 1 % of the largest), or all",
    ] = "live",
    path: Annotated[str, "from tokens to neurons; auto: attention in a transformer"] = "auto",
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Entropy of the spectra on the input side, the output side and in W_E, in nats.

    Returns:
        `VARIABLES`. The spectra of the columns of W_E, which has no privileged basis, are summed
        first. The attributes hold t_mem and t_gen where reached, and ``flat``, the entropy of a
        flat spectrum (of white noise, in which representations of dimension d have d times the
        amplitude).
    """
    steps, parts = run.select(steps), harmonics(run.task, order)
    tokens, exponent = parts.tokens, {"amplitude": 1, "power": 2}[spectrum]
    entropy_of = {"plain": spectral_entropy, "paper-code": softmax_cross_entropy}[definition]

    def entropy(amplitude: Float[Tensor, "... frequency"]) -> Float[Tensor, "..."]:
        return entropy_of(amplitude.double() ** exponent)

    sides = {
        "input": run.input_sides(steps, path=path)[:, :, tokens].mT,
        "output": run.output_side(steps)[None, ..., tokens],
    }
    values: dict[str, Tensor] = {}
    for side, signals in sides.items():
        of_neurons = entropy(joint_amplitude(parts.amplitude, signals))
        is_live = live(signals.movedim(0, -2).flatten(-2))
        counted = is_live if neurons == "live" else torch.ones_like(is_live)
        among = torch.where(counted, of_neurons, torch.nan)
        values[f"{side}_entropy"] = among.nanmean(-1)
        values[f"{side}_spread"] = (among - among.nanmean(-1, True)).square().nanmean(-1).sqrt()
        values[f"{side}_entropy_of"] = of_neurons
        values[f"{side}_live"] = is_live
    if run.wiring.embedding is not None:
        columns = run.embedding(steps)[:, tokens].transpose(1, 2)
        values["embedding_entropy"] = entropy(parts.amplitude(columns).norm(dim=1))
    accuracy = run.metrics.drop_duplicates("step").set_index("step").test_accuracy.reindex(steps)
    return described(
        VARIABLES,
        {
            **{name: tensor.numpy() for name, tensor in values.items()},
            "test_accuracy": accuracy.to_numpy(float),
        },
        coords={
            "step": steps,
            **{f"{side}_neuron": np.arange(signal.shape[2]) for side, signal in sides.items()},
        },
        attrs={
            "spectrum": spectrum,
            "neurons": neurons,
            "path": run.wiring.path_name(path),
            "flat": float(entropy(parts.noise_amplitude).nan_to_num()),
            "parts": "representations" if isinstance(parts, Representations) else "frequencies",
            **run.milestones,
        },
        words={"−Σ_ω q ln q": _FORMULA[definition], "amplitude": spectrum},
    )


def finding(dataset: xr.Dataset) -> str:
    """The first and last entropy of each side, and its rank correlation with test accuracy."""
    changes = ", ".join(
        f"{name} {format_change(dataset[f'{side}_entropy'], '.2f')}"
        for side, name in SIDES.items()
        if f"{side}_entropy" in dataset
    )
    rank = rank_correlation(dataset.input_entropy.to_numpy(), dataset.test_accuracy.to_numpy())
    return (
        f"entropy {format_steps(dataset)} in nats: {changes}; rank correlation of the input side "
        f"with test accuracy {format_number(rank, '+.2f')}"
    )


#: The most single neurons, and steps of each, drawn behind the mean.
_NEURONS_SHOWN, _STEPS_SHOWN = 48, 120


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """A panel for each side: the mean, single neurons behind it, and test accuracy on the right."""
    sides = [side for side in SIDES if any(f"{side}_entropy" in ds for ds in measured.values())]
    figure = Panels(
        measured,
        title="Entropy of the neurons' spectra over training",
        subtitle="thin: single neurons; grey: a flat spectrum (on a group, white noise)",
        log=log,
    )
    row = figure.row(height=330)
    flat = sorted({round(ds.attrs["flat"], 6) for ds in measured.values()})
    for side in sides:
        title = "entropy (nats)" if side == sides[0] else ""
        panel = row.over_training(SIDES[side], y={"title": title, "range": [0, 1.08 * flat[-1]]})
        title = "test accuracy" if side == sides[-1] else ""
        accuracy = panel.right(SHARE | {"range": [0, 1.08], "title": title})
        for height in flat:
            panel.level(height)
        for label, dataset in measured.items():
            if f"{side}_entropy_of" in dataset:
                _draw_neurons(panel, dataset, side, label)
        panel.curves(f"{side}_entropy", key="mean over neurons", width=3, value="%{y:.3f} nats")
        name = "test accuracy (right axis)"
        accuracy.curves("test_accuracy", key=name, dash="dot", width=1.5, value="%{y:.1%}")
    row = figure.row(height=150)
    for side in ("input", "output"):
        y = {"title": "standard deviation (nats)", "rangemode": "tozero"}
        panel = row.over_training(f"{SIDES[side]}: spread over neurons", y=y)
        panel.curves(f"{side}_spread", value="%{y:.3f} nats")
    row.fill(len(sides))
    return figure.draw()


def _draw_neurons(panel: Panel, dataset: xr.Dataset, side: str, label: str) -> None:
    """Draw the entropies of evenly chosen neurons, while they are live."""
    entropy = dataset[f"{side}_entropy_of"].where(dataset[f"{side}_live"])
    steps = thin(dataset.step.to_numpy().tolist(), _STEPS_SHOWN)
    neurons = thin(range(dataset.sizes[f"{side}_neuron"]), _NEURONS_SHOWN)
    curves = entropy.sel(step=steps).isel({f"{side}_neuron": neurons}).transpose(..., "step")
    panel.bundle(steps, curves, run=label)
