"""Measurements of the addition algorithm: clock, pizza, and the alignment of phases."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Integer, Shaped
from torch import Tensor

from mechgrok.analyses.measures.algorithm import (
    by_distance,
    circularity,
    distance_irrelevance,
    gradient_cosines,
    pizza_share,
    wave_by_distance,
)
from mechgrok.analyses.measures.checks import check_at_least
from mechgrok.analyses.measures.evaluation import outputs_of
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_number, format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import key_frequencies
from mechgrok.analyses.measures.neurons import NeuronWaves, not_a_sum
from mechgrok.analyses.measures.residues import residues
from mechgrok.analyses.measures.spacing import Checkpoints, log_spaced
from mechgrok.interventions import Keep, intervened
from mechgrok.interventions.logits import place_of
from mechgrok.models import HookedModel
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.modular import ModularArithmetic

#: Principal components averaged in the circularity, as in the source.
_COMPONENTS = 4
#: The part of the embedding that produces a wave: its own circle alone, or everything.
CIRCLES = ("alone", "all")
#: Batch size of gradients.
_BATCH = 2**13
#: Below this share of its final size a wave is too faint to have a shape.
_FAINT = 0.05


def applies(run: Run) -> str | None:
    """Requires a sum of two operands, in some order of the residues."""
    if reason := not_a_sum(run):
        return reason
    if "hook_embed" not in run.model(run.steps[0]).hook_dict:
        return "The network has no embedding to differentiate the logits by."
    return None


VARIABLES = {
    "symmetricity": Variable(
        "step", "cosine", "gradient symmetricity: mean over (a, b, c) of cos(∂L_c/∂E_a, ∂L_c/∂E_b)"
    ),
    "symmetricity_error": Variable(
        "step", "cosine", "standard error over the sampled (a, b, c); 0 if all are measured"
    ),
    "irrelevance": Variable(
        "step",
        "share",
        "distance irrelevance: a logit's standard deviation over the pairs of one distance, as a "
        "share of that over all pairs, mean over distances",
    ),
    "circularity": Variable(
        "step",
        "share of variance",
        "share of variance in one frequency, mean over the first 4 principal components of the "
        "embedding",
    ),
    "correct": Variable("step, distance", "logits", "the right answer's mean logit"),
    "strength": Variable(
        "step, frequency", "logits", "the coefficient of cos(w_k (a + b − c)) in the logits"
    ),
    "wave": Variable(
        "step, circle, key, distance",
        "logits",
        "the coefficient of cos(w_k (a + b − c)) in the logits of the pairs of one distance",
    ),
    "pizza": Variable(
        "step, circle, key",
        "share",
        "relative fall of the wave at opposite operands; NaN while it is faint",
    ),
    "frequency_of": Variable(
        "step, neuron", "{cycles per n}", "the neuron's frequency: where reads · writes is largest"
    ),
    "reads": Variable(
        "step, neuron", "weight", "amplitude of the neuron's input side at its frequency"
    ),
    "writes": Variable(
        "step, neuron", "weight", "amplitude of the neuron's output side at its frequency"
    ),
    "phase_in": Variable(
        "step, neuron", "radians", "φ_a + φ_b of what the neuron reads, in (−π, π]"
    ),
    "phase_out": Variable("step, neuron", "radians", "φ_out of what the neuron writes, in (−π, π]"),
    "magnitude": Variable(
        "step, frequency", "weight squared", "Σ reads · writes over neurons, at every frequency"
    ),
    "alignment": Variable(
        "step", "cosine", "mean of cos(φ_out − φ_a − φ_b), weighted by reads · writes"
    ),
    "frequency": Variable("frequency", "{cycles per n}", "k = 0 … ⌊n/2⌋, w_k = 2πk/n"),
    "key": Variable("key", "{cycles per n}", "key frequencies at the last step"),
    "circle": Variable("circle", "none", "the embedding's content: the key's circle alone, or all"),
    "distance": Variable(
        "distance", "residues", "position of a minus position of b, in the residues' order"
    ),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = ("irrelevance",)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Checkpoints = 30,
    triples: Annotated[int, "sampled (a, b, c) for gradients; all if there are fewer"] = 2048,
    logit: Annotated[
        Literal["correct", "runner-up"],
        "logit of the irrelevance: the right answer's or the best wrong one's",
    ] = "correct",
    seed: Annotated[int, "of the sample"] = 0,
) -> xr.Dataset:
    """Measure how the network adds, at evenly chosen checkpoints or at the given steps.

    Products are sums of discrete logarithms, so their residues are in multiplicative order.
    Quantities cover all pairs of the task; an unordered pair counts as (a, b) and (b, a).

    Returns:
        `VARIABLES`.

    Raises:
        UserError: a number is too small.
    """
    check_at_least(1, checkpoints=checkpoints, triples=triples)
    at, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=checkpoints))
    sums = _Sums.of(run)
    n = len(sums.order)
    sample = _sample(run, sums, triples, seed)
    rows = [_measure(run, step, sums, sample, logit) for step in at]
    values = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    waves = values.pop("wave")
    strength = waves @ sums.weight_of_distance
    keys = key_frequencies(torch.from_numpy(np.abs(strength[-1])))
    alone = np.array([[_isolated_wave(run, step, sums, k) for k in keys] for step in at])
    wave = np.stack([alone, waves[:, keys]], axis=1)
    return described(
        VARIABLES,
        {
            **values,
            "strength": strength,
            "wave": wave,
            "pizza": _pizza_shares(wave, keys, sums),
            "alignment": _alignment(values),
        },
        coords={
            "step": at,
            "frequency": np.arange(n // 2 + 1),
            "key": keys,
            "circle": list(CIRCLES),
            "distance": np.arange(n),
            "neuron": np.arange(values["reads"].shape[1]),
        },
        attrs={
            "order": "additive" if n == run.task.d_output else "multiplicative",
            "logit": logit,
            "sums_embeddings": int(not run.config.model.knows_order),
            **of_steps,
        },
        words={"cycles per n": f"cycles per {n}"},
    )


class _Sums(NamedTuple):
    """The pairs of a task as sums of positions, with both orders of an unordered pair.

    Attributes:
        order: the residues in their order.
        inputs: tokens of the task's pairs.
        row: the row of the pair (a, b) in the inputs.
        answer, distance: the position of a plus and minus that of b, modulo n.
    """

    order: Integer[Tensor, " n"]
    inputs: Integer[Tensor, "example pos"]
    row: Integer[Tensor, " pair"]
    answer: Integer[Tensor, " pair"]
    distance: Integer[Tensor, " pair"]

    @classmethod
    def of(cls, run: Run) -> "_Sums":
        task = run.task
        assert isinstance(task, ModularArithmetic)
        order = residues(task)
        n = len(order)
        a, b = place_of(order, task.p)[task.pair].unbind(1)
        # Skip products with 0, which has no logarithm.
        row = torch.nonzero((a >= 0) & (b >= 0))[:, 0]
        answer, distance = (a + b)[row] % n, (a - b)[row] % n
        if task.pairs == "unordered":
            twice = distance != 0
            row = torch.cat([row, row[twice]])
            answer = torch.cat([answer, answer[twice]])
            distance = torch.cat([distance, -distance[twice] % n])
        return cls(order, task.examples.inputs, row, answer, distance)

    @property
    def weight_of_distance(self) -> Float[np.ndarray, " n"]:
        """The share of the pairs at each distance."""
        count = torch.bincount(self.distance, minlength=len(self.order)).double()
        return (count / count.sum()).numpy()


#: The examples and the answers of sampled triples.
_Sample = tuple[Integer[Tensor, " triple"], Integer[Tensor, " triple"]]


def _sample(run: Run, sums: _Sums, most: int, seed: int) -> _Sample | None:
    """Sample triples for the gradients; None if the architecture makes gradients equal."""
    if not run.config.model.knows_order:
        return None
    n, rows = len(sums.order), sums.row.unique()
    number = torch.arange(len(rows) * n)
    if len(number) > most:
        generator = torch.Generator().manual_seed(seed)
        number = torch.randperm(len(number), generator=generator)[:most]
    return rows[number // n], sums.order[number % n]


def _measure(
    run: Run, step: int, sums: _Sums, sample: _Sample | None, logit: str
) -> dict[str, Any]:
    """The variables of `measure` at one checkpoint, with the waves at all frequencies."""
    model = run.model(step)
    # Each input runs once; the rows of unordered pairs repeat for both orders.
    logits = outputs_of(model, sums.inputs)[sums.row][:, sums.order]
    answer, mean = sums.answer[:, None], by_distance(logits, sums.answer, sums.distance)
    if logit == "correct":
        chosen = logits.gather(1, answer)[:, 0]
    else:
        chosen = logits.scatter(1, answer, -torch.inf).amax(1)
    symmetricity, error = _symmetricity(model, sums, sample)
    points = run.embedding([step])[0][sums.order]
    return {
        "symmetricity": symmetricity,
        "symmetricity_error": error,
        "irrelevance": distance_irrelevance(chosen, sums.distance),
        "circularity": float(circularity(points, _COMPONENTS).mean()),
        "correct": mean[:, 0].numpy(),
        "wave": wave_by_distance(mean).numpy(),
        **_neurons(run, step),
    }


def _symmetricity(model: HookedModel, sums: _Sums, sample: _Sample | None) -> tuple[float, float]:
    """The gradient symmetricity and its standard error; 1 and 0 without a sample."""
    if sample is None:
        return 1.0, 0.0
    examples, answers = sample
    parts = zip(examples.split(_BATCH), answers.split(_BATCH), strict=True)
    cosines = torch.cat([gradient_cosines(model, sums.inputs[x], c) for x, c in parts]).double()
    is_complete = len(cosines) == len(sums.row.unique()) * len(sums.order)
    error = 0.0 if is_complete else float(cosines.std() / len(cosines) ** 0.5)
    return float(cosines.mean()), error


def _isolated_wave(run: Run, step: int, sums: _Sums, key: int) -> Float[np.ndarray, " distance"]:
    """The wave of a frequency by distance, with its circle alone in the embedding."""
    network = intervened(run, step, [Keep(frequencies=(key,), of="embedding")])
    logits = torch.cat([network.outputs(part) for part in sums.inputs.split(_BATCH)])
    mean = by_distance(logits[sums.row][:, sums.order], sums.answer, sums.distance)
    return wave_by_distance(mean)[key].numpy()


def _pizza_shares(
    wave: Float[np.ndarray, "step circle key distance"], keys: Sequence[int], sums: _Sums
) -> Float[np.ndarray, "step circle key"]:
    """`pizza_share` of each wave; NaN for a faint wave."""
    mean = wave @ sums.weight_of_distance
    shares = np.full(mean.shape, np.nan)
    for *place, at in np.argwhere(mean >= _FAINT * mean[-1]).tolist():
        shares[*place, at] = pizza_share(torch.from_numpy(wave[*place, at]), keys[at])
    return shares


def _neurons(run: Run, step: int) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The waves that the neurons read and write."""
    a, b, out = (waves[0] for waves in NeuronWaves.of(run, [step]))
    reads, writes = (a.abs() + b.abs()) / 2, out.abs()
    product = reads * writes
    product[:, 0] = 0
    frequency = product.argmax(1, keepdim=True)

    def at(values: Tensor) -> Tensor:
        return values.gather(1, frequency)[:, 0]

    return {
        "magnitude": product.sum(0).numpy(),
        "frequency_of": frequency[:, 0].numpy(),
        "reads": at(reads).numpy(),
        "writes": at(writes).numpy(),
        "phase_in": -at(a * b).angle().numpy(),
        "phase_out": -at(out).angle().numpy(),
    }


def _alignment(neurons: Mapping[str, np.ndarray]) -> Float[np.ndarray, " step"]:
    weight = neurons["reads"] * neurons["writes"]
    agrees = np.cos(neurons["phase_out"] - neurons["phase_in"])
    total = weight.sum(1)
    return (weight * agrees).sum(1) / np.where(total > 0, total, np.nan)


def finding(dataset: xr.Dataset) -> str:
    """The three scalar measures at the last step, and the shape of the waves."""
    last = dataset.isel(step=-1)
    falls = ", ".join(
        f"{format_percent(last.pizza.sel(key=key, circle='alone').clip(0, 1))} (k = {int(key)})"
        for key in dataset.key
    )
    symmetricity = f"gradient symmetricity {format_number(last.symmetricity, '.3f')}"
    if dataset.attrs["sums_embeddings"]:
        symmetricity = "gradient symmetricity 1, as for every network that sums its embeddings"
    text = (
        f"distance irrelevance {format_number(last.irrelevance, '.2f')}, circularity "
        f"{format_number(last.circularity, '.2f')} at step {int(last.step):,}; {symmetricity}; at "
        f"opposite operands, waves fall by {falls} of their height (clock 0%, pizza 100%)"
    )
    return with_skipped_note(text, dataset)
