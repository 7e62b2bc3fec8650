"""When does a circuit become interchangeable? Activations of one checkpoint put into another.

Causal tracing across training: every hook point of the network at one checkpoint gets, on the same
examples, the activation that it has at another checkpoint, and the rest of the network goes on from
there (activation patching: Vig et al. 2020, arXiv 2004.12265; Meng et al. 2022, arXiv 2202.05262).
What comes before and what comes after the hook are then parts of two networks; where they answer as
well together as each in its own, they speak one language there.

Every pair of checkpoints is asked, and so it is asked of 12 of them, evenly spaced by log step and
closer where the run generalizes, unless more are asked for.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Bool, Float

from mechgrok.analyses.drawing import (
    COLORS,
    DIVERGING,
    SHARE,
    Colors,
    Panel,
    Panels,
    representatives,
)
from mechgrok.analyses.measures.finite import and_left_out, finite_steps, looked_at
from mechgrok.analyses.measures.judging import some
from mechgrok.analyses.measures.spacing import around_milestones, some_of
from mechgrok.errors import UserError
from mechgrok.interventions import Network, Patch, Performance
from mechgrok.interventions.network import Donors
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks import Examples

#: Two networks are interchangeable at a hook where this share of the poorer one's answers is right
#: still, and both have this share of answers right, without which nothing could be lost.
_KEPT, _KNOWS = 0.95, 0.5


def applies(run: Run) -> str | None:
    """Answers must be right or wrong, and there must be two networks."""
    if run.task.criterion.quantity != "accuracy":
        return f"{run.task.name} is a regression, whose answers are not right or wrong."
    if len(run.steps) < 2:
        return "it has one checkpoint, and activations come from another."
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
    "own_accuracy": Variable("step", "share", "right answers of the network as it is"),
    "own_loss": Variable("step", "{units of the loss}", "the loss of the network as it is"),
    "source_accuracy": Variable("source", "share", "right answers of the source as it is"),
    "source_loss": Variable("source", "{units of the loss}", "the loss of the source as it is"),
    "interchangeable": Variable(
        "hook",
        "step",
        "the first step from which on every network with the activations of any other gives 95 "
        "% of the right answers of the poorer of the two, and all are right in half; NaN where "
        "there is none",
    ),
    "hook": Variable("hook", "none", "a hook point's name"),
    "source": Variable("source", "step", "checkpoints whose activations are put in"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[int, "how many to pair; --steps names them"] = 12,
    hooks: Annotated[list[str] | None, "hook points, one a flag; all that differ"] = None,
    donor: Annotated[Path | None, "the run whose activations are put in; this one's own"] = None,
    side: Annotated[Literal["test", "train"], "whose examples"] = "test",
    examples: Annotated[int, "that are answered, at most"] = 1024,
    seed: Annotated[int, "of the examples' draw"] = 0,
) -> xr.Dataset:
    """How good every checkpoint is with the activations of every other, at each hook point.

    Hook points whose activation settles that of the next are left out unless named (before a
    non-linearity, before the softmax, an embedding that is summed), and so are the logits.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: there is no such hook point, a number is too small, or the donor's activations
            do not fit.
    """
    for name, number, least in (("checkpoints", checkpoints, 2), ("examples", examples, 1)):
        if number < least:
            raise UserError(f"{name} = {number} is too few: give {least} or more.")
    other = run if donor is None else Run(donor)
    at, of_steps = looked_at(run, steps, lambda _: _some(run, checkpoints))
    sources = at if donor is None else finite_steps(other, _some(other, checkpoints))
    chosen = some(getattr(run.task, side), examples, seed)
    donors = Donors()
    targets = [Network(run, step, donors) for step in at]
    names = _hooks(targets[0], hooks)
    own = [_performance(network, chosen) for network in targets]
    theirs = own if donor is None else [_performance(Network(other, s), chosen) for s in sources]
    patched = np.empty((2, len(names), len(sources), len(at)))
    # The source comes first: a checkpoint's activations are computed once and kept.
    for row, source in enumerate(sources):
        for place, hook in enumerate(names):
            patch = Patch(
                hook=hook, from_step=source, from_run=None if donor is None else str(donor)
            )
            for column, network in enumerate(targets):
                patched[:, place, row, column] = _performance(network.under(patch), chosen)
    accuracy, loss = patched
    (own_accuracy, own_loss), (source_accuracy, source_loss) = np.array(own).T, np.array(theirs).T
    # Steps of another run are another time: there it is all that know something.
    when = np.where(source_accuracy >= _KNOWS, np.inf, -np.inf) if donor else np.array(sources)
    from_ = [_first(each, source_accuracy, own_accuracy, when, np.array(at)) for each in accuracy]
    return described(
        VARIABLES,
        {
            "accuracy": accuracy,
            "loss": loss,
            "own_accuracy": own_accuracy,
            "own_loss": own_loss,
            "source_accuracy": source_accuracy,
            "source_loss": source_loss,
            "interchangeable": from_,
        },
        coords={"hook": names, "source": sources, "step": at},
        attrs={
            "side": side,
            "donor": "" if donor is None else other.name,
            **of_steps,
            **({f"donor_{mark}": step for mark, step in other.milestones.items()} if donor else {}),
            **run.milestones,
        },
        words={"units of the loss": run.task.loss_units},
    )


def _some(run: Run, count: int) -> list[int]:
    return around_milestones(run.steps, count, run.milestones)


def _performance(network: Network, examples: Examples) -> Performance:
    inputs, labels = examples
    return Performance.of(network.run.task, network.outputs(inputs), labels)


def _hooks(network: Network, named: Sequence[str] | None) -> list[str]:
    """The hook points asked for, checked; else all that tell something of their own."""
    if named:
        for hook in named:
            network.check_hook(hook)
        return list(named)
    known = network.model.hook_dict
    same = ["hook_mask", "hook_logits", "hook_pre", "hook_attn_scores"]
    same += [] if "hook_pos_embed" in known else ["hook_embed"]
    left = [hook for hook in known if not hook.endswith(tuple(same))]
    return left or ["hook_embed"]


def _poorer(
    source: Float[np.ndarray, " source"], own: Float[np.ndarray, " step"]
) -> Float[np.ndarray, "source step"]:
    """The accuracy of the poorer of two networks as they are."""
    return np.minimum(source[:, None], own)


def _first(
    accuracy: Float[np.ndarray, "source step"],
    source: Float[np.ndarray, " source"],
    own: Float[np.ndarray, " step"],
    when: Float[np.ndarray, " source"],
    steps: Float[np.ndarray, " step"],
) -> float:
    """The first step from which on all networks know something and can be exchanged.

    Args:
        accuracy: of each network with the activations of each source.
        source, own: accuracies of both as they are.
        when: the step of each source.
        steps: those of the networks.
    """
    poorer = _poorer(source, own)
    good: Bool[np.ndarray, "source step"] = (accuracy >= _KEPT * poorer) & (poorer >= _KNOWS)
    for step in steps:
        later = good[np.ix_(when >= step, steps >= step)]
        # A network alone can be exchanged with nobody.
        if later.size > 1 and later.all():
            return float(step)
    return float("nan")


def finding(dataset: xr.Dataset) -> str:
    """From when on each hook's activations can be exchanged, and what late ones do early."""
    whose = f"those of {dataset.attrs['donor']}" if dataset.attrs["donor"] else "any other's"
    told: dict[str, list[str]] = {}
    for hook, step in zip(dataset.hook.to_numpy(), dataset.interchangeable.to_numpy(), strict=True):
        words = f"from step {int(step):,} on" if np.isfinite(step) else "at no step"
        told.setdefault(words, []).append(_short(str(hook)))
    many = sorted(told.items(), key=lambda each: -len(each[1]))
    parts = [f"{words} at {', '.join(hooks)}" for words, hooks in many]
    if len(told) == 1:
        parts = [f"{next(iter(told))} at every hook point"]
    text = f"a checkpoint's activations can be exchanged for {whose} {'; '.join(parts)}"
    early = dataset.isel(source=-1)
    before = early.isel(step=np.flatnonzero(early.own_accuracy.to_numpy() < _KNOWS))
    if before.sizes["step"]:
        gain = before.accuracy - before.own_accuracy
        hook, step = np.unravel_index(int(gain.to_numpy().argmax()), gain.shape)
        best = before.isel(step=step)
        text += (
            f"; what the last source helps most before is the network at step {int(best.step):,}: "
            f"{float(best.own_accuracy):.0%} → {float(best.accuracy[hook]):.0%} with its "
            f"{_short(str(dataset.hook.to_numpy()[hook]))}"
        )
    some = some_of(dataset.sizes["step"], dataset.attrs["of_checkpoints"])
    return and_left_out(f"{text} ({dataset.attrs['side']} set){some}", dataset)


