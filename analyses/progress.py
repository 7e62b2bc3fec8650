"""Can memorization, circuit formation and clean-up be separated? Restricted and excluded loss.

A network that has learned c = f(a, b) modulo p computes the logits Σ_k α_k cos(w_k (f(a, b) − c)),
w_k = 2πk/n, over a few key frequencies k. Nanda et al. 2023 (arXiv 2301.05217) follow this
algorithm through training: the *restricted* loss uses this part of the logits alone, the *excluded*
loss removes it. Excluded loss falls during memorization and rises as the network comes to rely on
the circuit; restricted loss falls during circuit formation, long before test loss; during clean-up
the memorizing weights decay and test loss falls.

A network that has learned to compose in a group computes Σ_ρ α_ρ tr ρ(a b c⁻¹) over a few key
representations ρ (Chughtai et al. 2023, arXiv 2302.03025): the same measures apply, with characters
instead of cosines and entries of ρ(a b) instead of waves.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import (
    COLORS,
    SHARE,
    LogAxis,
    Measured,
    Panel,
    Panels,
    frequency_color,
    representatives,
)
from mechgrok.analyses.measures.evaluation import outputs_of
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import character_components, gini, key_frequencies
from mechgrok.analyses.measures.harmonics import (
    Harmonics,
    harmonics,
    no_formula,
    part_coordinates,
    part_labels,
    part_units,
)
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.interventions.logits import LogitWaves, Pairs
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation

VERSION = 3


def applies(run: Run) -> str | None:
    """Requires one function of two residues, or of two elements of a group."""
    return no_formula(run.task)


VARIABLES = {
    "train_loss": Variable("step", "nats", "cross-entropy over the training pairs"),
    "test_loss": Variable("step", "nats", "cross-entropy over the test pairs"),
    "restricted_loss": Variable(
        "step",
        "nats",
        "cross-entropy over all pairs with the constant and the waves of key frequencies alone",
    ),
    "excluded_loss": Variable(
        "step", "nats", "cross-entropy over the training pairs without the waves of key frequencies"
    ),
    "restricted_train_loss": Variable(
        "step", "nats", "cross-entropy over the training pairs with the logits of restricted_loss"
    ),
    "restricted_test_loss": Variable(
        "step", "nats", "cross-entropy over the test pairs with the logits of restricted_loss"
    ),
    "excluded_loss_of": Variable(
        "step, key",
        "nats",
        "cross-entropy over the training pairs without the waves of this key frequency alone",
    ),
    "restricted_accuracy": Variable(
        "step", "share", "right answers over all pairs, with the logits of restricted_loss"
    ),
    "test_accuracy": Variable("step", "share", "right answers over the test pairs"),
    "trig_component": Variable(
        "step, frequency",
        "logits",
        "α_k, the coefficient of cos(w_k (s − c)); of a group α_ρ, the coefficient of tr ρ(s c⁻¹)",
    ),
    "explained": Variable(
        "step",
        "share of variance",
        "share of Σ_k α_k cos(w_k (s − c)) over key frequencies in the variance of the logits, "
        "centred over c for each pair",
    ),
    "gini_embedding": Variable(
        "step",
        "Gini coefficient",
        "of √Σ|F(ω)|² over ω > 0, F the transform of W_E (without W_E, of W_in)",
    ),
    "gini_output": Variable(
        "step", "Gini coefficient", "of √Σ|F(ω)|² over ω > 0, F the transform of W_out W_U"
    ),
    "squared_weights": Variable("step", "weight squared", "Σ w² over all weights"),
    "key": Variable(
        "key",
        "{units of a frequency}",
        "key frequencies (of a group: representations), given or from the last logits",
    ),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = (
    "test_loss",
    "restricted_loss",
    "restricted_test_loss",
    "excluded_loss",
    "restricted_accuracy",
    "test_accuracy",
    "explained",
)
#: The variables over steps that use later checkpoints.
USES_LATER_STEPS = (
    "restricted_loss",
    "restricted_train_loss",
    "restricted_test_loss",
    "excluded_loss",
    "restricted_accuracy",
    "explained",
)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    key: Annotated[
        list[str] | None,
        "key frequencies, or representations; default: the strongest in the last logits",
    ] = None,
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Compute progress measures at every checkpoint, or at the given steps.

    Measures cover all pairs of the task; an unordered pair a < b also counts as (b, a), which for
    a commutative operation makes all p² pairs. Let L̄(s, c) be the mean logits over the pairs with
    right answer s. Fitting the waves cos and sin of w_k s to L̄ over s for each c gives the
    projections of Nanda et al., on cos(w_k (a + b)) and sin(w_k (a + b)) for addition, on
    w_k (a − b) for subtraction, and so on. In multiplicative order s and c are discrete
    logarithms, pairs with the answer 0 are excluded, and the logit of c = 0 is unchanged.

    Returns:
        `VARIABLES`. The attributes ``memorized_by``, ``circuit_by`` and ``cleaned_by`` are the
        steps that end the three phases, if reached (see `phases`).

    Raises:
        UserError: a key frequency is outside 1 … ⌊n/2⌋, or the group has no such representation.
    """
    steps, of_steps = select_finite_steps(run, steps)
    task = run.task
    assert isinstance(task, BinaryOperation)
    parts = harmonics(task, order)
    pairs = Pairs.of(task, parts)
    last = pairs.mean_by_answer(_logits(run, steps[-1], pairs))
    chosen = parts.numbered(key or []) or key_frequencies(_alpha(last, pairs).abs())
    waves, alone = pairs.waves(chosen), [pairs.waves([part]) for part in chosen]
    rows = [_measure(run, step, pairs, chosen, waves, alone) for step in steps]
    values = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    for side in ("embedding", "output"):
        values[f"gini_{side}"] = _gini(run, steps, parts, side).numpy()
    dataset = described(
        VARIABLES,
        values,
        {"step": steps, "key": chosen, **part_coordinates(parts)},
        {"order": "additive" if parts.n == task.d_output else "multiplicative", **of_steps},
        words=part_units(parts),
    )
    return dataset.assign_attrs(phases(dataset, task.criterion.level))


