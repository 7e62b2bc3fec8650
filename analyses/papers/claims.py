"""Claims of a paper: a statement and its source, a quantity that tests it, and a rule.

The quantity has a value for each seed. The rule, best fixed before any result is known, decides on
these values (`mechgrok.analyses.papers.rules`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from mechgrok.analyses.papers.quantities import BySeed, Quantity
from mechgrok.analyses.papers.rules import Decides, Verdict

if TYPE_CHECKING:
    from mechgrok.sweeps import Sweep

#: All verdicts, from disagreement to agreement, and that on a statement whose claims, one for each
#: definition of a term, have different verdicts.
DEPENDS = "depends on the definition"
VERDICTS: tuple[str, ...] = (*get_args(Verdict)[:3], DEPENDS, *get_args(Verdict)[3:])


@dataclass(frozen=True)
class Claim:
    """A statement of the paper.

    Attributes:
        text: the statement, paraphrased.
        source: version, figure or table.
        quantity: a description of the quantity of each seed.
        rule: decides the verdict.
        values: computes the quantity of each seed from the item's runs.
        printed: the number in the paper, if any.
        statement: the same short name for claims that test one statement of the paper, each in
            another definition of a term that the paper leaves open; such claims count once.
    """

    text: str
    source: str
    quantity: str
    rule: Decides
    values: Quantity
    printed: str = ""
    statement: str = ""

    def judge(self, sweep: "Sweep", *, quick: bool = False) -> dict[str, Any]:
        """The claim with its verdict and the values by seed, as a row of ``claims.json``."""
        return self.judge_values(self.values(sweep), quick=quick)

    def judge_values(self, by_seed: BySeed, *, quick: bool = False) -> dict[str, Any]:
        """The same from the values; a key is a seed, or a tuple of a seed and more."""
        values = list(by_seed.values())
        seeds = len({key[0] if isinstance(key, tuple) else key for key in by_seed})
        names = ("median", "median_low", "median_high", "low", "high", "is_range")
        row = self.rule.estimate(values).as_row() if values else dict.fromkeys(names)
        return {
            "text": self.text,
            "source": self.source,
            "quantity": self.quantity,
            "rule": str(self.rule),
            "paper": self.printed,
            "statement": self.statement,
            "verdict": self.rule.judge(values, seeds, quick=quick),
            "margin": self.rule.margin(values) if values else 0.0,
            "note": "" if quick else self.rule.explain(values, seeds),
            "seeds": seeds,
            **row,
            "values": {_name(key): value.as_json() for key, value in by_seed.items()},
        }


def _name(key: object) -> str:
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def count_verdicts(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """The number of statements with each verdict; claims of one statement and item count once."""
    verdicts: dict[object, set[str]] = {}
    for at, row in enumerate(rows):
        key = (row["item"], row["statement"]) if row.get("statement") else at
        verdicts.setdefault(key, set()).add(row["verdict"])
    return Counter(next(iter(of)) if len(of) == 1 else DEPENDS for of in verdicts.values())


def headline(rows: Iterable[Mapping[str, Any]]) -> str:
    """The number of claims, and of each verdict: ``5 claims (undecided: 1, holds: 4)``."""
    count = count_verdicts(rows)
    parts = ", ".join(f"{verdict}: {count[verdict]}" for verdict in VERDICTS if count[verdict])
    total = count.total()
    return f"{total} claim{'' if total == 1 else 's'}" + (f" ({parts})" if parts else "")
