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
        mnist: a folder with MNIST's four files, where they are not to be downloaded.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    quick: bool = False
    mnist: str | None = None

    def typed(self) -> list[str]:
        """What is typed after the command to have it at this size.

        >>> Scale((0, 1, 2)).typed(), Scale((4, 5)).typed()
        (['--seeds', '3'], ['--seeds', '4:6'])
        """
        first, last = self.seeds[0], self.seeds[-1]
        seeds = ",".join(map(str, self.seeds))
        if self.seeds == tuple(range(first, last + 1)):
            seeds = f"{first}:{last + 1}" if first else str(last + 1)
        quick = ["--quick"] if self.quick else []
        return ["--seeds", seeds, *quick, *(["--mnist", self.mnist] if self.mnist else [])]

    def steps(self, steps: int) -> int:
        """So many steps of the paper's, or what stands for them."""
        return max(10, 10 * round(steps / _QUICK / 10)) if self.quick else steps

    def some(self, values: str, few: str) -> str:
        """These values of a setting, or in a quick run a few of them."""
        return few if self.quick else values
