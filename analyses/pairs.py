"""Which pairs are learned first? The step from which on the answer to each pair is right.

A pair (a, b) is *learned* at the first step from which on every checkpoint answers it right, and
*forgotten* each time a wrong answer follows a right one (Toneva et al. 2019, arXiv 1812.05159).
Test pairs of residues are grouped by their distance from the training set: the smallest |a − a'| +
|b − b'| over the training pairs (a', b'), on the circle of residues. Elements of a group have no
such distance.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Bool, Float, Integer, Shaped
from scipy.ndimage import distance_transform_cdt

from mechgrok.analyses.drawing import SHARE, Colors, LogAxis, Measured, Panel, Panels
from mechgrok.analyses.measures.evaluation import outputs_of
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_number, format_percent, with_skipped_note
from mechgrok.analyses.measures.ranks import rank_correlation
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.losses import right as answered_right
from mechgrok.tasks.modular import ModularArithmetic

#: Distances from this one on form one group.
_FAR = 3
#: The largest group with elements named along the axes.
_NAMED = 12


def applies(run: Run) -> str | None:
    """Requires pairs of residues, or of elements of a group, as examples."""
    if not isinstance(run.task, BinaryOperation):
        return f"the examples of {run.task.name} are not pairs of residues, or of elements."
    return "it has one checkpoint, and learning takes two." if len(run.steps) < 2 else None


class Learning(NamedTuple):
    """When each pair was learned.

    Attributes:
        first_right: the index of the first step with a right answer; −1 for none.
        learned: the index of the first step with right answers from then on; −1 for none.
        forgotten: the number of times a wrong answer follows a right one.
    """

    first_right: Integer[np.ndarray, " pair"]
    learned: Integer[np.ndarray, " pair"]
    forgotten: Integer[np.ndarray, " pair"]


def learning(right: Bool[np.ndarray, "step pair"]) -> Learning:
    """When each pair was learned, from the right answers at each step.

    >>> right = np.array([[0, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 0]], dtype=bool)
    >>> [part.tolist() for part in learning(right)]
    [[1, -1, 0], [1, -1, -1], [0, 0, 2]]
    """
    ever = right.any(0)
    first = np.where(ever, right.argmax(0), -1)
    wrong_after = np.flip(np.logical_or.accumulate(np.flip(~right, 0), 0), 0)
    learned = np.where(right[-1], wrong_after.sum(0), -1)
    return Learning(first, learned, (right[:-1] & ~right[1:]).sum(0))


def distance_to(train: Bool[np.ndarray, "p p"]) -> Integer[np.ndarray, "p p"]:
    """The distance min |a − a'| + |b − b'| to the training pairs (a', b'), on a circle of residues.

    It is 0 for training pairs, and −1 everywhere without training pairs.

    >>> train = np.zeros((5, 5), dtype=bool)
    >>> train[0, 0] = True
    >>> distance_to(train)[0].tolist(), int(distance_to(train)[2, 3])
    ([0, 1, 2, 2, 1], 4)
    """
    if not train.any():
        return np.full(train.shape, -1)
    n = len(train)
    # Copies on all sides close the circles.
    around = distance_transform_cdt(~np.tile(train, (3, 3)), metric="taxicab")
    return around[n : 2 * n, n : 2 * n].astype(int)


VARIABLES = {
    "first_right": Variable("pair", "step", "the first with a right answer; NaN if none"),
    "learned": Variable("pair", "step", "the first with right answers from then on; NaN if none"),
    "forgotten": Variable("pair", "times", "number of times a right answer became wrong"),
    "support": Variable("pair", "training pairs", "number of training pairs with the same answer"),
    "distance": Variable(
        "pair",
        "residues",
        "to the nearest training pair (a', b'): |a − a'| + |b − b'| on the circle of residues",
    ),
    "share_right": Variable("step, group", "share", "right answers among the pairs of the group"),
    "group": Variable(
        "group",
        "none",
        "training pairs and test pairs; of residues, test pairs by distance, the last: or more",
    ),
    "element": Variable("element", "none", "of a group: the names of operands and answers"),
    "a": Variable("pair", "none", "the first operand"),
    "b": Variable("pair", "none", "the second operand"),
    "answer": Variable("pair", "none", "the right answer"),
    "train": Variable("pair", "none", "whether the pair is in the training set"),
}


def measure(run: Run, *, steps: Sequence[int] | None = None) -> xr.Dataset:
    """Find when each pair was learned, over all checkpoints or the given steps.

    Returns:
        `VARIABLES`.
    """
    at, of_steps = select_finite_steps(run, steps)
    task = run.task
    assert isinstance(task, BinaryOperation)
    right = _right(run, at)
    a, b = task.pair.numpy().T
    train = np.zeros(len(a), dtype=bool)
    train[task.train_index.numpy()] = True
    answer = task.examples.labels.numpy()
    reached = learning(right)
    values = {
        "first_right": _steps(at, reached.first_right),
        "learned": _steps(at, reached.learned),
        "forgotten": reached.forgotten,
        "support": np.bincount(answer[train], minlength=task.n_answers)[answer],
    }
    groups = {"train": train, "test": ~train}
    if of_residues := isinstance(task, ModularArithmetic) or task.modular:
        distance = values["distance"] = _distance(task, train)
        groups = {"train": train, **_by_distance(distance, ~train)}
    groups = {name: members for name, members in groups.items() if members.any()}
    values["share_right"] = np.stack(
        [right[:, members].mean(1) for members in groups.values()], axis=1
    )
    return described(
        VARIABLES,
        values,
        coords={
            "step": at,
            "group": list(groups),
            **({} if of_residues else {"element": task.vocabulary[: task.n_answers]}),
            "a": a,
            "b": b,
            "answer": answer,
            "train": train,
        },
        attrs={"n": task.n_answers, "unordered": int(task.mirrored), **of_steps},
    )


def _distance(
    task: BinaryOperation, train: Bool[np.ndarray, " pair"]
) -> Integer[np.ndarray, " pair"]:
    """Each pair's distance from the training set; an unordered pair counts as (b, a) too."""
    a, b = task.pair.numpy().T
    trained = np.zeros((task.n_answers, task.n_answers), dtype=bool)
    trained[a[train], b[train]] = True
    if task.mirrored:
        trained |= trained.T
    return distance_to(trained)[a, b]


