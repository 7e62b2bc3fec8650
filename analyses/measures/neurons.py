"""Measures of single neurons from their weights: input norms, deaths, frequencies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Integer
from torch import Tensor

from mechgrok.analyses.measures.fourier import (
    amplitude_spectrum,
    dominant_frequency,
    joint_amplitude,
    power_share,
)
from mechgrok.analyses.measures.residues import not_modular, residues
from mechgrok.masks import Mask
from mechgrok.models import HookedModel
from mechgrok.models.wiring import HiddenLayer
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.tasks.modular import ModularArithmetic


class Census(NamedTuple):
    """The input norms and edges of a layer's neurons at one checkpoint.

    Attributes:
        input_norm: the L2 norm of a neuron's column of W_E W_in if neurons read the embedding
            alone, else of its columns in all input weights; under the mask, if any.
        unconnected: whether all input weights are pruned.
        edges: the number of unpruned input and output weights.
    """

    input_norm: Float[np.ndarray, " neuron"]
    unconnected: Bool[np.ndarray, " neuron"]
    edges: Integer[np.ndarray, " neuron"]

    @classmethod
    def of(cls, saved: Checkpoint, kept: Mask, layer: HiddenLayer) -> "Census":
        """The census of a layer.

        Args:
            saved: a checkpoint.
            kept: the mask of its edges (`mechgrok.analyses.measures.masks.kept_edges`).
            layer: such as ``run.wiring.hidden[-1]``.

        >>> weights = {"W_in": torch.tensor([[3.0, 0.0], [4.0, 0.0]]), "W_out": torch.ones(2, 5)}
        >>> layer = HiddenLayer("neurons", hook="", reads=("W_in",), writes=("W_out",))
        >>> reads = Mask({"W_in": weights["W_in"] != 0, "W_out": torch.ones(2, 5)})
        >>> census = Census.of(Checkpoint(0, weights), reads, layer)
        >>> [part.tolist() for part in census]
        [[5.0, 0.0], [False, True], [7, 5]]
        """
        weights = saved.effective_weights
        if layer.folded is None:
            side = torch.cat([weights[name] for name in layer.reads])
        else:
            side = layer.folded(weights.__getitem__)
        incoming = layer.incoming(kept)
        return cls(
            side.norm(dim=0).double().numpy(),
            (incoming == 0).numpy(),
            (incoming + layer.outgoing(kept)).numpy(),
        )


def dead_since(
    dead: Bool[np.ndarray, "step neuron"], steps: Sequence[int]
) -> Integer[np.ndarray, " neuron"]:
    """The step from which on each neuron is dead to the end; −1 if alive at the end.

    >>> dead_since(np.array([[True, False], [False, True], [False, True]]), [0, 10, 20])
    array([-1, 10])
    """
    alive_later = np.flip(np.logical_or.accumulate(np.flip(~dead, 0), 0), 0)
    first = alive_later.sum(0)  # the number of steps with life at or after them
    return np.array([-1 if at == len(steps) else steps[at] for at in first])


def strongest_frequency(run: Run, step: int) -> Integer[Tensor, " neuron"]:
    """The strongest frequency of each neuron in the last hidden layer, residues in natural order.

    For a single hidden layer it is that of the input weights, on the path from the tokens to the
    answer. Neurons of a deeper layer do not read residues: theirs is that of the output weights.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> sorted(set(strongest_frequency(run, 30000).tolist()))
    [1, 3, 16, 29]
    """
    tokens = residues(run.task)
    if len(run.wiring.hidden) == 1:
        sides = run.input_sides([step], path="auto")[:, 0, tokens].mT
    else:
        sides = run.output_side([step])[:, :, tokens]
    return dominant_frequency(power_share(joint_amplitude(amplitude_spectrum, sides), len(tokens)))


def distinct_first(neurons: Sequence[int], kinds: Sequence[int], count: int) -> list[int]:
    """The first ``count`` neurons, with those of a new kind before all others.

    Args:
        neurons: the neurons, most important first.
        kinds: the kind of each neuron by its number, such as its frequency.

    >>> distinct_first([3, 0, 2, 1], kinds=[7, 5, 7, 7], count=3)
    [3, 1, 0]
    """
    first: dict[int, int] = {}
    for neuron in neurons:
        first.setdefault(kinds[neuron], neuron)
    leaders = list(first.values())
    return [*leaders, *(neuron for neuron in neurons if neuron not in leaders)][:count]


@torch.no_grad()
def activations(
    model: HookedModel, layers: Sequence[HiddenLayer], inputs: Tensor
) -> list[Float[Tensor, "example neuron"]]:
    """The activations of each layer's neurons, at the last position.

    >>> import mechgrok
    >>> run = mechgrok.Run("data/base")
    >>> inputs = run.task.test.inputs
    >>> [tuple(layer.shape) for layer in activations(run.model(0), run.wiring.hidden, inputs)]
    [(1367, 48)]
    """
    hooks = [layer.hook for layer in layers]
    _, cache = model.run_with_cache(inputs, names_filter=lambda name: name in hooks)
    return [cache[hook][:, -1] if cache[hook].ndim == 3 else cache[hook] for hook in hooks]


def not_a_sum(run: Run) -> str | None:
    """The reason why a network's task is not a sum of two operands with one input weight each.

    None for a sum of residues, and for a product, which is a sum of discrete logarithms.

    >>> import mechgrok
    >>> print(not_a_sum(mechgrok.Run("data/base")))
    None
    """
    if not isinstance(run.task, ModularArithmetic) or run.task.name not in ("add", "mul"):
        return (
            f"{run.task.name} is neither a sum of two residues nor a product (a sum of logarithms)."
        )
    if run.task.name == "mul" and run.task.p == 2:
        return "Products modulo 2 are not sums of logarithms: only the residue 1 has one."
    if len(run.wiring.paths()) > 1:
        return "Its neurons read each operand through several weights, with a phase for each."
    return not_modular(run.task)


class NeuronWaves(NamedTuple):
    """The waves that neurons read and write, as complex amplitudes r exp(−iφ) of r cos(w x − φ).

    Attributes:
        first: read of the first operand.
        second: read of the second operand; equal to ``first`` if the network sums its embeddings.
        out: written to the answers.
    """

    first: Complex[Tensor, "step neuron frequency"]
    second: Complex[Tensor, "step neuron frequency"]
    out: Complex[Tensor, "step neuron frequency"]

    @classmethod
    def of(cls, run: Run, steps: Sequence[int]) -> "NeuronWaves":
        """The waves at several steps of a run for which `not_a_sum` is None.

        >>> import mechgrok
        >>> waves = NeuronWaves.of(mechgrok.Run("data/base"), [0, 30000])
        >>> waves.out.shape, bool((waves.first == waves.second).all())
        (torch.Size([2, 48, 34]), True)
        """
        order = residues(run.task)
        has_positions = "position-1" in run.wiring.input_paths
        paths = ("position-0", "position-1") if has_positions else ("auto",)
        sides = [run.input_side(steps, path=path)[:, order].mT for path in paths]
        sides = [sides[0], sides[-1], run.output_side(steps)[..., order]]
        return cls(*(torch.fft.rfft(side.double()) * 2 / len(order) for side in sides))
