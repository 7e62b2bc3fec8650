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
_FREE = papers.t_gen(network="add", stage="base")


def plan(scale: papers.Scale) -> Plan:
    """Free runs, and constrained ones."""
    constraints = ",".join(_constraint(arm, quick=scale.quick) for arm in _ARMS)
    return papers.join([scale.plan("add"), scale.plan("parts", over={"constraint": constraints})])


def _constraint(arm: str, *, quick: bool) -> str:
    kept = _KEPT_QUICK if quick else _KEPT
    return _ARMS[arm].format(kept=kept, dimensions=2 * len(kept.split("+")))


def _held(arm: str) -> papers.Quantity:
    constraints = {_constraint(arm, quick=quick) for quick in (False, True)}
    return papers.t_gen(network="parts", constraint=[*constraints])


def draw(sweep: Sweep) -> papers.Figures:
    """t_gen of each kind of run."""
    values = {"free": _FREE(sweep)} | {arm: _held(arm)(sweep) for arm in _ARMS}
    return {"parts": shared.dot_figure("Few frequencies, or a frozen matrix", values)}


def _earlier(what: str, text: str) -> papers.Claim:
    return papers.Claim(
        text,
        "after arXiv 2301.05217",
        f"t_gen of the free network over t_gen with few frequencies in {what}",
        papers.EARLIER,
        _FREE / _held(f"{what}: few frequencies"),
    )


def _only_frequencies(what: str, text: str) -> papers.Claim:
    return papers.Claim(
        text,
        "a control",
        f"t_gen with random directions in {what} over t_gen with few frequencies",
        papers.EARLIER,
        _held(f"{what}: random directions") / _held(f"{what}: few frequencies"),
    )


def _frozen(name: str, what: str) -> papers.Claim:
    return papers.Claim(
        f"With its initial {what} frozen, a network generalizes later.",
        "after arXiv 2301.05217",
        f"t_gen with {name} frozen over t_gen of the free network",
        papers.EARLIER,
        _held(f"{name} frozen") / _FREE,
    )


CLAIMS = {
    "periodic-embedding": _earlier(
        "W_E", "A network with a periodic embedding generalizes earlier."
    ),
    "periodic-both": _earlier(
        "W_E, W_U",
        "A network with a periodic embedding and unembedding generalizes earlier.",
    ),
    "without-five": papers.Claim(
        "Without the same five frequencies it generalizes about as late as with all.",
        "a control",
        "t_gen with W_E without these five over t_gen of the free network",
        papers.within(0.5, 2, "log"),
        _held("W_E: all others") / _FREE,
    ),
    "embedding-needs-waves": _only_frequencies(
        "W_E", "An embedding of as many random directions brings less than a periodic one."
    ),
    "both-need-waves": _only_frequencies(
        "W_E, W_U",
        "Random directions at both ends bring less than a periodic embedding and unembedding.",
    ),
    "frozen-embedding": _frozen("W_E", "embedding"),
    "frozen-unembedding": _frozen("W_U", "unembedding"),
}
