"""Runs, arms and quantities of several items of the study."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, GREY, Panel, Panels
from mechgrok.analyses.papers.estimates import Estimate
from mechgrok.runs import Run
from mechgrok.sweeps import Sweep

#: Held norms, and the ones of the preview's small networks.
NORMS = {norm: 0.65 * norm for norm in (22, 26, 30, 34, 38, 41, 44, 47, 50)}
#: Those on the grid of norms and temperatures.
GRID_NORMS = (30, 38, 44, 50)
#: Temperatures of the softmax. Four matrices make the logits grow like norm⁴, so that norm 50 at
#: temperature 3 has about the logit scale of norm 38 at temperature 1.
TEMPERATURES = (0.1111, 0.3333, 3, 9)
#: The norm of free runs at t_gen is about 38.
REFERENCE = 38

#: Constraints of a derived run that follow its parent.
NORM, SCALE = "norm:like=parent", "logits:like=parent"
BOTH = f"{NORM}+{SCALE}"
HELD = {NORM: "norm", SCALE: "logit scale", BOTH: "norm and logit scale"}


def held_norms(scale: papers.Scale, full: Sequence[int], quick: Sequence[int]) -> str:
    """The constraints that hold these norms."""
    norms = [NORMS[norm] for norm in quick] if scale.quick else full
    return ",".join(f"norm:value={norm:g}" for norm in norms)


def cell(norm: int, temperature: float = 1, network: str = "norms") -> dict[str, Any]:
    """The settings of the runs at a norm and a temperature."""
    at = {"constraint": [f"norm:value={norm:g}", f"norm:value={NORMS[norm]:g}"]}
    if temperature == 1:
        return {"network": network, **at}
    return {"network": "temperatures", "temperature": temperature, **at}


def is_quick(sweep: Sweep) -> bool:
    """Whether the runs are the preview's."""
    return any(str(member.settings.get("plan")).startswith("quick-") for member in sweep.members)


def shown_norm(sweep: Sweep, norm: int) -> float:
    """The norm that the runs for ``norm`` are held at, at the sweep's scale."""
    return NORMS[norm] if is_quick(sweep) else norm


def ticket(scale: papers.Scale) -> papers.Stage:
    """The grokked ticket at k = 0.6, as long after t_gen as the free runs."""
    return scale.stage("ticket", "ticket", 60_000, rate=0.6, until_grokked=12_000)


def brief(scale: papers.Scale, make: str, name: str, **options: Any) -> papers.Stage:
    """Derived runs that end when they generalize, or at step 30,000."""
    return scale.stage(make, name, 30_000, until_grokked=0, **options)


def tickets_held(scale: papers.Scale) -> papers.Stage:
    """The ticket at the norm, at the logit scale, and at both of its dense network."""
    return brief(scale, "ticket", "ticket-held", rate=0.6, constraints=",".join(HELD))


def dense_held(scale: papers.Scale) -> papers.Stage:
    """The dense network at the norm, at the logit scale, and at both of its ticket."""
    options = {"of": "ticket", "constraints": ",".join(HELD)}
    return brief(scale, "retrain", "dense-held", **options)


def position(of: papers.Quantity, zero: papers.Quantity, one: papers.Quantity) -> papers.Quantity:
    """Where log ``of`` is between log ``zero`` (0) and log ``one`` (1).

    Censored values give bounds. Seeds are skipped if ``zero`` is censored, or ``one`` not larger.
    """

    def values(sweep: Sweep) -> papers.BySeed:
        a, b, c = of(sweep), zero(sweep), one(sweep)
        known = [seed for seed in a if seed in b and seed in c]
        return {
            seed: _position(a[seed], b[seed].low, c[seed])
            for seed in known
            if b[seed].low == b[seed].high < c[seed].low
        }

    return papers.Quantity(values)


def _position(of: papers.Bounds, zero: float, one: papers.Bounds) -> papers.Bounds:
    """The least and the largest position; each is at an end of both bounds."""
    ends = [
        math.log(x / zero) / math.log(y / zero) if math.isfinite(y) else 0.0
        for x in of
        for y in one
        if math.isfinite(x)
    ]
    return papers.Bounds(min(ends), max(ends) if math.isfinite(of.high) else math.inf)


