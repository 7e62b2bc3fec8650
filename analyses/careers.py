"""When do neurons commit to a frequency? Leaders, switches, transient frequencies, gradients.

A neuron's leader is the frequency with the largest share of its weights' power. The neuron commits
when its final frequency leads for good. A frequency is transient if neurons had specialized in it,
with at least half of their power, and none has at the end. The gradient of the training loss by
the weights of the tokens has an energy at each frequency, ‖P_k ∇L‖², from the first step on, long
before the weights do (competition of frequencies: He et al. 2026, arXiv 2602.16849). For a group,
frequencies are its irreducible representations.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import (
    SHARE,
    LogAxis,
    Measured,
    Panels,
    Row,
    frequency_color,
)
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import dominant_frequency, joint_amplitude, live
from mechgrok.analyses.measures.harmonics import (
    Harmonics,
    harmonics,
    no_harmonics,
    part_coordinates,
    part_labels,
    part_units,
)
from mechgrok.analyses.measures.spacing import log_spaced
from mechgrok.models import raw_weights
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

#: The share of a neuron's power at which it is specialized.
_SPECIALIZED = 0.5


def applies(run: Run) -> str | None:
    """Requires residues modulo p, or elements of a group, as inputs."""
    return no_harmonics(run.task)


VARIABLES = {
    "committed": Variable(
        "step", "share", "share of live neurons whose final frequency leads from the step on"
    ),
    "specialized": Variable(
        "step", "share", "share of live neurons with at least half of their power at one frequency"
    ),
    "transient": Variable(
        "step",
        "share",
        "share of live neurons that are specialized in a frequency in which none is at the end",
    ),
    "leaders": Variable("step", "frequencies", "number of frequencies that lead a live neuron"),
    "gradient_at_final": Variable(
        "step",
        "share",
        "share of gradient_energy, without the constants, at the frequencies that lead a live "
        "neuron at the end",
    ),
    "gradient_energy": Variable(
        "step, frequency",
        "({units of the loss} per weight)²",
        "‖P_k ∂L/∂W‖², L the training loss, W the weights whose rows are tokens, P_k the "
        "projection of each column on the waves of frequency k; of a group on the entries of ρ",
    ),
    "frequency_of": Variable(
        "step, neuron", "{units of a frequency}", "the neuron's leader: its strongest frequency"
    ),
    "share": Variable("step, neuron", "share of power", "the leader's share of the power"),
    "committed_at": Variable(
        "neuron", "step", "the first measured step from which the final frequency leads to the end"
    ),
    "switches": Variable("neuron", "none", "number of changes of the leader between the steps"),
    "live": Variable(
        "neuron", "none", "whether its weights are above 1 % of the largest's at the last step"
    ),
}
#: The variables over steps that use later checkpoints.
USES_LATER_STEPS = ("committed", "specialized", "transient", "leaders", "gradient_at_final")


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Leaders and gradients at up to 120 checkpoints, or at ``steps``.

    The power is that of a neuron's input side, or of its output side if there are several layers.

    Returns:
        `VARIABLES`. The attribute ``share_of_noise`` is ``gradient_at_final`` of white noise.
    """
    at, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=120))
    parts = harmonics(run.task)
    signals = _signals(run, at, parts)
    share = parts.power_share(joint_amplitude(parts.amplitude, signals))
    leader, is_live = dominant_frequency(share), live(signals[:, -1].movedim(0, -2).flatten(-2))
    largest = share.amax(-1).nan_to_num(0)
    energy = torch.stack([gradient_energy(run, step, parts) for step in at])
    is_final = torch.zeros(len(parts.names), dtype=torch.bool)
    is_final[leader[-1, is_live]] = True
    specialized = largest >= _SPECIALIZED
    is_lasting = torch.zeros_like(is_final)
    is_lasting[leader[-1, is_live & specialized[-1]]] = True
    agrees = leader == leader[-1]
    since = _last_disagreement(agrees)
    return described(
        VARIABLES,
        {
            "committed": _share(torch.arange(len(at))[:, None] >= since, is_live),
            "specialized": _share(specialized, is_live),
            "transient": _share(specialized & ~is_lasting[leader], is_live),
            "leaders": [len(one[is_live].unique()) for one in leader],
            "gradient_at_final": energy[:, is_final].sum(1) / energy[:, 1:].sum(1),
            "gradient_energy": energy,
            "frequency_of": leader,
            "share": largest,
            "committed_at": np.array(at)[since.numpy()],
            "switches": (leader[1:] != leader[:-1]).sum(0),
            "live": is_live,
        },
        coords={"step": at, "neuron": np.arange(len(is_live)), **part_coordinates(parts)},
        attrs={
            "share_of_noise": float(parts.of_noise[is_final].sum()),
            **of_steps,
            **run.milestones,
        },
        words={"units of the loss": run.task.loss_units, **part_units(parts)},
    )


def _signals(
    run: Run, steps: Sequence[int], parts: Harmonics
) -> Float[Tensor, "path step neuron n"]:
    """The weights of neurons over the tokens that they read, or the answers that they write."""
    if len(run.wiring.hidden) == 1:
        return run.input_sides(steps, path="auto")[:, :, parts.tokens].mT.double()
    return run.output_side(steps)[None, ..., parts.tokens].double()


