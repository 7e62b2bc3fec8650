"""Edge-popup as the authors run it: half of the pairs, θ_mem of step 1,000, learning rate 0.01."""

from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import torch

from mechgrok.analyses.drawing import COLORS, SHARE, Panels
from mechgrok.analyses.papers import runs
from mechgrok.analyses.papers.claims import A_SHARE, Claim, above, below, within
from mechgrok.analyses.papers.figures import accuracy_figure, by_setting, points
from mechgrok.analyses.papers.quantities import best_accuracy, chosen, metric_at, of_plan, of_run
from mechgrok.analyses.papers.scale import Scale
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep

ALSO = ("v2-fig8",)
#: A split that no θ_mem here was trained on.
OTHER_SPLIT = 1_000
SETTINGS = (
    "The text has 40 % of the pairs for training; every committed configuration of the authors has "
    "50 %, θ_mem of step 1,000, AdamW at 0.01 and weight decay 1 on the scores even where the row "
    'is called "without". Their script runs split seeds 0, 1 and 2 from one checkpoint of split 0: '
    'θ_mem then already answers 50 % and 52 % of the "test" pairs of splits 1 and 2. Whether the '
    "printed table was made so is not known. Here each seed has a θ_mem of its own split, and "
    'beside it, as "another split", edge-popup from the same θ_mem on one that it has not seen. '
    "Networks 16 times as wide are trained of one seed."
)
#: What is trained, by stage.
KINDS = {"weights": "weight decay", "mask": "edge-popup", "both": "edge-popup and weight decay"}


def plan(scale: Scale) -> Plan:
    """What is trained from θ_mem and from θ₀, at both training fractions, and wider networks."""
    at = scale.steps(1000)
    common: dict[str, Any] = {"learning_rate": 0.01}
    search = {"make": "popup", "at": f"0,{at}", "score_weight_decay": 1, **common}
    start = {"at": 0, "rate": 0, "rewind": f"0,{at}", **common}
    stages = [
        runs.stage(scale, "weights", 2000, **start),
        runs.stage(scale, "mask", 2000, **search),
        runs.stage(scale, "both", 2000, train_weights=True, **search),
    ]
    leaked: dict[str, Any] = search | {"at": at, "split_seed": OTHER_SPLIT}
    wide = search | {"at": 0, "width": scale.some("4,8", "2")}
    widest = search | {"at": 0, "width": scale.some("16", "4")}
    # A network 16 times as wide takes 0.5 GB and half an hour a seed.
    one = replace(scale, seeds=scale.seeds[:1])
    return runs.together(
        runs.runs(
            scale,
            "half",
            *stages,
            runs.stage(scale, "leaked", 2000, **leaked),
            runs.stage(scale, "wide", 1000, **wide),
        ),
        runs.runs(one, "start", runs.stage(scale, "wide", 1000, **widest)),
        runs.runs(scale, "add", *stages),
    )


def draw(sweep: Sweep) -> dict[str, go.Figure]:
    """Test accuracy of what is trained from either start, and over widths."""
    figures = {}
    for name, words in (("half", "50 %"), ("add", "40 %")):
        some = of_plan(sweep, name)
        if some is None:
            continue
        groups = {
            f"{kind}, from {'θ₀' if first == 0 else 'θ_mem'}": chosen(
                some, stage=stage, **{"rewind" if stage == "weights" else "at": first}
            )
            for stage, kind in KINDS.items()
            for first in _starts(some)
        }
        if name == "half":
            groups["edge-popup, from θ_mem, another split"] = chosen(some, stage="leaked")
        title = f"From θ_mem and from θ₀, {words} of the pairs for training"
        figures[f"from-{name}"] = accuracy_figure(groups, title)
    figures["widths"] = _widths(sweep)
    return figures


def _widths(sweep: Sweep) -> go.Figure:
    figure = Panels({}, title="Edge-popup in weights that are never trained, over width")
    values = by_setting(sweep.sel(stage="wide"), "width", best_accuracy())
    narrow = of_plan(sweep, "half", stage="mask", at=0)
    if narrow is not None:
        values = {1: best_accuracy()(narrow)} | values
    x = {"title": "times as wide", "type": "log", "tickvals": list(values)}
    y = {"title": "accuracy", **SHARE}
    words = "best test accuracy within 1,000 steps (2,000 at the paper's width)"
    panel = figure.row(height=280).panel(words, x=x, y=y)
    points(panel, values, COLORS[0], hover="%{y:.1%}")
    return figure.draw()


