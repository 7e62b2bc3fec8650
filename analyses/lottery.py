"""Which frequency wins within a neuron, and does the start decide? Amplitude, phase, winner.

A neuron that reads α_a cos(w_k a − φ_a) + α_b cos(w_k b − φ_b) and writes β cos(w_k c − φ_out)
promotes the answer a + b in proportion to α_a α_b β cos D, with the misalignment D = φ_a + φ_b −
φ_out (2φ_in − φ_out for a shared embedding). From a small start the frequencies of a neuron grow
without affecting one another, and the one with the largest amplitude and the best aligned phase
wins: a lottery within the neuron (He et al. 2026, arXiv 2602.16849, for an activation of x²).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Complex, Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import GREY, SHARE, LogAxis, Measured, Panels, Row
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import live
from mechgrok.analyses.measures.neurons import NeuronWaves, not_a_sum
from mechgrok.analyses.measures.spacing import log_spaced, thin
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

#: What predicts the winner: the largest α_a α_b β, the smallest |D|, or the largest product
#: α_a α_b β cos D.
PREDICTORS = ("amplitude", "alignment", "both")
_LABELS = {"amplitude": "amplitude", "alignment": "phase alignment", "both": "amplitude × cos D"}


def applies(run: Run) -> str | None:
    """Requires a sum of two operands, and neurons that read inputs and write outputs."""
    if reason := not_a_sum(run):
        return reason
    if len(run.wiring.hidden) > 1:
        return "It has several hidden layers: no neuron both reads the operands and writes answers."
    return None


VARIABLES = {
    **{
        f"predicted_by_{predictor}": Variable(
            "step",
            "share",
            f"share of live neurons in which the winner has {best} of all frequencies at the step",
        )
        for predictor, best in zip(
            PREDICTORS,
            ("the largest α_a α_b β", "the smallest |D|", "the largest α_a α_b β cos D"),
            strict=True,
        )
    },
    "misalignment": Variable(
        "step", "radians", "mean of |D| at the winner over live neurons; π/2 for random phases"
    ),
    "phase_symmetry": Variable(
        "step",
        "share",
        "1 − Σ_k (|Σ A exp(iθ)| + |Σ A exp(2iθ)|) / (2 Σ A), inner sums over live neurons of the "
        "frequency k at the step, A = α_a α_b β, θ = φ_a + φ_b; 1 if phases cancel",
    ),
    "random_symmetry": Variable(
        "step", "share", "phase_symmetry expected of independent random phases, approximately"
    ),
    "frequency_spread": Variable(
        "step",
        "frequencies",
        "effective number of frequencies: exp of the entropy of the live neurons' frequencies",
    ),
    "winner": Variable(
        "neuron", "{cycles per n}", "the frequency with the largest α_a α_b β at the last step"
    ),
    "live": Variable(
        "neuron",
        "none",
        "whether input and output weights are above 1 % of the largest neuron's at the last step",
    ),
    "rank": Variable(
        "step, predictor, neuron", "none", "the winner's rank by the predictor; 1 is the best"
    ),
    "initial_amplitude": Variable(
        "neuron, frequency", "weight cubed", "α_a α_b β at the first step"
    ),
    "initial_misalignment": Variable(
        "neuron, frequency", "radians", "D at the first step, in (−π, π]"
    ),
    "predictor": Variable(
        "predictor", "none", "amplitude: α_a α_b β; alignment: −|D|; both: α_a α_b β cos D"
    ),
}
#: The variables over steps that use later checkpoints.
USES_LATER_STEPS = (
    "predicted_by_amplitude",
    "predicted_by_alignment",
    "predicted_by_both",
    "misalignment",
    "phase_symmetry",
    "random_symmetry",
    "frequency_spread",
)


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Winners of the last step, and their ranks at up to 60 checkpoints or at ``steps``.

    Returns:
        `VARIABLES`. The attribute ``chance`` is 1 / number of frequencies.
    """
    at, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=60))
    waves = NeuronWaves.of(run, at)
    gain = waves.first * waves.second * waves.out.conj()
    gain[..., 0] = 0  # a constant is no wave
    frequency = gain[..., 1:].abs().argmax(-1) + 1
    winner, is_live = frequency[-1], _live(waves)
    rank = _rank(gain, winner)
    values = {
        f"predicted_by_{predictor}": _mean((rank[:, place] == 1).double(), is_live)
        for place, predictor in enumerate(PREDICTORS)
    }
    at_winner = gain.gather(-1, winner[None, :, None].expand(len(at), -1, 1))[..., 0]
    symmetry, of_random, spread = _network(waves, gain, frequency, is_live)
    n = run.task.d_output if run.task.name == "add" else run.task.d_output - 1
    return described(
        VARIABLES,
        {
            **values,
            "misalignment": _mean(at_winner.angle().abs(), is_live),
            "phase_symmetry": symmetry,
            "random_symmetry": of_random,
            "frequency_spread": spread,
            "winner": winner,
            "live": is_live,
            "rank": rank,
            "initial_amplitude": gain[0].abs().float(),
            "initial_misalignment": -gain[0].angle().float(),
        },
        coords={
            "step": at,
            "predictor": list(PREDICTORS),
            "neuron": np.arange(len(winner)),
            "frequency": np.arange(gain.shape[-1]),
        },
        attrs={"chance": 1 / (gain.shape[-1] - 1), **of_steps, **run.milestones},
        words={"cycles per n": f"cycles per {n}", "units of a frequency": f"cycles per {n}"},
    )


