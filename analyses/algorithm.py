"""Clock or pizza? Symmetricity, irrelevance, waves by the operands' distance, phases of neurons.

A network adds by the product of two waves, or by the sum of two vectors. Both algorithms put
residues on circles. A *clock* multiplies cos(w a) and cos(w b) and turns by angles; a *pizza* adds
the two vectors and reads the direction of their sum, which is short where they lie opposite (Zhong,
Liu, Tegmark and Andreas 2023, arXiv 2306.17844). They are told apart by the gradient symmetricity,
the distance irrelevance, and here also by frequency: with the circle of one frequency alone in the
embedding, how the wave in the logits falls with the distance of the operands. Beside that, what
neurons align: a neuron that reads cos(w a − φ) + cos(w b − φ) helps where it writes cos(w c − 2φ).

It is asked of 30 checkpoints, evenly spaced by log step, unless more are asked for.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import SHARE, Panels, Row, frequency_color, representatives
from mechgrok.analyses.measures.algorithm import (
    by_distance,
    circularity,
    distance_irrelevance,
    gradient_cosines,
    pizza_share,
    wave_by_distance,
)
from mechgrok.analyses.measures.finite import and_left_out, looked_at
from mechgrok.analyses.measures.fourier import key_frequencies
from mechgrok.analyses.measures.residues import not_modular, residues
from mechgrok.analyses.measures.spacing import log_spaced, some_of
from mechgrok.analyses.measures.words import ends
from mechgrok.errors import UserError
from mechgrok.interventions import Keep, intervened
from mechgrok.interventions.logits import place_of
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.modular import ModularArithmetic

#: Principal components of the embedding whose circularity is taken, as in the source.
_COMPONENTS = 4
#: What the embedding holds as a wave is looked at: its own circle, or all.
CIRCLES = ("alone", "all")
#: Examples whose gradients are in memory at once.
_BATCH = 2**13
#: A wave this small beside what it is at the end has no shape yet.
_FAINT = 0.05


def applies(run: Run) -> str | None:
    """The answer must be the sum of two operands, in some order of the residues."""
    if not isinstance(run.task, ModularArithmetic) or run.task.name not in ("add", "mul"):
        return (
            f"{run.task.name} is no sum of two residues, nor a product, which is one of logarithms."
        )
    if run.task.name == "mul" and run.task.p == 2:
        return "Products modulo 2 are no sums of logarithms: 1 is the only residue that has one."
    if "hook_embed" not in run.model(run.steps[0]).hook_dict:
        return "The network has no embedding, which gradients would be taken at."
    if len(run.wiring.paths()) > 1:
        return "Its neurons read an operand by several weights, and so a wave with several phases."
    return not_modular(run.task)


VARIABLES = {
    "symmetricity": Variable(
        "step", "cosine", "gradient symmetricity: mean over (a, b, c) of cos(∂L_c/∂E_a, ∂L_c/∂E_b)"
    ),
    "symmetricity_error": Variable(
        "step", "cosine", "standard error of the draw of (a, b, c); 0 where it is all of them"
    ),
    "irrelevance": Variable(
        "step",
        "share",
        "distance irrelevance: a logit's deviation over the pairs of one distance, as a share "
        "of that over all pairs, mean over distances",
    ),
    "circularity": Variable(
        "step",
        "share of variance",
        "share that one frequency holds of a principal component of the embedding, mean of the "
        "first 4",
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
        "by how much the wave falls where operands lie opposite; NaN while it is faint",
    ),
    "frequency_of": Variable(
        "step, neuron", "{cycles per n}", "the neuron's: where reads · writes is largest"
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
    "key": Variable("key", "{cycles per n}", "frequencies that stand out at the last step"),
    "circle": Variable(
        "circle", "none", "what is in the embedding: the key's circle alone, or all"
    ),
    "distance": Variable(
        "distance", "residues", "the place of a less that of b, in the residues' order"
    ),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    checkpoints: Annotated[int, "how many to look at, evenly by log step; --steps names them"] = 30,
    triples: Annotated[int, "(a, b, c) for gradients, drawn; all of them if there are less"] = 2048,
    logit: Annotated[
        Literal["correct", "runner-up"], "whose irrelevance: the right answer's, the best wrong one"
    ] = "correct",
    seed: Annotated[int, "of the draw"] = 0,
) -> xr.Dataset:
    """How the network adds at some checkpoints, or at the given steps.

    Products are sums of discrete logarithms: for them residues stand in multiplicative order.
    Quantities are over all pairs of the task, an unordered pair standing for (b, a) too.

    Returns:
        `VARIABLES`.

    Raises:
        UserError: a number is too small.
    """
    for name, number in (("checkpoints", checkpoints), ("triples", triples)):
        if number < 1:
            raise UserError(f"{name} = {number} is too few: give 1 or more.")
    at, of_steps = looked_at(run, steps, partial(log_spaced, count=checkpoints))
    sums = _Sums.of(run)
    n = len(sums.order)
    sample = _drawn(run, sums, triples, seed)
    looks = [_look(run, step, sums, sample, logit) for step in at]
    waves = np.stack([look.wave for look in looks])
    strength = waves @ sums.weight_of_distance
    keys = sorted(key_frequencies(torch.from_numpy(np.abs(strength[-1]))))
    alone = np.array([[_alone(run, step, sums, k) for k in keys] for step in at])
    wave = np.stack([alone, waves[:, keys]], axis=1)
    neurons = {name: np.stack([look.neurons[name] for look in looks]) for name in looks[0].neurons}
    return described(
        VARIABLES,
        {
            **{
                name: np.array([getattr(look, name) for look in looks])
                for name in ("symmetricity", "symmetricity_error", "irrelevance", "circularity")
            },
            "correct": np.stack([look.correct for look in looks]),
            "strength": strength,
            "wave": wave,
            "pizza": _shares(wave, keys, sums),
            **neurons,
            "magnitude": np.stack([look.magnitude for look in looks]),
            "alignment": _alignment(neurons),
        },
        coords={
            "step": at,
            "frequency": np.arange(n // 2 + 1),
            "key": keys,
            "circle": list(CIRCLES),
            "distance": np.arange(n),
            "neuron": np.arange(neurons["reads"].shape[1]),
        },
        attrs={
            "order": "additive" if n == run.task.d_output else "multiplicative",
            "logit": logit,
            "sums_embeddings": int(not run.config.model.knows_order),
            **of_steps,
            **run.milestones,
        },
        words={"cycles per n": f"cycles per {n}"},
    )


class _Sums(NamedTuple):
    """The pairs of a task as sums: both orders of an unordered pair, places instead of residues.

    Attributes:
        order: the residues in their order.
        inputs: tokens of the task's pairs.
        row: of the pair (a, b) in the inputs.
        answer, distance: the place of a plus that of b, and less that of b.
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
        # Products with 0 are 0, which has no logarithm.
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
        """The share of the pairs that each distance has."""
        many = torch.bincount(self.distance, minlength=len(self.order)).double()
        return (many / many.sum()).numpy()


