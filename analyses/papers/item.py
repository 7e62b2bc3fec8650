"""An item of a paper: a figure or a table, the runs it needs, its claims, and its result.

Each item is a module in its paper's package, named after the figure (``fig2a``), with

* a docstring, whose first line says what the item shows;
* ``plan(scale) -> Plan``: the runs;
* ``draw(sweep) -> {name: figure}``: its figures, from those runs;
* ``CLAIMS``: the paper's claims about it, by short names
  (`mechgrok.analyses.papers.claims.Claim`);
* optionally ``ALSO``, other figures that are the same item, and ``SETTINGS``, where the text and
  the authors' code disagree, and which settings the runs here have;
* optionally ``VERSION``, a whole number (1 unless given): raise it when the figures or the judged
  quantities change, and the item is made again.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mechgrok.files import make_folder
from mechgrok.results.store import Key, load_entries, save_entries

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mechgrok.analyses.papers.claims import Claim
    from mechgrok.analyses.papers.scale import Scale
    from mechgrok.sweeps import Plan, Sweep


@dataclass(frozen=True)
class Item:
    """A figure or a table of a paper; see this module's docstring.

    Attributes:
        module: the module that defines it.
        name: the module's, with dashes.
        also: other names by which it is found.
        shows: what it shows, in a line.
        settings: where text and code disagree.
        version: of its code.
    """

    module: str
    name: str
    also: tuple[str, ...]
    shows: str
    settings: str
    plan: "Callable[[Scale], Plan]"
    draw: "Callable[[Sweep], Mapping[str, go.Figure]]"
    claims: "Mapping[str, Claim]"
    version: int = 1

    @classmethod
    def load(cls, name: str) -> Self:
        """The item in the module of this name."""
        module = importlib.import_module(name)
        return cls(
            name,
            name.rpartition(".")[2].replace("_", "-"),
            tuple(getattr(module, "ALSO", ())),
            (module.__doc__ or "").partition("\n")[0].rstrip("."),
            getattr(module, "SETTINGS", ""),
            module.plan,
            module.draw,
            module.CLAIMS,
            getattr(module, "VERSION", 1),
        )

    @property
    def title(self) -> str:
        """Its name and the other figures that it is: ``fig2a (fig4a, fig7)``."""
        return f"{self.name} ({', '.join(self.also)})" if self.also else self.name


@dataclass(frozen=True)
class ItemResult:
    """The figures and verdicts of an item, as ``items/NAME.json`` holds them.

    Attributes:
        claims: a row for each claim, as in ``claims.json``.
        figures: name, packed figure, title and subtitle of each, the endings of its files, and
            ``undrawn``, why no picture could be drawn, where none could.
        groups: for each stage, how many runs have been evaluated, of how many.
        failed: what went wrong, in a sentence; empty where nothing did.
    """

    claims: Sequence[dict[str, Any]] = ()
    figures: Sequence[dict[str, str]] = ()
    groups: Mapping[str, list[int]] = field(default_factory=dict)
    failed: str = ""

    def save(self, folder: Path, name: str, key: Key) -> None:
        """Write it into the paper's folder, under the item's name, with its key."""
        make_folder(folder / "items")
        save_entries(_file(folder, name), {name: (key, vars(self))})

    @classmethod
    def read(cls, folder: Path, name: str) -> tuple[Key, Self]:
        """An item's key and result in the paper's folder; a failed one if there is none."""
        key, fields = load_entries(_file(folder, name)).get(name, (FAILED, None))
        try:
            return key, cls(**fields)
        except TypeError:
            return FAILED, cls(failed="it was not made.")


#: The key of an item that failed, which no other key equals: it is made again.
FAILED = Key(version="failed", options={})


def _file(folder: Path, name: str) -> Path:
    return folder / "items" / f"{name}.json"