def _logits(run: Run, step: int, pairs: Pairs) -> Float[Tensor, "pair p"]:
    """All logits in float64, starting with the residues in order."""
    logits = outputs_of(run.model(step), pairs.inputs).double()
    rest = [c for c in range(run.task.d_output) if c not in set(pairs.order.tolist())]
    return logits[:, torch.cat([pairs.order, torch.tensor(rest, dtype=torch.long)])]


def _alpha(mean: Float[Tensor, "s c"], pairs: Pairs) -> Float[Tensor, " frequency"]:
    return character_components(mean[:, : len(pairs.order)], pairs.parts, pairs.answer_weight)


def _measure(
    run: Run,
    step: int,
    pairs: Pairs,
    key: list[int],
    waves: LogitWaves,
    alone: Sequence[LogitWaves],
) -> dict[str, Float[np.ndarray, "..."]]:
    """All measures at one step, from the waves of all key frequencies and of each one alone."""
    logits = _logits(run, step, pairs)
    mean = pairs.mean_by_answer(logits)
    restricted = waves.restricted(mean)
    losses = _cross_entropy(logits, pairs.answer)
    right = (logits.argmax(1) == pairs.answer).double()
    answers = torch.arange(len(pairs.order))
    weight = pairs.answer_weight / pairs.answer_weight.sum()
    trained, held_out = (pairs.answer[side] for side in (pairs.train, ~pairs.train))
    excluded = [
        _cross_entropy(one.excluded(logits[pairs.train], mean, trained), trained).mean()
        for one in (waves, *alone)
    ]
    alpha = _alpha(mean, pairs)
    weights = run.checkpoint(step).effective_weights.values()
    measures = {
        "train_loss": losses[pairs.train].mean(),
        "test_loss": losses[~pairs.train].mean(),
        "restricted_loss": _cross_entropy(restricted, answers) @ weight,
        "restricted_train_loss": _cross_entropy(restricted[trained], trained).mean(),
        "restricted_test_loss": _cross_entropy(restricted[held_out], held_out).mean(),
        "excluded_loss": excluded[0],
        "excluded_loss_of": excluded[1:],
        "restricted_accuracy": (restricted.argmax(1) == answers).double() @ weight,
        "test_accuracy": right[~pairs.train].mean(),
        "trig_component": alpha,
        "explained": _explained(logits[:, : len(pairs.order)], mean, alpha, key, pairs),
        "squared_weights": sum(w.double().square().sum() for w in weights),
    }
    return {name: np.asarray(value, float) for name, value in measures.items()}


