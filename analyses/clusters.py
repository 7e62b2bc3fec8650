"""What do the neurons of one frequency compute together? Quadratic fits, firing, cos w(a + b).

In the algorithm of Nanda et al. 2023 (arXiv 2301.05217) neurons form clusters, one for each key
frequency k. Their pre-activations are waves of w_k a and w_k b, w_k = 2πk/n; the activation is
close to a quadratic form in them, whose products contain cos(w_k (a + b)) and sin(w_k (a + b)); and
the logits read these. The analysis measures the three steps. As a causal test, it restricts
every neuron to its own frequency at once (the intervention `Keep(frequencies="own",
of="neurons")`). For a group, entries of a representation ρ replace the waves.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import GREY, SHARE, LogAxis, Measured, Panels, Row, frequency_color
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import key_frequencies
from mechgrok.analyses.measures.grids import all_pairs, grid_of, polynomial_shares
from mechgrok.analyses.measures.harmonics import (
    Harmonics,
    Waves,
    harmonics,
    no_formula,
    part_coordinates,
    part_labels,
    part_units,
)
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.analyses.measures.spacing import thin
from mechgrok.errors import NotApplicable
from mechgrok.interventions import Keep, Network, Performance
from mechgrok.interventions.logits import place_of
from mechgrok.interventions.waves import own_parts
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation

VERSION = 2
#: Number of checkpoints measured by default.
_STOPS = 20
PLACES = ("pre", "post", "logits")
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("accuracy", "restricted_accuracy", "loss", "restricted_loss")


def applies(run: Run) -> str | None:
    """Requires one function of two residues, or of two elements of a group."""
    return no_formula(run.task)


VARIABLES = {
    "frequency_of": Variable(
        "step, neuron",
        "{units of a frequency}",
        "the part that explains most of the variance of hook_post over all pairs; 0 for a constant",
    ),
    "linear": Variable(
        "step, neuron",
        "R²",
        "of hook_post by 1 and the waves cos, sin of w_k a and w_k b, k the neuron's frequency",
    ),
    "quadratic": Variable(
        "step, neuron", "R²", "of hook_post by all polynomials of degree 2 in these four waves"
    ),
    "product_share": Variable(
        "step, side, neuron",
        "share of variance",
        "share of the products of a function of a and one of b, both of the neuron's frequency, in "
        "the variance of hook_pre and of hook_post over all pairs; NaN for a constant",
    ),
    "firing": Variable("step, neuron", "share", "share of all pairs with hook_pre above 0"),
    "pre_coefficient": Variable(
        "step, wave, neuron",
        "activation",
        "coefficient of cos(w_k s) and sin(w_k s) in hook_pre, averaged over the pairs with right "
        "answer s, k the neuron's frequency (not of a group)",
    ),
    "post_coefficient": Variable(
        "step, wave, neuron", "activation", "as pre_coefficient, of hook_post"
    ),
    "logit_coefficient": Variable(
        "step, wave, key, answer", "logit", "as pre_coefficient, of each logit, k a key frequency"
    ),
    "answer_share": Variable(
        "step, place, key",
        "share of variance",
        "share of cos(w_k s) and sin(w_k s) in the variance over all pairs, summed over the "
        "neurons of the frequency, or over all logits; NaN without such neurons",
    ),
    "size": Variable("step, key", "neurons", "number of neurons of the key frequency"),
    "accuracy": Variable("step", "share", "right answers over all pairs of the task"),
    "restricted_accuracy": Variable(
        "step", "share", "right answers with every neuron restricted to its own frequency"
    ),
    "loss": Variable("step", "nats", "loss over all pairs of the task"),
    "restricted_loss": Variable(
        "step", "nats", "loss with every neuron restricted to its own frequency"
    ),
    "key": Variable(
        "key",
        "{units of a frequency}",
        "frequencies whose neurons have at least twice the mean variance at the last step",
    ),
    "side": Variable("side", "none", "of the activation function: pre, post"),
    "place": Variable("place", "none", "hook_pre, hook_post and the logits"),
    "wave": Variable("wave", "none", "cos or sin"),
    "answer": Variable("answer", "none", "the answer's token"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """The last layer's neurons over all pairs, at 20 checkpoints or at ``steps``.

    Returns:
        `VARIABLES`.

    Raises:
        NotApplicable: the network has no hook_pre.
    """
    steps, of_steps = select_finite_steps(run, steps, partial(thin, count=_STOPS))
    parts = harmonics(run.task, order)
    last = grid_of(Network(run, steps[-1]), run.wiring.hidden[-1].hook, parts)
    own, variance = own_parts(last, parts), last.flatten(0, 1).var(0, correction=0)
    power = torch.zeros(len(parts.names), dtype=torch.float64).index_add_(0, own, variance)
    keys = key_frequencies(power)
    rows = [_measure(run, step, parts, keys) for step in steps]
    is_wave = isinstance(parts, Waves)
    return described(
        VARIABLES,
        {name: np.stack([row[name] for row in rows]) for name in rows[0]},
        coords={
            "step": steps,
            "neuron": np.arange(len(own)),
            "key": keys,
            "place": list(PLACES),
            "side": ["pre", "post"],
            **({"wave": ["cos", "sin"], "answer": parts.tokens.numpy()} if is_wave else {}),
            **part_coordinates(parts),
        },
        attrs={
            "order": "additive" if len(parts.tokens) == run.task.d_output else order,
            **of_steps,
        },
        words=part_units(parts),
    )


def _measure(
    run: Run, step: int, parts: Harmonics, keys: Sequence[int]
) -> dict[str, Float[np.ndarray, "..."]]:
    """All variables at one step."""
    network, hook = Network(run, step), run.wiring.hidden[-1].hook
    hook_pre = hook.replace("hook_post", "hook_pre")
    if hook_pre == hook or hook_pre not in network.model.hook_dict:
        raise NotApplicable("The network has no hook_pre, the input of the activation function.")
    pre, post = (grid_of(network, name, parts) for name in (hook_pre, hook))
    logits = grid_of(network, "hook_logits", parts)[..., parts.tokens]
    own = own_parts(post, parts)
    fits = torch.full((2, len(own)), torch.nan, dtype=torch.float64)
    for part in own.unique().tolist():
        if part:
            fits[:, own == part] = polynomial_shares(post[..., own == part], parts.basis(part))
    grids = {"pre": pre, "post": post, "logits": logits - logits.mean(-1, keepdim=True)}
    means = {place: _mean_by_answer(run.task, grid, parts) for place, grid in grids.items()}
    shares = torch.full((len(PLACES), len(keys)), torch.nan, dtype=torch.float64)
    for at, place in enumerate(PLACES):
        for column, key in enumerate(keys):
            units = slice(None) if place == "logits" else own == key
            shares[at, column] = _answer_share(
                means[place][:, units], grids[place][..., units], parts.basis(key)
            )
    values: dict[str, Any] = {
        "frequency_of": own,
        "linear": fits[0],
        "quadratic": fits[1],
        "product_share": torch.stack([_product_share(grid, own, parts) for grid in (pre, post)]),
        "firing": (pre > 0).double().mean((0, 1)),
        "answer_share": shares,
        "size": (own[:, None] == torch.tensor(keys)).sum(0),
        **_performance(network),
    }
    if isinstance(parts, Waves):
        for place in ("pre", "post"):
            values[f"{place}_coefficient"] = _coefficients(means[place], own, parts.n)
        raw = _mean_by_answer(run.task, logits, parts)
        of_key = [_coefficients(raw, torch.full((parts.n,), key), parts.n) for key in keys]
        values["logit_coefficient"] = torch.stack(of_key, dim=1)
    return {name: np.asarray(value) for name, value in values.items()}


def _performance(network: Network) -> dict[str, float]:
    """Accuracy and loss, and those with every neuron restricted to its own frequency."""
    task = network.run.task
    inputs, labels = task.examples
    restricted = network.under(Keep(frequencies="own", of="neurons"))
    whole, kept = (
        Performance.of(task, which.outputs(inputs), labels) for which in (network, restricted)
    )
    return {
        "accuracy": whole.accuracy,
        "loss": whole.loss,
        "restricted_accuracy": kept.accuracy,
        "restricted_loss": kept.loss,
    }


def _mean_by_answer(
    task: Any, grid: Float[Tensor, "n n unit"], parts: Harmonics
) -> Float[Tensor, "s unit"]:
    """The mean over the pairs with the right answer s; 0 without such pairs."""
    assert isinstance(task, BinaryOperation)
    answer = task.answer(*all_pairs(task, parts)[:, :2].T)
    place = place_of(parts.tokens, task.n_answers)[answer]
    known = place >= 0
    mean = grid.new_zeros(parts.n, grid.shape[-1])
    mean.index_add_(0, place[known], grid.flatten(0, 1)[known])
    return mean / torch.bincount(place[known], minlength=parts.n).clamp(min=1)[:, None]


def _answer_share(
    mean: Float[Tensor, "s unit"], grid: Float[Tensor, "n n unit"], basis: Float[Tensor, "s m"]
) -> Float[Tensor, ""]:
    """The share of a part's functions of the answer in the units' total variance over pairs."""
    variance = (grid - grid.mean((0, 1))).square().mean((0, 1)).sum()
    power = (basis.T @ mean).square().sum() / len(mean)
    return power / variance if variance > 0 else power * torch.nan


def _product_share(
    grid: Float[Tensor, "n n unit"], own: Integer[Tensor, " unit"], parts: Harmonics
) -> Float[Tensor, " unit"]:
    """The share of products of functions of a and of b, both of a unit's part, in its variance."""
    power = parts.pair_power(grid.movedim(-1, 0))
    power[:, 0, 0] = 0
    products = power.diagonal(dim1=-2, dim2=-1).gather(1, own[:, None])[:, 0]
    constant = (grid == grid[:1, :1]).all(0).all(0)
    return products / power.sum((1, 2)).masked_fill(constant, torch.nan)


