"""When a curve meets a criterion, and when it does not any more."""

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    import pandas as pd


class Collapse(NamedTuple):
    """An interval in which a curve that has met a criterion does not meet it.

    Attributes:
        step: the first evaluated step at which it does not.
        recovery: the first evaluated step after that at which it does; None if there is none.
    """

    step: int
    recovery: int | None


@dataclass(frozen=True)
class Learned:
    """When a curve meets a criterion.

    Attributes:
        first: the first evaluated step at which it does; None if there is none.
        sustained: the first evaluated step from which on it does at all steps; None if it does not
            at the last. It is known only up to the last evaluation: a longer run could collapse.
        collapses: the intervals after ``first`` in which it does not.
        collapsed_share: the share of the evaluations after ``first`` at which it does not; None
            without such evaluations.

    >>> import pandas as pd
    >>> learned = Learned.of(pd.Series([False, True, False, True, True], [0, 10, 20, 30, 40]))
    >>> learned.first, learned.sustained, learned.collapses
    (10, 30, (Collapse(step=20, recovery=30),))
    """

    first: int | None = None
    sustained: int | None = None
    collapses: tuple[Collapse, ...] = ()
    collapsed_share: float | None = None

    @classmethod
    def of(cls, is_met: "pd.Series") -> Self:
        """The milestones of a curve.

        Args:
            is_met: whether the curve meets the criterion, by evaluated step.
        """
        changes = [int(step) for step in is_met.index[is_met != is_met.shift(fill_value=False)]]
        if not changes:
            return cls()
        later = is_met[is_met.index > changes[0]]
        return cls(
            changes[0],
            changes[-1] if len(changes) % 2 else None,
            tuple(Collapse(*pair) for pair in zip_longest(changes[1::2], changes[2::2])),
            None if later.empty else float((~later).mean()),
        )