def _cross_entropy(
    logits: Float[Tensor, "pair c"], answer: Integer[Tensor, " pair"]
) -> Float[Tensor, " pair"]:
    return torch.nn.functional.cross_entropy(logits, answer, reduction="none")


def _explained(
    logits: Float[Tensor, "pair c"],
    mean: Float[Tensor, "s c"],
    alpha: Float[Tensor, " frequency"],
    key: list[int],
    pairs: Pairs,
) -> float:
    """1 − Σ (L − T)² / Σ L², L centred over c, T = Σ_k α_k cos(w_k (s − c)) over key frequencies.

    T is a least-squares fit and so orthogonal to the residual: the value is Σ T² / Σ L². NaN for
    constant logits.
    """
    fitted = alpha[key] @ pairs.parts.characters[key]
    total = (logits - logits.mean(1, keepdim=True)).square().sum(1) @ pairs.weight
    if not total:
        return float("nan")
    return float(fitted.square().sum() * pairs.weight.sum() / total)


def _gini(run: Run, steps: Sequence[int], parts: Harmonics, side: str) -> Float[Tensor, " step"]:
    """The Gini coefficient, over frequencies, of the norms of the Fourier components."""
    if side == "output":
        signal = run.output_side(steps)[..., parts.tokens]
    else:
        signal = run.embedding(steps)[:, parts.tokens].transpose(1, 2)
    return gini(parts.amplitude(signal).norm(dim=1)[:, 1:].double())


def phases(dataset: xr.Dataset, level: float = 0.95) -> dict[str, int]:
    """The steps that end memorization, circuit formation and clean-up, if reached.

    Nanda et al. determine the phases from their curves by eye. Here they end

    * ``memorized_by``: at the minimum of the excluded loss, after which the network relies more
      and more on the key frequencies;
    * ``circuit_by``: at the first later step at which the key frequencies alone answer the share
      ``level`` of all pairs: the circuit would generalize without the rest of the logits;
    * ``cleaned_by``: at the first later step at which all logits answer that share of the test
      pairs.

    The result is empty if the excluded loss has no minimum inside the steps, or if the circuit has
    formed by then: memorization and circuit formation cannot be separated.
    """
    step = dataset.step.to_numpy()
    lowest = int(dataset.excluded_loss.to_numpy().argmin())
    if lowest in (0, len(step) - 1) or dataset.restricted_accuracy[lowest] >= level:
        return {}
    ends = {"memorized_by": int(step[lowest])}
    at = lowest
    for name, curve in (("circuit_by", "restricted_accuracy"), ("cleaned_by", "test_accuracy")):
        reached = np.flatnonzero(dataset[curve].to_numpy()[at:] >= level)
        if not len(reached):
            break
        at += int(reached[0])
        ends[name] = int(step[at])
    return ends


def finding(dataset: xr.Dataset) -> str:
    """The key frequencies, their share of the logits' variance, and the completed phases."""
    last, labels = dataset.isel(step=-1), part_labels(dataset)
    keys = ", ".join(labels.names[key] for key in dataset.key.to_numpy())
    ends = [
        f"{phase} until {dataset.attrs[name]:,}"
        for name, (phase, _) in _PHASES.items()
        if name in dataset.attrs
    ]
    text = (
        f"key {labels.plural} {keys} explain {format_percent(last.explained)} of the logits' "
        f"variance at step {int(last.step):,}; {', '.join(ends) or 'no phases of learning'}"
    )
    return with_skipped_note(text, dataset)


# --- figure -------------------------------------------------------------------------------------