def _live(waves: NeuronWaves) -> Bool[Tensor, " neuron"]:
    """The neurons that read and write waves at the last step."""
    reads = torch.cat([waves.first[-1].abs(), waves.second[-1].abs()], dim=-1)
    return live(reads) & live(waves.out[-1].abs())


def _rank(
    gain: Complex[Tensor, "step neuron frequency"], winner: Integer[Tensor, " neuron"]
) -> Integer[Tensor, "step 3 neuron"]:
    """The winner's rank among the frequencies by each predictor."""
    scores = torch.stack([gain.abs(), -gain.angle().abs(), gain.real], dim=1)[..., 1:]
    place = (winner - 1).expand(*scores.shape[:-1])[..., None]
    return (scores > scores.gather(-1, place)).sum(-1) + 1


def _mean(
    values: Float[Tensor, "step neuron"], is_live: Bool[Tensor, " neuron"]
) -> Float[Tensor, " step"]:
    """The mean over live neurons; NaN without any."""
    return torch.where(is_live, values, torch.nan).nanmean(-1)


def _network(
    waves: NeuronWaves,
    gain: Complex[Tensor, "step neuron frequency"],
    frequency: Integer[Tensor, "step neuron"],
    is_live: Bool[Tensor, " neuron"],
) -> tuple[Float[Tensor, " step"], Float[Tensor, " step"], Float[Tensor, " step"]]:
    """Phase symmetry, that of random phases, and the effective number of frequencies."""
    amplitude = gain.abs().gather(-1, frequency[..., None])[..., 0] * is_live
    read = (waves.first * waves.second).gather(-1, frequency[..., None])[..., 0]
    member = torch.nn.functional.one_hot(frequency, gain.shape[-1]).double()
    turns = [torch.polar(amplitude, m * read.angle()) for m in (1, 2)]
    resultants = [torch.einsum("snk,sn->sk", member.to(turn.dtype), turn) for turn in turns]
    total = amplitude.sum(-1)
    share = sum(each.abs().sum(-1) for each in resultants) / (2 * total)
    # The length of a sum of random unit vectors is nearly Rayleigh distributed.
    squares = torch.einsum("snk,sn->sk", member, amplitude.square())
    of_random = (torch.pi / 4 * squares).sqrt().sum(-1) / total
    count = torch.einsum("snk,n->sk", member, is_live.double())
    q = count / count.sum(-1, keepdim=True)
    return 1 - share, 1 - of_random, torch.special.entr(q).sum(-1).exp()