def _coefficients(
    mean: Float[Tensor, "s unit"], frequency: Integer[Tensor, " unit"], n: int
) -> Float[Tensor, "2 unit"]:
    """The coefficients of cos(w_k s) and sin(w_k s) in each unit, k the unit's frequency."""
    angle = 2 * torch.pi * frequency * torch.arange(n, dtype=torch.float64)[:, None] / n
    scale = torch.where((frequency == 0) | (2 * frequency == n), 1, 2) / n
    return torch.stack([(mean * wave).sum(0) * scale for wave in (angle.cos(), angle.sin())])


def finding(dataset: xr.Dataset) -> str:
    """How quadratic the neurons are, what they fire at, and the accuracy of the restriction."""
    last, labels = dataset.isel(step=-1), part_labels(dataset)
    if not np.isfinite(last.quadratic).any():
        text = f"every neuron is constant over all pairs at step {int(last.step):,}"
        return with_skipped_note(text, dataset)
    linear, quadratic = (format_percent(last[name].median()) for name in ("linear", "quadratic"))
    always = int((last.firing == 1).sum())
    clusters = ", ".join(
        f"{labels.names[int(key)]} ({int(last.size.sel(key=key))})" for key in last.key
    )
    text = (
        f"a quadratic form in the waves of its {labels.word} explains {quadratic} (median) of a "
        f"neuron, a linear one {linear}, at step {int(last.step):,}; {labels.plural} (neurons): "
        f"{clusters}; {always} of {last.sizes['neuron']} neurons fire at every pair; accuracy "
        f"{format_percent(last.accuracy)}, with every neuron restricted to its {labels.word} "
        f"{format_percent(last.restricted_accuracy)}"
    )
    return with_skipped_note(text, dataset)