def _short(hook: str) -> str:
    """A hook point without what all have: blocks.0.mlp.hook_post becomes 0.mlp.post."""
    return hook.replace("blocks.", "").replace("hook_", "")


# --- figure -------------------------------------------------------------------------------------


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """A matrix of checkpoints with a menu for the hook; late activations early, and the reverse."""
    first = next(iter(measured.values()))
    figure = Panels(
        measured,
        title=_title(measured),
        subtitle=f"accuracy on the {first.attrs['side']} set with one activation of another "
        "checkpoint; lines: t_mem (dotted), t_gen (dashed)",
        log=log,
    )
    shares = figure.colors("accuracy", 0, 1, tickformat=".0%")
    top = max(float(abs(_change(dataset)).max()) for dataset in measured.values()) or 1.0
    change = figure.colors("change", -top, top, scale=DIVERGING, tickformat="+.0%")
    for label, dataset in representatives(measured).items():
        many = f"{label}: " if len(measured) > 1 else ""
        row = figure.row(height=340)
        whose = f"of {dataset.attrs['donor']} " if dataset.attrs["donor"] else ""
        axes: dict[str, Any] = {
            "x": _ticks(dataset.step.to_numpy(), "network at step"),
            "y": _ticks(dataset.source.to_numpy(), f"activations {whose}at step"),
        }
        panel = row.panel(f"{many}accuracy", square=True, **axes)
        _draw_matrix(panel, shares, label, dataset, relative=False)
        axes["y"] = axes["y"] | {"title": ""}
        panel = row.panel("above the poorer of the two networks", square=True, **axes)
        _draw_matrix(panel, change, label, dataset, relative=True)
    # Hooks have the colours, so that runs have rows of their own; groups share one.
    shown = [measured] if figure.groups else [{label: ds} for label, ds in measured.items()]
    for runs in shown:
        _draw_ends(figure, runs, f"{next(iter(runs))}: " if len(shown) > 1 else "")
    return figure.draw()


