"""Several runs over one another: accuracy, L1 norm and L2 norm over training."""

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analyses.drawing.style import TEMPLATE, run_colors
from analyses.drawing.trajectory import step_axis
from mechgrok.runs import Run


def overlay(runs: Mapping[str, Run], *, log: bool = True) -> go.Figure:
    """Accuracy (train dashed, test solid), L1 and L2 norm of all weights, a colour for each run.

    Args:
        runs: by the label that they get in the legend.
        log: a logarithmic step axis, on which the tickets' few hundred steps can be seen.
    """
    figure = make_subplots(3, 1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[2, 1, 1])
    colors = run_colors(runs)
    panels = [("test_accuracy", 1), ("train_accuracy", 1), ("l1", 2), ("l2", 3)]
    for label, run in runs.items():
        metrics = run.metrics[run.metrics.step > 0] if log else run.metrics
        for column, row in panels:
            figure.add_scatter(
                x=metrics.step,
                y=metrics[column].astype("float32"),
                name=label,
                legendgroup=label,
                showlegend=column == "test_accuracy",
                line={
                    "color": colors[label],
                    "dash": "dash" if column == "train_accuracy" else "solid",
                    "width": 1.2 if column == "train_accuracy" else 2,
                },
                hovertemplate=f"{label} {column.replace('_', ' ')}"
                "<br>step %{x:,}<br>%{y:,.4g}<extra></extra>",
                row=row,
                col=1,
            )
    step_axis(figure, log=log, row=3, col=1)
    figure.update_xaxes(type="log" if log else "linear")
    figure.update_yaxes(title="accuracy", range=[-0.03, 1.03], tickformat=".0%", row=1, col=1)
    figure.update_yaxes(title="L1 Σ|w|", rangemode="tozero", row=2, col=1)
    figure.update_yaxes(title="L2 √Σw²", rangemode="tozero", row=3, col=1)
    reached = [
        f"{label} {'never' if run.t_gen is None else f'{run.t_gen:,}'}"
        for label, run in runs.items()
    ]
    subtitle = f"train dashed, test solid; t_gen: {', '.join(reached)}"
    return figure.update_layout(
        template=TEMPLATE,
        title={"text": _title(runs), "subtitle": {"text": subtitle}},
        height=820,
    )


def _title(runs: Mapping[str, Run]) -> str:
    """Who generalizes first, and by how much."""
    t_gen = {label: run.t_gen for label, run in runs.items() if run.t_gen}
    if not t_gen:
        return "None of the runs generalizes"
    first, last = min(t_gen, key=t_gen.__getitem__), max(t_gen, key=t_gen.__getitem__)
    if first == last:
        return f"{first} alone generalizes" if len(runs) > 1 else f"{first} generalizes"
    return f"{first} generalizes {t_gen[last] / t_gen[first]:,.1f} times as early as {last}"
