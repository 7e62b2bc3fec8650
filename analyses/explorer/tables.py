"""The data that the page shows of a network at one step, as a row of numbers for the browser.

A row concatenates arrays in float32: performance, the outputs on every example, the weights and
spectra of the neurons, the planes of the embedding, and attention. The browser only draws rows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mechgrok.analyses.measures.fourier import joint_amplitude, key_frequencies
from mechgrok.analyses.measures.geometry import part_axes
from mechgrok.analyses.measures.harmonics import Harmonics, Representations, harmonics, no_harmonics
from mechgrok.global_state import threads
from mechgrok.interventions import Intervention, Network
from mechgrok.interventions.intervening import evaluate, under
from mechgrok.interventions.network import Donors
from mechgrok.models import raw_weights
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation

#: The most neurons and inputs in a picture, limited by the screen.
_MOST_ROWS, _MOST_COLUMNS = 512, 1024


@dataclass
class Shown:
    """A run on the page.

    Attributes:
        label: the run's name on the page.
        run: the run.
        donors: open checkpoints for patching activations.
    """

    label: str
    run: Run
    donors: Donors = field(default_factory=Donors)
    _computing: Lock = field(default_factory=Lock)

    def row(
        self, step: int, interventions: Sequence[Intervention], neuron: int
    ) -> Float[np.ndarray, " number"]:
        """All arrays of `shapes` at a step, one after another."""
        # One pass at a time: parallel passes compete for cores.
        with self._computing, torch.no_grad(), threads(1):
            parts = self._parts(self.network(step, interventions), neuron)
        return np.concatenate([parts[name].ravel() for name in parts]).astype(np.float32)

    def mask(
        self, step: int, interventions: Sequence[Intervention], weight: str
    ) -> Bool[np.ndarray, "row column"]:
        """The unpruned entries of a matrix, interventions included."""
        with self._computing:
            network = self.network(step, interventions)
        mask = self.run.wiring.matrix(weight, network.mask[weight])
        return mask[:_MOST_COLUMNS, :_MOST_COLUMNS].numpy()

    def network(self, step: int, interventions: Sequence[Intervention]) -> Network:
        """The network at a step under interventions, in order."""
        return under(Network(self.run, step, self.donors), interventions)

    @cached_property
    def _last(self) -> dict[str, np.ndarray]:
        with self._computing, torch.no_grad(), threads(1):
            return self._parts(Network(self.run, self.run.steps[-1], self.donors), 0)

    @property
    def shapes(self) -> dict[str, list[int]]:
        """The shapes of a row's arrays by name, in order."""
        return {name: list(part.shape) for name, part in self._last.items()}

    @cached_property
    def parts(self) -> Harmonics | None:
        """The frequencies, or a group's representations; None if the task has neither."""
        return None if no_harmonics(self.run.task) else harmonics(self.run.task)

    @cached_property
    def key(self) -> list[int]:
        """The key parts of all neurons' weights at the last step."""
        return [] if self.parts is None else self._key_parts(self.parts)

    @property
    def strongest(self) -> int:
        """The strongest part of all neurons' weights at the last step; 1 if there are none."""
        return 1 if self.parts is None else self._key_parts(self.parts, most=1)[0]

    def _key_parts(self, parts: Harmonics, most: int | None = None) -> list[int]:
        power = torch.from_numpy(self._last["spectra"]).square().sum(0)
        return key_frequencies(power * parts.counted, parts.of_noise, most)

    @cached_property
    def _axes(self) -> Float[Tensor, "part 2 d"]:
        """The axes of each representation's plane in which the last embedding is widest."""
        assert isinstance(self.parts, Representations)
        raw = raw_weights(self.run.model(-1))
        points = self._embedding(lambda name: raw[name].detach())
        bases = [self.parts.basis(part) for part in range(1, len(self.parts.names))]
        return torch.stack([part_axes(points, basis) for basis in bases])

    @cached_property
    def loudest(self) -> int:
        """The neuron with the largest weights at the last step."""
        return int(np.linalg.norm(self._last["weights"], axis=1).argmax())

    @cached_property
    def about(self) -> dict[str, Any]:
        """The run's metadata for the browser."""
        run, task = self.run, self.run.task
        n_train = len(task.train_index)
        about: dict[str, Any] = {
            "label": self.label,
            "task": str(task),
            "steps": run.steps,
            "shapes": list(self.shapes.items()),  # a list, to preserve the order
            "curve": self._curve(),
            "milestones": {"t_mem": run.t_mem, "t_gen": run.t_gen},
            "quantity": task.criterion.quantity,
            "n_train": n_train,
            "labels": numbers(self._both(task.train.labels, task.test.labels)),
            "neurons": self.n_neurons,
            "paths": [path.formula for path in run.wiring.paths()],
            "matrices": {
                name: list(self.run.wiring.weights[name]) for name in self.run.wiring.connections
            },
        }
        if isinstance(task, BinaryOperation):
            about |= {
                "p": task.n_answers,
                "pairs": self._both(*(side.inputs[:, :2] for side in (task.train, task.test)))
                .flatten()
                .tolist(),
                "mirrored": task.mirrored,
                "elements": task.vocabulary[: task.n_answers],
            }
        if self.parts is not None:
            about["parts"] = {
                "kind": self.parts.kind,
                "symbol": self.parts.symbol,
                "names": self.parts.names,
            }
        return about

    @property
    def n_neurons(self) -> int:
        """Neurons of the last hidden layer."""
        return self.run.wiring.groups[self.run.wiring.hidden[-1].group].size

    def _both(self, train: Tensor, test: Tensor) -> Tensor:
        """The training examples, then the test examples."""
        return torch.cat([train, test])

    def _curve(self) -> dict[str, Any]:
        """The run's learning curves."""
        table = self.run.metrics
        return {
            "step": table.step.tolist(),
            **{
                quantity: {side: numbers(table[f"{side}_{quantity}"]) for side in ("train", "test")}
                for quantity in ("accuracy", "loss")
            },
        }

    def _parts(self, network: Network, neuron: int) -> dict[str, np.ndarray]:
        task, layer = self.run.task, self.run.wiring.hidden[-1]
        names = [name for name in (layer.hook, layer.pattern) if name is not None]
        sides = (task.train, task.test)
        performance, outputs, caches = zip(*evaluate(network, names), strict=True)
        parts: dict[str, Any] = {"performance": torch.tensor(performance)}
        labels = self._both(*(side.labels for side in sides))
        parts |= _of_examples(self._both(*outputs), labels)
        post = self._both(*(cache[layer.hook] for cache in caches))
        parts["activation"] = (post if post.ndim == 2 else post[:, -1])[:, neuron]
        if layer.pattern is not None:
            pattern = self._both(*(cache[layer.pattern] for cache in caches))
            parts["attention"] = pattern[:, :, -1, 0].T
        parts |= self._of_weights(network)
        return {name: np.asarray(part, dtype=np.float64) for name, part in parts.items()}

    def _of_weights(self, network: Network) -> dict[str, Tensor]:
        """The neurons' input weights, their spectra, and the embedding in each plane.

        Interventions on masks and on the embedding change them; the planes are those of the network
        without interventions.
        """
        raw = raw_weights(network.model)
        table = self._table(network)

        def whole(name: str) -> Tensor:
            mask = network.own_mask.get(name)
            return raw[name] if mask is None else raw[name] * mask

        def weight(name: str) -> Tensor:
            if name in table:
                return table[name]
            mask = network.mask.get(name)
            return raw[name] if mask is None else raw[name] * mask

        products = (path.product(weight).T for path in self.run.wiring.paths())
        sides = [side[:_MOST_ROWS, :_MOST_COLUMNS] for side in products]
        if self.parts is None:
            return {"weights": torch.cat(sides, 1)}
        points = self._embedding(weight)
        planes = circles(points, self._embedding(whole))
        if isinstance(self.parts, Representations):
            planes = self._axes @ (points - points.mean(0, keepdim=True)).T
        return {
            "weights": torch.cat([side[:, : self.run.task.d_output] for side in sides], 1),
            "spectra": joint_amplitude(
                self.parts.amplitude, torch.stack(sides)[..., self.parts.tokens]
            ),
            "planes": planes,
        }

    def _table(self, network: Network) -> dict[str, Tensor]:
        """The embedding of every token under interventions on it, by the name of its weight."""
        embedding, task = self.run.wiring.embedding, self.run.task
        if embedding is None or embedding.formula not in self.run.wiring.weights:
            return {}
        tokens = torch.arange(task.d_vocab)[:, None].expand(-1, task.n_ctx)
        if not any(hook == "hook_embed" for hook, _ in network.hooks(tokens)):
            return {}
        return {embedding.formula: network.activation("hook_embed", tokens)[:, 0]}

    def _embedding(self, weight: Callable[[str], Tensor]) -> Float[Tensor, "element d"]:
        """A point for each element, in the order of the parts."""
        assert self.parts is not None
        return self.run.wiring.embedded.product(weight)[self.parts.tokens].double()