#: The examples and the answers of triples.
_Draw = tuple[Integer[Tensor, " triple"], Integer[Tensor, " triple"]]


def _drawn(run: Run, sums: _Sums, most: int, seed: int) -> _Draw | None:
    """The triples whose gradients are compared; None where gradients are equal by design."""
    if not run.config.model.knows_order:
        return None
    n, known = len(sums.order), sums.row.unique()
    number = torch.arange(len(known) * n)
    if len(number) > most:
        generator = torch.Generator().manual_seed(seed)
        number = torch.randperm(len(number), generator=generator)[:most]
    return known[number // n], sums.order[number % n]


class _Look(NamedTuple):
    """What is seen at one checkpoint; the fields are `measure`'s variables."""

    symmetricity: float
    symmetricity_error: float
    irrelevance: float
    circularity: float
    correct: Float[np.ndarray, " distance"]
    wave: Float[np.ndarray, "frequency distance"]
    magnitude: Float[np.ndarray, " frequency"]
    neurons: dict[str, Float[np.ndarray, " neuron"]]


def _look(run: Run, step: int, sums: _Sums, sample: _Draw | None, logit: str) -> _Look:
    model = run.model(step)
    with torch.no_grad():
        logits = torch.cat([model(some) for some in sums.inputs.split(_BATCH)])
    # Each row is computed once: unordered pairs are there in both orders.
    logits = logits[sums.row][:, sums.order]
    answer = sums.answer[:, None]
    mean = by_distance(logits, sums.answer, sums.distance)
    if logit == "correct":
        told = logits.gather(1, answer)[:, 0]
    else:
        told = logits.scatter(1, answer, -torch.inf).amax(1)
    cosines = torch.ones(1)  # One sum of embeddings is read, and has one gradient.
    all_ = True
    if sample is not None:
        examples, answers = sample
        parts = zip(examples.split(_BATCH), answers.split(_BATCH), strict=True)
        cosines = torch.cat([gradient_cosines(model, sums.inputs[x], c) for x, c in parts])
        all_ = len(cosines) == len(sums.row.unique()) * len(sums.order)
    error = 0.0 if all_ else float(cosines.double().std() / len(cosines) ** 0.5)
    points = run.embedding([step])[0][sums.order]
    magnitude, neurons = _neurons(run, step, sums.order)
    return _Look(
        float(cosines.double().mean()),
        error,
        distance_irrelevance(told, sums.distance),
        float(circularity(points, _COMPONENTS).mean()),
        mean[:, 0].numpy(),
        wave_by_distance(mean).numpy(),
        magnitude,
        neurons,
    )


def _alone(run: Run, step: int, sums: _Sums, key: int) -> Float[np.ndarray, " distance"]:
    """The wave of a frequency by distance with nothing but its circle in the embedding."""
    network = intervened(run, step, [Keep(frequencies=(key,), of="embedding")])
    logits = torch.cat([network.outputs(some) for some in sums.inputs.split(_BATCH)])
    mean = by_distance(logits[sums.row][:, sums.order], sums.answer, sums.distance)
    return wave_by_distance(mean)[key].numpy()


def _shares(
    wave: Float[np.ndarray, "step circle key distance"], keys: Sequence[int], sums: _Sums
) -> Float[np.ndarray, "step circle key"]:
    """`pizza_share` of each wave; NaN while it is faint."""
    mean = wave @ sums.weight_of_distance
    shares = np.full(mean.shape, np.nan)
    for *place, at in np.argwhere(mean >= _FAINT * mean[-1]).tolist():
        shares[*place, at] = pizza_share(torch.from_numpy(wave[*place, at]), keys[at])
    return shares


def _neurons(
    run: Run, step: int, order: Integer[Tensor, " n"]
) -> tuple[Float[np.ndarray, " frequency"], dict[str, np.ndarray]]:
    """What neurons read of the operands and write to the answers, as waves."""
    apart = "position-1" in run.wiring.input_paths
    paths = ("position-0", "position-1") if apart else ("auto", "auto")
    n = len(order)
    sides = [run.input_side([step], path=path)[0][order].T for path in paths]
    a, b, out = (
        torch.fft.rfft(side.double()) * 2 / n
        for side in (*sides, run.output_side([step])[0][:, order])
    )
    reads, writes = (a.abs() + b.abs()) / 2, out.abs()
    product = reads * writes
    product[:, 0] = 0
    frequency = product.argmax(1, keepdim=True)

    def at(values: Tensor) -> Tensor:
        return values.gather(1, frequency)[:, 0]

    return product.sum(0).numpy(), {
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
    """The three measures at the end, the shape of waves, and where their frequencies came from."""
    last, step = dataset.isel(step=-1), int(dataset.step[-1])
    measures = {
        "irrelevance": ("distance irrelevance", "z.2f"),
        "symmetricity": ("gradient symmetricity", "z.3f"),
        "circularity": ("circularity", "z.2f"),
    }
    words = ", ".join(
        f"{name} {float(last[variable]):{form}}"
        for variable, (name, form) in measures.items()
        if np.isfinite(last[variable])
    )
    words += f" at step {step:,}"
    if dataset.attrs["sums_embeddings"]:
        words += " (symmetric by design: the network reads the sum of its embeddings)"
    told = [
        f"{round(100 * float(last.pizza.sel(key=key, circle='alone')))} % (k = {int(key)})"
        for key in dataset.key
        if np.isfinite(last.pizza.sel(key=key, circle="alone"))
    ]
    if told:
        words += "; where operands lie opposite (clock 0 %, pizza 100 %) waves of single circles "
        words += f"fall by {', '.join(told)}"
    if np.isfinite(dataset.alignment[[0, -1]]).all():
        aligned = ends(*(f"{value:z.2f}" for value in dataset.alignment.to_numpy()[[0, -1]]))
        words += f"; cos(φ_out − 2φ_in) {aligned}"
    if dataset.sizes["step"] > 1:
        ranks = _ranks(dataset)
        words += (
            f"; at step {int(dataset.step[0]):,} these frequencies ranked "
            f"{', '.join(map(str, ranks))} of {dataset.sizes['frequency'] - 1} by the neurons' "
            "amplitudes"
        )
    some = some_of(dataset.sizes["step"], dataset.attrs["of_checkpoints"])
    return and_left_out(words + some, dataset)


def _ranks(dataset: xr.Dataset) -> list[int]:
    """The rank of the last step's frequencies by magnitude at the first step, 1 the largest."""
    magnitude = dataset.magnitude.isel(step=0).to_numpy()[1:]
    return [int((magnitude > magnitude[key - 1]).sum()) + 1 for key in dataset.key.to_numpy()]


# --- figure -------------------------------------------------------------------------------------

#: Frequencies whose waves are drawn.
_MOST_KEYS = 6


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """The three measures; how waves fall with the distance; phases; frequencies that compete."""
    figure = Panels(
        measured,
        title=_title(measured),
        subtitle="distance: how far apart the operands lie on the circle of a frequency, from 0 to "
        "half a turn; grey: the wave of a pure clock and a pure pizza",
        log=log,
    )
    row = figure.row(height=220)
    for name, words in (
        ("symmetricity", "gradient symmetricity"),
        ("irrelevance", "distance irrelevance"),
        ("circularity", "circularity"),
    ):
        panel = row.over_training(words, y=SHARE | {"tickformat": None})
        for label, dataset in measured.items():
            panel.lines(dataset.step, dataset[name], run=label, value="%{y:.3f}")
    row = figure.row(height=220, legend=True)
    panel = row.over_training("fall of waves: 0 clock, 1 pizza", y={"range": [-0.25, 1.25]})
    for label, dataset in measured.items():
        strongest = _strongest(dataset)
        for key in strongest:
            curve = dataset.pizza.sel(key=key, circle="alone")
            color, name = frequency_color(key), f"k = {key}"
            panel.lines(dataset.step, curve, run=label, entry=name, color=color, value="%{y:.2f}")
    panel = row.over_training("cos(φ_out − 2φ_in)", y={"range": [-0.35, 1.05]})
    for label, dataset in measured.items():
        panel.lines(dataset.step, dataset.alignment, run=label, value="%{y:.3f}")
    for label, dataset in representatives(measured).items():
        _draw_run(figure.row(height=250), label, dataset, len(measured) > 1)
    return figure.draw()


def _strongest(dataset: xr.Dataset) -> list[int]:
    """Its frequencies, those that are strongest at the end."""
    strength = np.abs(dataset.strength.isel(step=-1).sel(frequency=dataset.key).to_numpy())
    keys = dataset.key.to_numpy()[np.argsort(-strength)[:_MOST_KEYS]]
    return sorted(keys.tolist())


def _draw_run(row: Row, label: str, dataset: xr.Dataset, many: bool) -> None:
    """Waves over the distance, phases of neurons, and the amplitudes of frequencies."""
    name = f"{label}: " if many else ""
    panel = row.panel(
        f"{name}waves of single circles", x="turns between a and b", y="share of the highest"
    )
    turn = np.linspace(0, 0.5, 101)
    for shape in (np.cos(np.pi * turn), np.ones_like(turn)):
        panel.add("scatter", x=turn, y=shape, mode="lines", line={"color": "#BBBBBB", "width": 4})
    n = dataset.sizes["distance"]
    for key in _strongest(dataset):
        turns = key * dataset.distance.to_numpy() % n / n
        turns = np.minimum(turns, 1 - turns)
        order = np.argsort(turns, kind="stable")

        def wave(now: xr.Dataset, key: int = key, order: np.ndarray = order) -> dict[str, Any]:
            values = now.wave.sel(key=key, circle="alone").to_numpy()[order]
            top = np.nanmax(np.abs(values), initial=0) or 1.0
            return {"y": (values / top).astype(np.float32)}

        panel.add(
            "scatter",
            run=label,
            at=wave,
            x=turns[order],
            mode="markers",
            marker={"size": 5},
            color=frequency_color(key),
            hover=f"k = {key}" + "<br>%{x:.2f} turns apart: %{y:.2f}",
        )
    _draw_phases(row, label, dataset)
    panel = row.over_training("Σ reads · writes", y={"rangemode": "tozero"})
    keys = dataset.key.to_numpy().tolist()
    rest = [k for k in dataset.frequency.to_numpy().tolist() if k and k not in keys]
    if rest:
        others = dataset.magnitude.sel(frequency=rest).to_numpy().T
        panel.bundle(dataset.step, others, run=label, color="#BBBBBB", opacity=1)
    for key in keys:
        curve = dataset.magnitude.sel(frequency=key)
        color = frequency_color(key)
        panel.lines(dataset.step, curve, run=label, color=color, value=f"k = {key}: " + "%{y:.3g}")


def _draw_phases(row: Row, label: str, dataset: xr.Dataset) -> None:
    """φ_out over 2 φ_in of every neuron, as large as what it contributes."""
    along = {"range": [-3.3, 3.3], "tickvals": [-np.pi, 0, np.pi], "ticktext": ["−π", "0", "π"]}
    panel = row.panel(
        "phases of neurons",
        x={"title": "2 φ_in", **along},
        y={"title": "φ_out", **along},
        square=True,
    )

    def neurons(now: xr.Dataset) -> dict[str, Any]:
        weight = (now.reads * now.writes).to_numpy()
        size = 3 + 9 * np.sqrt(weight / (weight.max() or 1.0))
        colors = [frequency_color(int(k)) for k in now.frequency_of.to_numpy()]
        return {
            "x": now.phase_in.to_numpy().astype(np.float32),
            "y": now.phase_out.to_numpy().astype(np.float32),
            "marker": {"size": size.round(1), "color": colors, "line": {"width": 0}},
            "customdata": now.frequency_of.to_numpy(),
        }

    panel.add(
        "scatter",
        run=label,
        at=neurons,
        mode="markers",
        hover="k = %{customdata}<br>2 φ_in %{x:.2f}, φ_out %{y:.2f}",
    )


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """What every run is at the end, where its waves say it clearly."""
    told = {}
    for label, dataset in measured.items():
        share = dataset.pizza.sel(circle="alone").isel(step=-1).to_numpy()
        share = share[np.isfinite(share)]
        if not share.size:
            return "How the network adds: clock or pizza"
        middle = float(np.median(share))
        told[label] = "a pizza" if middle > 0.75 else "a clock" if middle < 0.25 else "in between"
    if len(set(told.values())) == 1:
        return f"How the network adds: {next(iter(told.values()))}"
    return "How the networks add: " + ", ".join(f"{label} {what}" for label, what in told.items())
