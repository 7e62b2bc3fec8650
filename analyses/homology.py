"""Circle, disc or torus: what shape do the neurons of a frequency trace over all pairs?

All pairs (a, b) are a torus. The neurons of one frequency k map it to a cloud of points in their
space, whose holes say what they have computed: cos(w_k (a + b)) alone is a circle, Betti numbers
(1, 1); sums of vectors E_a + E_b with equal phases are a disc, (1, 0); independent phases for a and
b keep a torus, (1, 2, 1). Clock and pizza differ in this as discs or tori with more or less
variance in a + b, not in kind (Moisescu-Pareja et al. 2025, arXiv 2512.25060; McCracken et al.
2025, arXiv 2505.18266). Betti numbers come from persistent homology; needs the extra
mechgrok[homology].
"""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any, Literal

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panels, Row
from mechgrok.analyses.measures.checks import check_at_least, check_positive
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_number, format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import dominant_frequency, grid_share
from mechgrok.analyses.measures.harmonics import (
    Harmonics,
    harmonics,
    no_harmonics,
    part_units,
)
from mechgrok.analyses.measures.homology import Homology
from mechgrok.analyses.measures.spacing import log_spaced
from mechgrok.errors import NotApplicable
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation

#: The most clusters, those with the largest variance.
_CLUSTERS = 6
#: Neurons with less variance than this share of the largest one's belong to no cluster.
_FAINT = 0.01
#: The fewest neurons of a cluster.
_SMALLEST = 3
#: The most points of a cloud in the dataset and the figure.
_DRAWN = 400


def applies(run: Run) -> str | None:
    """Requires two operands with harmonics, and gudhi."""
    if not isinstance(run.task, BinaryOperation):
        return f"{run.task.name} is not one operation on two residues, or elements of a group."
    if reason := no_harmonics(run.task):
        return reason
    if find_spec("gudhi") is None:
        return "Persistent homology needs gudhi: pip install 'mechgrok[homology]'."
    return None


VARIABLES = {
    "loop": Variable(
        "step", "radii", "mean over the clusters of the longest-lived loop's persistence"
    ),
    "second_loop": Variable("step", "radii", "… of the second loop's persistence"),
    "void": Variable("step", "radii", "… of the longest-lived void's persistence"),
    "in_sum": Variable(
        "step",
        "share",
        "mean over the clusters of sum_share: near 1 for a circle",
    ),
    "planar": Variable(
        "step",
        "share",
        "mean over the clusters of plane_share: near 1 for preactivations on a circle or a disc",
    ),
    "loops": Variable(
        "step, key, hole",
        "radii",
        "persistence (death − birth) of the longest-lived loops of the cluster's cloud; a radius "
        "is the root mean square distance of the cloud from its mean",
    ),
    "voids": Variable("step, key, hole", "radii", "persistence of the longest-lived voids"),
    "betti": Variable(
        "step, key, degree",
        "none",
        "number of components, 2 if any are a radius apart, and of loops and voids with a "
        "persistence above the threshold",
    ),
    "shape": Variable(
        "step, key",
        "none",
        "by the Betti numbers: circle (1, 1, 0), disc (1, 0, 0), torus (1, 2, 1), sphere "
        "(1, 0, 1), else the numbers; none: without extent",
    ),
    "sum_share": Variable(
        "step, key", "share", "share of the cloud's variance that the right answer explains"
    ),
    "plane_share": Variable(
        "step, key", "share", "share of the cloud's variance in its first two principal components"
    ),
    "size": Variable("key", "neurons", "number of neurons in the cluster"),
    "variance_share": Variable(
        "key", "share", "share of the variance of all neurons in the cluster, at the last step"
    ),
    "cloud": Variable(
        "step, key, component, pair",
        "radii",
        "coordinates of the cloud along its first two principal components",
    ),
    "key": Variable(
        "key", "{units of a frequency}", "frequencies of the clusters, of which there are at most 6"
    ),
    "hole": Variable("hole", "none", "1: the longest-lived, 2: the second"),
    "degree": Variable("degree", "none", "0: components, 1: loops, 2: voids"),
    "component": Variable("component", "none", "a principal component's number"),
    "pair": Variable("pair", "none", "number of a pair (a, b), of at most 400 chosen at random"),
    "answer": Variable("pair", "none", "the pair's answer, by its position in the parts' order"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("in_sum",)
#: The variables over steps that use later checkpoints.
USES_LATER_STEPS = ("loop", "second_loop", "void", "in_sum", "planar")


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    of: Annotated[
        Literal["activations", "preactivations"], "hook_post, or hook_pre before the nonlinearity"
    ] = "activations",
    landmarks: Annotated[int, "points of the cloud, each the farthest from those before"] = 150,
    threshold: Annotated[float, "persistence of a hole that counts, in radii"] = 0.5,
) -> xr.Dataset:
    """Homology of the clusters of the last step, at 12 checkpoints or at ``steps``.

    A cluster is the neurons of the last hidden layer whose activations over all pairs have the same
    strongest frequency (representation) at the last step.

    Returns:
        `VARIABLES`.
    """
    check_at_least(8, landmarks=landmarks)
    check_positive(threshold=threshold)
    at, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=12))
    parts = harmonics(run.task)
    clusters, variance = _clusters(_neurons(run, at[-1], parts, of), parts)
    answer = _answers(run, parts)
    drawn = torch.randperm(len(answer), generator=torch.Generator().manual_seed(0))[:_DRAWN]
    values: dict[str, list[Any]] = {name: [] for name in ("homology", "sum", "cloud", "plane")}
    for step in at:
        neurons = _neurons(run, step, parts, of)
        clouds = [neurons[members].T for members in clusters.values()]
        values["homology"].append([Homology.of(cloud.numpy(), landmarks) for cloud in clouds])
        values["sum"].append([_explained(cloud, answer) for cloud in clouds])
        planes = [_plane(cloud) for cloud in clouds]
        values["cloud"].append([plane[:, drawn].numpy() for plane in planes])
        # In radii, the mean square of all coordinates is 1.
        values["plane"].append([float(plane.square().sum(0).mean()) for plane in planes])
    found, size = values["homology"], (len(at), len(clusters))
    loops = np.array([[one.loops[:2] for one in row] for row in found]).reshape(*size, 2)
    voids = np.array([[one.voids for one in row] for row in found]).reshape(*size, 2)
    betti = np.array([[one.betti(threshold) for one in row] for row in found], int)
    sum_share, plane_share = (np.array(values[n], float).reshape(size) for n in ("sum", "plane"))
    return described(
        VARIABLES,
        {
            "loop": _mean(loops[..., 0]),
            "second_loop": _mean(loops[..., 1]),
            "void": _mean(voids[..., 0]),
            "in_sum": _mean(sum_share),
            "planar": _mean(plane_share),
            "loops": loops,
            "voids": voids,
            "betti": betti.reshape(*size, 3),
            "shape": np.array([[one.shape(threshold) for one in row] for row in found], str),
            "sum_share": sum_share,
            "plane_share": plane_share,
            "size": [len(neurons) for neurons in clusters.values()],
            "variance_share": variance,
            "cloud": np.array(values["cloud"], np.float32).reshape(*size, 2, len(drawn)),
        },
        coords={
            "step": at,
            "key": list(clusters),
            "hole": [1, 2],
            "degree": [0, 1, 2],
            "component": [1, 2],
            "pair": drawn.numpy(),
            "answer": answer[drawn].numpy(),
        },
        attrs={
            "of": of,
            "threshold": threshold,
            "names": [parts.names[key] for key in clusters],
            "part": parts.kind,
            "n": parts.n,
            **of_steps,
            **run.milestones,
        },
        words=part_units(parts),
    )