def rest(quantity: papers.Quantity) -> papers.Quantity:
    """1 − the quantity."""

    def values(sweep: Sweep) -> papers.BySeed:
        return {seed: papers.Bounds(1 - v.high, 1 - v.low) for seed, v in quantity(sweep).items()}

    return papers.Quantity(values)


def log_scale(run: Run) -> float:
    """ln of the logit scale that the softmax sees: mean over evaluations from t_mem to t_gen."""
    if run.t_mem is None:
        return math.nan
    table = run.metrics
    last = table.step.max() if run.t_gen is None else run.t_gen
    table = table[(table.step >= run.t_mem) & (table.step <= last)]
    return float((table.logit_scale / table.temperature).map(math.log).mean())


def lost(arm: str, network: str) -> papers.Quantity:
    """The share of the ticket's lead that it loses when held at the dense network's ``arm``."""
    of = papers.t_gen(network=network, stage="ticket-held", constraints=arm)
    return position(of, *_ends(network))


def gained(arm: str, network: str) -> papers.Quantity:
    """The share of the ticket's lead that the dense network gains at the ticket's ``arm``."""
    of = papers.t_gen(network=network, stage="dense-held", constraints=arm)
    return rest(position(of, *_ends(network)))


def _ends(network: str) -> tuple[papers.Quantity, papers.Quantity]:
    """t_gen of the ticket and of the free dense network."""
    ticket, base = (papers.t_gen(network=network, stage=s) for s in ("ticket", "base"))
    return ticket, base


def _name(network: str, constraints: str) -> str:
    """The name of a held arm in figures: ``dense at ticket's norm``, ``ticket at both``."""
    at = {"dense": "dense at ticket's", "ticket": "ticket at dense"}[network]
    return f"{network} at both" if constraints == BOTH else f"{at} {HELD[constraints]}"


def arms(network: str) -> dict[str, dict[str, Any]]:
    """The settings of the arms of the ticket's experiment, by their names in figures."""
    named = {"dense, free": {"stage": "base"}}
    for held in ("dense", "ticket"):
        named |= {_name(held, c): {"stage": f"{held}-held", "constraints": c} for c in HELD}
    named["ticket, free"] = {"stage": "ticket"}
    return {name: {"network": network, **settings} for name, settings in named.items()}


def ticket_figures(sweep: Sweep, network: str, task: str) -> papers.Figures:
    """t_gen of every arm beside the shares of the lead, and the arms over training."""
    subtitle = (
        "left: a small point for each seed, a large one for the median, open triangles: later; "
        "right: median and 95 % interval (with fewer than six seeds, the range) in log t_gen"
    )
    figure = Panels(
        {},
        title=f"How much of the ticket's lead goes with norm and logit scale: {task}",
        subtitle=subtitle,
    )
    row = figure.row(height=330)
    names = list(arms(network))
    y = axis_of_names(names)
    left = row.panel("when each generalizes", x=LOG_STEPS, y=y)
    values = {name: papers.t_gen(**settings)(sweep) for name, settings in arms(network).items()}
    papers.points(left, values, COLORS[0], sideways=True)
    x = {
        "title": "share of the lead",
        "range": [-0.3, 1.3],
        "tickformat": ".0%",
    }
    y = {name: value for name, value in y.items() if name not in ("tickvals", "ticktext")}
    right = row.panel(
        "gained by the dense network, lost by the ticket",
        x=x,
        y=y | {"showticklabels": False},
        width=0.7,
    )
    shares = {_name("dense", c): gained(c, network) for c in HELD}
    draw_shares(right, {name: of(sweep) for name, of in shares.items()}, COLORS[2])
    shares = {_name("ticket", c): lost(c, network) for c in HELD}
    draw_shares(right, {name: of(sweep) for name, of in shares.items()}, COLORS[1])
    for at in (0, 1):
        right.add(
            "scatter",
            x=[at, at],
            y=[names[0], names[-1]],
            mode="lines",
            color=GREY,
            line={"width": 1, "dash": "dot"},
        )
    over_training = papers.training_figure(
        sweep,
        arms(network),
        f"The ticket and the dense network at each other's norm: {task}",
        ("accuracy", "L2 √Σw²"),
    )
    return {"lead": figure.draw(), "training": over_training}


