"""What do neurons and heads compute? Activations and attention over all (a, b); answers pushed.

A neuron of a network that has generalized fires in a pattern of one frequency: its activation over
the p × p grid is made of waves of w_k a, w_k b and their products (Nanda et al. 2023, arXiv
2301.05217, who assign a neuron to a frequency by the share of variance that these explain), and
the answers it pushes are a wave of the same frequency. Where a group's elements are composed,
entries of ρ(a), of ρ(b) and their products stand in place of waves, for an irreducible
representation ρ. In a transformer the heads' attention over the grid is measured in the same way.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.analyses.drawing import DIVERGING, SHARE, Panel, Panels, representatives
from mechgrok.analyses.drawing.panel import AtStep
from mechgrok.analyses.measures.finite import and_left_out, looked_at
from mechgrok.analyses.measures.fourier import dominant_frequency, grid_share
from mechgrok.analyses.measures.harmonics import (
    Harmonics,
    Waves,
    harmonics,
    no_harmonics,
    part_axis,
    part_coordinates,
    part_names,
    part_units,
    part_word,
    part_words,
)
from mechgrok.analyses.measures.places import spread
from mechgrok.analyses.measures.residues import OrderOption
from mechgrok.errors import UserError
from mechgrok.results.variables import Variable, described
from mechgrok.runs import Run
from mechgrok.tasks.binary import BinaryOperation

#: Checkpoints that are measured unless steps are given.
_STOPS = 12


def applies(run: Run) -> str | None:
    """A grid of activations needs two operands and nothing else."""
    if not isinstance(run.task, BinaryOperation):
        return f"{run.task.name} is not one operation on two residues, or elements of a group."
    return no_harmonics(run.task)


VARIABLES = {
    "activation": Variable(
        "step, shown, a, b", "activation", "the neuron's hook_post at the last position"
    ),
    "transform": Variable(
        "step, shown, i, j",
        "activation",
        "of f, the activation: |Σ_ab f(a, b) exp(−2πi (i a + j b) / n)| / n²; of a group the root "
        "mean square of its part in products of entries of ρ_i(a) and ρ_j(b)",
    ),
    "push": Variable(
        "step, shown, answer",
        "logit",
        "the neuron's row of W_out W_U, by which its activation enters every logit",
    ),
    "variance": Variable(
        "step, neuron", "activation squared", "variance of the activation over the grid"
    ),
    "frequency_of": Variable(
        "step, neuron",
        "{units of a frequency}",
        "what explains most of the neuron's variance; 0 for one that never changes",
    ),
    "explained": Variable(
        "step, neuron",
        "share of variance",
        "of the activation over the grid, the share held by (±k, 0), (0, ±k), (±k, ±k), k the "
        "neuron's frequency; of a group by ρ(a), ρ(b), ρ(a) ⊗ ρ(b)",
    ),
    "attention": Variable(
        "step, head, source, a, b", "share", "weight that the last position gives the operand"
    ),
    "head_share": Variable(
        "step, head, frequency",
        "share of variance",
        "of the attention to a over the grid, the share that each part explains",
    ),
    "shown": Variable("shown", "none", "numbers of the neurons whose grids are kept"),
    "a": Variable("a", "none", "the first operand's token"),
    "b": Variable("b", "none", "the second operand's token"),
    "i": Variable("i", "{units of a frequency}", "of a: 0 … ⌊n/2⌋, or a representation's number"),
    "j": Variable(
        "j", "{units of a frequency}", "of b: −⌊(n−1)/2⌋ … ⌊n/2⌋, or a representation's number"
    ),
    "answer": Variable("answer", "none", "the answer's token"),
    "element": Variable("answer", "none", "of a group: what the element is called"),
    "head": Variable("head", "none", "a head's number"),
    "source": Variable("source", "none", "the operand that is read: a, b"),
}


def measure(
    run: Run,
    *,
    steps: Sequence[int] | None = None,
    neurons: Annotated[int, "neurons whose grids are kept: the most active of each frequency"] = 4,
    order: Annotated[OrderOption, "of the residues; auto: multiplicative for mul and div"] = "auto",
) -> xr.Dataset:
    """Activations over the grid of all (a, b), at 12 checkpoints or at ``steps``.

    The grid is what the network does on all pairs, also on those that the task leaves out (b < a
    of unordered pairs is the mirror image in an MLP, but new to a transformer).

    Returns:
        `VARIABLES`.
    """
    if neurons < 1:
        raise UserError(f"{neurons} neurons show nothing: choose 1 or more.")
    steps, of_steps = looked_at(run, steps, partial(spread, count=_STOPS))
    task = run.task
    assert isinstance(task, BinaryOperation)
    parts = harmonics(task, order)
    last = _At.step(run, steps[-1], parts)
    shown = _most_active(last.variance, last.frequency_of, neurons)
    # One step's grids of all neurons at a time: a wide network's are large.
    before = (_At.step(run, step, parts).only(shown) for step in steps[:-1])
    at = [*before, last.only(shown)]
    activation = torch.stack([each.activation for each in at])
    is_wave, tokens = isinstance(parts, Waves), parts.tokens
    transform, places = _fourier(activation) if is_wave else _blocks(activation, parts)
    values: dict[str, Tensor] = {
        "activation": activation.float(),
        "transform": transform.float(),
        "push": run.output_side(steps)[:, shown][..., tokens],
        "variance": torch.stack([one.variance for one in at]),
        "frequency_of": torch.stack([one.frequency_of for one in at]),
        "explained": torch.stack([one.explained for one in at]),
    }
    coords: dict[str, Any] = {
        "step": steps,
        "neuron": np.arange(len(last.variance)),
        "shown": shown,
        "a": tokens.numpy(),
        "b": tokens.numpy(),
        "answer": tokens.numpy(),
        **places,
        **part_coordinates(parts),
        **({} if is_wave else {"element": task.vocabulary[: parts.n]}),
    }
    if patterns := [one.pattern for one in at if one.pattern is not None]:
        attention = torch.stack(patterns)
        values["attention"] = attention
        values["head_share"] = grid_share(attention[:, :, 0].double(), parts)
        coords |= {"head": np.arange(attention.shape[1]), "source": ["a", "b"]}
    return described(
        VARIABLES,
        {name: value.numpy() for name, value in values.items()},
        coords=coords,
        attrs={
            "order": "additive" if parts.n == task.n_answers else "multiplicative",
            **of_steps,
            **run.milestones,
        },
        words=part_units(parts),
    )


class _At(NamedTuple):
    """What is measured at one step.

    Attributes:
        activation: of the last layer's neurons over the grid.
        variance: of each.
        frequency_of: the part that explains most of each.
        explained: and the share of the variance.
        pattern: each head's attention to a and to b.
    """

    activation: Float[Tensor, "neuron n n"]
    variance: Float[Tensor, " neuron"]
    frequency_of: Integer[Tensor, " neuron"]
    explained: Float[Tensor, " neuron"]
    pattern: Float[Tensor, "head 2 n n"] | None

    @classmethod
    @torch.no_grad()
    def step(cls, run: Run, step: int, parts: Harmonics) -> "_At":
        """The grids of one checkpoint, and the share of each neuron's best part."""
        model, n, task = run.model(step), parts.n, run.task
        assert isinstance(task, BinaryOperation)
        layer = run.wiring.hidden[-1]
        names = [layer.hook, layer.pattern]
        grid = task.tokens(torch.cartesian_prod(parts.tokens, parts.tokens))
        _, cache = model.run_with_cache(grid, names_filter=lambda name: name in names)
        post = cache[layer.hook]
        post = post[:, -1] if post.ndim == 3 else post
        activation = post.T.reshape(-1, n, n).double()
        share = grid_share(activation, parts)
        variance = activation.flatten(1).var(1, correction=0)
        pattern = None
        if layer.pattern is not None:
            pattern = cache[layer.pattern][:, :, -1, :2].permute(1, 2, 0).reshape(-1, 2, n, n)
        frequency_of = dominant_frequency(share)
        return cls(activation, variance, frequency_of, share.amax(-1), pattern)

    def only(self, shown: Sequence[int]) -> "_At":
        """The same with the activations of these neurons alone."""
        return self._replace(activation=self.activation[list(shown)])


