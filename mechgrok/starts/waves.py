"""The analytic solution of modular addition: waves, with output phases that are sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.starts.base import Drawn, Start

if TYPE_CHECKING:
    from jaxtyping import Float, Integer
    from torch import Tensor

    from mechgrok.models.wiring import Wiring
    from mechgrok.tasks import Task

#: Neurons per frequency by default. With evenly spaced phases, three squares are exact, and the
#: error of five ReLUs comes from harmonics of order 8 and more.
NEURONS = {"quadratic": 3, "relu": 5}


class Waves(Start):
    """Weights that solve c = αa + βb + γ mod p without training.

    With w = 2πk/p, a neuron of frequency k reads cos(wαa + φ_a) + cos(wβb + φ_b) and writes
    cos(w(c − γ) + φ_a + φ_b) to the logit of every c. The mean over phases is, for squares,
    ½ cos(w(αa + βb + γ − c)), times 1 + cos(w(αa − βb)) if φ_a = φ_b; for ReLUs it is proportional
    to |cos(w(αa − βb)/2)| cos(w(αa + βb + γ − c)) if φ_a = φ_b. The answer has the largest logit.

    W_E holds the waves, W_in and W_out the phases, W_U the waves over the answers. All other
    entries are 0. A network with one embedding for both numbers has φ_a = φ_b.

    Source: Gromov 2023 (arXiv 2301.02679), with random phases. Doshi et al. 2024 (arXiv 2406.03495)
    extend it to sums of more terms and to products.
    """

    name: str = "waves"
    frequencies: int | str | None = Field(
        default=None, description="Frequencies k: 1+3+16; default: random, as many as fit."
    )
    phases: Literal["spread", "random"] = Field(
        default="spread",
        description="spread: evenly spaced, with φ_a = φ_b; random: drawn, φ_a and φ_b apart.",
    )
    amplitude: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None,
        description="Amplitude of the waves in W_E W_in and in W_out W_U; default: every matrix "
        "has the norm of a drawn one.",
    )

    def initial_weights(self, drawn: Drawn) -> Mapping[str, Float[Tensor, "..."]]:
        import torch

        if drawn.act not in NEURONS:
            raise UserError(
                f"Waves need the activation quadratic or relu, not {drawn.act}: choose --act "
                "quadratic or --act relu."
            )
        chain, line = _chain(drawn.wiring), _line(drawn.task)
        if len(chain.embeddings) < 2 and line.alpha != line.beta:
            raise UserError(
                f"The network sums its tokens and cannot tell a from b in {drawn.task}, so it has "
                "no analytic solution: choose --model positional-mlp."
            )
        p, k = drawn.task.d_output, self._frequencies(drawn, chain)
        n_neurons = drawn.raw[chain.reads].shape[1]
        own = torch.arange(n_neurons) * len(k) // n_neurons  # the frequency of each neuron
        a, b = self._phases(own, drawn, alike=len(chain.embeddings) < 2)
        made = {name: torch.zeros_like(weight) for name, weight in drawn.raw.items()}
        sides = [
            (_waves(p, k * line.alpha), _mix(own, a)),
            (_waves(p, k * line.beta), _mix(own, b)),
        ]
        _write_inputs(made, drawn.wiring, chain, sides)
        shift = 2 * torch.pi * line.gamma * k[own] / p
        _write_outputs(made, chain, _mix(own, a + b - shift).T, _waves(p, k).T)
        self._scale(made, drawn, chain)
        return made

    def _frequencies(self, drawn: Drawn, chain: _Chain) -> Integer[Tensor, " frequency"]:
        """The frequencies, chosen or drawn.

        Raises:
            UserError: one is 0 or above p/2, or they do not fit into the network.
        """
        import torch

        from mechgrok.tasks.harmonics import harmonics

        most, n_neurons = _capacity(drawn, chain), drawn.raw[chain.reads].shape[1]
        if self.frequencies is None:
            known = max((drawn.task.d_output - 1) // 2, 1)
            n = max(min(known, most, n_neurons // NEURONS[drawn.act]), 1)
            frequencies = torch.randperm(known, generator=drawn.generator)[:n].sort().values + 1
        else:
            parts = harmonics(drawn.task, "additive")
            named = parts.numbered(str(self.frequencies).split("+"))
            frequencies = torch.tensor(list(dict.fromkeys(named)))
        if len(frequencies) > most:
            raise UserError(
                f"{len(frequencies)} frequencies do not fit into the network, which holds {most}: "
                "choose fewer, or raise --d-mlp or --d-model."
            )
        return frequencies

    def _phases(
        self, own: Integer[Tensor, " neuron"], drawn: Drawn, *, alike: bool
    ) -> tuple[Float[Tensor, " neuron"], Float[Tensor, " neuron"]]:
        """φ_a and φ_b of every neuron; the same if they are spread, or ``alike``."""
        import torch

        if self.phases == "random":
            uniform = torch.rand(2, len(own), generator=drawn.generator, dtype=torch.float64)
            a, b = 2 * torch.pi * uniform
            return a, a if alike else b
        sizes = own.bincount()
        rank = torch.arange(len(own)) - (sizes.cumsum(0) - sizes)[own]
        # A square is the same for φ and φ + π.
        period = torch.pi if drawn.act == "quadratic" else 2 * torch.pi
        phase = period * rank.double() / sizes[own]
        return phase, phase

    def _scale(self, made: dict[str, Tensor], drawn: Drawn, chain: _Chain) -> None:
        """Scale the matrices to ``amplitude``, or to the norms of the drawn ones."""
        import torch

        for side in chain.sides:
            for names in side:
                if self.amplitude is not None:
                    factor = self.amplitude ** (1 / len(side))
                else:  # One factor for both embeddings, so that a and b have equal waves.
                    fresh, new = (
                        torch.cat([weights[name].flatten() for name in names]).norm()
                        for weights in (drawn.raw, made)
                    )
                    factor = float(fresh / new)
                for name in names:
                    made[name] *= factor


class _Chain(NamedTuple):
    """The matrices of a network with one layer of neurons.

    Attributes:
        embeddings: from the tokens of each position to what the neurons read; empty if the neurons
            read the tokens.
        reads, writes: the neurons' input and output weights.
        unembeds: from what the neurons write to the outputs; empty if they write the outputs.
    """

    embeddings: list[str]
    reads: str
    writes: str
    unembeds: list[str]

    @property
    def sides(self) -> list[list[list[str]]]:
        """The factors of the map from tokens to neurons, and of that from neurons to outputs."""
        sides = [[self.embeddings, [self.reads]], [[self.writes], self.unembeds]]
        return [[names for names in side if names] for side in sides]


def _chain(wiring: Wiring) -> _Chain:
    """The matrices of a network.

    Raises:
        UserError: it has other matrices, or not one layer of neurons.
    """
    ends, layers = wiring.connections, wiring.hidden
    if len(layers) == 1 and len(layers[0].reads) == len(layers[0].writes) == 1:
        (reads,), (writes,) = layers[0].reads, layers[0].writes
        embeddings = [name for name in ends if ends[name].target == ends[reads].source]
        unembeds = [name for name in ends if ends[name].source == ends[writes].target]
        inputs = {wiring.axes(name)[0] for name in embeddings or [reads]}
        all_names = {*embeddings, reads, writes, *unembeds}
        if all_names == set(ends) and len(unembeds) < 2 and inputs <= {"token", "input"}:
            return _Chain(embeddings, reads, writes, unembeds)
    raise UserError(
        "Waves need a network of one layer of neurons between the tokens' embedding and the "
        "unembedding: choose --model mlp or --model positional-mlp, with --n-layers 1."
    )


def _columns(wiring: Wiring, chain: _Chain, n: int) -> list[tuple[int, int]]:
    """The first column of a, and of b, in its embedding and in what the neurons read.

    Embeddings that are summed use different columns.
    """
    used: dict[int, int] = {}
    columns = []
    for name in chain.embeddings[:2]:
        first = wiring.connections[name].target_from
        column = used.get(first, 0)
        columns.append((column, first + column))
        used[first] = column + n
    return columns


def _capacity(drawn: Drawn, chain: _Chain) -> int:
    """The number of frequencies that fit into a network: two columns of W_E each."""
    widths = [drawn.raw[chain.reads].shape[1]]
    if chain.unembeds:
        widths.append(drawn.raw[chain.writes].shape[1] // 2)
    if chain.embeddings:
        shared = max(column for column, _ in _columns(drawn.wiring, chain, 1)) + 1
        widths.append(drawn.raw[chain.embeddings[0]].shape[1] // (2 * shared))
    return min(widths)


def _waves(p: int, k: Integer[Tensor, " frequency"]) -> Float[Tensor, "residue wave"]:
    """cos(2πkx/p) and sin(2πkx/p) of all residues x and frequencies k, in pairs of columns."""
    import torch

    angle = 2 * torch.pi * (torch.arange(p)[:, None] * k % p).double() / p
    return torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)


def _mix(
    own: Integer[Tensor, " neuron"], phase: Float[Tensor, " neuron"]
) -> Float[Tensor, "wave neuron"]:
    """The factors of `_waves` in cos(2πkx/p + φ), with k each neuron's frequency."""
    import torch

    factors = torch.zeros(int(own.max()) + 1, 2, len(own), dtype=torch.float64)
    factors[own, :, torch.arange(len(own))] = torch.stack([phase.cos(), -phase.sin()], dim=1)
    return factors.flatten(0, 1)