# --- figure -------------------------------------------------------------------------------------


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Fits and restricted accuracy over training; below, neurons and clusters at a step."""
    labels = part_labels(*measured.values())
    figure = Panels(
        measured,
        title=f"Neurons as quadratic forms in the waves of their {labels.word}",
        subtitle=f"s: the right answer; a colour is a {labels.word}",
        log=log,
        stops=_STOPS,
    )
    row = figure.row(height=200)
    panel = row.over_training("R² of the activation (median)", y=SHARE)
    panel.curves(partial(_median, name="quadratic"), key="degree 2")
    panel.curves(partial(_median, name="linear"), key="degree 1", dash="dash")
    panel = row.over_training("accuracy, all pairs", y=SHARE)
    panel.curves("accuracy", key="whole", dash="dot", value="%{y:.1%}")
    title = f"each neuron restricted to its {labels.word}"
    panel.curves("restricted_accuracy", key=title, value="%{y:.1%}")
    for label, dataset in figure.pictured.items():
        _draw_neurons(figure.row(height=230), label, dataset)
        _draw_waves(figure.row(height=230), label, dataset)
    return figure.draw()


def _median(dataset: xr.Dataset, name: str) -> xr.DataArray:
    return dataset[name].median("neuron", skipna=True)


def _draw_neurons(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw each neuron's fits against each other, and its fit against the pairs it fires at."""
    labels = part_labels(dataset)
    hover = f"neuron %{{customdata[0]}}, {labels.word} %{{customdata[1]}}<br>%{{x:.1%}}, %{{y:.1%}}"
    for x, title in (("firing", "share of pairs with firing"), ("linear", "R², degree 1")):
        y = SHARE | {"title": "R², degree 2" if x == "firing" else ""}
        panel = row.panel(
            f"<b>{label}</b>: neurons" if x == "firing" else "", x=SHARE | {"title": title}, y=y
        )
        at = partial(_points, x=x, y="quadratic", names=labels.names)
        panel.add("scatter", run=label, at=at, mode="markers", color=GREY, hover=hover)
    y = SHARE | {"title": "in post"}
    panel = row.panel("share of products", x=SHARE | {"title": "in pre"}, y=y)
    at = partial(_product_points, names=labels.names)
    panel.add("scatter", run=label, at=at, mode="markers", color=GREY, hover=hover)