#: A logarithmic axis of training steps.
LOG_STEPS = {"title": "t_gen", "type": "log", "tickformat": "~s", "dtick": "D2"}


def axis_of_names(names: Sequence[str]) -> dict[str, Any]:
    """A vertical axis of names, from top to bottom."""
    order: dict[str, Any] = {"categoryorder": "array", "categoryarray": [*names][::-1]}
    ticks = {"tickvals": [*names], "ticktext": [*names], "range": [-0.6, len(names) - 0.4]}
    return {"type": "category", **order, **ticks}


def dot_figure(
    title: str,
    values: Mapping[str, papers.BySeed],
    x: str | Mapping[str, Any] = LOG_STEPS,
    further: str = "open triangles: later",
) -> go.Figure:
    """A quantity of several kinds of runs by name, each with a point for every seed."""
    subtitle = f"a small point for each seed, a large one for the median; {further}"
    shown = {name: of_seeds for name, of_seeds in values.items() if of_seeds}
    figure = Panels({}, title=title, subtitle=subtitle)
    row = figure.row(height=60 + 32 * len(shown))
    panel = row.panel(x=x, y=axis_of_names([*shown]))
    papers.points(panel, shown, COLORS[0], sideways=True)
    return figure.draw()


def draw_shares(panel: Panel, values: Mapping[str, papers.BySeed], color: str) -> None:
    """Draw the median and the interval of shares by name, on a panel with names on the y axis."""
    for name, by_seed in values.items():
        if not by_seed:
            continue
        estimate = Estimate.of(list(by_seed.values()))
        ends = [min(2.0, max(-1.0, v)) for v in estimate.interval or estimate.median]
        style: dict[str, Any] = {"color": color, "hover": f"{name}: {estimate}"}
        panel.add("scatter", x=ends, y=[name, name], mode="lines", line={"width": 3}, **style)
        middle = [min(2.0, max(-1.0, v)) for v in estimate.median]
        panel.add("scatter", x=middle[:1], y=[name], mode="markers", marker={"size": 11}, **style)


def ticket_claims(network: str) -> dict[str, papers.Claim]:
    """Claims on how much of the ticket's lead goes with norm and logit scale."""
    share = "share of the lead, in log t_gen: "
    ours, theirs = "after arXiv 2310.19470", "after arXiv 2606.13753 and 2606.18465"
    lead = papers.t_gen(network=network, stage="base") / papers.t_gen(
        network=network, stage="ticket"
    )
    held = papers.t_gen(network=network, stage="ticket-held", constraints=BOTH)
    claims = {
        "lead": papers.Claim(
            "The free ticket generalizes earlier than its dense network.",
            ours,
            "t_gen of the dense network over that of its ticket",
            papers.EARLIER,
            lead,
        ),
        "still-ahead": papers.Claim(
            "Held at its dense network's norm and logit scale, the ticket is still ahead of it.",
            ours,
            "t_gen of the free dense network over that of the ticket held at both",
            papers.EARLIER,
            papers.t_gen(network=network, stage="base") / held,
        ),
        "most-stays": papers.Claim(
            "At the dense network's norm and logit scale, the ticket keeps over half of its lead.",
            ours,
            share + "1 − position of the ticket held at both",
            papers.above(0.5),
            rest(lost(BOTH, network)),
        ),
    }
    for constraint, what in HELD.items():
        key = "both" if constraint == BOTH else what.replace(" ", "-")
        claims[f"lost-with-{key}"] = papers.Claim(
            f"At the dense network's {what}, the ticket loses more than half of its lead.",
            theirs,
            share + f"position of the ticket held at the dense network's {what}",
            papers.above(0.5),
            lost(constraint, network),
        )
        claims[f"gained-with-{key}"] = papers.Claim(
            f"At the ticket's {what}, the dense network gains more than half of the lead.",
            theirs,
            share + f"1 − position of the dense network held at the ticket's {what}",
            papers.above(0.5),
            gained(constraint, network),
        )
    return claims


def norm_at_gen(run: Run) -> float:
    """The L2 norm at t_gen."""
    table = run.metrics
    return math.nan if run.t_gen is None else float(table.l2[table.step == run.t_gen].iloc[0])
