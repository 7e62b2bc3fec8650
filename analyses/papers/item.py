"""An item of a paper: a figure or a table, the runs it needs, its claims, and its result.

Each item is a module in its paper's package, named after the figure (``fig2a``), with

* a docstring, whose first line says what the item shows;
* ``plan(scale) -> Plan``: the runs;
* ``draw(sweep) -> {name: figure}``: its figures, from those runs;
* ``CLAIMS``: the paper's claims about it, by short names
  (`mechgrok.analyses.papers.claims.Claim`);
* optionally ``ALSO``, other figures that are the same item, and ``SETTINGS``, where the text and
  the authors' code disagree, and which settings the runs here have.
"""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mechgrok.files import make_folder, read_text, write_text

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
    """

    module: str
    name: str
    also: tuple[str, ...]
    shows: str
    settings: str
    plan: "Callable[[Scale], Plan]"
    draw: "Callable[[Sweep], Mapping[str, go.Figure]]"
    claims: "Mapping[str, Claim]"

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
        made_from: digest of the code and the runs that it was made from; empty where it failed.
        failed: what went wrong, in a sentence; empty where nothing did.
    """

    claims: Sequence[dict[str, Any]] = ()
    figures: Sequence[dict[str, str]] = ()
    groups: Mapping[str, list[int]] = field(default_factory=dict)
    made_from: str = ""
    failed: str = ""

    def save(self, folder: Path, name: str) -> None:
        """Write it into the paper's folder, under the item's name."""
        make_folder(folder / "items")
        write_text(_file(folder, name), json.dumps(asdict(self), ensure_ascii=False))

    @classmethod
    def read(cls, folder: Path, name: str) -> Self:
        """The result of an item in the paper's folder; a failed one if there is none."""
        try:
            return cls(**json.loads(read_text(_file(folder, name))))
        except (OSError, ValueError, TypeError):
            return cls(failed="it was not made.")


def _file(folder: Path, name: str) -> Path:
    return folder / "items" / f"{name}.json"
