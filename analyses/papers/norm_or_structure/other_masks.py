"""Do masks without structure lead as well, at the norm and logit scale of the ticket?"""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.norm_or_structure import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "The ticket's mask, shuffled within each matrix, and a random mask, both at k = 0.6 and on the "
    "dense network's initial weights; free, and at the ticket's norm, logit scale, or both. The "
    "random mask is the same for all seeds."
)
VERSION = 2
_MASKS = ("shuffled", "random")


def plan(scale: papers.Scale) -> Plan:
    """Tickets, and networks with shuffled and random masks, free and at the ticket's norm."""
    shuffled = {"of": "ticket", "shuffle_mask": True, "reinit": "own", "rate": 0.6}
    held = {"constraints": ",".join(shared.HELD)}
    # A random mask of a ticket would be the ticket's; of the held dense networks it is not, and
    # their constraints are inherited.
    random = {"method": "random", "rate": 0.6}
    return scale.plan(
        "add",
        shared.ticket(scale),
        shared.dense_held(scale),
        shared.brief(scale, "ticket", "shuffled", **shuffled),
        shared.brief(scale, "ticket", "shuffled-held", **shuffled, **held),
        shared.brief(scale, "ticket", "random", **random),
        shared.brief(scale, "ticket", "random-held", of="dense-held", **random),
    )


def _t_gen(mask: str, constraints: str) -> papers.Quantity:
    return papers.t_gen(network="add", stage=f"{mask}-held", constraints=constraints)


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen of each mask, free and held."""
    kinds = {"dense, free": papers.t_gen(network="add", stage="base")}
    for mask in _MASKS:
        kinds[f"{mask} mask, free"] = papers.t_gen(network="add", stage=mask)
        for constraints, what in shared.HELD.items():
            kinds[f"{mask} mask at ticket's {what}"] = _t_gen(mask, constraints)
    kinds["ticket, free"] = papers.t_gen(network="add", stage="ticket")
    title = "Masks without structure at the ticket's norm and logit scale"
    return {"masks": shared.dot_figure(title, {name: of(sweep) for name, of in kinds.items()})}


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