def _most_active(
    variance: Float[Tensor, " neuron"], frequency_of: Integer[Tensor, " neuron"], count: int
) -> list[int]:
    """The neurons of largest variance, first one of each frequency, then whatever is left."""
    falling = variance.argsort(descending=True).tolist()
    frequency = frequency_of.tolist()
    first: dict[int, int] = {}
    for neuron in falling:
        first.setdefault(frequency[neuron], neuron)
    leaders = list(first.values())
    return (leaders + [neuron for neuron in falling if neuron not in leaders])[:count]


def _fourier(
    grids: Float[Tensor, "... n n"],
) -> tuple[Float[Tensor, "... i j"], dict[str, np.ndarray]]:
    """|two-dimensional Fourier transform| / n², i ≥ 0 (the rest mirrors it), j around 0."""
    n = grids.shape[-1]
    spectrum = torch.fft.fft2(grids)[..., : n // 2 + 1, :].abs() / n**2
    places = {"i": np.arange(n // 2 + 1), "j": np.arange(-((n - 1) // 2), n // 2 + 1)}
    return spectrum.roll((n - 1) // 2, dims=-1), places


def _blocks(
    grids: Float[Tensor, "... n n"], parts: Harmonics
) -> tuple[Float[Tensor, "... i j"], dict[str, np.ndarray]]:
    """The root mean square of what each pair of representations makes up of functions of (a, b)."""
    places = np.arange(len(parts.names))
    return parts.pair_power(grids).sqrt() / parts.n, {"i": places, "j": places}


def finding(dataset: xr.Dataset) -> str:
    """How much single parts explain of the neurons' activations, and of the attention."""
    first, last = dataset.isel(step=0), dataset.isel(step=-1)
    used, count = np.unique(last.frequency_of.where(last.variance > 0, 0), return_counts=True)
    groups = sorted(((c, int(k)) for k, c in zip(used, count, strict=True) if k), reverse=True)
    start, at = int(first.step), int(last.step)
    before = f"; {_median(first):.0%} at step {start:,}"
    is_told = np.isfinite(_median(first)) and start != at
    named = part_names(dataset)
    text = (
        f"one {part_word(dataset)} explains {_median(last):.0%} of a neuron's activation over all "
        f"pairs at step {int(last.step):,} (median{before if is_told else ''}); "
        f"{part_words(dataset)} (neurons): "
        f"{', '.join(f'{named[k]} ({c})' for c, k in groups[:6])}"
    )
    if not groups:
        text = f"no neuron's activation depends on the pair at step {int(last.step):,}"
    if "head_share" in dataset:
        share = last.head_share.fillna(0)
        best = zip(
            share.argmax("frequency").to_numpy(), share.max("frequency").to_numpy(), strict=True
        )
        text += "; heads: " + ", ".join(f"{named[k]} ({value:.0%})" for k, value in best)
    return and_left_out(text, dataset)


def _median(at: xr.Dataset) -> float:
    """The median explained share over neurons that respond at all."""
    return float(at.explained.median(skipna=True))


# --- figure -------------------------------------------------------------------------------------


def draw(
    measured: Mapping[str, xr.Dataset],
    *,
    log: Annotated[bool, "logarithmic step axis"] = True,
) -> go.Figure:
    """A block of panels for each run, a neuron in each column; below, all neurons."""
    measured = {label: _without_mean(dataset) for label, dataset in measured.items()}
    figure = Panels(
        measured, title=_title(measured), subtitle=_subtitle(measured), log=log, stops=_STOPS
    )
    width = max(_width(dataset) for dataset in measured.values())
    for label, dataset in representatives(measured).items():
        _draw_grids(figure, dataset, label, width)
        _draw_transforms(figure, dataset, label, width)
        _draw_pushes(figure, dataset, label, width)
        if "attention" in dataset:
            _draw_heads(figure, dataset, label, width)
    row = figure.row(height=200)
    trend = row.over_training(
        f"a single {part_word(*measured.values())}'s share, median over neurons",
        y={"title": "of variance", **SHARE},
    )
    every = row.panel("all neurons", x=_part_axis(measured), y=SHARE)
    for label, dataset in measured.items():
        median = dataset.explained.median("neuron", skipna=True)
        trend.lines(dataset.step, median, run=label, value="%{y:.1%} explained", follow=True)
        every.add(
            "scatter",
            run=label,
            at=_neurons,
            hover="neuron %{customdata[0]}<br>%{customdata[1]}<br>%{y:.1%}",
            mode="markers",
            marker={"opacity": 0.6},
        )
    return figure.draw()


def _width(dataset: xr.Dataset) -> int:
    """Panels in a row: a neuron or a head in each; two at least, for the row below."""
    return max(2, dataset.sizes["shown"], min(4, dataset.sizes.get("head", 0)))


def _part_axis(measured: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    axis = part_axis(*measured.values())
    return axis if "ticktext" in axis else axis | {"rangemode": "tozero"}


def _without_mean(dataset: xr.Dataset) -> xr.Dataset:
    """The amplitudes with a hole in the place of the mean, which would outshine the waves."""
    return dataset.assign(transform=dataset.transform.where((dataset.i != 0) | (dataset.j != 0)))


def _neurons(at: xr.Dataset) -> dict[str, Any]:
    responds = at.variance.to_numpy() > 0
    part = at.frequency_of.to_numpy()[responds]
    told = [f"{part_word(at)} {name}" for name in np.asarray(part_names(at))[part]]
    return {
        "x": part,
        "y": at.explained.to_numpy()[responds],
        "customdata": np.stack([at.neuron.to_numpy()[responds].astype(str), told], -1),
    }


def _panels(
    figure: Panels,
    height: float,
    width: int,
    titles: Sequence[str],
    x: dict[str, Any],
    y: dict[str, Any],
) -> list[Panel]:
    """A row of as many panels as titles, whose x axes, and y axes, mean the same."""
    row = figure.row(height=height)
    panels = [
        row.panel(
            title,
            x={"showgrid": False, "nticks": 4} | x,
            y={"showgrid": False, "nticks": 5} | y | ({"title": ""} if place else {}),
        )
        for place, title in enumerate(titles)
    ]
    for _ in range(width - len(titles)):
        row.empty()
    return panels


def _names(dataset: xr.Dataset) -> np.ndarray:
    """What operands and answers are called, in their order: residues, or a group's elements."""
    return np.asarray(dataset["element" if "element" in dataset else "answer"])


def _grid(dataset: xr.Dataset) -> dict[str, Any]:
    """The places of a picture over all pairs, and what a hover calls them.

    A group's elements are places by name; residues stand in an order that need not be theirs.
    """
    names = _names(dataset)
    if "element" in dataset:
        return {"x": names, "y": names}
    return {"customdata": np.stack(np.meshgrid(names, names, indexing="ij"), -1)}


def _axis(title: str, dataset: xr.Dataset) -> dict[str, Any]:
    """An axis of operands or answers: elements of a group are in the hover, not along it."""
    named = {"title": title, "type": "category", "showticklabels": False, "ticks": ""}
    return named if "element" in dataset else {"title": f"{_log(dataset)}{title}"}


def _pair(dataset: xr.Dataset) -> str:
    """What a hover says of a place of `_grid`."""
    if "element" in dataset:
        return "a = %{y}, b = %{x}"
    return "a = %{customdata[0]}, b = %{customdata[1]}"


def _part(name: str, place: int, attribute: str, **where: str) -> AtStep:
    """One neuron's, or one head's, part of a variable at a step, as an attribute of a trace."""
    return lambda now: {attribute: now[name].sel(where)[place].to_numpy()}


def _log(dataset: xr.Dataset) -> str:
    """What stands before a residue where residues are in the order of their logarithms."""
    return "" if dataset.attrs["order"] == "additive" else "log "


def _draw_grids(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """Each shown neuron's activation over all pairs."""
    last = dataset.isel(step=-1)
    titles, named = [], part_names(dataset)
    for neuron in dataset.shown.to_numpy().tolist():
        one = last.sel(neuron=neuron)
        best = named[int(one.frequency_of)]
        titles.append(f"neuron {neuron}<br>{_symbol(dataset)} = {best}: {float(one.explained):.0%}")
    titles[0] = f"<b>{label}</b>: {titles[0]}"
    lowest, highest = (float(end) for end in (dataset.activation.min(), dataset.activation.max()))
    colors = figure.colors("activation", min(0.0, lowest), highest)
    axes = _axis("b", dataset), _axis("a", dataset)
    for shown, panel in enumerate(_panels(figure, 130, width, titles, *axes)):
        panel.heat(
            colors,
            run=label,
            at=_part("activation", shown, "z"),
            hover=f"{_pair(dataset)}<br>activation %{{z:.3g}}",
            **_grid(dataset),
        )


def _draw_transforms(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """What each shown neuron's grid is made of: waves in a and b, or representations of them."""
    last = dataset.transform[-1]
    colors = figure.colors("amplitude", 0, float(last.max()), scale="Greys")
    if "representation" in dataset:
        names, title = np.asarray(part_names(dataset)), "ρ of a, ρ of b"
        bare: dict[str, Any] = {"type": "category", "showticklabels": False, "ticks": ""}
        # A blank title leaves its room to the names.
        named = {"title": " ", "type": "category", "tickfont": {"size": 9}, "nticks": 8}
        axes = [bare | {"title": "ρ of b"}, named]
        places = {"x": names, "y": names}
    else:
        title = "Fourier transform"
        axes = [{"title": f"frequency in {each}"} for each in ("b", "a")]
        places = {"x": dataset.j.to_numpy(), "y": dataset.i.to_numpy()}
    titles = [title] * dataset.sizes["shown"]
    for shown, panel in enumerate(_panels(figure, 85, width, titles, *axes)):
        if shown and "representation" in dataset:
            panel.y |= bare
        panel.heat(
            colors,
            run=label,
            at=_part("transform", shown, "z"),
            hover="(%{y}, %{x})<br>amplitude %{z:.3g}",
            **places,
        )


def _draw_pushes(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """The answers that each shown neuron pushes, on one scale for each neuron at all steps."""
    titles = ["answers it pushes"] * dataset.sizes["shown"]
    axes = _axis("answer", dataset), {"title": "logit per activation"}
    for shown, panel in enumerate(_panels(figure, 95, width, titles, *axes)):
        top = 1.1 * float(np.abs(dataset.push[:, shown]).max())
        panel.y |= {"range": [-top, top]}
        panel.add(
            "scatter",
            run=label,
            at=_part("push", shown, "y"),
            hover="answer %{customdata}<br>logit per activation %{y:.3g}",
            customdata=_names(dataset),
            mode="lines+markers",
            marker={"size": 3},
            line={"width": 1},
        )


def _draw_heads(figure: Panels, dataset: xr.Dataset, label: str, width: int) -> None:
    """Each head's attention to the first operand over all pairs."""
    share = dataset.isel(step=-1).head_share.fillna(0).to_numpy()[:width]
    named = part_names(dataset)
    titles = [
        f"head {head}, to token a<br>{_symbol(dataset)} = {named[one.argmax()]}: {one.max():.0%}"
        for head, one in enumerate(share)
    ]
    colors = figure.colors("attention", 0, 1, scale=DIVERGING)
    axes = _axis("b", dataset), _axis("a", dataset)
    for head, panel in enumerate(_panels(figure, 130, width, titles, *axes)):
        panel.heat(
            colors,
            run=label,
            at=_part("attention", head, "z", source="a"),
            hover=f"{_pair(dataset)}<br>attention to a %{{z:.1%}}",
            **_grid(dataset),
        )


def _symbol(dataset: xr.Dataset) -> str:
    return "ρ" if "representation" in dataset else "ω"


def _title(measured: Mapping[str, xr.Dataset]) -> str:
    """Whether neurons respond in one part each, in all runs."""
    last = [_median(dataset.isel(step=-1)) for dataset in measured.values()]
    if min(last) <= 0.6:
        return "What neurons respond to, and which answers they push"
    if part_word(*measured.values()) == "frequency":
        return "Each neuron responds to pairs (a, b) in waves of one frequency"
    return "Each neuron responds to pairs (a, b) in one representation"


def _subtitle(measured: Mapping[str, xr.Dataset]) -> str:
    medians = "; ".join(
        f"{label}: one {part_word(dataset)} explains {_median(dataset.isel(step=-1)):.0%} of an "
        "activation (median, last step)"
        for label, dataset in measured.items()
    )
    if part_word(*measured.values()) == "frequency":
        return (
            f"{medians}<br>ω: the frequency that explains most at the last step, with its share of "
            "the variance; Fourier transforms without the mean"
        )
    return f"{medians}<br>ρ: the representation that explains most, with its share of the variance"
