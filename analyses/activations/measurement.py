"""Activations over all pairs (a, b), and the share of variance that one frequency explains."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import dominant_frequency, grid_share
from mechgrok.analyses.measures.harmonics import (
    Harmonics,
    Waves,
    count_neurons,
    harmonics,
    no_harmonics,
    part_coordinates,
    part_labels,
    part_units,
)
from mechgrok.analyses.measures.neurons import distinct_first
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.analyses.measures.spacing import thin
from mechgrok.results.variables import Scalar, Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation

#: Number of checkpoints measured by default.
STOPS = 12


def applies(run: Run) -> str | None:
    """The inputs must be two operands."""
    if not isinstance(run.task, BinaryOperation):
        return f"{run.task.name} is not one operation on two residues, or elements of a group."
    return no_harmonics(run.task)


VARIABLES = {
    "activation": Variable(
        "step, shown, a, b", "activation", "the neuron's hook_post at the last position"
    ),
    "transform": Variable(
        "step, shown, i, j",
        "activation",
        "of f, the activation: |Σ_ab f(a, b) exp(−2πi (i a + j b) / n)| / n²; of a group the root "
        "mean square of its part in products of entries of ρ_i(a) and ρ_j(b)",
    ),
    "push": Variable(
        "step, shown, answer",
        "logit",
        "the neuron's row of W_out W_U: its effect on each logit per unit of activation (before "
        "the division by the scale of a normalization that follows)",
    ),
    "variance": Variable(
        "step, neuron", "activation squared", "variance of the activation over the grid"
    ),
    "frequency_of": Variable(
        "step, neuron",
        "{units of a frequency}",
        "the part that explains most of the neuron's variance; 0 for a constant neuron",
    ),
    "explained": Variable(
        "step, neuron",
        "share of variance",
        "share of the activation's variance over the grid in (±k, 0), (0, ±k), (±k, ±k), k the "
        "neuron's frequency; of a group in ρ(a), ρ(b), ρ(a) ⊗ ρ(b)",
    ),
    "attention": Variable(
        "step, head, source, a, b", "share", "attention from the last position to the operand"
    ),
    "head_share": Variable(
        "step, head, frequency",
        "share of variance",
        "share of the variance of the attention to a over the grid that each part explains",
    ),
    "shown": Variable("shown", "none", "numbers of the neurons with grids in the dataset"),
    "a": Variable("a", "none", "the first operand's token"),
    "b": Variable("b", "none", "the second operand's token"),
    "i": Variable("i", "{units of a frequency}", "of a: 0 … ⌊n/2⌋, or a representation's number"),
    "j": Variable(
        "j", "{units of a frequency}", "of b: −⌊(n−1)/2⌋ … ⌊n/2⌋, or a representation's number"
    ),
    "answer": Variable("answer", "none", "the answer's token"),
    "element": Variable("answer", "none", "of a group: the element's name"),
    "head": Variable("head", "none", "a head's number"),
    "source": Variable("source", "none", "the attended operand: a or b"),
}
#: Summaries of variables with further dimensions, one number per step.
SCALARS = {
    "explained": Scalar("explained"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    neurons: Annotated[
        int, "neurons with grids in the dataset: the most active of each frequency"
    ] = 4,
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Activations over the grid of all (a, b), at 12 checkpoints or at ``steps``.

    The grid covers all pairs, including those outside the task (with unordered pairs, b < a
    mirrors a < b in an MLP, but a transformer never saw it in training).

    Returns:
        `VARIABLES`.
    """
    check_at_least(1, neurons=neurons)
    steps, of_steps = select_finite_steps(run, steps, partial(thin, count=STOPS))
    task = run.task
    assert isinstance(task, BinaryOperation)
    parts = harmonics(task, order)
    last = _Measurements.at(run, steps[-1], parts)
    falling = last.variance.argsort(descending=True).tolist()
    shown = distinct_first(falling, last.frequency_of.tolist(), neurons)
    # Hold the grids of all neurons for one step at a time: a wide network needs much memory.
    before = (_Measurements.at(run, step, parts).only(shown) for step in steps[:-1])
    rows = [*before, last.only(shown)]
    activation = torch.stack([row.activation for row in rows])
    is_wave, tokens = isinstance(parts, Waves), parts.tokens
    transform, places = _fourier(activation) if is_wave else _blocks(activation, parts)
    values: dict[str, Tensor] = {
        "activation": activation.float(),
        "transform": transform.float(),
        "push": run.output_side(steps)[:, shown][..., tokens],
        "variance": torch.stack([row.variance for row in rows]),
        "frequency_of": torch.stack([row.frequency_of for row in rows]),
        "explained": torch.stack([row.explained for row in rows]),
    }
    coords: dict[str, Any] = {
        "step": steps,
        "neuron": np.arange(len(last.variance)),
        "shown": shown,
        **dict.fromkeys(("a", "b", "answer"), tokens.numpy()),
        **places,
        **part_coordinates(parts),
        **({} if is_wave else {"element": task.vocabulary[: parts.n]}),
    }
    if patterns := [row.pattern for row in rows if row.pattern is not None]:
        values["attention"] = torch.stack(patterns)
        values["head_share"] = grid_share(values["attention"][:, :, 0].double(), parts)
        coords |= {"head": np.arange(len(patterns[0])), "source": ["a", "b"]}
    return described(
        VARIABLES,
        {name: value.numpy() for name, value in values.items()},
        coords=coords,
        attrs={"order": "additive" if parts.n == task.n_answers else "multiplicative", **of_steps},
        words=part_units(parts),
    )