@torch.no_grad()
def _neurons(run: Run, step: int, parts: Harmonics, of: str) -> Float[Tensor, "neuron pair"]:
    """The last hidden layer's neurons over all pairs, at the last position."""
    assert isinstance(run.task, BinaryOperation)
    model, hook = run.model(step), run.wiring.hidden[-1].hook
    if of == "preactivations":
        hook = hook.replace("hook_post", "hook_pre")
        if hook not in model.hook_dict or not hook.endswith("hook_pre"):
            raise NotApplicable("The network has no hook_pre: choose --of activations.")
    pairs = run.task.tokens(torch.cartesian_prod(parts.tokens, parts.tokens))
    _, cache = model.run_with_cache(pairs, names_filter=hook)
    value = cache[hook]
    return (value[:, -1] if value.ndim == 3 else value).T.double()


def _clusters(
    neurons: Float[Tensor, "neuron pair"], parts: Harmonics
) -> tuple[dict[int, Integer[Tensor, " member"]], list[float]]:
    """The members of each cluster, those of largest variance first, and its share of variance."""
    variance = neurons.var(1, correction=0)
    frequency = dominant_frequency(grid_share(neurons.unflatten(1, (parts.n, parts.n)), parts))
    frequency[variance <= _FAINT * variance.max()] = 0
    keys = [key for key in frequency.unique().tolist() if key]
    members = {key: torch.nonzero(frequency == key)[:, 0] for key in keys}
    share = {key: float(variance[of].sum() / variance.sum()) for key, of in members.items()}
    large = [key for key in members if len(members[key]) >= _SMALLEST]
    chosen = sorted(large, key=lambda key: -share[key])[:_CLUSTERS]
    return {key: members[key] for key in chosen}, [share[key] for key in chosen]


def _answers(run: Run, parts: Harmonics) -> Integer[Tensor, " pair"]:
    """The position of each pair's answer among the parts' elements; −1 if it is not there."""
    assert isinstance(run.task, BinaryOperation)
    a, b = torch.cartesian_prod(parts.tokens, parts.tokens).unbind(1)
    place = torch.full((run.task.n_answers,), -1)
    place[parts.tokens] = torch.arange(parts.n)
    return place[run.task.answer(a, b)]


