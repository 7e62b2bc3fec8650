"""An item of the paper: a figure or a table, the runs it needs, and what is claimed of it.

Each is a module in `mechgrok.analyses.papers.items`, named after the figure (``v3_fig2a`` is
Figure 2a of version 3), which has

* a docstring, whose first line says what the item shows;
* ``plan(scale) -> Plan``: the runs;
* ``draw(sweep) -> {name: figure}``: its figures, of those runs;
* ``CLAIMS``: what the paper says of it (`mechgrok.analyses.papers.claims.Claim`);
* optionally ``ALSO``, other figures that are the same item, and ``SETTINGS``, where the text and
  the authors' code disagree, and what is done here;
* optionally ``VERSION``, a whole number (1 unless given): raise it where the figures or the
  quantities that are judged become others, and the item is made anew.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from mechgrok.errors import UserError, choices, near

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mechgrok.analyses.papers.claims import Claim
    from mechgrok.analyses.papers.scale import Scale
    from mechgrok.sweeps import Plan, Sweep

_ITEMS = "mechgrok.analyses.papers.items"


@dataclass(frozen=True)
class Item:
    """A figure or a table of the paper; see the module's words.

    Attributes:
        name: ``v3-fig2a``.
        also: other names by which it is found.
        shows: in a line.
        settings: where text and code disagree.
        module: where it lives.
        version: of its code.
    """

    name: str
    also: tuple[str, ...]
    shows: str
    settings: str
    module: str
    plan: "Callable[[Scale], Plan]"
    draw: "Callable[[Sweep], Mapping[str, go.Figure]]"
    claims: "tuple[Claim, ...]"
    version: int = 1

    @classmethod
    def load(cls, name: str) -> Self:
        """The item in the module of this name."""
        module = importlib.import_module(f"{_ITEMS}.{name.replace('-', '_')}")
        first = (module.__doc__ or "").partition("\n")[0].rstrip(".")
        return cls(
            name,
            tuple(getattr(module, "ALSO", ())),
            first,
            getattr(module, "SETTINGS", ""),
            module.__name__,
            module.plan,
            module.draw,
            tuple(module.CLAIMS),
            getattr(module, "VERSION", 1),
        )

    @property
    def title(self) -> str:
        """The figures that it is: ``v3-fig2a (v2-fig1)``."""
        return f"{self.name} ({', '.join(self.also)})" if self.also else self.name


def item_names() -> list[str]:
    """The names of all items, version 2 first."""
    import mechgrok.analyses.papers.items as folder

    names = [m.name.replace("_", "-") for m in pkgutil.iter_modules(folder.__path__)]
    return sorted(names, key=_order)


def _order(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def find_items(wanted: Iterable[str] = ()) -> list[Item]:
    """The items of these names, or all of them.

    Raises:
        UserError: there is none of that name.
    """
    everything = [Item.load(name) for name in item_names()]
    by_name = {name: each for each in everything for name in (each.name, *each.also)}
    names = list(wanted)
    for name in names:
        if name not in by_name:
            raise UserError(
                f"The paper has no item {name!r}{near(name, by_name)}: choose "
                f"{choices(each.name for each in everything)}."
            )
    chosen = {by_name[name].name for name in names}
    return [each for each in everything if not names or each.name in chosen]
