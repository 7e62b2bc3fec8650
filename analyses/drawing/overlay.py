"""Several runs over one another, or groups of them: accuracy, L1 norm and L2 norm over training."""

import plotly.graph_objects as go

from mechgrok.analyses.drawing.milestones import add_milestones
from mechgrok.analyses.drawing.panels import Panels
from mechgrok.analyses.drawing.phases import add_phases
from mechgrok.analyses.drawing.style import SHARE
from mechgrok.sweeps.groups import RunGroups


def overlay(family: RunGroups, *, log: bool = True) -> go.Figure:
    """Accuracy (train dashed, test solid), L1 and L2 norm of all weights, a colour for each run.

    Groups have a colour each: their medians thick with the middle half of the runs as a band,
    single runs faint. Below, t_mem, t_gen and τ over the setting that makes the groups, and the
    phases over two.

    Args:
        family: the runs, by the label that they get in the legend.
        log: a logarithmic step axis, on which the tickets' few hundred steps can be seen.
    """
    measured = family.grouped(
        {
            label: run.metrics.set_index("step")
            .to_xarray()
            .assign_attrs(run.milestones_at(family.at_accuracy))
            for label, run in family.runs.items()
        }
    )
    title, subtitle = _groups_in_words(family) if family.by else _runs_in_words(family)
    figure = Panels(measured, title=title, subtitle=subtitle, log=log)
    accuracy = figure.row(height=270).over_training(y={"title": "accuracy", **SHARE})
    norms = {
        name: figure.row(height=150).over_training(y={"title": words, "rangemode": "tozero"})
        for name, words in (("l1", "L1 Σ|w|"), ("l2", "L2 √Σw²"))
    }
    for label, dataset in measured.items():
        for side, dash, width in (("train", "dash", 1.2), ("test", "solid", 2)):
            accuracy.lines(
                dataset.step,
                dataset[f"{side}_accuracy"],
                run=label,
                key=side,
                dash=dash,
                width=width,
                value="%{y:.2%}",
            )
        for name, panel in norms.items():
            panel.lines(dataset.step, dataset[name], run=label, value="%{y:,.4g}")
    add_milestones(figure, family)
    add_phases(figure, family)
    return figure.draw()


def _runs_in_words(family: RunGroups) -> tuple[str, str]:
    """Who generalizes first, and by how much; and when each does."""
    steps = {label: None if t != t else t for label, t in family.table.t_gen.astype(float).items()}
    last = family.table["step"].to_dict()
    told = (
        f"{label} {f'not within {last[label]:,}' if step is None else f'{step:,.0f}'}"
        for label, step in steps.items()
    )
    subtitle = f"t_gen: {', '.join(told)}"
    t_gen = {str(label): step for label, step in steps.items() if step}
    if not t_gen:
        return "None of the runs generalizes", subtitle
    first, latest = min(t_gen, key=t_gen.__getitem__), max(t_gen, key=t_gen.__getitem__)
    if first == latest:
        return f"{first}{' alone' if len(family) > 1 else ''} generalizes", subtitle
    times = t_gen[latest] / t_gen[first]
    return f"{first} generalizes {times:,.1f} times as early as {latest}", subtitle


def _groups_in_words(family: RunGroups) -> tuple[str, str]:
    """The same of the groups' medians."""
    took = {family.name(key): each for key, each in family.times["t_gen"].items()}
    n = sum(each.n for each in took.values())
    reached = sum(each.n_reached for each in took.values())
    subtitle = (
        f"{reached} of {n} runs generalize; thick: a group's median, as far as all of its runs go; "
        "band: its middle half; lines down: median t_mem, t_gen"
    )
    medians = {name: each.median for name, each in took.items() if each.n_reached * 2 >= each.n}
    if not medians:
        return "In no group does half of the runs generalize", subtitle
    first, latest = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    if len(medians) == 1:
        return f"{first}: median t_gen {took[first]}", subtitle
    times = medians[latest] / medians[first]
    return f"{first} generalizes {times:,.1f} times as early as {latest}", subtitle