def _by_distance(
    distance: Integer[np.ndarray, " pair"], test: Bool[np.ndarray, " pair"]
) -> dict[str, Bool[np.ndarray, " pair"]]:
    """The test pairs at each distance, with the last group open-ended."""
    groups = {}
    for near in range(1, _FAR + 1):
        members = distance >= near if near == _FAR else distance == near
        groups[f"test, distance {near}{' or more' if near == _FAR else ''}"] = members & test
    return groups


def _right(run: Run, steps: Sequence[int]) -> Bool[np.ndarray, "step pair"]:
    """Whether each pair is answered right at each step."""
    inputs, labels = run.task.examples
    answers = (outputs_of(run.model(step), inputs) for step in steps)
    return np.stack([answered_right(outputs, labels).numpy() for outputs in answers])


def _steps(steps: Sequence[int], index: Integer[np.ndarray, " pair"]) -> Float[np.ndarray, " pair"]:
    """The steps at these indices; NaN at −1."""
    return np.where(index < 0, np.nan, np.asarray(steps, dtype=float)[index])


def _over_pairs(
    dataset: xr.Dataset, values: xr.DataArray, absent: float
) -> Shaped[np.ndarray, "a b"]:
    """Values of pairs over (a, b); an unordered pair appears on both sides of the diagonal."""
    a, b, n = dataset.a.to_numpy(), dataset.b.to_numpy(), dataset.attrs["n"]
    grid = np.full((n, n), absent, dtype=values.dtype)
    grid[a, b] = values
    if dataset.attrs["unordered"]:
        grid[b, a] = values
    return grid