def finding(dataset: xr.Dataset) -> str:
    """How often each predictor at the first step names the winner, against chance."""
    n_live, first = int(dataset.live.sum()), dataset.isel(step=0)
    last_step = int(dataset.step[-1])
    if not n_live:
        return f"no neuron is alive at step {last_step:,}"
    spread = f"{float(dataset.frequency_spread[-1]):.1f} frequencies in {n_live} neurons"
    if dataset.sizes["step"] == 1:
        return f"one step alone, {last_step:,}, has no winner to predict; {spread}"
    shares = ", ".join(
        f"{format_percent(first[f'predicted_by_{name}'])} by {_LABELS[name]}" for name in PREDICTORS
    )
    text = (
        f"the start (step {int(first.step):,}) predicts the winners of step {last_step:,} in "
        f"{shares}, by chance {format_percent(dataset.chance)}; {spread}, phase symmetry "
        f"{format_change(dataset.phase_symmetry, '.2f')}"
    )
    return with_skipped_note(text, dataset)


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Predictions and the network's phases over training; below, each run's lottery."""
    figure = Panels(
        measured,
        title="The lottery of frequencies within neurons",
        subtitle="winner: the neuron's strongest frequency at the last step; D = φ_a + φ_b − φ_out",
        log=log,
    )
    row = figure.row(height=230)
    panel = row.over_training("winner ranks first", y=SHARE | {"title": "share of live neurons"})
    for name, dash in zip(PREDICTORS, ("solid", "dot", "dash"), strict=True):
        panel.curves(f"predicted_by_{name}", key=f"by {_LABELS[name]}", dash=dash, value="%{y:.0%}")
    for chance in {dataset.chance for dataset in measured.values()}:
        panel.level(chance, "chance")
    panel = row.over_training("phase symmetry", y={"title": "share", "range": [-0.03, 1.03]})
    panel.curves("phase_symmetry", value="%{y:.2f}")
    panel.curves(
        "random_symmetry", key="of random phases", dash="dashdot", width=1, value="%{y:.2f}"
    )
    panel = row.over_training("frequency spread", y={"title": "frequencies", "rangemode": "tozero"})
    panel.curves("frequency_spread", value="%{y:.1f} frequencies")
    for label, dataset in figure.pictured.items():
        _draw_lottery(figure.row(height=270), label, dataset)
    return figure.draw()


#: The most neurons drawn with all their frequencies.
_NEURONS_SHOWN = 60


def _draw_lottery(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw all frequencies of a run's neurons at the first step, and the winners' ranks."""
    step = int(dataset.step[0])
    panel = row.panel(
        f"{label}: frequencies of its neurons at step {step:,}",
        x={"title": "amplitude α_a α_b β / the neuron's median", "type": "log", "dtick": 1},
        y={"title": "|D| (radians)", "range": [-0.1, 3.25]},
        width=1.6,
    )
    neurons = np.flatnonzero(dataset.live.to_numpy())
    if not len(neurons):
        panel.annotate("no live neuron")
        return
    neurons = np.array(thin(neurons.tolist(), _NEURONS_SHOWN))
    amplitude = dataset.initial_amplitude.to_numpy()[neurons, 1:].astype(float)
    middle = np.median(amplitude, axis=1, keepdims=True)
    amplitude = np.divide(amplitude, middle, out=np.full_like(amplitude, np.nan), where=middle > 0)
    angle = np.abs(dataset.initial_misalignment.to_numpy()[neurons, 1:])
    won = np.arange(1, amplitude.shape[1] + 1) == dataset.winner.to_numpy()[neurons, None]
    shown: dict[str, Any] = {"mode": "markers", "hover": "amplitude %{x:.2g}<br>|D| %{y:.2f}"}
    for chosen, entry, marker in (
        (~won, "losers", {"size": 3, "color": GREY, "opacity": 0.3}),
        (won, "winners", {"size": 7}),
    ):
        x, y = amplitude[chosen], angle[chosen]
        panel.add("scatter", run=label, x=x, y=y, marker=marker, key=entry, **shown)
    title = f"winners' ranks at step {step:,}"
    x = {"title": "rank by amplitude × cos D", "range": [0, dataset.sizes["frequency"]]}
    panel = row.panel(title, x=x, y="live neurons")
    rank = dataset["rank"].isel(step=0).sel(predictor="both")[dataset.live.to_numpy()]
    places, count = np.unique(rank, return_counts=True)
    panel.add("bar", run=label, x=places, y=count, hover="rank %{x}<br>%{y} neurons")
    panel.level(float(rank.size * dataset.chance), "chance")
