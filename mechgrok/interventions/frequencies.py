"""Interventions on frequencies: remove or isolate them in embedding, neurons or logits."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import torch
from jaxtyping import Float, Integer
from pydantic import Field, model_validator
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.interventions.base import Hooks, Intervention, Layer, Number, one_or_several
from mechgrok.interventions.logits import LogitWaves, Pairs, place_of
from mechgrok.interventions.network import Network
from mechgrok.interventions.units import layer_of
from mechgrok.interventions.waves import grid_parts, own_waves, projection
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.harmonics import Harmonics, harmonics, no_harmonics

#: Frequencies by number; representations by number or by name.
Parts = Annotated[
    tuple[Number | Annotated[str, Field(min_length=1, max_length=200)], ...],
    Field(max_length=10**5, json_schema_extra={"names": "frequencies"}),
    one_or_several,
]


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
        layer: the layer of the neurons; default: the last.
    """

    frequencies: Literal["own"] | Parts = Field(
        description='Frequencies k; representations by name; "own": of each neuron its strongest.'
    )
    of: Literal["embedding", "neurons", "logits"] = Field(
        default="logits", description="Activation with the waves: embedding, neurons or logits."
    )
    layer: Layer = Field(default=-1, description="Layer of the neurons; the last.")

    @model_validator(mode="after")
    def _own_is_of_neurons(self) -> Self:
        if self.frequencies == "own" and self.of != "neurons":
            raise UserError(
                f'Only neurons have own frequencies, not the {self.of}: set of = "neurons".'
            )
        return self

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        return getattr(self, f"_of_{self.of}")(network, inputs)

    def _parts(self, network: Network) -> tuple[BinaryOperation, Harmonics, list[int]]:
        """The task, its harmonics, and the numbers of the chosen parts (none for "own").

        Raises:
            UserError: the task has no harmonics, or a part is unknown.
        """
        task = network.run.task
        if not isinstance(task, BinaryOperation) or no_harmonics(task):
            raise UserError(
                f"{task} has no frequencies: choose a run on one modular operation on two "
                "residues, or on a group."
            )
        parts = harmonics(task)
        numbers = [] if isinstance(self.frequencies, str) else parts.numbered(self.frequencies)
        return task, parts, numbers

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
        task, parts, numbers = self._parts(network)
        tokens, hook = parts.tokens, layer_of(network, self.layer).hook
        n = len(tokens)
        all_pairs = task.tokens(torch.cartesian_prod(tokens, tokens))
        grid = _at_end(network.activation(hook, all_pairs)).view(n, n, -1)
        mean = grid.mean((0, 1), keepdim=True).expand_as(grid)
        is_own = self.frequencies == "own"
        bases = [parts.basis(part) for part in numbers]
        waves = own_waves(grid, parts) if is_own else grid_parts(grid, bases)
        table = self._removed(grid, mean, waves)
        a, b = (place_of(tokens, task.d_vocab)[inputs[:, operand]] for operand in (0, 1))
        in_order = (a >= 0) & (b >= 0)
        removed = torch.where(in_order[:, None], table[a, b], 0)

        def remove(value: Tensor, hook: Any) -> Tensor:
            if value.ndim == 2:
                return value - removed
            return torch.cat([value[:, :-1], value[:, -1:] - removed[:, None]], 1)

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
        """The changed logits of pairs with these right answers, given the mean logits."""
        raise NotImplementedError


class Remove(_Frequencies):
    """Removes the waves of these frequencies."""

    def _removed(self, signal: Tensor, mean: Tensor, waves: Tensor) -> Tensor:
        return waves

    def _changed(self, logits: Tensor, mean: Tensor, answer: Tensor, waves: LogitWaves) -> Tensor:
        return waves.excluded(logits, mean, answer)


class Keep(_Frequencies):
    """Removes everything but the mean and the waves of these frequencies.

    For logits, this removes all differences between pairs with one right answer.
    """

    def _removed(self, signal: Tensor, mean: Tensor, waves: Tensor) -> Tensor:
        return signal - mean - waves

    def _changed(self, logits: Tensor, mean: Tensor, answer: Tensor, waves: LogitWaves) -> Tensor:
        return waves.restricted(mean)[answer]


def _at_end(value: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch width"]:
    """An activation at the last position."""
    return value if value.ndim == 2 else value[:, -1]
