"""Reproducible papers, and their registry.

A paper is a package with a value ``PAPER`` and a module for each item
(`mechgrok.analyses.papers.item`). The packages in this folder are papers; other packages register
papers as entry points in the group ``mechgrok.papers``, under the package's own name:
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
    """A reproducible paper.

    Attributes:
        package: the package of its items; the last component is the paper's name.
        title: the paper's title.
        authors: in one line.
        published: versions, journal and year.
        items: the names of its items, in order.
        full: the size of the paper's own runs.
        quick: a size with which all runs train in minutes.
        arxiv: the arXiv number; empty for a study that is not a paper.
        about: paragraphs for the beginning of the page, such as question and method.
    """

    package: str
    title: str
    authors: str
    published: str
    items: tuple[str, ...]
    full: Size
    quick: Size
    arxiv: str = ""
    about: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The paper's name: the last component of its package, with dashes."""
        return self.package.rpartition(".")[2].replace("_", "-")

    def scale(
        self, seeds: Iterable[int] = (), *, quick: bool = False, mnist: str | None = None
    ) -> Scale:
        """The scale with these seeds, or with the size's own number of them; full or quick."""
        return Scale(self.quick if quick else self.full, tuple(seeds), quick, mnist)

    def find_items(self, names: Iterable[str] = ()) -> list[Item]:
        """The named items in the paper's order; default: all.

        Raises:
            UserError: the paper has no item with that name.
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
    """All papers by name, without importing them."""
    import mechgrok.analyses.papers as folder

    names = [module.name for module in pkgutil.iter_modules(folder.__path__) if module.ispkg]
    builtin = {
        (dashed := name.replace("_", "-")): Entry(dashed, f"{folder.__name__}.{name}", "PAPER")
        for name in names
    }
    return builtin | entries("mechgrok.papers")


def find_paper(name: str) -> Paper:
    """The paper with this name.

    Raises:
        UserError: no paper has this name, or its package is not installed.
    """
    papers = list_papers()
    if name not in papers:
        raise UserError(
            f"There is no paper {name!r}{near(name, papers)}: choose {choices(papers)}."
        )
    try:
        paper: Paper = papers[name].load()
    except (ModuleNotFoundError, AttributeError) as error:
        raise UserError(
            f"The package that registers the paper {name} does not contain it ({error}): reinstall "
            "that package, or remove it."
        ) from None
    return paper
