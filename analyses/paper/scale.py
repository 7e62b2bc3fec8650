"""At what size the paper is made again: its settings and several seeds, or all of it in minutes."""

from dataclasses import dataclass

#: What a step of a quick run stands for, of the paper's.
_QUICK = 25


@dataclass(frozen=True)
class Scale:
    """How large the runs are.

    Attributes:
        seeds: of weights and split together.
        quick: small networks on small tasks, trained for a 25th of the steps.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    quick: bool = False

    def steps(self, steps: int) -> int:
        """So many steps of the paper's, or what stands for them."""
        return max(10, 10 * round(steps / _QUICK / 10)) if self.quick else steps

    def some(self, values: str, few: str) -> str:
        """These values of a setting, or in a quick run a few of them."""
        return few if self.quick else values