def _of_examples(outputs: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
    """The network's answer, the right logit, its margin over the others, and the loss."""
    if labels.ndim != 1 or labels.is_floating_point() or outputs.shape[1] < 2:
        return {}
    right = outputs.gather(1, labels[:, None].long())[:, 0]
    loss = torch.nn.functional.cross_entropy(outputs.double(), labels.long(), reduction="none")
    others = outputs.scatter(1, labels[:, None].long(), -torch.inf).amax(1)
    return {"answer": outputs.argmax(1), "right": right, "margin": right - others, "loss": loss}


def circles(
    points: Float[Tensor, "residue d"], whole: Float[Tensor, "residue d"] | None = None
) -> Float[Tensor, "frequency 2 residue"]:
    """Coordinates of the residues in the plane of each frequency k = 1 … ⌊n/2⌋, cosine first.

    The planes are those of ``whole``, by default of the points themselves.

    Equals `mechgrok.analyses.measures.geometry.frequency_plane` at one step, for all frequencies
    at once, computed from the Gram matrix of the points.

    >>> angle = 2 * torch.pi * torch.arange(5).double() / 5
    >>> circle = torch.stack([angle.cos(), angle.sin()], 1)
    >>> torch.allclose(circles(circle)[0], circle.T)
    True
    """
    n = len(points)
    k = torch.arange(1, n // 2 + 1, dtype=points.dtype)
    angle = 2 * torch.pi * k[:, None] * torch.arange(n, dtype=points.dtype) / n
    waves = torch.stack([angle.cos(), angle.sin()], 1)
    whole = points if whole is None else whole
    inner = waves @ (whole @ whole.T) @ waves.mT
    values, vectors = torch.linalg.eigh(inner)
    # The sine at k = n/2 is zero, so its direction is zero too.
    root = torch.where(values > 1e-9 * values.amax(-1, keepdim=True), values, torch.inf).rsqrt()
    inverse = vectors @ (root[..., None] * vectors.mT)
    return inverse @ waves @ (whole @ (points - points.mean(0, keepdim=True)).T)


def numbers(values: Any) -> list[float | None]:
    """The values as JSON numbers, None for NaN and infinity."""
    numbers = np.asarray(values, dtype=np.float64).tolist()
    return [number if math.isfinite(number) else None for number in numbers]