def finding(dataset: xr.Dataset) -> str:
    """Quantiles of the learning time of test pairs, and its correlation with the distance."""
    test = dataset.isel(pair=np.flatnonzero(~dataset.train.to_numpy()))
    learned = test.learned.dropna("pair").to_numpy()
    quantiles = np.quantile(learned, [0.1, 0.5, 0.9]) if learned.size else [np.nan] * 3
    early, median, late = (format_number(step, ",.0f") for step in quantiles)
    text = (
        f"{learned.size:,} of {test.sizes['pair']:,} test pairs learned for good: a tenth of them "
        f"by step {early}, half by {median}, nine tenths by {late}; "
        f"{format_percent((test.forgotten > 0).mean())} were forgotten in between"
    )
    if "distance" in test:
        rank = rank_correlation(test.learned.to_numpy(), test.distance.to_numpy())
        text += f"; rank correlation with the distance {format_number(rank, '+.2f')}"
    return with_skipped_note(text, dataset)


# --- figure -------------------------------------------------------------------------------------


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """Pairs by learning step, the share of right answers, and a comparison of elements."""
    figure = Panels(
        measured,
        title="The step at which each pair is learned",
        subtitle="learned: right from then on at every checkpoint; white: no pair, or not learned",
        log=log,
    )
    _draw_grids(figure)
    row = figure.row(height=260, legend=True)
    panel = row.over_training("pairs answered right", y=SHARE | {"title": "share of the group"})
    for label, dataset in measured.items():
        for at, group in enumerate(dataset.group.to_numpy().tolist()):
            curve = dataset.share_right.sel(group=group)
            dash = ("solid", "dash", "dashdot", "dot")[at % 4]
            panel.lines(dataset.step, curve, run=label, key=group, dash=dash, value="%{y:.1%}")
    _draw_elements(figure)
    return figure.draw()


def _draw_grids(figure: Panels) -> None:
    """Draw each run's training pairs and test pairs, on separate colour scales."""
    for label, dataset in figure.pictured.items():
        row = figure.row(height=330)
        prefix = f"{label}: " if len(figure.measured) > 1 else ""
        for side, trained in (("training pairs", True), ("test pairs", False)):
            chosen = dataset.isel(pair=np.flatnonzero(dataset.train.to_numpy() == trained))
            learned = chosen.learned.dropna("pair").to_numpy()
            low, high = np.quantile(learned, [0.02, 0.98]) if learned.size else (0.0, 1.0)
            # Ticks at checkpoints, which is all that a step of learning can be.
            stops = dataset.step.to_numpy()
            within = stops[(stops >= low) & (stops <= high)].tolist()
            values = _apart(within, 0.12 * (high - low))
            ticks = {"tickvals": values, "ticktext": [f"{step:,}" for step in values]}
            colors = figure.colors("learned at step", float(low), float(high), **ticks)
            x, y = _axis("b", dataset), _axis("a", dataset)
            panel = row.panel(f"{prefix}{side}", x=x, y=y, square=True)
            _draw_pairs(panel, colors, label, chosen)


def _names(dataset: xr.Dataset) -> Shaped[np.ndarray, " n"]:
    """The names of operands and answers: residues, or a group's elements."""
    return np.asarray(dataset["element"] if "element" in dataset else np.arange(dataset.attrs["n"]))


def _axis(title: str, dataset: xr.Dataset) -> dict[str, Any]:
    """An axis of residues, or of a group's elements in order."""
    if "element" not in dataset:
        return {"title": title, "range": [-0.5, dataset.attrs["n"] - 0.5]}
    named = {"title": title, "type": "category", "tickfont": {"size": 10}, "showgrid": False}
    return named if dataset.attrs["n"] <= _NAMED else named | {"showticklabels": False, "ticks": ""}


