"""Neurons' input weights turn periodic, each on one frequency; the ticket's do so by step 2,000."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from mechgrok.analyses.drawing import DIVERGING, Panels
from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import A_SHARE, EARLIER, Claim, above
from mechgrok.analyses.papers.quantities import answer, ask, chosen, nearest, over
from mechgrok.analyses.papers.scale import Scale
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig14", "v3-fig8")
SETTINGS = "The grid is that of one seed: the first. Rows are neurons, by their last frequency."
#: The steps of the paper's grids.
STEPS = (0, 2_000, 30_000)


def plan(scale: Scale) -> Plan:
    """Base runs and their tickets, with checkpoints."""
    return runs.runs(scale, "add", runs.ticket(scale))


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Weights and spectra of every neuron, base above ticket, at three steps."""
    opened = {}
    for label, stage in (("base run", "base"), ("grokked ticket", "ticket")):
        some = chosen(sweep, stage=stage)
        if some is not None and some.runs:
            opened[label] = next(iter(some.runs.values()))
    return {
        "weights": _grid(opened, "weight", "Input weights of every neuron over the residues"),
        "spectra": _grid(opened, "amplitude", "Spectrum of every neuron's input weights"),
    }


def _wanted(run: Run) -> list[int]:
    """The three steps, or what stands for them in a shorter run."""
    share = run.steps[-1] / STEPS[-1]
    return [nearest(run.steps, round(step * share)) for step in STEPS]


def _grid(opened: Mapping[str, Run], what: str, title: str) -> go.Figure:
    measured = {label: _pictures(run) for label, run in opened.items()}
    figure = Panels(measured, title=title, subtitle="rows: neurons, by their frequency at the end")
    for label, dataset in measured.items():
        row = figure.row(height=240)
        values = dataset[what].to_numpy()
        limit = float(np.quantile(np.abs(values[-1]), 0.99)) or 1.0
        name = "W_E W_in" if what == "weight" else "share"
        colors = (
            figure.colors(name, -limit, limit, scale=DIVERGING)
            if what == "weight"
            else figure.colors(name, 0, 1)
        )
        for at, step in enumerate(dataset.step.to_numpy().tolist()):
            x = "residue" if what == "weight" else "frequency ω"
            panel = row.panel(f"{label}, step {step:,}", x=x, y={"title": "" if at else "neuron"})
            places: dict[str, Any] = {"z": values[at]}
            if what == "amplitude":
                places["x"] = np.arange(1, values.shape[2] + 1)
            panel.heat(colors, hover="%{x}<br>neuron at place %{y}<br>%{z:.3g}", **places)
    return figure.draw()


def _pictures(run: Run) -> xr.Dataset:
    """Weights and shares of power; neurons stand by their strongest frequency at the end."""
    steps = _wanted(run)
    waves = ask(run, "periodicity", steps).sel(step=steps)
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
        coords={"step": steps},
    )


def _share_at(of_run: float) -> Any:
    """The median live neuron's share of power in its strongest frequency, that far into the run."""

    def value(dataset: xr.Dataset) -> float:
        step = nearest(dataset.step.to_numpy().tolist(), round(float(dataset.step[-1]) * of_run))
        at = dataset.sel(step=step)
        return float(at.share.where(at.live).median())

    return value


CLAIMS = (
    Claim(
        "one-frequency",
        "The spectrum of each neuron concentrates on one frequency.",
        "v2, figure 4; v3, figure 8",
        "base run, last step: the median neuron's share of power in its strongest frequency",
        above(0.8),
        answer("fourier", _share_at(1.0), stage="base"),
        possible=A_SHARE,
    ),
    Claim(
        "ticket-sooner",
        "The ticket's neurons have become periodic by step 2,000, those of the base run have not.",
        "v2, figure 4; v3, figure 8",
        "that share at step 2,000: the ticket's over the base run's",
        EARLIER,
        over(
            answer("fourier", _share_at(1 / 15), stage="ticket"),
            answer("fourier", _share_at(1 / 15), stage="base"),
        ),
    ),
    Claim(
        "ticket-by-2000",
        "The ticket's neurons are periodic by step 2,000.",
        "v2, figure 4",
        "the share at step 2,000, ticket",
        above(0.8),
        answer("fourier", _share_at(1 / 15), stage="ticket"),
        possible=A_SHARE,
    ),
)
