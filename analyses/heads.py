"""What does each attention head read, and where does it attend? W_neur, W_attn, a minus b.

With the effective weights of a head (Nanda et al. 2023, arXiv 2301.05217), W_neur = W_E W_V W_O
W_in is what the neurons read of a token that the head attends to, and W_attn = q W_Kᵀ W_Eᵀ /
√d_head is the score that the last position, with query q, gives to each token. In a network
that adds, both are waves of the key frequencies. Over all pairs, a head's attention to a minus that
to b is a wave of one frequency in a minus the same wave in b, up to the softmax.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from mechgrok.analyses.drawing import (
    COLORS,
    DIVERGING,
    SHARE,
    LogAxis,
    Measured,
    Panels,
    frequency_color,
)
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import key_frequencies
from mechgrok.analyses.measures.grids import grid_of
from mechgrok.analyses.measures.harmonics import Harmonics, Waves, harmonics, no_harmonics
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.analyses.measures.spacing import thin
from mechgrok.interventions import Network
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation

VERSION = 2
#: Number of checkpoints measured by default.
_STOPS = 20


def applies(run: Run) -> str | None:
    """Requires attention, and one operation on two residues."""
    if run.wiring.hidden[-1].pattern is None:
        return "its network has no attention heads."
    if not isinstance(run.task, BinaryOperation):
        return f"{run.task.name} is not one operation on two residues."
    if (reason := no_harmonics(run.task)) is not None:
        return reason
    if not isinstance(harmonics(run.task), Waves):
        return "waves over its elements are representations, for which see activations."
    return None


VARIABLES = {
    "neuron_amplitude": Variable(
        "step, head, frequency",
        "weight",
        "√Σ |F(ω)|² over neurons, F(ω) = Σ_x f(x) exp(−2πi ω x / n), of W_E W_V W_O W_in of the "
        "first block's head",
    ),
    "score_amplitude": Variable(
        "step, head, frequency",
        "score",
        "|F(ω)| of the score q · W_E W_K / √d_head of a token without its position, q the last "
        "position's query (the mean over its possible tokens)",
    ),
    "logit_amplitude": Variable(
        "step, frequency", "weight", "√Σ |F(ω)|² over neurons, of the last block's W_out W_U"
    ),
    "difference": Variable(
        "step, head, a, b",
        "share",
        "attention of the last position to a minus that to b",
    ),
    "mean_attention": Variable(
        "step, head, source",
        "share",
        "attention of the last position to each position, the mean over all pairs",
    ),
    "neuron_spectrum": Variable(
        "step, head, neuron, frequency",
        "weight",
        "only with by_neuron: |F(ω)| of the neuron's column of W_E W_V W_O W_in of the first "
        "block's head",
    ),
    "wave_frequency": Variable(
        "step, head",
        "cycles per n",
        "the frequency whose waves of a and of b explain most of the difference's variance",
    ),
    "wave_share": Variable(
        "step, head",
        "share of variance",
        "the share that these waves explain; NaN if constant",
    ),
    "wave": Variable(
        "step, head, operand, function",
        "share",
        "coefficients of cos(w_k a), sin(w_k a), cos(w_k b), sin(w_k b) in the difference",
    ),
    "head": Variable("head", "none", "a head's number"),
    "source": Variable("source", "none", "an attended position, from 0"),
    "operand": Variable("operand", "none", "a or b"),
    "function": Variable("function", "none", "cos or sin"),
    "a": Variable("a", "none", "the first operand's token"),
    "b": Variable("b", "none", "the second operand's token"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    by_neuron: Annotated[bool, "also the spectrum of W_neur of every neuron"] = False,
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Effective weights and attention of every head, at 20 checkpoints or at ``steps``.

    Returns:
        `VARIABLES`.
    """
    steps, of_steps = select_finite_steps(run, steps, partial(thin, count=_STOPS))
    parts = harmonics(run.task, order)
    rows = [_measure(run, step, parts, by_neuron) for step in steps]
    values = {name: torch.stack([row[name] for row in rows]).numpy() for name in rows[0]}
    logits = parts.amplitude(run.output_side(steps)[..., parts.tokens])
    return described(
        VARIABLES,
        {**values, "logit_amplitude": logits.norm(dim=1).numpy()},
        coords={
            "step": steps,
            "head": np.arange(values["wave_share"].shape[1]),
            "source": np.arange(values["mean_attention"].shape[-1]),
            **({"neuron": np.arange(values["neuron_spectrum"].shape[2])} if by_neuron else {}),
            "frequency": np.arange(len(parts.names)),
            "operand": ["a", "b"],
            "function": ["cos", "sin"],
            **dict.fromkeys(("a", "b"), parts.tokens.numpy()),
        },
        attrs={"p": parts.n, **of_steps},
        words={"units of a frequency": f"cycles per {parts.n}"},
    )


