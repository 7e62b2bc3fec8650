"""When does a circuit become interchangeable? Activations of one checkpoint patched into another.

Causal tracing across training: at each hook point, the network of one checkpoint runs with the
activation of another checkpoint on the same examples (activation patching: Vig et al. 2020, arXiv
2004.12265; Meng et al. 2022, arXiv 2202.05262). The layers before and after the hook then belong to
two networks; if they answer as well together as each in its own network, the activations have the
same meaning in both.

The analysis measures every pair of checkpoints, by default 12, evenly spaced by log step and denser
around t_gen.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Bool, Float, Integer

from mechgrok.analyses.drawing import (
    COLORS,
    DIVERGING,
    SHARE,
    Colors,
    LogAxis,
    Measured,
    Panel,
    Panels,
)
from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.evaluation import subsample
from mechgrok.analyses.measures.finite import finite_steps, select_finite_steps
from mechgrok.analyses.measures.formats import with_skipped_note
from mechgrok.analyses.measures.spacing import around_milestones
from mechgrok.interventions import Network, Patch, Performance
from mechgrok.interventions.network import Donors
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks import Examples

#: Two networks are interchangeable at a hook if patching preserves this share of the poorer
#: network's accuracy, and both accuracies are at least the second number.
_PRESERVED, _MIN_ACCURACY = 0.95, 0.5


def applies(run: Run) -> str | None:
    """Requires an accuracy criterion, and two checkpoints."""
    if run.task.criterion.quantity != "accuracy":
        return f"{run.task.name} is a regression: its answers are not right or wrong."
    if len(run.steps) < 2:
        return "it has one checkpoint, and patching takes two."
    return None


VARIABLES = {
    "accuracy": Variable(
        "hook, source, step", "share", "right answers with the source's activation at the hook"
    ),
    "loss": Variable(
        "hook, source, step",
        "{units of the loss}",
        "the loss with the source's activation at the hook",
    ),
    "own_accuracy": Variable("step", "share", "right answers of the unpatched network"),
    "own_loss": Variable("step", "{units of the loss}", "the loss of the unpatched network"),
    "source_accuracy": Variable("source", "share", "right answers of the source network"),
    "source_loss": Variable("source", "{units of the loss}", "the loss of the source network"),
    "interchangeable": Variable(
        "hook",
        "step",
        "the first step from which on every network patched from any other has 95 % of the "
        "accuracy of the poorer of the two, and all have an accuracy of 50 %; NaN if none",
    ),
    "hook": Variable("hook", "none", "a hook point's name"),
    "source": Variable("source", "step", "checkpoints that supply activations"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("own_accuracy", "own_loss")


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[int, "number of checkpoints to pair; --steps overrides"] = 12,
    hooks: Annotated[list[str] | None, "hook points, one per flag; default: all distinct"] = None,
    donor: Annotated[Path | None, "the run that supplies activations; default: this run"] = None,
    side: Annotated[Literal["test", "train"], "side of the examples"] = "test",
    examples: Annotated[int, "most examples"] = 1024,
    seed: Annotated[int, "of the sample of examples"] = 0,
) -> xr.Dataset:
    """Measure every checkpoint with the activations of every other, at each hook point.

    By default the logits and hook points that determine the next one are skipped: before a
    non-linearity, before the softmax, and an embedding before positions are added.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: a hook point does not exist, a number is too small, or the donor's activations
            do not fit.
    """
    check_at_least(2, checkpoints=checkpoints)
    check_at_least(1, examples=examples)
    other = run if donor is None else Run(donor)
    at, of_steps = select_finite_steps(run, steps, lambda _: _choose(run, checkpoints))
    sources = at if donor is None else finite_steps(other, _choose(other, checkpoints))
    chosen = subsample(getattr(run.task, side), examples, seed)
    donors = Donors()
    targets = [Network(run, step, donors) for step in at]
    names = _hooks(targets[0], hooks)
    own = np.array([_performance(network, chosen) for network in targets])
    theirs = own
    if donor is not None:
        theirs = np.array([_performance(Network(other, step), chosen) for step in sources])
    accuracy, loss = _patched(targets, names, sources, donor, chosen)
    # The steps of another run are not comparable: all of its trained checkpoints count.
    is_trained = theirs[:, 0] >= _MIN_ACCURACY
    when = np.where(is_trained, np.inf, -np.inf) if donor else np.array(sources)
    since = [_first(of_hook, theirs[:, 0], own[:, 0], when, np.array(at)) for of_hook in accuracy]
    return described(
        VARIABLES,
        {
            "accuracy": accuracy,
            "loss": loss,
            "own_accuracy": own[:, 0],
            "own_loss": own[:, 1],
            "source_accuracy": theirs[:, 0],
            "source_loss": theirs[:, 1],
            "interchangeable": since,
        },
        coords={"hook": names, "source": sources, "step": at},
        attrs={
            "side": side,
            "donor": "" if donor is None else other.name,
            **of_steps,
            **({f"donor_{mark}": step for mark, step in other.milestones.items()} if donor else {}),
        },
        words={"units of the loss": run.task.loss_units},
    )


def _choose(run: Run, count: int) -> list[int]:
    return around_milestones(run.steps, count, run.milestones)


def _performance(network: Network, examples: Examples) -> Performance:
    inputs, labels = examples
    return Performance.of(network.run.task, network.outputs(inputs), labels)


def _patched(
    targets: Sequence[Network],
    hooks: Sequence[str],
    sources: Sequence[int],
    donor: Path | None,
    examples: Examples,
) -> Float[np.ndarray, "2 hook source step"]:
    """Accuracy and loss of each network with the activations of each source at each hook point."""
    patched = np.empty((2, len(hooks), len(sources), len(targets)))
    # The outer loop is over sources, to compute each checkpoint's activations once.
    for row, source in enumerate(sources):
        for place, hook in enumerate(hooks):
            from_run = None if donor is None else str(donor)
            patch = Patch(hook=hook, from_step=source, from_run=from_run)
            for column, network in enumerate(targets):
                patched[:, place, row, column] = _performance(network.under(patch), examples)
    return patched


def _hooks(network: Network, named: Sequence[str] | None) -> list[str]:
    """The named hook points, validated; by default all that do not determine the next one."""
    if named:
        for hook in named:
            network.check_hook(hook)
        return list(named)
    names = network.model.hook_dict
    redundant = ["hook_mask", "hook_logits", "hook_pre", "hook_attn_scores"]
    redundant += [] if "hook_pos_embed" in names else ["hook_embed"]
    return [hook for hook in names if not hook.endswith(tuple(redundant))] or ["hook_embed"]


def _poorer(
    source: Float[np.ndarray, " source"], own: Float[np.ndarray, " step"]
) -> Float[np.ndarray, "source step"]:
    """The accuracy of the poorer of two unpatched networks."""
    return np.minimum(source[:, None], own)


def _first(
    accuracy: Float[np.ndarray, "source step"],
    source: Float[np.ndarray, " source"],
    own: Float[np.ndarray, " step"],
    when: Float[np.ndarray, " source"],
    steps: Float[np.ndarray, " step"],
) -> float:
    """The first step from which on all networks are accurate enough and interchangeable.

    Args:
        accuracy: of each network with the activations of each source.
        source, own: accuracies of the unpatched networks.
        when: the step of each source.
        steps: the steps of the networks.
    """
    poorer = _poorer(source, own)
    good: Bool[np.ndarray, "source step"] = (accuracy >= _PRESERVED * poorer) & (
        poorer >= _MIN_ACCURACY
    )
    for step in steps:
        later = good[np.ix_(when >= step, steps >= step)]
        # A single network has no other to exchange with.
        if later.size > 1 and later.all():
            return float(step)
    return float("nan")


def finding(dataset: xr.Dataset) -> str:
    """The step from which on each hook's activations can be exchanged."""
    donor = f"those of {dataset.attrs['donor']}" if dataset.attrs["donor"] else "any other's"
    hooks: dict[str, list[str]] = {}
    for hook, step in zip(dataset.hook.to_numpy(), dataset.interchangeable.to_numpy(), strict=True):
        when = f"from step {int(step):,} on" if np.isfinite(step) else "at no step"
        hooks.setdefault(when, []).append(_short(str(hook)))
    parts = [f"{when} at {', '.join(names)}" for when, names in hooks.items()]
    if len(parts) == 1:
        parts = [f"{next(iter(hooks))} at every hook point"]
    text = f"a checkpoint's activations can be exchanged for {donor} {'; '.join(parts)}"
    return with_skipped_note(f"{text} ({dataset.attrs['side']} set)", dataset)