def _draw_ends(figure: Panels, runs: Mapping[str, xr.Dataset], many: str) -> None:
    """A row with the last source in every network, and every source in the last network."""
    row = figure.row(height=230, legend=True)
    accuracy = SHARE | {"title": "accuracy"}
    early = row.over_training(f"{many}with the last source's activations", y=accuracy, marks=runs)
    late = row.over_training("its activations in the last network", y=SHARE, marks=runs)
    for label, dataset in runs.items():
        own = dataset.own_accuracy
        whole = {"entry": "whole", "color": "#999999", "width": 4}
        _curve(early, label, dataset.step, own, **whole)
        _curve(late, label, dataset.source, dataset.source_accuracy, **whole)
        for at, hook in enumerate(dataset.hook.to_numpy().tolist()):
            look = {"entry": _short(hook), "color": COLORS[at % len(COLORS)]}
            look |= {"dash": ("solid", "dash")[at // len(COLORS) % 2]}
            _curve(early, label, dataset.step, dataset.accuracy.sel(hook=hook)[-1], **look)
            _curve(late, label, dataset.source, dataset.accuracy.sel(hook=hook)[:, -1], **look)


def _curve(panel: Panel, label: str, x: xr.DataArray, y: xr.DataArray, **look: Any) -> None:
    look.setdefault("width", 1.6)
    panel.lines(x, y, run=label, value=f"{look['entry']}: " + "%{y:.1%}", **look)


def _ticks(steps: np.ndarray, title: str) -> dict[str, Any]:
    """An axis with a place for each step, as many of them named as fit."""
    every = max(1, round(len(steps) / 8))
    named = list(range(len(steps)))[::-every][::-1]
    words = [f"{steps[at] / 1000:g}k" if steps[at] >= 10_000 else f"{steps[at]:,}" for at in named]
    ends = [-0.5, len(steps) - 0.5]
    return {"title": title, "tickvals": named, "ticktext": words, "range": ends, "showgrid": False}


def _change(dataset: xr.Dataset) -> xr.DataArray:
    """Accuracies above that of the poorer of the two networks."""
    poorer = _poorer(dataset.source_accuracy.to_numpy(), dataset.own_accuracy.to_numpy())
    return dataset.accuracy - poorer


def _told(here: xr.Dataset) -> Float[np.ndarray, "source step told"]:
    """What hover tells of each cell."""
    theirs, own = np.meshgrid(here.source_accuracy, here.own_accuracy, indexing="ij")
    source, step = np.meshgrid(here.source, here.step, indexing="ij")
    return np.stack([source, step, here.accuracy, theirs, own, here.loss], -1).astype(np.float32)


def _draw_matrix(
    panel: Panel, colors: Colors, label: str, dataset: xr.Dataset, *, relative: bool
) -> None:
    def shown(hook: str) -> dict[str, Any]:
        values = (_change(dataset) if relative else dataset.accuracy).sel(hook=hook)
        return {
            "z": values.to_numpy().astype(np.float32),
            "customdata": _told(dataset.sel(hook=hook)),
        }

    panel.heat(
        colors,
        run=label,
        hover="activations of step %{customdata[0]:,} in the network of step %{customdata[1]:,}"
        "<br>accuracy %{customdata[2]:.1%}, loss %{customdata[5]:.3g}<br>as they are: "
        "%{customdata[3]:.1%} and %{customdata[4]:.1%}",
        choices={_short(hook): shown(hook) for hook in dataset.hook.to_numpy().tolist()},
    )
    marks = {"t_mem": "dot", "t_gen": "dash"}
    of_source = "donor_" if dataset.attrs["donor"] else ""
    for mark, dash in marks.items():
        line = {"color": "black", "width": 1.2, "dash": dash}
        ends = [-0.5, max(dataset.sizes["step"], dataset.sizes["source"]) - 0.5]
        if mark in dataset.attrs:
            x = _place(dataset.step.to_numpy(), dataset.attrs[mark])
            panel.add("scatter", x=[x, x], y=ends, mode="lines", line=line)
        if of_source + mark in dataset.attrs:
            y = _place(dataset.source.to_numpy(), dataset.attrs[of_source + mark])
            panel.add("scatter", x=ends, y=[y, y], mode="lines", line=line)


def _place(steps: np.ndarray, step: float) -> float:
    """Where a step lies among the places of these, by its logarithm between two of them."""
    return float(np.interp(np.log1p(step), np.log1p(steps), np.arange(len(steps))))


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """From when on all hooks can be exchanged, in all runs."""
    told = {}
    for label, dataset in measured.items():
        steps = dataset.interchangeable.to_numpy()
        if not np.isfinite(steps).all():
            return "Activations of one checkpoint in the network of another"
        told[label] = f"{int(steps.max()):,}"
    if len(told) == 1:
        return f"From step {next(iter(told.values()))} on, activations can be exchanged everywhere"
    words = ", ".join(f"{step} ({label})" for label, step in told.items())
    return f"Activations can be exchanged everywhere from step {words} on"