def _measure(run: Run, step: int, parts: Harmonics, by_neuron: bool) -> dict[str, Tensor]:
    """All variables but the logits' at one step."""
    weights = run.checkpoint(step).effective_weights
    pattern = grid_of(Network(run, step), str(run.wiring.hidden[-1].pattern), parts)
    n_heads = weights["blocks.0.attn.W_Q"].shape[0]
    attention = pattern.unflatten(-1, (n_heads, -1))
    difference = (attention[..., 0] - attention[..., 1]).movedim(-1, 0)
    effective = _effective(weights, parts, bool(getattr(run.task, "equals", False)))
    if not by_neuron:
        del effective["neuron_spectrum"]
    return {
        **effective,
        "mean_attention": attention.mean((0, 1)),
        "difference": difference.float(),
        **_linear_waves(difference, parts),
    }


def _effective(weights: Mapping[str, Tensor], parts: Harmonics, equals: bool) -> dict[str, Tensor]:
    """Spectra of W_neur and of W_attn of each head of the first block."""
    block = "blocks.0."
    W_E, W_pos = weights["embed.W_E"].double(), weights["pos_embed.W_pos"].double()
    W_Q, W_K, W_V, W_O = (weights[f"{block}attn.W_{name}"].double() for name in "QKVO")
    W_in = weights[f"{block}mlp.W_in"].double()
    neurons = W_E[parts.tokens] @ W_V @ (W_O @ W_in)  # [head, token, neuron]
    # With "=", the last position has that token; else its token is b.
    last = W_E[-1:] if equals else W_E[parts.tokens]
    query = (last.mean(0, keepdim=True) + W_pos[-1]) @ W_Q
    scores = query @ (W_E[parts.tokens] @ W_K).mT / W_K.shape[-1] ** 0.5
    spectrum = parts.amplitude(neurons.mT)
    return {
        "neuron_spectrum": spectrum.float(),
        "neuron_amplitude": spectrum.norm(dim=1),
        "score_amplitude": parts.amplitude(scores)[:, 0],
    }


def _linear_waves(grid: Float[Tensor, "head n n"], parts: Harmonics) -> dict[str, Tensor]:
    """The best frequency's waves of a and of b alone."""
    n = parts.n
    sides = torch.stack([grid.mean(2), grid.mean(1)], dim=1)  # [head, operand, n]
    spectrum = torch.fft.rfft(sides) / n
    power = spectrum.abs().square().sum(1) * parts.counted
    power[:, 0] = 0
    best = power.argmax(1)
    variance = grid.flatten(1).var(1, correction=0)
    constant = grid.flatten(1).amax(1) == grid.flatten(1).amin(1)
    share = power.gather(1, best[:, None])[:, 0] / variance.masked_fill(constant, torch.nan)
    at = spectrum.gather(2, best[:, None, None].expand(-1, 2, 1))[..., 0]
    scale = parts.counted[best][:, None]
    wave = torch.stack([at.real * scale, -at.imag * scale], dim=-1)
    return {"wave_frequency": best, "wave_share": share, "wave": wave}


def finding(dataset: xr.Dataset) -> str:
    """The frequency of each head's attention to a minus b."""
    last = dataset.isel(step=-1)
    heads = ", ".join(
        f"{int(head)} (k = {int(last.wave_frequency.sel(head=head))}, "
        f"{format_percent(last.wave_share.sel(head=head))})"
        for head in last["head"]
    )
    text = (
        f"attention to a minus b by head (frequency, share of its waves in the variance) at step "
        f"{int(last.step):,}: {heads}"
    )
    return with_skipped_note(text, dataset)


