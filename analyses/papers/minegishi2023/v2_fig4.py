"""Neurons' input weights turn periodic, each on one frequency; the ticket's do so by step 2,000."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import DIVERGING, Panels
from mechgrok.analyses.papers.minegishi2023 import shared
from mechgrok.measuring import analyze
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig14", "v3-fig8")
SETTINGS = "The grid is that of one seed: the first. Rows are neurons, by their last frequency."
#: When the paper's three grids are taken, as shares of the run: steps 0, 2,000 and 30,000.
SHARES_OF_RUN = (0, 1 / 15, 1)


def plan(scale: papers.Scale) -> Plan:
    """Base runs and their tickets, with checkpoints."""
    return scale.plan("add", shared.ticket(scale))


def draw(sweep: Sweep) -> papers.Figures:
    """Weights and spectra of every neuron, base above ticket, at three steps."""
    measured = {
        label: _pictures(run)
        for label, settings in shared.PAIR.items()
        for run in list(papers.first_runs(sweep, **settings).values())[:1]
    }
    return {
        "weights": _grid(measured, "weight", "Input weights of every neuron over the residues"),
        "spectra": _grid(measured, "amplitude", "Spectrum of every neuron's input weights"),
    }


def _grid(measured: Mapping[str, xr.Dataset], what: str, title: str) -> go.Figure:
    """A row for each run, a picture for each step."""
    figure = Panels(measured, title=title, subtitle="rows: neurons, by their frequency at the end")
    for label, dataset in measured.items():
        row = figure.row(height=240)
        values = dataset[what]
        x = "residue" if what == "weight" else "frequency ω"
        if what == "weight":
            limit = float(np.quantile(np.abs(values[-1]), 0.99)) or 1.0
            colors = figure.colors("W_E W_in", -limit, limit, scale=DIVERGING)
        else:
            colors = figure.colors("share", 0, 1)
        for at, step in enumerate(dataset.step.to_numpy().tolist()):
            y = {"title": "" if at else "neuron"}
            panel = row.panel(f"{label}, step {step:,}", x=x, y=y)
            panel.heat(
                colors, x=values[values.dims[-1]].to_numpy(), z=values[at].to_numpy(),
                hover="%{x}<br>neuron at place %{y}<br>%{z:.3g}",
            )  # fmt: skip
    return figure.draw()


def _pictures(run: Run) -> xr.Dataset:
    """Weights and shares of power at three steps; neurons by their last strongest frequency."""
    steps = [papers.nearest(run.steps, round(run.steps[-1] * share)) for share in SHARES_OF_RUN]
    waves = analyze(run, "periodicity", steps=steps).sel(step=steps)
    order = np.argsort(waves.frequency_of.isel(step=-1).to_numpy(), kind="stable")
    weight = waves.weight.to_numpy()[:, order]
    power = np.abs(np.fft.rfft(weight, axis=-1))[..., 1:] ** 2
    total = power.sum(-1, keepdims=True)
    share = np.divide(power, total, out=np.zeros_like(power), where=total > 0)
    return xr.Dataset(
        {
            "weight": (("step", "neuron", "position"), weight),
            "amplitude": (("step", "neuron", "frequency"), share),
        },
        coords={
            "step": steps,
            "position": np.arange(weight.shape[-1]),
            "frequency": np.arange(1, power.shape[-1] + 1),
        },
    )


def _share(at: float, stage: str) -> papers.Quantity:
    """The median live neuron's share of power in its strongest frequency, so far into the run."""

    def value(dataset: xr.Dataset) -> Any:
        return dataset.share.where(dataset.live).median()

    return papers.answer("fourier", value, papers.A_SHARE, at=at, stage=stage)


_AT_2000 = SHARES_OF_RUN[1]
CLAIMS = {
    "one-frequency": papers.Claim(
        "The spectrum of each neuron concentrates on one frequency.",
        "v2, figure 4; v3, figure 8",
        "base run, last step: the median neuron's share of power in its strongest frequency",
        papers.above(0.8),
        _share(1, "base"),
    ),
    "ticket-sooner": papers.Claim(
        "The ticket's neurons have become periodic by step 2,000, those of the base run have not.",
        "v2, figure 4; v3, figure 8",
        "that share at step 2,000: the ticket's over the base run's",
        papers.EARLIER,
        _share(_AT_2000, "ticket") / _share(_AT_2000, "base"),
    ),
    "ticket-by-2000": papers.Claim(
        "The ticket's neurons are periodic by step 2,000.",
        "v2, figure 4",
        "the share at step 2,000, ticket",
        papers.above(0.8),
        _share(_AT_2000, "ticket"),
    ),
}