def _product_points(now: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    sides = {"x": now.product_share.sel(side="pre"), "y": now.product_share.sel(side="post")}
    return _points(now.assign(sides), "x", "y", names)


def _points(now: xr.Dataset, x: str, y: str, names: Sequence[str]) -> dict[str, Any]:
    """A point for every neuron, in the colour of its frequency."""
    frequency = now.frequency_of.to_numpy()
    return {
        "x": now[x].to_numpy(),
        "y": now[y].to_numpy(),
        "customdata": np.stack([now.neuron.to_numpy(), np.asarray(names)[frequency]], -1),
        "marker": {"color": [frequency_color(int(k)) for k in frequency], "size": 6},
    }


def _draw_waves(row: Row, label: str, dataset: xr.Dataset) -> None:
    """Draw the waves of the answer: their share by place, and the neurons' coefficients."""
    labels = part_labels(dataset)
    keys = [labels.names[int(key)] for key in dataset.key]
    axis = {"title": f"key {labels.word}", "type": "category"}
    panel = row.panel("share of waves of s", x=axis, y={"title": "of variance", **SHARE})
    for place, color in zip(PLACES, ("#BBBBBB", "#56B4E9", "#0072B2"), strict=True):
        panel.add(
            "bar",
            run=label,
            at=partial(_shares, place=place),
            x=keys,
            color=color,
            entry=place,
            hover=f"{place}, {labels.word} %{{x}}<br>%{{y:.1%}}",
        )
    if "wave" not in dataset.dims:
        return
    both = (dataset[f"{place}_coefficient"].to_numpy() for place in ("pre", "post"))
    top = 1.1 * max(float(np.nanmax(np.abs(values), initial=0)) for values in both) or 1.0
    for place in ("pre", "post"):
        # One scale: the coefficients in hook_pre may be nothing but rounding errors.
        symmetric = {"range": [-top, top], "nticks": 5}
        x, y = (symmetric | {"title": f"{wave} w<sub>k</sub>s"} for wave in ("cos", "sin"))
        panel = row.panel(f"coefficients in {place}", x=x, y=y)
        hover = "neuron %{customdata[0]}, k = %{customdata[1]}<br>(%{x:.3g}, %{y:.3g})"
        at = partial(_coefficient_points, name=f"{place}_coefficient", names=labels.names)
        panel.add("scatter", run=label, at=at, mode="markers", color=GREY, hover=hover)


def _shares(now: xr.Dataset, place: str) -> dict[str, Any]:
    return {"y": now.answer_share.sel(place=place).to_numpy()}


def _coefficient_points(now: xr.Dataset, name: str, names: Sequence[str]) -> dict[str, Any]:
    waves = {wave: now[name].sel(wave=wave) for wave in ("cos", "sin")}
    return _points(now.assign({"x": waves["cos"], "y": waves["sin"]}), "x", "y", names)
