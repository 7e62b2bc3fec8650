"""Do masks without structure lead as well, at the norm and logit scale of the ticket?"""

from typing import Any

from mechgrok.analyses import papers
from mechgrok.analyses.drawing import COLORS, Panels
from mechgrok.analyses.papers.norm_or_structure import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The ticket's mask, shuffled within each matrix, and a random mask, both at k = 0.6 and on the "
    "dense network's initial weights; free, and at the ticket's norm, logit scale, or both."
)
_MASKS: dict[str, dict[str, Any]] = {
    "shuffled": {"shuffle_mask": True},
    "random": {"method": "random"},
}
_FREE_AND_HELD = {"none": "free", **{c: f"at the ticket's {n}" for c, n in shared.HELD.items()}}


def plan(scale: papers.Scale) -> Plan:
    """Tickets, and networks with shuffled and random masks at their norm and logit scale."""
    constraints = ",".join(scale.choose(",".join(_FREE_AND_HELD), f"none,{shared.BOTH}").split(","))
    common = {"of": "ticket", "rate": 0.6, "reinit": "own", "constraints": constraints}
    masks = [
        shared.brief(scale, "ticket", name, **common, **options) for name, options in _MASKS.items()
    ]
    return scale.plan("add", shared.ticket(scale), *masks)


def _t_gen(mask: str, constraints: str) -> papers.Quantity:
    return papers.t_gen(network="add", stage=mask, constraints=constraints)


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen of each mask, free and held."""
    subtitle = "a small point for each seed, a large one for the median; open triangles: later"
    figure = Panels(
        {}, title="Masks without structure at the ticket's norm and logit scale", subtitle=subtitle
    )
    values = {"ticket, free": papers.t_gen(network="add", stage="ticket")(sweep)}
    for mask in _MASKS:
        for constraints, how in _FREE_AND_HELD.items():
            values[f"{mask} mask, {how}"] = _t_gen(mask, constraints)(sweep)
    shown = {name: of for name, of in values.items() if of}
    y = {"type": "category", "categoryorder": "array", "categoryarray": [*shown][::-1]}
    panel = figure.row(height=300).panel(
        x={"title": "t_gen", "type": "log"}, y=y | {"automargin": True}
    )
    papers.points(panel, shown, COLORS[0], sideways=True)
    return {"masks": figure.draw()}


def _claims(mask: str) -> dict[str, papers.Claim]:
    ticket = papers.t_gen(network="add", stage="ticket")
    base = papers.t_gen(network="add", stage="base")
    return {
        f"ticket-before-{mask}": papers.Claim(
            f"The ticket generalizes earlier than a {mask} mask at its norm and logit scale.",
            "after arXiv 2310.19470",
            f"t_gen of the {mask} mask held at both over that of the ticket",
            papers.EARLIER,
            _t_gen(mask, shared.BOTH) / ticket,
        ),
        f"no-lead-{mask}": papers.Claim(
            f"At the ticket's norm and logit scale, a {mask} mask has less than half of its lead.",
            "after arXiv 2310.19470",
            f"1 − position of the {mask} mask held at both, in log t_gen",
            papers.below(0.5),
            shared.rest(shared.position(_t_gen(mask, shared.BOTH), ticket, base)),
        ),
    }


CLAIMS = {name: claim for mask in _MASKS for name, claim in _claims(mask).items()}
