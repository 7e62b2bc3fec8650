"""Interventions on frequencies: remove or isolate them in embedding, neurons or logits."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import torch
from jaxtyping import Float, Integer
from pydantic import Field, model_validator
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.interventions.fields import Hooks, Layer, Number, Word, one_or_several
from mechgrok.interventions.grids import subtracted_on_grid, task_and_harmonics
from mechgrok.interventions.logits import LogitWaves, Pairs, place_of
from mechgrok.interventions.network import Intervention, Network
from mechgrok.interventions.units import layer_of
from mechgrok.interventions.waves import grid_parts, own_waves, projection
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import (
    Harmonics,
    Waves,
    fourier_basis_2d,
)

#: Frequencies by number; representations by number or by name.
Parts = Annotated[
    tuple[Number | Annotated[str, Field(min_length=1, max_length=200)], ...],
    Field(max_length=10**5, json_schema_extra={"names": "frequencies"}),
    one_or_several,
]
#: Names of terms of `mechgrok.fourier_basis_2d`.
Terms = Annotated[tuple[Word, ...], Field(max_length=10**4), one_or_several]


class _Frequencies(Intervention):
    """An intervention on waves over the residues, in the order in which the task is a shift.

    For a group, the waves are matrix entries of its irreducible representations.

    Attributes:
        frequencies: numbers k, from 1 to half of the modulus; representations by number or name;
            "own": for each neuron the one that explains most of its variance over (a, b).
        of: "embedding": waves over tokens in the rows of the embedding, at each position;
            "neurons": waves of a, of b and their products in activations over all pairs (a, b)
            (`waves.grid_parts`); "logits": waves over right answers in the mean logits of the pairs
            with one right answer, as in the excluded and restricted losses of Nanda et al. 2023
            (arXiv 2301.05217).
        terms: in place of frequencies, single terms of neurons or logits over all pairs (a, b), by
            their names in `mechgrok.fourier_basis_2d`, such as "cos 2a" or "cos 2a sin 2b".
        layer: the layer of the neurons; default: the last.
    """

    frequencies: Literal["own"] | Parts | None = Field(
        default=None,
        description='Frequencies k; representations by name; "own": of each neuron its strongest.',
    )
    of: Literal["embedding", "neurons", "logits"] = Field(
        default="logits", description="Activation with the waves: embedding, neurons or logits."
    )
    layer: Layer = Field(default=-1, description="Layer of the neurons; the last.")
    terms: Terms | None = Field(
        default=None, description="Terms in place of frequencies, such as cos 2a sin 2b."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        name = type(self).__name__
        if (self.frequencies is None) == (self.terms is None):
            raise UserError(f"{name} needs frequencies or terms: give one of them.")
        if self.terms is not None and self.of == "embedding":
            raise UserError(
                f'The embedding has no terms of (a, b): set of = "neurons" or "logits" in {name}.'
            )
        if self.frequencies == "own" and self.of != "neurons":
            raise UserError(
                f'Only neurons have own frequencies, not the {self.of}: set of = "neurons".'
            )
        return self

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        of = self.of if self.terms is None else "terms"
        return getattr(self, f"_of_{of}")(network, inputs)

    def _parts(self, network: Network) -> tuple[BinaryOperation, Harmonics, list[int]]:
        """The task, its harmonics, and the numbers of the chosen parts (none for "own" and terms).

        Raises:
            UserError: the task has no harmonics, or a part is unknown.
        """
        task, parts = task_and_harmonics(network)
        given = () if self.frequencies in (None, "own") else self.frequencies
        return task, parts, parts.numbered(given)

    def _removed(
        self, signal: Float[Tensor, "..."], mean: Float[Tensor, "..."], waves: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """The part to subtract from a signal with this mean and these waves."""
        raise NotImplementedError

    def _of_embedding(self, network: Network, inputs: Tensor) -> Hooks:
        task, parts, numbers = self._parts(network)
        tokens = parts.tokens
        all_tokens = torch.arange(task.d_vocab)[:, None].expand(-1, task.n_ctx)
        table = network.activation("hook_embed", all_tokens)
        with_mean, waves = projection(parts.functions(numbers), torch.ones(parts.n))
        signal = table[tokens].double().flatten(1)
        fit, wave = with_mean @ signal, waves @ signal
        removed = torch.zeros_like(table)
        removed[tokens] = self._removed(signal, fit - wave, wave).view_as(table[tokens]).to(table)
        positions = torch.arange(inputs.shape[1])

        def embed(value: Tensor, hook: Any) -> Tensor:
            return value - removed[inputs, positions]

        return [("hook_embed", embed)]

    def _of_neurons(self, network: Network, inputs: Tensor) -> Hooks:
        _, parts, numbers = self._parts(network)

        def waves(grid: Float[Tensor, "n n neuron"]) -> Float[Tensor, "n n neuron"]:
            if self.frequencies == "own":
                return own_waves(grid, parts)
            return grid_parts(grid, [parts.basis(part) for part in numbers])

        def removed(grid: Float[Tensor, "n n neuron"]) -> Float[Tensor, "n n neuron"]:
            return self._removed(grid, grid.mean((0, 1), keepdim=True), waves(grid))

        hook = layer_of(network, self.layer).hook
        return [(hook, subtracted_on_grid(network, hook, parts, inputs, removed))]

    def _of_terms(self, network: Network, inputs: Tensor) -> Hooks:
        _, parts, _ = self._parts(network)
        if not isinstance(parts, Waves):
            raise UserError(f"Functions on {parts} have no named terms: give frequencies by name.")
        terms = self.terms or ()
        functions = fourier_basis_2d(parts.n, terms).functions.double().flatten(1)

        def removed(grid: Float[Tensor, "n n unit"]) -> Float[Tensor, "n n unit"]:
            signal = grid.flatten(0, 1)
            # The mean is a term too.
            mean = signal.mean(0, keepdim=True) * ("const" not in terms)
            waves = functions.T @ (functions @ signal)
            return self._removed(signal, mean, waves).view_as(grid)

        hook = "hook_logits" if self.of == "logits" else layer_of(network, self.layer).hook
        return [(hook, subtracted_on_grid(network, hook, parts, inputs, removed))]

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
        """The changed logits of pairs with these right answers, given the mean logits."""
        raise NotImplementedError


class Remove(_Frequencies):
    """Removes the waves of these frequencies, or single terms."""

    def _removed(self, signal: Tensor, mean: Tensor, waves: Tensor) -> Tensor:
        return waves

    def _changed(self, logits: Tensor, mean: Tensor, answer: Tensor, waves: LogitWaves) -> Tensor:
        return waves.excluded(logits, mean, answer)


class Keep(_Frequencies):
    """Removes everything but the mean and the waves of these frequencies, or these terms.

    For logits, this removes all differences between pairs with one right answer.
    """

    def _removed(self, signal: Tensor, mean: Tensor, waves: Tensor) -> Tensor:
        return signal - mean - waves

    def _changed(self, logits: Tensor, mean: Tensor, answer: Tensor, waves: LogitWaves) -> Tensor:
        return waves.restricted(mean)[answer]