def gradient_energy(run: Run, step: int, parts: Harmonics) -> Float[Tensor, " part"]:
    """‖P_k ∂L/∂W‖² of each part: L the training loss, W the weights whose rows are tokens.

    By Parseval's theorem the energies of all parts sum to ‖∂L/∂W‖² over the ordered tokens.

    >>> import mechgrok
    >>> from mechgrok.tasks.harmonics import harmonics
    >>> run = mechgrok.Run("data/base")
    >>> gradient_energy(run, 0, harmonics(run.task)).shape
    torch.Size([34])
    """
    model, train = run.model(step), run.task.train
    loss = run.task.loss(model(train.inputs), train.labels)
    wiring = run.wiring
    inputs = {group for group, column in wiring.column.items() if column == 0}
    names = [
        name
        for name, ends in wiring.connections.items()
        if ends.source in inputs and wiring.groups[ends.source].unit != "position"
    ]
    weights = raw_weights(model)
    slopes = torch.autograd.grad(loss, [weights[name] for name in names])
    columns = torch.cat([slope[parts.tokens] for slope in slopes], dim=1).double()
    power = (parts.every.T @ columns).square().sum(1)
    return torch.zeros(len(parts.names), dtype=power.dtype).index_add_(0, parts.part_of, power)


def _last_disagreement(agrees: Bool[Tensor, "step neuron"]) -> Integer[Tensor, " neuron"]:
    """The index of the first step from which a neuron agrees with the last step to the end."""
    return len(agrees) - agrees.flip(0).long().cumprod(0).sum(0)


def _share(
    of: Bool[Tensor, "step neuron"], is_live: Bool[Tensor, " neuron"]
) -> Float[Tensor, " step"]:
    """The share of live neurons; NaN without any."""
    return of[:, is_live].double().mean(1)


def finding(dataset: xr.Dataset) -> str:
    """When half of the neurons have committed, switches, and the gradient at final frequencies."""
    alive = dataset.isel(neuron=np.flatnonzero(dataset.live))
    last = int(dataset.step[-1])
    if not alive.sizes["neuron"]:
        return with_skipped_note(f"no neuron is alive at step {last:,}", dataset)
    labels = part_labels(dataset)
    half = int(np.quantile(alive.committed_at, 0.5, method="higher"))
    text = (
        f"half of {alive.sizes['neuron']} live neurons have their final {labels.word} from step "
        f"{half:,} on, after {float(alive.switches.median()):.0f} switches (median); "
        f"{_transients(dataset)}; at the final {labels.plural} is "
        f"{format_change(100 * dataset.gradient_at_final, '.0f')} % of the gradient's energy "
        f"(white noise {format_percent(dataset.share_of_noise)})"
    )
    return with_skipped_note(text, dataset)


def _transients(dataset: xr.Dataset) -> str:
    """The peak of the transient frequencies, in words."""
    top = int(dataset.transient.argmax("step"))
    if not float(dataset.transient[top]):
        return f"no transient {part_labels(dataset).plural}"
    most, plural = format_percent(dataset.transient[top]), part_labels(dataset).plural
    return f"transient {plural} in up to {most} (step {int(dataset.step[top]):,})"


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Shares over training; below, each run's neurons and gradient by frequency."""
    labels = part_labels(*measured.values())
    figure = Panels(
        measured,
        title=f"Careers of neurons: which {labels.word} leads, and since when",
        subtitle=f"below, a colour is a {labels.word}; final: leads a live neuron at the last step",
        log=log,
    )
    row = figure.row(height=230)
    panel = row.over_training("neurons", y=SHARE | {"title": "share of live neurons"})
    for name, dash in (("committed", "solid"), ("specialized", "dash"), ("transient", "dot")):
        panel.curves(name, key=name, dash=dash, value="%{y:.0%}")
    panel = row.over_training(f"{labels.plural} that lead", y={"rangemode": "tozero"})
    panel.curves("leaders", value="%{y}")
    title = f"gradient at the final {labels.plural}"
    panel = row.over_training(title, y=SHARE | {"title": "share of energy"})
    panel.curves("gradient_at_final", value="%{y:.0%}")
    for share in {round(dataset.share_of_noise, 3) for dataset in measured.values()}:
        panel.level(share, "white noise")
    for label, dataset in figure.pictured.items():
        _draw_run(figure.row(height=260), label, dataset)
    return figure.draw()


def _draw_run(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw the number of neurons led by each frequency, and the gradient's energy at each."""
    labels, n_live = part_labels(dataset), int(dataset.live.sum())
    leader = dataset.frequency_of.to_numpy()[:, dataset.live.to_numpy()]
    parts = dataset.frequency.to_numpy()[1:]
    count = np.array([(leader == part).sum(1) for part in parts])
    energy = dataset.gradient_energy.to_numpy()[:, 1:].T
    total = energy.sum(0)
    share = np.divide(energy, total, out=np.full_like(energy, np.nan), where=total > 0)
    y = {"title": f"of {n_live} live neurons", "rangemode": "tozero"}
    left = row.over_training(f"{label}: neurons led by a {labels.word}", y=y, marks=[label])
    y = {"title": "share of energy", "type": "log"}
    right = row.over_training(f"{label}: energy of the gradient", y=y, marks=[label])
    for at, part in enumerate(parts.tolist()):
        is_final = bool(count[at, -1]) if count.size else False
        style: dict[str, Any] = {"color": frequency_color(part), "mode": "lines"}
        style |= {"width": 2.0 if is_final else 0.8}
        name = f"{labels.word} {labels.names[part]}"
        style |= {"entry": name} if is_final else {}
        for panel, values, form in ((left, count[at], "%{y}"), (right, share[at], "%{y:.1%}")):
            panel.lines(dataset.step, values, run=label, value=f"{name}<br>{form}", **style)
