"""Is periodicity a cause? Networks with few frequencies, or with a frozen matrix."""

from mechgrok.analyses import papers
from mechgrok.analyses.papers.norm_or_structure import shared
from mechgrok.sweeps import Plan, Sweep

SETTINGS = (
    "Dense networks. After every step the embedding W_E, or W_E and the unembedding W_U, are "
    "projected on five frequencies over the tokens and the constant, or W_E on all others; or on "
    "as many random directions, two per frequency; or a matrix stays as it was initialized. The "
    "frequencies and directions were chosen arbitrarily and are the same for all seeds; the weight "
    "norm is not held. The arms with random directions were added after the others had been seen."
)
#: Five of the 33 frequencies, and three of the preview's 14.
_KEPT, _KEPT_QUICK = "4+11+17+24+30", "3+7+12"
#: The constraints by their names in figures.
_ARMS = {
    "W_E: few frequencies": "frequencies:of=W_E:keep={kept}",
    "W_E, W_U: few frequencies": "frequencies:of=W_E+W_U:keep={kept}",
    "W_E: all others": "frequencies:of=W_E:remove={kept}",
    "W_E: random directions": "subspace:of=W_E:dimensions={dimensions}",
    "W_E, W_U: random directions": "subspace:of=W_E+W_U:dimensions={dimensions}",
    "W_E frozen": "freeze:of=W_E",
    "W_U frozen": "freeze:of=W_U",
}


def plan(scale: papers.Scale) -> Plan:
    """Free runs, and constrained ones."""
    constraints = ",".join(_constraint(arm, quick=scale.quick) for arm in _ARMS)
    return papers.join([scale.plan("add"), scale.plan("parts", over={"constraint": constraints})])


def _constraint(arm: str, *, quick: bool) -> str:
    kept = _KEPT_QUICK if quick else _KEPT
    return _ARMS[arm].format(kept=kept, dimensions=2 * len(kept.split("+")))


def _t_gen(arm: str) -> papers.Quantity:
    if arm == "free":
        return papers.t_gen(network="add", stage="base")
    constraints = {_constraint(arm, quick=quick) for quick in (False, True)}
    return papers.t_gen(network="parts", constraint=[*constraints])


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen of each kind of run."""
    values = {arm: _t_gen(arm)(sweep) for arm in ("free", *_ARMS)}
    return {"parts": shared.dot_figure("Few frequencies, or a frozen matrix", values)}


def _earlier(text: str, source: str, late: str, early: str) -> papers.Claim:
    quantity = f"t_gen ({late}) over t_gen ({early})"
    return papers.Claim(text, source, quantity, papers.EARLIER, _t_gen(late) / _t_gen(early))


_SOURCE, _CONTROL = "after arXiv 2301.05217", "a control"
CLAIMS = {
    "periodic-embedding": _earlier(
        "A network with a periodic embedding generalizes earlier.",
        _SOURCE,
        "free",
        "W_E: few frequencies",
    ),
    "periodic-both": _earlier(
        "A network with a periodic embedding and unembedding generalizes earlier.",
        _SOURCE,
        "free",
        "W_E, W_U: few frequencies",
    ),
    "without-five": papers.Claim(
        "Without the same five frequencies it generalizes about as late as with all.",
        _CONTROL,
        "t_gen (W_E: all others) over t_gen (free)",
        papers.within(0.5, 2, "log"),
        _t_gen("W_E: all others") / _t_gen("free"),
    ),
    "embedding-needs-waves": _earlier(
        "An embedding of as many random directions brings less than a periodic one.",
        _CONTROL,
        "W_E: random directions",
        "W_E: few frequencies",
    ),
    "both-need-waves": _earlier(
        "Random directions at both ends bring less than a periodic embedding and unembedding.",
        _CONTROL,
        "W_E, W_U: random directions",
        "W_E, W_U: few frequencies",
    ),
    "frozen-embedding": _earlier(
        "With its initial embedding frozen, a network generalizes later.",
        _SOURCE,
        "W_E frozen",
        "free",
    ),
    "frozen-unembedding": _earlier(
        "With its initial unembedding frozen, a network generalizes later.",
        _SOURCE,
        "W_U frozen",
        "free",
    ),
}
