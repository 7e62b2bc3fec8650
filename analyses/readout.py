"""When is the answer in the representation, and when is it used? The last matrix refitted.

At each checkpoint the hidden layer is frozen and a new linear readout is fitted to it: by ridge
least squares and by logistic regression, from the training labels alone, or also from the labels of
the other test examples. Where a refitted readout is right on the test set and the network is not,
the delay lies in the readout and not in the representation (Chou et al. 2026, arXiv 2605.27078). A
control does the same with random networks of this shape.

By default, 40 checkpoints are measured, evenly spaced in the sequence, on at most 1,000 random
examples of each side.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer

from mechgrok.analyses.drawing import SHARE, LogAxis, Measured, Panels
from mechgrok.analyses.measures.checks import check_at_least, not_classification
from mechgrok.analyses.measures.evaluation import subsample
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_change, format_percent, with_skipped_note
from mechgrok.analyses.measures.neurons import activations
from mechgrok.analyses.measures.spacing import thin
from mechgrok.denormals import flushed_denormals
from mechgrok.masks import apply_mask
from mechgrok.models import HookedModel, make_model
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run

FITS = ("least squares", "logistic")
LABELS = ("train", "all")
#: The ridge penalties, for representations of root mean square 1.
_PENALTIES = np.logspace(-4, 5, 19)
#: The inverse penalties of logistic regression, and the folds inside the training set to choose.
_INVERSE, _FOLDS = (1.0, 10.0, 100.0), 3
#: The parts of the test set, each predicted from the training set and the other parts.
_PARTS = 5
_MAX_ITERATIONS = 100

VARIABLES = {
    "refit_accuracy": Variable(
        "step, layer, fit, labels", "share", "test accuracy of the layer's refitted readout"
    ),
    "control_accuracy": Variable(
        "layer, fit, labels",
        "share",
        "the same for the initial weights of {controls} other seeds under the last mask, mean",
    ),
    "test_refit_train": Variable(
        "step", "share", "test accuracy of the last layer's logistic readout from training labels"
    ),
    "test_refit_all": Variable(
        "step",
        "share",
        "the same from training labels and those of the other four fifths of the test set",
    ),
    "test_accuracy": Variable("step", "share", "the network's own accuracy on these test examples"),
    "layer": Variable("layer", "none", "a hidden layer's name"),
    "fit": Variable("fit", "none", "ridge least squares on one-hot labels; logistic regression"),
    "labels": Variable("labels", "none", "the labels that the readout is fitted to: train, all"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("test_refit_train", "test_refit_all", "test_accuracy")


def applies(run: Run) -> str | None:
    """Requires one class per example."""
    return not_classification(run)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[
        int, "number of checkpoints, evenly by position; --steps overrides"
    ] = 40,
    examples: Annotated[int, "the most examples of each side"] = 1000,
    controls: Annotated[int, "random networks"] = 3,
    seed: Annotated[int, "of the examples, the parts and the random networks"] = 0,
) -> xr.Dataset:
    """Refit the readout of every hidden layer at evenly chosen checkpoints, or at given steps.

    The penalty is chosen inside the training set: of least squares by leave-one-out error, of
    logistic regression by the accuracy in three folds.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: a number is out of its range.
    """
    check_at_least(1, checkpoints=checkpoints, examples=examples, controls=controls)
    at, of_steps = select_finite_steps(run, steps, partial(thin, count=checkpoints))
    refit = _Refit(run, examples, seed)
    accuracies = np.array([refit(run.model(step)) for step in at])
    random = [_random_network(run, at[-1], seed + 1 + number) for number in range(controls)]
    logistic_of_last = accuracies[:, -1, FITS.index("logistic")]
    return described(
        VARIABLES,
        {
            "refit_accuracy": accuracies,
            "control_accuracy": np.mean([refit(model) for model in random], 0),
            **{f"test_refit_{of}": logistic_of_last[:, n] for n, of in enumerate(LABELS)},
            "test_accuracy": [refit.own_accuracy(run.model(step)) for step in at],
        },
        coords={
            "step": at,
            "layer": [layer.group for layer in run.wiring.hidden],
            "fit": list(FITS),
            "labels": list(LABELS),
        },
        attrs={"examples": examples, **of_steps, **run.milestones},
        words={"controls": controls},
    )


def _random_network(run: Run, step: int, seed: int) -> HookedModel:
    """Initial weights of another seed, under the mask of a step."""
    model, mask = make_model(run.config.model, run.task, seed=seed), run.checkpoint(step).mask
    if mask is not None:
        apply_mask(model, mask)
    return model


class _Refit:
    """Refits the readouts of networks, with the same examples and parts for each."""

    def __init__(self, run: Run, examples: int, seed: int) -> None:
        self.task, self.layers = run.task, run.wiring.hidden
        self.train, self.test = (
            subsample(side, examples, seed) for side in (run.task.train, run.task.test)
        )
        order = np.random.default_rng(seed).permutation(len(self.test.labels))
        self.parts = [part for part in np.array_split(order, _PARTS) if len(part)]

    @torch.no_grad()
    def own_accuracy(self, model: HookedModel) -> float:
        """The network's own accuracy on the test examples."""
        return float(self.task.accuracy(model(self.test.inputs), self.test.labels))

    @flushed_denormals()
    def __call__(self, model: HookedModel) -> Float[np.ndarray, "layer fit labels"]:
        """The test accuracy of each readout."""
        from threadpoolctl import threadpool_limits

        inputs = torch.cat([self.train.inputs, self.test.inputs])
        labels = torch.cat([self.train.labels, self.test.labels]).numpy()
        layers = activations(model, self.layers, inputs)
        with threadpool_limits(1):  # On a busy machine, BLAS threads wait for one another.
            return np.array([self._accuracies(layer.double().numpy(), labels) for layer in layers])

    def _accuracies(
        self, layer: Float[np.ndarray, "example neuron"], labels: Integer[np.ndarray, " example"]
    ) -> list[list[float]]:
        n = len(self.train.labels)
        layer = layer / (np.sqrt(np.square(layer[:n]).mean()) or 1)
        train, test = np.arange(n), np.arange(n, len(labels))
        inverse = _chosen_inverse(layer[:n], labels[:n])
        accuracies = []
        for fit in FITS:
            right = np.zeros((2, len(test)))
            for row, splits in enumerate(([(train, test)], self._splits(n))):
                for fitted, predicted in splits:
                    answers = predictions(
                        layer[fitted], labels[fitted], layer[predicted], fit, inverse
                    )
                    right[row, predicted - n] = answers == labels[predicted]
            accuracies.append(right.mean(1).tolist())
        return accuracies

    def _splits(
        self, n: int
    ) -> Iterator[tuple[Integer[np.ndarray, " fitted"], Integer[np.ndarray, " predicted"]]]:
        """The training set with all parts of the test set but one, and that one."""
        for part in self.parts:
            others = [other for other in self.parts if other is not part]
            yield np.concatenate([np.arange(n), *(n + other for other in others)]), n + part


