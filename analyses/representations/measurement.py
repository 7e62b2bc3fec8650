"""Measurements of representations in logits, weights and neurons, and of cosets."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Integer, Shaped
from torch import Tensor

from mechgrok.analyses.measures.cosets import coset_structure
from mechgrok.analyses.measures.finite import select_finite_steps
from mechgrok.analyses.measures.formats import format_percent, with_skipped_note
from mechgrok.analyses.measures.fourier import character_components, dominant_frequency
from mechgrok.analyses.measures.harmonics import (
    Harmonics,
    Representations,
    harmonics,
    no_formula,
    part_coordinates,
    part_labels,
    part_units,
)
from mechgrok.analyses.measures.spacing import log_spaced
from mechgrok.errors import UserError
from mechgrok.interventions.logits import Pairs, place_of
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation

#: Number of checkpoints measured by default.
_STOPS = 16
#: The most logits per batch.
_LARGEST = 2**23
#: The functions on pairs in `neuron_share`.
_OF = ("a", "b", "ab")


def applies(run: Run) -> str | None:
    """Requires one function of two elements of a group, or of two residues."""
    return no_formula(run.task)


VARIABLES = {
    "similarity": Variable(
        "step, frequency",
        "cosine",
        "cosine of L and tr ρ(a b c⁻¹), L the logits, centred over c for each pair",
    ),
    "restricted_loss": Variable(
        "step, frequency", "nats", "cross-entropy of ρ's part of L alone, over all pairs"
    ),
    "restricted_accuracy": Variable(
        "step, frequency", "share", "right answers of ρ's part of L alone, ties shared"
    ),
    "excluded_loss": Variable(
        "step, frequency", "nats", "cross-entropy without ρ's part of L, over the training pairs"
    ),
    "key_restricted_loss": Variable(
        "step", "nats", "cross-entropy of all key representations' parts of L, over all pairs"
    ),
    "key_restricted_accuracy": Variable(
        "step", "share", "right answers of all key representations' parts of L, ties shared"
    ),
    "key_excluded_loss": Variable(
        "step",
        "nats",
        "cross-entropy without all key representations' parts of L, over the training pairs",
    ),
    "explained": Variable(
        "step", "share of variance", "share of all key representations' parts in the variance of L"
    ),
    "input_share": Variable(
        "step, path, frequency",
        "share of variance",
        "share of ρ in the variance of the input side of all neurons, on each path",
    ),
    "output_share": Variable(
        "step, frequency",
        "share of variance",
        "share of ρ in the variance of W_out W_U over answers",
    ),
    "neuron_share": Variable(
        "step, of, frequency",
        "share of variance",
        "share of entries of ρ in the variance of the last layer's activations",
    ),
    "neuron_frequency": Variable(
        "step, path, neuron",
        "{units of a frequency}",
        "the strongest part of the neuron's input weights",
    ),
    "coset_order": Variable(
        "step, path, neuron",
        "elements",
        "of a group: order of the largest subgroup whose cosets explain {level} of the variance "
        "of the neuron's input weights; 1 for none",
    ),
    "coset_left": Variable(
        "step, path, neuron", "none", "of a group: whether the cosets are left cosets"
    ),
    "key": Variable(
        "key",
        "{units of a frequency}",
        "key representations: similarity at the last step above {threshold}",
    ),
    "path": Variable("path", "none", "a path from the tokens to the neurons"),
    "of": Variable("of", "none", "the argument of ρ: a, b, or a b"),
}
#: The variables over steps that use labels of the test set.
USES_TEST_LABELS = (
    "key_restricted_loss",
    "key_restricted_accuracy",
    "key_excluded_loss",
    "explained",
)
#: The variables over steps that use later checkpoints.
USES_LATER_STEPS = (
    "key_restricted_loss",
    "key_restricted_accuracy",
    "key_excluded_loss",
    "explained",
)


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    threshold: Annotated[
        float, "smallest cosine of the last logits with a key representation's character"
    ] = 0.005,
    level: Annotated[
        float, "smallest share of a neuron's variance between the cosets that it is constant on"
    ] = 0.95,
) -> xr.Dataset:
    """Measure characters in the logits, shares of each representation, and cosets.

    At 16 checkpoints or at ``steps``, over all pairs of the task. L are the logits, centred over c
    for each pair.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: the threshold or the level is not between 0 and 1.
    """
    for name, value in (("threshold", threshold), ("level", level)):
        if not 0 < value < 1:
            raise UserError(f"A {name} of {value} is not between 0 and 1: choose one between.")
    steps, of_steps = select_finite_steps(run, steps, partial(log_spaced, count=_STOPS))
    task = run.task
    assert isinstance(task, BinaryOperation)
    parts = harmonics(task)
    pairs = Pairs.of(task, parts)
    sums = {step: _Sums.of(run, step, pairs) for step in steps}
    similarity = np.stack([_similarity(sums[step], pairs) for step in steps])
    key = [part for part in range(1, len(parts.names)) if similarity[-1, part] > threshold]
    rows = [_losses(run, step, pairs, sums[step], key) for step in steps]
    return described(
        VARIABLES,
        {
            "similarity": similarity,
            **{name: np.stack([row[name] for row in rows]) for name in rows[0]},
            **_shares(run, steps, parts, sums),
            **_neurons(run, steps, parts, level),
        },
        coords={
            "step": steps,
            "key": key,
            "path": list(run.wiring.input_paths),
            "of": list(_OF),
            **part_coordinates(parts),
        },
        attrs={"n": parts.n, "threshold": threshold, "level": level, **of_steps},
        words={"threshold": f"{threshold:g}", "level": f"{level:.0%}", **part_units(parts)},
    )


# --- logits and activations, in one pass --------------------------------------------------------


class _Sums(NamedTuple):
    """Sums over all pairs, from one pass.

    Attributes:
        mean: the mean logits over the pairs with right answer s.
        squares: Σ L² over weighted pairs, L centred over c.
        neurons: mean activations over the pairs with equal a, equal b, or equal right answer.
        variance: Σ over neurons of the variance of the activations.
    """

    mean: Float[Tensor, "s c"]
    squares: float
    neurons: dict[str, Float[Tensor, "n neuron"]]
    variance: float

    @classmethod
    @torch.no_grad()
    def of(cls, run: Run, step: int, pairs: Pairs) -> "_Sums":
        """The sums at a step."""
        layer = run.wiring.hidden[-1]
        logits, post = _outputs(run, step, pairs, layer.hook)
        logits = logits[:, pairs.order]
        logits -= logits.mean(1, keepdim=True)
        squares = float(logits.square().sum(1) @ pairs.weight)
        overall = pairs.weight @ post / pairs.weight.sum()
        second = pairs.weight @ post.square() / pairs.weight.sum()
        return cls(
            pairs.mean_by_answer(logits),
            squares,
            {name: _mean_by(places, post, pairs) for name, places in _places(run, pairs).items()},
            float((second - overall.square()).clamp(min=0).sum()),
        )


def _outputs(
    run: Run, step: int, pairs: Pairs, hook: str
) -> tuple[Float[Tensor, "pair c"], Float[Tensor, "pair neuron"]]:
    """The logits of all pairs, and the activations at the last position, in float64."""
    model = run.model(step)
    logits, post = [], []
    for inputs in pairs.inputs.split(max(1, _LARGEST // run.task.d_output)):
        outputs, cache = model.run_with_cache(inputs, names_filter=lambda name: name == hook)
        activation = cache[hook]
        logits.append(outputs.double())
        post.append((activation if activation.ndim == 2 else activation[:, -1]).double())
    return torch.cat(logits), torch.cat(post)


def _places(run: Run, pairs: Pairs) -> dict[str, list[Integer[Tensor, " pair"]]]:
    """The positions of a, of b and of the right answer; mirrored pairs have both operand orders."""
    assert isinstance(run.task, BinaryOperation)
    a, b = place_of(pairs.order, int(pairs.inputs.max()) + 1)[pairs.inputs[:, :2]].unbind(1)
    both = [[a, b], [b, a]] if run.task.mirrored else [[a], [b]]
    return {"a": both[0], "b": both[1], "ab": [pairs.answer]}


def _mean_by(
    places: Sequence[Integer[Tensor, " pair"]], post: Float[Tensor, "pair neuron"], pairs: Pairs
) -> Float[Tensor, "n neuron"]:
    """The mean activations of the pairs with equal places."""
    total = torch.zeros(len(pairs.order), post.shape[1], dtype=torch.float64)
    count = torch.zeros(len(pairs.order), dtype=torch.float64)
    for place in places:
        total.index_add_(0, place, post * pairs.weight[:, None])
        count.index_add_(0, place, pairs.weight)
    return total / count.clamp(min=1e-9)[:, None]


def _similarity(sums: _Sums, pairs: Pairs) -> Float[np.ndarray, " frequency"]:
    """⟨L, χ⟩ / (‖L‖ ‖χ‖) for the character χ of every part; 0 for constant logits."""
    alpha = character_components(sums.mean, pairs.parts, pairs.answer_weight)
    norms = (pairs.parts.characters.square().sum(1) * pairs.weight.sum()).sqrt()
    cosine = alpha * norms / max(sums.squares, 1e-300) ** 0.5
    cosine[0] = 0  # the constants, which centring removes
    return cosine.numpy()


# --- losses -------------------------------------------------------------------------------------


@torch.no_grad()
def _losses(
    run: Run, step: int, pairs: Pairs, sums: _Sums, key: Sequence[int]
) -> dict[str, Float[np.ndarray, "*part"]]:
    """Losses and accuracies of each character alone, of all key ones, and without them."""
    parts = pairs.parts
    alpha = character_components(sums.mean, parts, pairs.answer_weight)
    profiles = alpha[:, None] * parts.characters
    profiles[0] = 0
    together = profiles[list(key)].sum(0)
    logits = torch.cat([profiles, together[None]])
    right = logits[:, int(parts.difference[0, 0])]
    loss = logits.logsumexp(1) - right
    top = logits.amax(1, keepdim=True)
    best = logits >= top - 1e-9 * top.abs().clamp(min=1e-30)
    accuracy = best[:, int(parts.difference[0, 0])] / best.sum(1)
    excluded = _excluded_losses(run, step, pairs, logits)
    power = together.square().sum() * pairs.weight.sum()
    return {
        "restricted_loss": loss[:-1].numpy(),
        "restricted_accuracy": accuracy[:-1].numpy(),
        "excluded_loss": excluded[:-1].numpy(),
        "key_restricted_loss": loss[-1].numpy(),
        "key_restricted_accuracy": accuracy[-1].numpy(),
        "key_excluded_loss": excluded[-1].numpy(),
        "explained": np.array(float(power) / max(sums.squares, 1e-300)),
    }


def _excluded_losses(
    run: Run, step: int, pairs: Pairs, profiles: Float[Tensor, "part n"]
) -> Float[Tensor, " part"]:
    """The training loss of the logits minus Σ α χ(s c⁻¹), for each profile α χ."""
    model, rows = run.model(step), pairs.train.nonzero().flatten()
    total = torch.zeros(len(profiles), dtype=torch.float64)
    for chunk in rows.split(max(1, _LARGEST // run.task.d_output)):
        logits = model(pairs.inputs[chunk]).double()[:, pairs.order]
        answer = pairs.answer[chunk]
        difference = pairs.parts.difference[answer]
        for at, profile in enumerate(profiles):
            total[at] += torch.nn.functional.cross_entropy(
                logits - profile[difference], answer, reduction="sum"
            )
    return total / len(rows)


# --- shares and cosets --------------------------------------------------------------------------


def _shares(
    run: Run, steps: Sequence[int], parts: Harmonics, sums: Mapping[int, _Sums]
) -> dict[str, Float[np.ndarray, "step *any frequency"]]:
    """The share of each part in input weights, output weights and activations."""

    def share(signals: Float[Tensor, "*rest signal n"]) -> Float[np.ndarray, "*rest frequency"]:
        return parts.power_share(parts.amplitude(signals).norm(dim=-2)).numpy()

    inputs = [
        share(run.input_side(steps, path=path)[:, parts.tokens].double().mT)
        for path in run.wiring.input_paths
    ]
    outputs = share(run.output_side(steps)[..., parts.tokens].double())
    neurons = []
    for step in steps:
        of_pairs = sums[step].neurons
        amplitude = torch.stack([parts.amplitude(of_pairs[of].T).norm(dim=0) for of in _OF])
        power = parts.counted * amplitude.square() / parts.n**2
        power[:, 0] = 0
        neurons.append((power / max(sums[step].variance, 1e-300)).numpy())
    return {
        "input_share": np.stack(inputs, 1),
        "output_share": outputs,
        "neuron_share": np.stack(neurons),
    }


def _neurons(
    run: Run, steps: Sequence[int], parts: Harmonics, level: float
) -> dict[str, Shaped[np.ndarray, "step path neuron"]]:
    """The strongest part of each neuron, and the cosets with constant input weights."""
    sides = torch.stack(
        [run.input_side(steps, path=path)[:, parts.tokens] for path in run.wiring.input_paths], 1
    ).double()
    share = parts.power_share(parts.amplitude(sides.mT))
    strongest = {"neuron_frequency": dominant_frequency(share).numpy()}
    if not isinstance(parts, Representations):
        return strongest
    order = np.ones(share.shape[:-1], dtype=np.int64)
    left = np.zeros(share.shape[:-1], dtype=bool)
    for step, path in np.ndindex(order.shape[:2]):
        cosets = coset_structure(parts.group, sides[step, path].numpy(), level)
        order[step, path], left[step, path] = cosets.order, cosets.left
    return strongest | {"coset_order": order, "coset_left": left}


def finding(dataset: xr.Dataset) -> str:
    """The key representations, their variance and accuracy, and the share of coset neurons."""
    last, labels = dataset.isel(step=-1), part_labels(dataset)
    cosine = last.similarity.to_numpy()
    listed = (
        ", ".join(f"{labels.names[part]} ({cosine[part]:.2f})" for part in dataset.key.to_numpy())
        or "none"
    )
    text = (
        f"key {labels.plural}, by the cosine of logits and character at step {int(last.step):,}: "
        f"{listed}; together {format_percent(last.explained)} of the logits' variance and "
        f"{format_percent(last.key_restricted_accuracy)} right alone"
    )
    if "coset_order" in dataset:
        on = (last.coset_order > 1) & (last.coset_order < dataset.attrs["n"])
        text += (
            f"; {format_percent(on.mean())} of the neurons' input weights are constant on cosets"
        )
    return with_skipped_note(text, dataset)