def _short(hook: str) -> str:
    """The short name of a hook point: blocks.0.mlp.hook_post becomes 0.mlp.post."""
    return hook.replace("blocks.", "").replace("hook_", "")


# --- figure -------------------------------------------------------------------------------------


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Matrices of checkpoints with a menu of hooks; late activations in early networks and back."""
    first = next(iter(measured.values()))
    figure = Panels(
        measured,
        title="Activations of one checkpoint in the network of another",
        subtitle=f"accuracy on the {first.attrs['side']} set with one activation of another "
        "checkpoint; lines: t_mem (dotted), t_gen (dashed)",
        log=log,
    )
    _draw_matrices(figure)
    # Colours distinguish hooks, so each run has a separate row; groups share one.
    rows = [measured] if figure.groups else [{label: ds} for label, ds in measured.items()]
    for runs in rows:
        _draw_ends(figure, runs, f"{next(iter(runs))}: " if len(rows) > 1 else "")
    return figure.draw()


def _draw_matrices(figure: Panels) -> None:
    """Draw the accuracies of all pairs of checkpoints of each run, and their change."""
    shares = figure.colors("accuracy", 0, 1, tickformat=".0%")
    top = max(float(abs(_change(dataset)).max()) for dataset in figure.measured.values()) or 1.0
    change = figure.colors("change", -top, top, scale=DIVERGING, tickformat="+.0%")
    for label, dataset in figure.pictured.items():
        prefix = f"{label}: " if len(figure.measured) > 1 else ""
        row = figure.row(height=340)
        donor = f"of {dataset.attrs['donor']} " if dataset.attrs["donor"] else ""
        x = _ticks(dataset.step.to_numpy(), "network at step")
        y = _ticks(dataset.source.to_numpy(), f"activations {donor}at step")
        panel = row.panel(f"{prefix}accuracy", x=x, y=y, square=True)
        _draw_matrix(panel, shares, label, dataset, relative=False)
        title = "above the poorer of the two networks"
        panel = row.panel(title, x=x, y=y | {"title": ""}, square=True)
        _draw_matrix(panel, change, label, dataset, relative=True)


def _draw_ends(figure: Panels, runs: Measured, prefix: str) -> None:
    """Draw the last source in every network, and every source in the last network."""
    row = figure.row(height=230, legend=True)
    accuracy = SHARE | {"title": "accuracy"}
    early = row.over_training(f"{prefix}with the last source's activations", y=accuracy, marks=runs)
    late = row.over_training("its activations in the last network", y=SHARE, marks=runs)
    for label, dataset in runs.items():
        unpatched: dict[str, Any] = {"entry": "whole", "color": "#999999", "width": 4}
        _curve(early, label, dataset.step, dataset.own_accuracy, **unpatched)
        _curve(late, label, dataset.source, dataset.source_accuracy, **unpatched)
        for at, hook in enumerate(dataset.hook.to_numpy().tolist()):
            style: dict[str, Any] = {"entry": _short(hook), "color": COLORS[at % len(COLORS)]}
            style |= {"dash": ("solid", "dash")[at // len(COLORS) % 2]}
            accuracy_ = dataset.accuracy.sel(hook=hook)
            _curve(early, label, dataset.step, accuracy_[-1], **style)
            _curve(late, label, dataset.source, accuracy_[:, -1], **style)


def _curve(panel: Panel, label: str, x: xr.DataArray, y: xr.DataArray, **style: Any) -> None:
    style.setdefault("width", 1.6)
    panel.lines(x, y, run=label, value=f"{style['entry']}: " + "%{y:.1%}", **style)


def _ticks(steps: Integer[np.ndarray, " step"], title: str) -> dict[str, Any]:
    """An axis with one place per step, and labels for as many as fit."""
    every = max(1, round(len(steps) / 8))
    named = list(range(len(steps)))[::-every][::-1]
    names = [f"{steps[at] / 1000:g}k" if steps[at] >= 10_000 else f"{steps[at]:,}" for at in named]
    ends = [-0.5, len(steps) - 0.5]
    return {"title": title, "tickvals": named, "ticktext": names, "range": ends, "showgrid": False}


def _change(dataset: xr.Dataset) -> xr.DataArray:
    """The accuracies minus that of the poorer of the two networks."""
    poorer = _poorer(dataset.source_accuracy.to_numpy(), dataset.own_accuracy.to_numpy())
    return dataset.accuracy - poorer


def _details(at_hook: xr.Dataset) -> Float[np.ndarray, "source step detail"]:
    """The hover data of each cell."""
    theirs, own = np.meshgrid(at_hook.source_accuracy, at_hook.own_accuracy, indexing="ij")
    source, step = np.meshgrid(at_hook.source, at_hook.step, indexing="ij")
    details = [source, step, at_hook.accuracy, theirs, own, at_hook.loss]
    return np.stack(details, -1).astype(np.float32)


def _draw_matrix(
    panel: Panel, colors: Colors, label: str, dataset: xr.Dataset, *, relative: bool
) -> None:
    values = (_change(dataset) if relative else dataset.accuracy).astype(np.float32)
    panel.heat(
        colors,
        run=label,
        hover="activations of step %{customdata[0]:,} in the network of step %{customdata[1]:,}"
        "<br>accuracy %{customdata[2]:.1%}, loss %{customdata[5]:.3g}<br>unpatched: "
        "%{customdata[3]:.1%} and %{customdata[4]:.1%}",
        choices={
            _short(hook): {
                "z": values.sel(hook=hook).to_numpy(),
                "customdata": _details(dataset.sel(hook=hook)),
            }
            for hook in dataset.hook.to_numpy().tolist()
        },
    )
    ends = [-0.5, max(dataset.sizes["step"], dataset.sizes["source"]) - 0.5]
    of_source = "donor_" if dataset.attrs["donor"] else ""
    for mark, dash in {"t_mem": "dot", "t_gen": "dash"}.items():
        line = {"color": "black", "width": 1.2, "dash": dash}
        if mark in dataset.attrs:
            x = _place(dataset.step.to_numpy(), dataset.attrs[mark])
            panel.add("scatter", x=[x, x], y=ends, mode="lines", line=line)
        if of_source + mark in dataset.attrs:
            y = _place(dataset.source.to_numpy(), dataset.attrs[of_source + mark])
            panel.add("scatter", x=ends, y=[y, y], mode="lines", line=line)


def _place(steps: Integer[np.ndarray, " step"], step: float) -> float:
    """The position of a step among the given steps, interpolated by logarithm."""
    return float(np.interp(np.log1p(step), np.log1p(steps), np.arange(len(steps))))
