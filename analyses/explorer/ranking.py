"""Which part of a network matters most: neurons, key frequencies and heads, ablated in turn."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mechgrok.analyses.explorer.tables import Shown
from mechgrok.global_state import threads
from mechgrok.interventions import Ablate, Intervention, Performance, Remove

#: The least fall in accuracy by which parts are sorted; below it the loss decides.
LEAST_FALL = 1e-3


class Effect(NamedTuple):
    """The effect of one ablation on the test set.

    Attributes:
        part: the ablated part: "neuron 5".
        intervention: the ablation.
        fall: the fall in accuracy, a share; 0 for a regression.
        rise: log₁₀ of the factor by which the loss grows.
    """

    part: str
    intervention: Intervention
    fall: float
    rise: float


def effects(shown: Shown, step: int, interventions: Sequence[Intervention]) -> list[Effect]:
    """The effect of ablating each part of the network at a step under interventions.

    Parts are the neurons of the last layer, the key frequencies (removed from the embedding, or
    from the neurons of a network without one) and the heads.
    """
    task = shown.run.task
    inputs, labels = task.test
    with threads(1):
        network = shown.network(step, interventions)
        before = Performance.of(task, network.outputs(inputs), labels)
        measured = []
        for part, ablation in _ablations(shown):
            after = Performance.of(task, network.under(ablation).outputs(inputs), labels)
            fall = before.accuracy - after.accuracy
            tiny = 1e-30  # A loss of exactly 0 has no logarithm.
            rise = math.log10((after.loss + tiny) / (before.loss + tiny))
            measured.append(Effect(part, ablation, 0 if math.isnan(fall) else fall, rise))
    return measured


def ranked(measured: Sequence[Effect], by: str) -> list[tuple[Effect, float, str]]:
    """Effects in order, the largest first, with the lengths of their bars and their texts.

    Args:
        measured: the effects.
        by: "accuracy" or "loss".
    """
    if by == "accuracy":
        lengths = [effect.fall for effect in measured]
        texts = [f"−{100 * effect.fall:.1f} %" for effect in measured]
    else:
        lengths = [effect.rise for effect in measured]
        texts = [f"loss × {10 ** min(effect.rise, 300):.3g}" for effect in measured]
    longest = max((*lengths, 1e-12))
    shares = [max(0.0, length / longest) for length in lengths]
    return sorted(zip(measured, shares, texts, strict=True), key=lambda row: -row[1])


def _ablations(shown: Shown) -> list[tuple[str, Intervention]]:
    listed: list[tuple[str, Intervention]] = [
        (f"neuron {neuron}", Ablate(neurons=[neuron])) for neuron in range(shown.n_neurons)
    ]
    if shown.parts is not None:
        of = "neurons" if shown.run.wiring.embedding is None else "embedding"
        names = [shown.parts.names[part] for part in shown.key]
        options = [int(name) if name.isdecimal() else name for name in names]
        listed += [
            (f"{shown.parts.symbol} = {name}", Remove(frequencies=[option], of=of))
            for name, option in zip(names, options, strict=True)
        ]
    heads = shown.shapes.get("attention", [0])[0]
    return [*listed, *((f"head {head}", Ablate(heads=[head])) for head in range(heads))]
