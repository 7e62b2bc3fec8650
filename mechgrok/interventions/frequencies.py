"""Frequencies taken out of the embedding, the neurons or the logits, or kept alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Integer
from pydantic import Field
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.interventions.base import Hooks, Intervention, Layer, Number
from mechgrok.interventions.logits import LogitWaves, Pairs, place_of
from mechgrok.interventions.network import Network
from mechgrok.interventions.units import layer_of
from mechgrok.interventions.waves import grid_parts, projection
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import Harmonics, harmonics, no_harmonics

#: Frequencies by number; representations by number or by name.
Parts = Annotated[
    tuple[Number | Annotated[str, Field(min_length=1, max_length=200)], ...],
    Field(max_length=10**5, json_schema_extra={"names": "frequencies"}),
]


class _Frequencies(Intervention):
    """Waves over the residues, in the order in which the task is a shift.

    For a group, entries of the matrices of its irreducible representations.

    Attributes:
        frequencies: their numbers k, from 1 to half of the modulus; representations by number or
            by name.
        of: "embedding": of the rows of the embedding, over tokens, at each position; "neurons": of
            the neurons' activations over all pairs (a, b), the waves of a, of b and their products
            (`waves.grid_parts`); "logits": of the mean logits over the pairs with one right
            answer, over that answer, as the excluded and restricted losses of Nanda et al. 2023
            (arXiv 2301.05217) take them.
        layer: the layer of the neurons; the last unless given.
    """

    frequencies: Parts = Field(description="Frequencies k; representations by name.")
    of: Literal["embedding", "neurons", "logits"] = Field(
        default="logits", description="What the waves are taken out of."
    )
    layer: Layer = Field(default=-1, description="Layer of the neurons; the last.")

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        return getattr(self, f"_of_{self.of}")(network, inputs)

    def _parts(self, network: Network) -> tuple[BinaryOperation, Harmonics, list[int]]:
        """The task, the parts of functions on its elements, and the numbers of those named.

        Raises:
            UserError: the task has none, or not those.
        """
        task = network.run.task
        if not isinstance(task, BinaryOperation) or no_harmonics(task):
            raise UserError(
                f"{task} has no frequencies: they are those of one modular operation on two "
                "residues, or of a group."
            )
        parts = harmonics(task)
        return task, parts, parts.numbered(self.frequencies)

    def _taken(
        self, whole: Float[Tensor, "..."], mean: Float[Tensor, "..."], waves: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """What is subtracted from a signal, of which these are the mean and the waves."""
        raise NotImplementedError

    def _of_embedding(self, network: Network, inputs: Tensor) -> Hooks:
        task, parts, numbers = self._parts(network)
        tokens = parts.tokens
        every = torch.arange(task.d_vocab)[:, None].expand(-1, task.n_ctx)
        table = network.activation("hook_embed", every)
        with_mean, waves = projection(parts.functions(numbers), torch.ones(parts.n))
        signal = table[tokens].double().flatten(1)
        kept, wave = with_mean @ signal, waves @ signal
        taken = torch.zeros_like(table)
        taken[tokens] = self._taken(signal, kept - wave, wave).view_as(table[tokens]).to(table)
        positions = torch.arange(inputs.shape[1])

        def embed(value: Tensor, hook: Any) -> Tensor:
            return value - taken[inputs, positions]

        return [("hook_embed", embed)]

    def _of_neurons(self, network: Network, inputs: Tensor) -> Hooks:
        task, parts, numbers = self._parts(network)
        tokens, hook = parts.tokens, layer_of(network, self.layer).hook
        n = len(tokens)
        every = task.tokens(torch.cartesian_prod(tokens, tokens))
        grid = _at_end(network.activation(hook, every)).view(n, n, -1)
        mean = grid.mean((0, 1), keepdim=True).expand_as(grid)
        table = self._taken(grid, mean, grid_parts(grid, [parts.basis(each) for each in numbers]))
        a, b = (place_of(tokens, task.d_vocab)[inputs[:, at]] for at in (0, 1))
        placed = (a >= 0) & (b >= 0)
        taken = torch.where(placed[:, None], table[a, b], 0)

        def remove(value: Tensor, hook: Any) -> Tensor:
            if value.ndim == 2:
                return value - taken
            return torch.cat([value[:, :-1], value[:, -1:] - taken[:, None]], 1)

        return [(hook, remove)]

    def _of_logits(self, network: Network, inputs: Tensor) -> Hooks:
        task, parts, numbers = self._parts(network)
        pairs = Pairs.of(task, parts)
        mean = pairs.mean_by_answer(network.activation("hook_logits", pairs.inputs).double())
        answer = place_of(pairs.order, task.d_output)[task.answer(*inputs[:, :2].unbind(1))]
        waves = pairs.waves(numbers)

        def change(logits: Tensor, hook: Any) -> Tensor:
            changed = self._changed(logits.double(), mean, answer, waves).to(logits)
            return torch.where((answer >= 0)[:, None], changed, logits)

        return [("hook_logits", change)]

    def _changed(
        self,
        logits: Float[Tensor, "batch c"],
        mean: Float[Tensor, "s c"],
        answer: Integer[Tensor, " batch"],
        waves: LogitWaves,
    ) -> Float[Tensor, "batch c"]:
        """The logits of pairs with these right answers, from them and from the mean of all."""
        raise NotImplementedError


class Remove(_Frequencies):
    """The waves of these frequencies taken out; all else stays."""

    def _taken(self, whole: Tensor, mean: Tensor, waves: Tensor) -> Tensor:
        return waves

    def _changed(self, logits: Tensor, mean: Tensor, answer: Tensor, waves: LogitWaves) -> Tensor:
        return waves.excluded(logits, mean, answer)


class Keep(_Frequencies):
    """All but the mean and the waves of these frequencies taken out.

    Of logits nothing is kept of how pairs with one right answer differ.
    """

    def _taken(self, whole: Tensor, mean: Tensor, waves: Tensor) -> Tensor:
        return whole - mean - waves

    def _changed(self, logits: Tensor, mean: Tensor, answer: Tensor, waves: LogitWaves) -> Tensor:
        return waves.restricted(mean)[answer]


def _at_end(value: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch width"]:
    """An activation at the position where the answer is read."""
    return value if value.ndim == 2 else value[:, -1]
