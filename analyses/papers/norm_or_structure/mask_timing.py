"""When does the mask act? The ticket's start without its mask, and its mask from a later step."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.norm_or_structure import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "Mask as start: the pruned weights begin at 0, and are trained. Mask from step s: the mask "
    "prunes the dense network's weights at s, and the optimizer starts anew; steps are counted "
    "from s."
)
VERSION = 2
#: The steps of the dense network at which the mask is imposed, and those of the preview.
STEPS = {100: 50, 1000: 200, 5000: 500}


def plan(scale: papers.Scale) -> Plan:
    """Tickets, their starts without the mask, and masks imposed on the trained dense network."""
    steps = scale.choose(",".join(map(str, STEPS)), ",".join(map(str, STEPS.values())))
    return scale.plan(
        "add",
        shared.ticket(scale),
        shared.brief(scale, "retrain", "start", of="ticket", start="run:parent@0"),
        shared.brief(scale, "ticket", "imposed", rate=0.6, rewind=steps),
    )


def _imposed(step: int) -> papers.Quantity:
    return papers.t_gen(network="add", stage="imposed", rewind=[step, STEPS[step]])


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen of each kind of run."""
    kinds = {
        "dense, free": papers.t_gen(network="add", stage="base"),
        "mask as start": papers.t_gen(network="add", stage="start"),
        **{
            f"mask from step {small if shared.is_quick(sweep) else step:,}, counted from there": (
                _imposed(step)
            )
            for step, small in STEPS.items()
        },
        "ticket (mask from step 0)": papers.t_gen(network="add", stage="ticket"),
    }
    title = "The mask as start, and from a later step on"
    return {"timing": shared.dot_figure(title, {name: of(sweep) for name, of in kinds.items()})}


_TICKET = papers.t_gen(network="add", stage="ticket")
_BASE = papers.t_gen(network="add", stage="base")
_SOURCE = "after arXiv 2310.19470"
CLAIMS = {
    "needs-the-mask": papers.Claim(
        "The ticket's initial weights without its mask keep less than half of the lead.",
        _SOURCE,
        "1 − position of the run that starts like the ticket, in log t_gen",
        papers.below(0.5),
        shared.rest(shared.position(papers.t_gen(network="add", stage="start"), _TICKET, _BASE)),
    ),
    **{
        f"imposed-at-{step}": papers.Claim(
            f"Imposed at step {step:,} of the dense network, the mask gives more than half of the "
            "lead.",
            _SOURCE,
            "1 − position of the masked run, in log t_gen counted from that step",
            papers.above(0.5),
            shared.rest(shared.position(_imposed(step), _TICKET, _BASE)),
        )
        for step in STEPS
    },
}