def _write_inputs(
    made: dict[str, Tensor], wiring: Wiring, chain: _Chain, sides: Sequence[tuple[Tensor, Tensor]]
) -> None:
    """Write the waves of a and b, and their factors, into the matrices before the neurons."""
    if not chain.embeddings:
        waves, factors = sides[0]
        made[chain.reads][: len(waves)] = waves @ factors
        return
    columns = _columns(wiring, chain, sides[0][0].shape[1])
    for name, (column, row), (waves, factors) in zip(
        chain.embeddings, columns, sides, strict=False
    ):
        made[name][: len(waves), column : column + waves.shape[1]] = waves
        made[chain.reads][row : row + len(factors)] = factors


def _write_outputs(made: dict[str, Tensor], chain: _Chain, factors: Tensor, waves: Tensor) -> None:
    """Write the factors and the waves over the answers into the matrices behind the neurons."""
    if not chain.unembeds:
        made[chain.writes][:] = factors @ waves
        return
    made[chain.writes][:, : len(waves)] = factors
    made[chain.unembeds[0]][: len(waves)] = waves


class _Line(NamedTuple):
    """c = αa + βb + γ mod p."""

    alpha: int
    beta: int
    gamma: int


def _line(task: Task) -> _Line:
    """The factors of a task whose answers are a linear combination of two residues.

    Raises:
        UserError: they are not.
    """
    import torch

    from mechgrok.tasks.residues import not_modular

    if reason := not_modular(task):
        raise UserError(f"Waves do not solve the task: {reason}")
    tokens, labels, p = task.examples.inputs, task.examples.labels, task.d_output
    numbers, further = tokens[:, :2], tokens[:, 2:]
    if tokens.shape[1] > 1 and int(numbers.max()) < p and bool((further == further[:1]).all()):
        a, b = numbers.T
        table = torch.full((p, p), -1)
        table[a, b] = labels
        alpha, beta = _slope(table, p), _slope(table.T, p)
        if alpha is not None and beta is not None:
            rest = (labels - alpha * a - beta * b) % p
            if bool((rest == rest[0]).all()):
                return _Line(alpha, beta, int(rest[0]))
    raise UserError(
        f"No analytic solution is known here for {task}: choose a sum of two numbers, such as add, "
        "or a start other than waves."
    )


def _slope(table: Integer[Tensor, "p p"], p: int) -> int | None:
    """The change of the answer from one row to the next, at some known pair; None without one."""
    known = (table[1:] >= 0) & (table[:-1] >= 0)
    changes = (table[1:] - table[:-1])[known] % p
    return int(changes[0]) if len(changes) else None
