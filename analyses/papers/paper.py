"""A paper whose figures, tables and claims can be made again, and where papers are found by name.

A paper is a package with one value ``PAPER`` and a module for each item
(`mechgrok.analyses.papers.item`). The packages in this folder are papers; other packages announce
theirs as entry points in the group ``mechgrok.papers``, under the package's own name:
``smith2024 = "my_package.smith2024:PAPER"``.
"""

import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass

from mechgrok.analyses.papers.item import Item
from mechgrok.analyses.papers.scale import Scale, Size
from mechgrok.errors import UserError, choices, near
from mechgrok.registry import Entry, entries


@dataclass(frozen=True)
class Paper:
    """A paper that can be made again.

    Attributes:
        package: the package that holds its items; its last part is the paper's name.
        title: of the paper.
        authors: in one line.
        arxiv: its number on arXiv.
        published: versions, journal and year.
        items: the names of its items, in order.
        full: the size of the paper's own runs.
        quick: a size at which all runs train in minutes.
    """

    package: str
    title: str
    authors: str
    arxiv: str
    published: str
    items: tuple[str, ...]
    full: Size
    quick: Size

    @property
    def name(self) -> str:
        """The name by which it is found."""
        return self.package.rpartition(".")[2]

    def scale(
        self, seeds: Iterable[int], *, quick: bool = False, mnist: str | None = None
    ) -> Scale:
        """The scale with these seeds, in full or quick."""
        return Scale(self.quick if quick else self.full, tuple(seeds), quick, mnist)

    def find_items(self, names: Iterable[str] = ()) -> list[Item]:
        """The items of these names in the paper's order; all items unless given.

        Raises:
            UserError: the paper has no item of that name.
        """
        items = [Item.load(f"{self.package}.{name.replace('-', '_')}") for name in self.items]
        by_name = {name: item.name for item in items for name in (item.name, *item.also)}
        names = list(names)
        for name in names:
            if name not in by_name:
                raise UserError(
                    f"{self.name} has no item {name!r}{near(name, by_name)}: choose "
                    f"{choices(self.items)}."
                )
        chosen = {by_name[name] for name in names}
        return [item for item in items if not names or item.name in chosen]


def list_papers() -> dict[str, Entry]:
    """All papers by name, none of them imported."""
    import mechgrok.analyses.papers as folder

    here = [module.name for module in pkgutil.iter_modules(folder.__path__) if module.ispkg]
    own = {name: Entry(name, f"{folder.__name__}.{name}", "PAPER") for name in here}
    return own | entries("mechgrok.papers")


def find_paper(name: str) -> Paper:
    """The paper of this name.

    Raises:
        UserError: there is none, or the package that announces it is not installed.
    """
    known = list_papers()
    if name not in known:
        raise UserError(f"There is no paper {name!r}{near(name, known)}: choose {choices(known)}.")
    try:
        paper: Paper = known[name].load()
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(
            f"The paper {name} is announced by a package that lacks it ({error}): install that "
            "package again, or remove it."
        ) from None
    return paper