def _explained(cloud: Float[Tensor, "pair d"], answer: Integer[Tensor, " pair"]) -> float:
    """The share of a cloud's variance between the groups of pairs with one answer."""
    centred = cloud - cloud.mean(0)
    group = torch.unique(answer, return_inverse=True)[1]
    total = torch.zeros(int(group.max()) + 1, cloud.shape[1]).double().index_add_(0, group, centred)
    between = (total.square() / torch.bincount(group)[:, None]).sum()
    variance = centred.square().sum()
    return float(between / variance) if variance > 0 else float("nan")


def _plane(cloud: Float[Tensor, "pair d"]) -> Float[Tensor, "2 pair"]:
    """The cloud along its two largest principal components, in radii."""
    centred = cloud - cloud.mean(0)
    axes = torch.linalg.eigh(centred.T @ centred)[1][:, [-1, -2]]
    radius = centred.square().sum(1).mean().sqrt()
    return (centred @ axes).T / radius.clamp(min=torch.finfo(torch.float64).tiny)


def _mean(values: Float[np.ndarray, "step key"]) -> Float[np.ndarray, " step"]:
    """The mean over clusters with extent; NaN without any."""
    result = np.full(len(values), np.nan)
    known = np.isfinite(values).any(1)
    result[known] = np.nanmean(values[known], axis=1)
    return result


def finding(dataset: xr.Dataset) -> str:
    """The shape of each cluster at the last step."""
    last, part = dataset.isel(step=-1), dataset.attrs["part"]
    if not dataset.sizes["key"]:
        text = f"no {part} has {_SMALLEST} live neurons at step {int(last.step):,}"
        return with_skipped_note(text, dataset)
    shapes = ", ".join(
        f"{name} {last['shape'][at].item()} ({int(dataset['size'][at])} neurons, "
        f"{format_percent(last.sum_share[at])} by the answer)"
        for at, name in enumerate(_names(dataset))
    )
    text = (
        f"{dataset.of} by {part} at step {int(last.step):,}: {shapes}; longest loop "
        f"{format_number(last.loop, '.2f')}, second {format_number(last.second_loop, '.2f')}, void "
        f"{format_number(last.void, '.2f')} radii (mean)"
    )
    return with_skipped_note(text, dataset)


def _names(dataset: xr.Dataset) -> list[str]:
    names = dataset.attrs["names"]
    return [names] if isinstance(names, str) else [str(name) for name in names]


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Holes over training; below, each run's clouds in their first principal plane."""
    figure = Panels(
        measured,
        title="The shape of the neurons of one frequency over all pairs",
        subtitle="persistence in radii; circle: one loop; torus: two loops, one void; disc: none; "
        "colours below: the right answer",
        log=log,
    )
    row = figure.row(height=220)
    panel = row.over_training("holes, mean over clusters", y={"title": "persistence (radii)"})
    for name, key, dash in (
        ("loop", "longest loop", "solid"),
        ("second_loop", "second loop", "dash"),
        ("void", "longest void", "dot"),
    ):
        panel.curves(name, key=key, dash=dash, value="%{y:.2f} radii")
    for threshold in {dataset.threshold for dataset in measured.values()}:
        panel.level(threshold, "counts")
    panel = row.over_training("variance, mean over clusters", y=SHARE | {"title": "share"})
    panel.curves("in_sum", key="by the answer", value="%{y:.0%}")
    panel.curves("planar", key="in two components", dash="dash", value="%{y:.0%}")
    for label, dataset in figure.pictured.items():
        keys = range(dataset.sizes["key"])
        for first in range(0, len(keys), _COLUMNS):
            row = figure.row(height=170)
            for at in keys[first : first + _COLUMNS]:
                _draw_cloud(row, label, dataset, at)
            row.fill(_COLUMNS)
    return figure.draw()


#: Clouds in a row.
_COLUMNS = 4


def _draw_cloud(row: Row, label: str, dataset: xr.Dataset, at: int) -> None:
    """Draw a cluster's cloud at the slider's step, with its shape at the last step."""
    last = dataset.isel(step=-1, key=at)
    run = f"<b>{label}</b>: " if not row.panels else ""
    title = f"{run}{dataset.attrs['part']} {_names(dataset)[at]}, {last['shape'].item()}"
    axis = {"range": [-2.2, 2.2], "nticks": 5}
    x, y = {"title": "component 1", **axis}, {"title": "" if row.panels else "component 2", **axis}
    panel = row.panel(title, x=x, y=y, square=True)
    # A wave of the cluster's frequency takes the colours around the circle once.
    turn = dataset.answer.to_numpy() * max(1, int(dataset.key[at])) % dataset.attrs["n"]
    colors = [f"hsl({360 * t / dataset.attrs['n']:.0f}, 75%, 45%)" for t in turn]

    def places(now: xr.Dataset) -> dict[str, np.ndarray]:
        return dict(zip("xy", now.cloud.isel(key=at).to_numpy(), strict=True))

    panel.add(
        "scatter",
        run=label,
        at=places,
        mode="markers",
        marker={"size": 4, "color": colors},
        text=[str(answer) for answer in dataset.answer.to_numpy()],
        hover="answer %{text}<br>(%{x:.2f}, %{y:.2f})",
    )