class _Measurements(NamedTuple):
    """The measurements at one step.

    Attributes:
        activation: of the last layer's neurons over the grid.
        variance: of each neuron's activation.
        frequency_of: the part that explains most of the variance.
        explained: the share of the variance that this part explains.
        pattern: each head's attention to a and to b.
    """

    activation: Float[Tensor, "neuron n n"]
    variance: Float[Tensor, " neuron"]
    frequency_of: Integer[Tensor, " neuron"]
    explained: Float[Tensor, " neuron"]
    pattern: Float[Tensor, "head 2 n n"] | None

    @classmethod
    @torch.no_grad()
    def at(cls, run: Run, step: int, parts: Harmonics) -> "_Measurements":
        """The grids of one checkpoint, and the share of each neuron's best part."""
        model, n, task = run.model(step), parts.n, run.task
        assert isinstance(task, BinaryOperation)
        layer = run.wiring.hidden[-1]
        names = [layer.hook, layer.pattern]
        grid = task.tokens(torch.cartesian_prod(parts.tokens, parts.tokens))
        _, cache = model.run_with_cache(grid, names_filter=lambda name: name in names)
        post = cache[layer.hook]
        post = post[:, -1] if post.ndim == 3 else post
        activation = post.T.reshape(-1, n, n).double()
        share = grid_share(activation, parts)
        variance = activation.flatten(1).var(1, correction=0)
        pattern = None
        if layer.pattern is not None:
            pattern = cache[layer.pattern][:, :, -1, :2].permute(1, 2, 0).reshape(-1, 2, n, n)
        frequency_of = dominant_frequency(share)
        return cls(activation, variance, frequency_of, share.amax(-1), pattern)

    def only(self, shown: Sequence[int]) -> "_Measurements":
        """These measurements with the activations of the shown neurons alone."""
        return self._replace(activation=self.activation[list(shown)])


def _fourier(
    grids: Float[Tensor, "... n n"],
) -> tuple[Float[Tensor, "... i j"], dict[str, np.ndarray]]:
    """|2D Fourier transform| / n² for i ≥ 0 (i < 0 mirrors it) and j centred on 0."""
    n = grids.shape[-1]
    spectrum = torch.fft.fft2(grids)[..., : n // 2 + 1, :].abs() / n**2
    places = {"i": np.arange(n // 2 + 1), "j": np.arange(-((n - 1) // 2), n // 2 + 1)}
    return spectrum.roll((n - 1) // 2, dims=-1), places


def _blocks(
    grids: Float[Tensor, "... n n"], parts: Harmonics
) -> tuple[Float[Tensor, "... i j"], dict[str, np.ndarray]]:
    """The root mean square of each grid's component in each pair of representations."""
    places = np.arange(len(parts.names))
    return parts.pair_power(grids).sqrt() / parts.n, {"i": places, "j": places}


def finding(dataset: xr.Dataset) -> str:
    """The share of the neurons' activations that one part explains."""
    last, labels = dataset.isel(step=-1), part_labels(dataset)
    used = last.frequency_of.to_numpy()[last.variance.to_numpy() > 0]
    neurons = count_neurons(labels, used[used > 0])
    text = (
        f"one {labels.word} explains {format_percent(last.explained.median())} (median) of a "
        f"neuron's activation over all pairs at step {int(last.step):,}; {labels.plural} "
        f"(neurons): {neurons}"
    )
    return with_skipped_note(text, dataset)