#: Legend entry, colour and dash of each variable.
_LOSSES = {
    "train_loss": ("train", COLORS[0], "dash"),
    "test_loss": ("test", COLORS[0], "solid"),
    "restricted_loss": ("restricted (key {parts} only)", COLORS[2], "solid"),
    "restricted_train_loss": ("restricted, on train", COLORS[2], "dash"),
    "restricted_test_loss": ("restricted, on test", COLORS[2], "dot"),
    "excluded_loss": ("excluded (key {parts} removed)", COLORS[1], "solid"),
}
_SHARES = {
    "explained": ("logits explained by key {parts}", COLORS[6], "solid"),
    "gini_embedding": ("Gini, embedding", COLORS[3], "solid"),
    "gini_output": ("Gini, W_out W_U", COLORS[3], "dash"),
}
_WEIGHTS = {"squared_weights": ("sum of squared weights", COLORS[5], "solid")}
_PHASES = {
    "memorized_by": ("memorization", COLORS[0]),
    "circuit_by": ("circuit formation", COLORS[2]),
    "cleaned_by": ("clean-up", "#B37400"),
}


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """A column for each run: losses, trig components, sparsity and weights, with phases shaded."""
    measured = representatives(measured)
    figure = Panels(
        measured,
        title="Progress measures over training",
        subtitle="shaded: memorization, circuit formation and clean-up, if completed",
        log=log,
    )
    rows = [figure.row(height=height, legend=True) for height in (260, 170, 140, 110)]
    for label, dataset in measured.items():
        units = dataset.test_loss.attrs.get("units")
        axes: list[dict[str, object]] = [
            {"title": f"loss ({units})" if units else "loss", "type": "log"},
            {"title": "coefficient α<sub>k</sub>", "nticks": 6},
            {"title": "share, Gini", **SHARE, "tickformat": None},
            {"title": "Σ w²", "rangemode": "tozero", "nticks": 4},
        ]
        panels = [
            row.over_training(y=axis | ({"title": ""} if row.panels else {}), marks=[])
            for row, axis in zip(rows, axes, strict=True)
        ]
        losses, components, shares, weights = panels
        losses.title = f"<b>{label}</b>"
        for panel, curves in ((losses, _LOSSES), (shares, _SHARES), (weights, _WEIGHTS)):
            _draw_curves(panel, dataset, label, curves)
        _draw_components(components, dataset, label)
        _draw_excluded(losses, dataset, label)
        for panel in panels:
            _tint_phases(panel, dataset, named=panel is losses)
    return figure.draw()


def _draw_curves(
    panel: Panel, dataset: xr.Dataset, label: str, curves: Mapping[str, tuple[str, str, str]]
) -> None:
    parts = part_labels(dataset).plural
    for variable, (name, color, dash) in curves.items():
        curve, entry = dataset[variable], name.format(parts=parts)
        panel.lines(dataset.step, curve, run=label, entry=entry, color=color, dash=dash)


def _draw_components(panel: Panel, dataset: xr.Dataset, label: str) -> None:
    """Draw α_k, key frequencies in colour and all others thin and grey."""
    key, labels = dataset.key.to_numpy().tolist(), part_labels(dataset)
    if rest := [k for k in dataset.frequency.to_numpy().tolist() if k and k not in key]:
        others = dataset.trig_component.sel(frequency=rest).to_numpy().T
        entry = f"other {labels.plural}"
        panel.bundle(
            dataset.step, others, run=label, width=1, entry=entry, color="#BBBBBB", opacity=1
        )
    for k in key:
        curve, color = dataset.trig_component.sel(frequency=k), frequency_color(k)
        entry = f"{'k' if labels.symbol == 'ω' else 'ρ'} = {labels.names[k]}"
        panel.lines(dataset.step, curve, run=label, entry=entry, color=color, value="α %{y:.3g}")


def _draw_excluded(panel: Panel, dataset: xr.Dataset, label: str) -> None:
    """Draw the excluded loss of each key frequency, thin, in the frequency's colour."""
    names = part_labels(dataset).names
    for k in dataset.key.to_numpy().tolist():
        curve, value = dataset.excluded_loss_of.sel(key=k), f"without {names[k]} %{{y:.4g}}"
        panel.lines(
            dataset.step,
            curve,
            run=label,
            entry="one excluded",
            value=value,
            color=frequency_color(k),
            dash="dot",
            width=1.2,
        )


def _tint_phases(panel: Panel, dataset: xr.Dataset, *, named: bool) -> None:
    """Shade the completed phases."""
    start = int(dataset.step[0])
    for name, (phase, color) in _PHASES.items():
        if name not in dataset.attrs:
            break
        end = int(dataset.attrs[name])
        panel.band(start, end, color, phase if named else "")
        start = end
