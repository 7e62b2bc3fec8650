"""Items of a paper: a figure or a table with its runs, claims, and result.

Each item is a module in its paper's package, named after the figure (``fig2a``), with

* a docstring, whose first line summarizes the item;
* ``plan(scale) -> Plan``: the runs;
* ``draw(sweep) -> {name: figure}``: the figures of these runs;
* ``CLAIMS``: the paper's claims about the item, by short names
  (`mechgrok.analyses.papers.claims.Claim`);
* optionally ``ALSO``, other figures covered by the item, and ``SETTINGS``, the differences between
  the text and the authors' code, and the settings used here;
* optionally ``VERSION``, an integer (default: 1): increase it when the figures or the quantities
  change, to rebuild the item.
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
        module: the module that defines the item.
        name: the module's name, with dashes.
        also: alternative names.
        shows: a one-line summary.
        settings: differences between text and code.
        version: the version of the item's code.
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
        """The name, with the other figures covered: ``fig2a (fig4a, fig7)``."""
        return f"{self.name} ({', '.join(self.also)})" if self.also else self.name

    @property
    def n_statements(self) -> int:
        """The number of claims; those of one statement count once."""
        return len({claim.statement or name for name, claim in self.claims.items()})


@dataclass(frozen=True)
class ItemResult:
    """The figures and verdicts of an item, saved in ``items/NAME.json``.

    Attributes:
        claims: a row for each claim, as in ``claims.json``.
        figures: name, packed figure, title and subtitle of each, the endings of its files, and
            ``undrawn``, the reason if a picture could not be drawn.
        groups: for each stage, the numbers of evaluated runs and of all runs.
        failed: the error message; empty if the item succeeded.
    """

    claims: Sequence[dict[str, Any]] = ()
    figures: Sequence[dict[str, str]] = ()
    groups: Mapping[str, list[int]] = field(default_factory=dict)
    failed: str = ""

    def save(self, folder: Path, name: str, key: Key) -> None:
        """Write the result into the paper's folder, under the item's name, with its key."""
        make_folder(folder / "items")
        save_entries(_file(folder, name), {name: (key, vars(self))})

    @classmethod
    def read(cls, folder: Path, name: str) -> tuple[Key, Self]:
        """An item's key and result in the paper's folder; a failed result if none is saved."""
        key, fields = load_entries(_file(folder, name)).get(name, (FAILED, None))
        try:
            return key, cls(**fields)
        except TypeError:
            return FAILED, cls(failed="it was not made.")


#: The key of a failed item, which differs from every other key, so that the item is rebuilt.
FAILED = Key(version="failed", options={})


def _file(folder: Path, name: str) -> Path:
    return folder / "items" / f"{name}.json"