# --- figure -------------------------------------------------------------------------------------


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """For each run, a column for each head: attention over pairs, spectra; then over training."""
    figure = Panels(
        measured,
        title="What each head reads, and where it attends",
        subtitle="k: the frequency whose waves of a and of b explain most of the last step's "
        "difference",
        log=log,
        stops=_STOPS,
    )
    top = max(float(np.nanmax(np.abs(ds.difference), initial=0)) for ds in measured.values())
    colors = figure.colors("a − b", -top, top, scale=DIVERGING)
    for label, dataset in figure.pictured.items():
        heads = dataset["head"].to_numpy().tolist()[:4]
        last, row = dataset.isel(step=-1), figure.row(height=150)
        for head in heads:
            at_head = last.sel(head=head)
            name = f"<b>{label}</b>: head {head}" if head == heads[0] else f"head {head}"
            share = format_percent(at_head.wave_share)
            title = f"{name}<br>k = {int(at_head.wave_frequency)}: {share}"
            panel = row.panel(title, x="b", y="a" if head == heads[0] else "")
            hover = "a = %{y}, b = %{x}<br>attention a − b %{z:.2f}"
            at = partial(_difference, head=head)
            axes = {"x": dataset.b.to_numpy(), "y": dataset.a.to_numpy()}
            panel.heat(colors, run=label, at=at, hover=hover, **axes)
        for name, title in (("neuron", "W<sub>neur</sub>"), ("score", "W<sub>attn</sub>")):
            row = figure.row(height=110)
            for head in heads:
                y = {"title": f"{title}, |F|" if head == heads[0] else "", "nticks": 4}
                panel = row.panel("", x="frequency ω", y=y)
                _bars(panel, label, dataset, partial(_spectrum, name=name, head=head))
        if "neuron_spectrum" in dataset:
            _draw_spectra(figure, label, dataset, heads)
    row = figure.row(height=190)
    for label, dataset in figure.pictured.items():
        panel = row.panel(f"{label}: W<sub>logit</sub>", x="frequency ω", y="|F|")
        _bars(panel, label, dataset, _logit_spectrum)
    panel = row.over_training(
        "one frequency's share of a − b", y={"title": "mean of heads", **SHARE}
    )
    panel.curves(lambda dataset: dataset.wave_share.mean("head"), value="%{y:.1%}")
    for label, dataset in figure.pictured.items():
        panel = row.over_training(
            f"{label}: mean attention, a − b", y={"title": "share", "nticks": 5}
        )
        for head in dataset["head"].to_numpy().tolist()[:4]:
            mean = dataset.mean_attention.sel(head=head)
            difference = mean.sel(source=0) - mean.sel(source=1)
            panel.lines(
                dataset.step,
                difference,
                run=label,
                entry=f"head {head}",
                color=COLORS[head],
                value="%{y:.3f}",
            )
    return figure.draw()


def _draw_spectra(figure: Panels, label: str, dataset: xr.Dataset, heads: list[int]) -> None:
    """Draw every neuron's spectrum by head, neurons ordered by their frequency at the last step."""
    strongest = dataset.neuron_spectrum.isel(step=-1).sum("head")[:, 1:].argmax("frequency")
    ordered = strongest.argsort().to_numpy()
    strength = dataset.neuron_spectrum.isel(step=-1, frequency=slice(1, None))
    top = float(strength.max("frequency").quantile(0.9))  # a few large neurons would hide the rest
    colors, row = figure.colors("|F(ω)|", 0, top), figure.row(height=260)
    for head in heads:
        first = head == heads[0]
        panel = row.panel(
            f"W<sub>neur</sub>, head {head}",
            x="frequency ω",
            y="neurons, by frequency" if first else "",
        )
        names = np.broadcast_to(ordered[:, None], (len(ordered), dataset.sizes["frequency"] - 1))
        panel.heat(
            colors,
            run=label,
            at=partial(_neuron_spectra, head=head, ordered=ordered),
            hover="neuron %{customdata}, ω = %{x}<br>|F| %{z:.3g}",
            x=dataset.frequency.to_numpy()[1:],
            customdata=names,
        )


def _neuron_spectra(now: xr.Dataset, head: int, ordered: Any) -> dict[str, Any]:
    return {"z": now.neuron_spectrum.sel(head=head).to_numpy()[ordered, 1:]}


def _bars(panel: Any, label: str, dataset: xr.Dataset, at: Any) -> None:
    """Draw a bar for each frequency above 0, in its colour."""
    x = dataset.frequency.to_numpy()[1:]
    color = [frequency_color(int(k)) for k in x]
    panel.add("bar", run=label, at=at, x=x, color=color, hover="ω = %{x}<br>|F| %{y:.3g}")
    panel.mark_parts(_keys(dataset))


def _keys(dataset: xr.Dataset) -> list[int]:
    """The key frequencies of the logits' weights at the last step."""
    last = dataset.logit_amplitude.isel(step=-1).to_numpy()
    return key_frequencies(torch.from_numpy(last**2))


def _difference(now: xr.Dataset, head: int) -> dict[str, Any]:
    return {"z": now.difference.sel(head=head).to_numpy()}


def _spectrum(now: xr.Dataset, name: str, head: int) -> dict[str, Any]:
    return {"y": now[f"{name}_amplitude"].sel(head=head).to_numpy()[1:]}


def _logit_spectrum(now: xr.Dataset) -> dict[str, Any]:
    return {"y": now.logit_amplitude.to_numpy()[1:]}
