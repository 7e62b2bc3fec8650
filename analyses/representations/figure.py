"""The representations figure: characters in the logits, losses, shares, cosets."""

from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import (
    SHARE,
    LogAxis,
    Measured,
    Panel,
    Panels,
    frequency_color,
    representatives,
)
from mechgrok.analyses.measures.harmonics import part_labels

#: An axis of the orders of subgroups.
_SUBGROUP = {"title": "order of the subgroup (1: none)", "type": "category"}
#: Legend entries and colours of the bars of shares.
_BARS = {
    "input": ("input weights, first path", "#56B4E9"),
    "ab": ("activations, ρ(ab)", "#009E73"),
    "output": ("output weights", "#E69F00"),
}


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """A column for each run: characters in the logits, losses, shares, cosets with a slider."""
    measured = representatives(measured)
    figure = Panels(
        measured,
        title="Representations in the logits, the weights and the neurons over training",
        subtitle="key representations alone; shares and cosets are those of the slider's step",
        log=log,
    )
    characters, losses, shares = (figure.row(height=h, legend=True) for h in (210, 210, 180))
    has_cosets = any("coset_order" in dataset for dataset in measured.values())
    cosets = figure.row(height=180, legend=True) if has_cosets else None
    for label, dataset in measured.items():
        labels = part_labels(dataset)
        cosine = {"title": "cosine with tr ρ(abc⁻¹)", "range": [-0.08, 1.05]}
        panel = characters.over_training(f"<b>{label}</b>", y=cosine, marks=[label])
        _draw_keys(panel, dataset, label, "similarity")
        loss = {"title": "training loss (nats)", "type": "log"}
        panel = losses.over_training("the loss without a character", y=loss, marks=[label])
        _draw_keys(panel, dataset, label, "excluded_loss")
        title = f"{labels.plural} in weights and neurons"
        panel = shares.panel(title, x=labels.axis, y={"title": "share of variance", **SHARE})
        _draw_shares(panel, dataset, label)
        if cosets is not None and "coset_order" in dataset:
            title = "neurons with input weights constant on cosets"
            _draw_cosets(cosets.panel(title, x=_SUBGROUP, y="neurons"), dataset, label)
        elif cosets is not None:
            cosets.empty()
    return figure.draw()


def _draw_keys(panel: Panel, dataset: xr.Dataset, label: str, variable: str) -> None:
    """Draw a curve for each key representation."""
    names = part_labels(dataset).names
    for part in dataset.key.to_numpy().tolist():
        curve = dataset[variable].sel(frequency=part)
        color = frequency_color(part)
        panel.lines(dataset.step, curve, run=label, entry=names[part], color=color)


def _draw_shares(panel: Panel, dataset: xr.Dataset, label: str) -> None:
    """Draw the share of each part in input weights, activations and output weights."""

    def value(now: xr.Dataset, kind: str) -> dict[str, Any]:
        share = {
            "input": now.input_share.isel(path=0),
            "ab": now.neuron_share.sel(of="ab"),
            "output": now.output_share,
        }[kind]
        return {"y": share.to_numpy()[1:]}

    for kind, (entry, color) in _BARS.items():
        panel.add(
            "bar",
            run=label,
            at=partial(value, kind=kind),
            x=dataset.frequency.to_numpy()[1:],
            entry=entry,
            color=color,
            hover=f"{entry}<br>%{{y:.1%}}",
        )
    panel.mark_parts(dataset.key.to_numpy().tolist())


def _draw_cosets(panel: Panel, dataset: xr.Dataset, label: str) -> None:
    """Draw the number of neurons that read cosets, by subgroup order and representation."""
    names, orders = part_labels(dataset).names, np.unique(dataset.coset_order.to_numpy()).tolist()

    def counts(now: xr.Dataset, part: int) -> dict[str, Any]:
        reads, order_of = now.neuron_frequency.to_numpy(), now.coset_order.to_numpy()

        def number(mask: np.ndarray) -> list[int]:
            return [int((mask & (order_of == order)).sum()) for order in orders]

        of_part = number(reads == part)
        return {"y": of_part, "base": number(reads < part), "customdata": of_part}

    for part in np.unique(dataset.neuron_frequency.to_numpy()).tolist():
        panel.add(
            "bar",
            run=label,
            at=partial(counts, part=part),
            x=[str(order) for order in orders],
            offsetgroup="one upon another",
            entry=f"read {names[part]}",
            color=frequency_color(part),
            hover=f"{names[part]}: %{{customdata}} neurons, order %{{x}}",
        )