def predictions(
    layer: Float[np.ndarray, "fitted neuron"],
    labels: Integer[np.ndarray, " fitted"],
    further: Float[np.ndarray, "example neuron"],
    fit: str,
    inverse: float = 1.0,
) -> Integer[np.ndarray, " example"]:
    """The answers of a readout that is fitted to a representation.

    Args:
        layer: the representation, of root mean square about 1.
        labels: its labels.
        further: the representation of other examples.
        fit: one of `FITS`; the penalty of least squares has the smallest leave-one-out error.
        inverse: the inverse penalty C of logistic regression.

    >>> line, labels = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([3, 3, 7, 7])
    >>> [predictions(line, labels, np.array([[-5.0], [5.0]]), fit).tolist() for fit in FITS]
    [[3, 7], [3, 7]]
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, RidgeClassifierCV

    if len(classes := np.unique(labels)) == 1:
        return np.repeat(classes, len(further))
    if fit == "logistic":
        model: Any = LogisticRegression(C=inverse, max_iter=_MAX_ITERATIONS)
    else:
        model = RidgeClassifierCV(_PENALTIES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(layer, labels).predict(further)


def _chosen_inverse(
    layer: Float[np.ndarray, "example neuron"], labels: Integer[np.ndarray, " example"]
) -> float:
    """The inverse penalty with the most right answers in folds; the smallest of equal ones."""
    folds = [fold for fold in np.array_split(np.arange(len(labels)), _FOLDS) if len(fold)]
    if len(folds) == 1:
        return _INVERSE[0]

    def right(inverse: float) -> int:
        total = 0
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(labels)), fold)
            answers = predictions(layer[rest], labels[rest], layer[fold], "logistic", inverse)
            total += int((answers == labels[fold]).sum())
        return total

    return max(_INVERSE, key=right)


_NAMES = {
    "test_accuracy": "the network",
    "test_refit_train": "a readout from training labels",
    "test_refit_all": "from all labels",
}


def finding(dataset: xr.Dataset) -> str:
    """The course of the accuracies, the steps at half of them, and the control."""
    courses = ", ".join(
        f"{name} {format_change(dataset[variable], '.0%')}{_first_half(dataset[variable])}"
        for variable, name in _NAMES.items()
    )
    control = dataset.control_accuracy.isel(layer=-1).sel(fit="logistic")
    shares = " and ".join(format_percent(control.sel(labels=of)) for of in LABELS)
    text = f"right on the test set: {courses}; refitted random networks {shares}"
    return with_skipped_note(text, dataset)


def _first_half(accuracy: xr.DataArray) -> str:
    """The first step with half of the answers right, if it is not the first of all."""
    reached = accuracy.step[accuracy >= 0.5].to_numpy()
    rises = reached.size and reached[0] > accuracy.step[0]
    return f" (half at step {reached[0]:,})" if rises else ""


def draw(measured: Measured, *, log: LogAxis = True) -> go.Figure:
    """A row for each kind of fit, a panel for the labels that it is fitted to."""
    figure = Panels(
        measured,
        title="Test accuracy with a refitted readout over training",
        subtitle="dotted: the network's own; level lines: refitted random networks",
        log=log,
    )
    last = list(measured.values())[-1].layer.to_numpy().tolist()
    for fit in FITS:
        row = figure.row(height=250)
        for labels in LABELS:
            title = f"{fit}, fitted to {'training' if labels == 'train' else labels} labels"
            panel = row.over_training(title, y=SHARE | {"range": [0, 1.05]})
            for at, layer in enumerate(last):
                style: dict[str, Any] = {"dash": ("solid", "dash", "dashdot")[at % 3]}
                style |= {"key": layer} if len(last) > 1 else {}
                where = {"layer": layer, "fit": fit, "labels": labels}
                panel.curves("refit_accuracy", where=where, value="%{y:.1%}", **style)
            panel.curves(
                "test_accuracy", value="%{y:.1%}", key="the network's own", dash="dot", width=1.5
            )
            for dataset in measured.values():
                control = dataset.control_accuracy.isel(layer=-1).sel(fit=fit, labels=labels)
                panel.level(float(control))
    return figure.draw()