def _draw_pairs(panel: Panel, colors: Colors, label: str, chosen: xr.Dataset) -> None:
    over_pairs, names = partial(_over_pairs, chosen), _names(chosen)
    details = [names[over_pairs(chosen.answer, 0)], over_pairs(chosen.forgotten, -1)]
    hover = (
        "(%{y}, %{x}) → %{customdata[0]}<br>learned at step %{z:,}<br>"
        "forgotten %{customdata[1]} times"
    )
    if "distance" in chosen:
        hover += "<br>%{customdata[2]} from the training set"
        details.append(over_pairs(chosen.distance, -1))
    customdata = np.stack(details, axis=-1)
    panel.heat(
        colors,
        run=label,
        x=names,
        y=names,
        z=over_pairs(chosen.learned, np.nan).astype(np.float32),
        customdata=customdata if "element" in chosen else customdata.astype(np.int16),
        hoverongaps=False,
        hover=hover,
    )


def _draw_elements(figure: Panels) -> None:
    """Draw by when half are learned of each element's test pairs, as operand and as answer."""
    row = figure.row(height=230)
    first, *others = figure.measured.values()
    word = "element" if "element" in first else "residue"
    # The elements of two groups have only their numbers in common.
    alike = all(np.array_equal(_names(first), _names(other)) for other in others)
    for name, title in (("operand", f"{word} a or b"), ("answer", "answer c")):
        medians = {label: _by_element(ds, name) for label, ds in figure.measured.items()}
        if not any(np.isfinite(of_run).any() for of_run in medians.values()):
            note = f"no {title}<br>has half of its test pairs learned"
            row.note(f"test pairs by {name}", note)
            continue
        x = _axis(title, first) if alike or word == "residue" else {"title": f"{title}, number"}
        y = {
            "title": "half learned by step" if name == "operand" else "",
            "type": "log",
            "tickformat": ",",
        }
        panel = row.panel(f"test pairs by {name}", x=x, y=y)
        for label, of_run in medians.items():
            names = _names(figure.measured[label])
            panel.add(
                "scatter",
                run=label,
                mode="markers",
                x=names if x.get("type") == "category" else np.arange(len(names)),
                y=np.maximum(of_run, 1),
                marker={"size": 6},
                customdata=names,
                hover="%{customdata}: half of its pairs by step %{y:,}",
            )


def _by_element(dataset: xr.Dataset, name: str) -> Float[np.ndarray, " n"]:
    """The step by which half of the test pairs with each operand or answer are learned.

    Interpolated between checkpoints, as the median of grouped data; NaN if fewer are learned.
    """
    test = dataset.isel(pair=np.flatnonzero(~dataset.train.to_numpy()))
    learned = test.learned.fillna(np.inf).to_numpy()
    a, b, answer = (test[key].to_numpy() for key in ("a", "b", "answer"))
    medians = np.full(dataset.attrs["n"], np.nan)
    for element in range(dataset.attrs["n"]):
        chosen = answer == element if name == "answer" else (a == element) | (b == element)
        if chosen.any():
            medians[element] = _half_learned(learned[chosen], dataset.step.to_numpy())
    return medians


def _half_learned(
    learned: Float[np.ndarray, " pair"], steps: Integer[np.ndarray, " step"]
) -> float:
    """The step by which half are learned, interpolated between checkpoints.

    >>> round(_half_learned(np.array([0, 200, 200, 200]), np.array([0, 100, 200])), 1)
    133.3
    """
    share = (learned[:, None] <= steps).mean(0)
    at = int((share >= 0.5).argmax())
    if share[at] < 0.5:
        return np.nan
    if at == 0:
        return float(steps[0])
    return float(np.interp(0.5, share[at - 1 : at + 1], steps[at - 1 : at + 1]))


def _apart(steps: Sequence[int], gap: float) -> list[int]:
    """The first step and each later one that is ``gap`` after the step chosen before.

    >>> _apart([0, 1, 5, 6, 9], 4)
    [0, 5, 9]
    """
    chosen = list(steps[:1])
    for step in steps:
        chosen += [step] if step - chosen[-1] >= gap and step != chosen[-1] else []
    return chosen