def _starts(sweep: Sweep) -> list[int]:
    starts = {m.settings.get("at") for m in sweep.members if m.stage == "mask"}
    return sorted(int(str(start)) for start in starts)


def _accuracy(name: str, stage: str, step: int, *, from_mem: bool) -> Any:
    """Test accuracy after so many steps of what is trained from θ_mem or from θ₀."""

    def values(sweep: Sweep) -> Any:
        some = of_plan(sweep, name)
        if some is None:
            return {}
        first = _starts(some)[-1 if from_mem else 0]
        start: dict[str, Any] = {"rewind" if stage == "weights" else "at": first}
        return metric_at(step, stage=stage, **start)(some)

    return values


def _known_before(run: Run) -> float:
    """How many test pairs of the other split θ_mem answers, before any search for edges."""
    own = run.task
    other = type(own).model_validate(own.model_dump() | {"split_seed": OTHER_SPLIT})
    at_mem = run.steps[1]  # the only one kept between the first and the last
    inputs, labels = other.test
    with torch.no_grad():
        return float(other.accuracy(run.model(at_mem)(inputs), labels))


def _leak(sweep: Sweep) -> Any:
    some = of_plan(sweep, "half")
    return of_run(_known_before, stage="base")(some) if some is not None else {}


def _wide(sweep: Sweep) -> Any:
    return best_accuracy(stage="wide", width=8)(sweep)


CLAIMS = (
    Claim(
        "pruning-generalizes",
        "Pruning alone, of frozen memorizing weights, makes a network that generalizes.",
        "v3, table 1; v2, figure 8",
        "test accuracy of edge-popup from θ_mem at step 2,000, 50 % of the pairs",
        above(0.9),
        _accuracy("half", "mask", 2000, from_mem=True),
        "0.92 at the end; 0.68 ± 0.19 at 600",
        possible=A_SHARE,
    ),
    Claim(
        "as-the-text-says",
        "The same with 40 % of the pairs, as the text has it.",
        "v3, table 1; v2, figure 8",
        "test accuracy of edge-popup from θ_mem at step 2,000, 40 % of the pairs",
        above(0.9),
        _accuracy("add", "mask", 2000, from_mem=True),
        "0.92",
        possible=A_SHARE,
    ),
    Claim(
        "not-from-scratch",
        "From θ₀ edge-popup at the same width does not get there.",
        "v3, table 1; v2, figure 8",
        "test accuracy of edge-popup from θ₀ at step 2,000, 50 % of the pairs",
        below(0.5),
        _accuracy("half", "mask", 2000, from_mem=False),
        possible=A_SHARE,
    ),
    Claim(
        "both-fastest",
        "Edge-popup with weight decay generalizes fully from θ_mem.",
        "v3, table 1",
        "test accuracy of both from θ_mem at step 1,400, 50 % of the pairs",
        above(0.95),
        _accuracy("half", "both", 1400, from_mem=True),
        possible=A_SHARE,
    ),
    Claim(
        "weight-decay-row",
        "Weight decay from θ_mem is half way at step 600.",
        "v3, table 1",
        "test accuracy of weight decay at learning rate 0.01 from θ_mem at step 600, 50 %",
        below(0.8),
        _accuracy("half", "weights", 600, from_mem=True),
        "0.53, then 0.95 and 1.00",
        possible=A_SHARE,
    ),
    Claim(
        "leak",
        "On another split than its own, θ_mem answers half of the test pairs before any search.",
        "the authors' script, not a claim of the text",
        f"test accuracy of θ_mem on split {OTHER_SPLIT:,}",
        within(0.3, 0.7),
        _leak,
        "0.50 and 0.52",
        possible=A_SHARE,
    ),
    Claim(
        "wide-from-scratch",
        "A network wide enough needs no training of its weights.",
        "v2, figure 8",
        "best test accuracy of edge-popup from θ₀ in a network 8 times as wide, 1,000 steps",
        above(0.8),
        _wide,
        possible=A_SHARE,
    ),
)
