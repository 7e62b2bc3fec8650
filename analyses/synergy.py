"""Do neurons carry information together that they lack alone? O-information over training.

Ω = TC − DTC, total minus dual total correlation of a group of neurons (Rosas et al. 2019, arXiv
1902.11239), is positive if redundancy dominates and negative if synergy does. Synergy among
neurons is said to peak before generalization (Clauw et al. 2024, arXiv 2408.08944). Entropies are
those of a Gaussian with the covariance of the activations over examples.

By default, 1,000 random groups of three neurons of the last hidden layer are measured, the same at
every checkpoint, on at most 4,096 random examples.
"""

from collections.abc import Sequence
from typing import Annotated

import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panels
from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.evaluation import subsample
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_course, with_skipped_note
from mechgrok.analyses.measures.neurons import activations
from mechgrok.errors import UserError
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

#: The most examples with measured activations.
_MAX_EXAMPLES = 4096
#: The smallest eigenvalue of the correlations of a group that has a density.
_SINGULAR = 1e-8

VARIABLES = {
    "o_information": Variable("step", "nats", "Ω = TC − DTC of a group, mean over measured groups"),
    "synergy": Variable("step", "nats", "max(−Ω, 0), mean over measured groups"),
    "redundancy": Variable("step", "nats", "max(Ω, 0), mean over measured groups"),
    "strongest_synergy": Variable("step", "nats", "max(−Ω, 0) of the most synergistic group"),
    "synergistic": Variable("step", "share", "share of measured groups with Ω < 0"),
    "total_correlation": Variable(
        "step", "nats", "TC = Σ_j H(x_j) − H(x), mean over measured groups"
    ),
    "measured": Variable(
        "step", "share", "share of groups without constant or linearly dependent neurons"
    ),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS: tuple[str, ...] = ()


def applies(run: Run) -> str | None:
    """Requires at least three neurons."""
    n_neurons = run.wiring.groups[run.wiring.hidden[-1].group].size
    return None if n_neurons > 2 else f"its last hidden layer has {n_neurons} of 3 neurons or more."


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    groups: Annotated[int, "random groups of neurons"] = 1000,
    size: Annotated[int, "neurons of a group"] = 3,
    seed: Annotated[int, "of groups and examples"] = 0,
) -> xr.Dataset:
    """Measure the O-information of groups of neurons at every checkpoint, or at the given steps.

    Returns:
        `VARIABLES`, NaN where no group can be measured.

    Raises:
        UserError: a number is out of its range.
    """
    check_at_least(1, groups=groups)
    check_at_least(3, size=size)
    layer = run.wiring.hidden[-1]
    n_neurons = run.wiring.groups[layer.group].size
    if size > n_neurons:
        raise UserError(f"size = {size} is more than the {n_neurons} neurons: choose fewer.")
    at, of_steps = select_finite_steps(run, steps)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(groups, n_neurons, generator=generator).argsort(1)[:, :size]
    inputs = subsample(run.task.examples, _MAX_EXAMPLES, seed).inputs
    rows = [_summary(activations(run.model(step), [layer], inputs)[0], chosen) for step in at]
    return described(
        VARIABLES,
        {name: [row[name] for row in rows] for name in VARIABLES},
        coords={"step": at},
        attrs={"groups": groups, "size": size, **of_steps, **run.milestones},
    )


def _summary(
    layer: Float[Tensor, "example neuron"], chosen: Integer[Tensor, "group member"]
) -> dict[str, float]:
    """The variables at one checkpoint."""
    correlation = _correlation(layer)[chosen[:, :, None], chosen[:, None, :]]
    constant = correlation.isnan().flatten(1).any(1)
    regular = torch.linalg.eigvalsh(correlation.nan_to_num())[:, 0] > _SINGULAR
    measured = regular & ~constant
    if not measured.any():
        return dict.fromkeys(VARIABLES, float("nan")) | {"measured": 0.0}
    total, omega = information(correlation[measured])
    return {
        "o_information": float(omega.mean()),
        "synergy": float((-omega).clamp(min=0).mean()),
        "redundancy": float(omega.clamp(min=0).mean()),
        "strongest_synergy": max(0.0, float(-omega.min())),
        "synergistic": float((omega < 0).double().mean()),
        "total_correlation": float(total.mean()),
        "measured": float(measured.double().mean()),
    }


def _correlation(layer: Float[Tensor, "example neuron"]) -> Float[Tensor, "neuron neuron"]:
    """The correlations of neurons over examples, NaN for constant ones."""
    centred = layer.double() - layer.double().mean(0)
    size = centred.norm(dim=0)
    is_constant = size <= 1e-6 * layer.double().norm(dim=0)
    unit = centred / torch.where(is_constant, torch.nan, size)
    return unit.T @ unit


def information(
    correlation: Float[Tensor, "*group member member"],
) -> tuple[Float[Tensor, "*group"], Float[Tensor, "*group"]]:
    """Total correlation and O-information of Gaussian variables, in nats.

    With R the correlations, TC = −½ ln det R, DTC = ½ ln det R + ½ Σ_j ln (R⁻¹)_jj, and Ω = TC −
    DTC. Ω is 0 for two variables, and for independent ones.

    Args:
        correlation: positive definite, with ones on the diagonal.

    Source: Rosas et al. 2019 (arXiv 1902.11239), equations 2, 3 and 6.

    >>> common = torch.full((3, 3), 0.5) + 0.5 * torch.eye(3)  # one cause of three: redundant
    >>> summed = torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6], [0.6, 0.6, 1.0]])  # a sum of two
    >>> [(omega > 0).item() for _, omega in map(information, (common, summed))]
    [True, False]
    """
    log_det = torch.linalg.slogdet(correlation)[1]
    precision = torch.linalg.inv(correlation).diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -log_det / 2, -log_det - precision / 2


def finding(dataset: xr.Dataset) -> str:
    """The course of Ω and of the synergy, and the share of synergistic groups."""
    if not dataset.measured.any():
        return with_skipped_note("no group of neurons has a density over the examples", dataset)
    text = (
        f"Ω of {dataset.attrs['size']} neurons in nats {format_course(dataset.o_information)}; "
        f"synergy {format_course(dataset.synergy)}; groups with more synergy than redundancy "
        f"{format_change(dataset.synergistic, '.0%')}"
    )
    return with_skipped_note(text, dataset)


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Ω with its synergistic and redundant parts, the extremes, and the measured groups."""
    attrs = next(iter(measured.values())).attrs
    figure = Panels(
        measured,
        title="Synergy and redundancy of neurons over training",
        subtitle=f"{attrs['groups']:,} random groups of {attrs['size']} neurons of the last "
        "hidden layer; Gaussian estimate",
        log=log,
    )
    from_zero = {"rangemode": "tozero"}
    row = figure.row(height=260)
    row.over_training("synergy, mean of max(−Ω, 0)", y=from_zero | {"title": "nats"}).curves(
        "synergy"
    )
    row.over_training("redundancy, mean of max(Ω, 0)", y=from_zero).curves("redundancy")
    row.over_training("Ω, mean", y={"zeroline": True}).curves("o_information")
    row = figure.row(height=220)
    row.over_training("most synergistic group", y=from_zero | {"title": "nats"}).curves(
        "strongest_synergy"
    )
    for name, title in (("synergistic", "groups with Ω < 0"), ("measured", "measured groups")):
        panel = row.over_training(title, y=SHARE | {"range": [0, 1.05]})
        panel.curves(name, value="%{y:.1%}")
    return figure.draw()
