"""Finding tasks and analyses by name, in this project and in other people's packages.

Both are announced as entry points (groups ``mechgrok.tasks`` and ``mechgrok.analyses``). An entry
point that names a *package* contributes each of its modules, under the module's name; one that
names a *module or an object* contributes that, under the entry point's own name. Nothing is
imported to list what exists.
"""

import ast
import importlib.util
import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from mechgrok.errors import UserError, choices


@dataclass(frozen=True)
class Entry:
    """Something that can be loaded by name; ``module`` is where it lives."""

    name: str
    module: str
    attribute: str = ""

    def load(self) -> Any:
        """Import the module and return it, or the object in it that the entry point names."""
        return EntryPoint(
            self.name, f"{self.module}:{self.attribute}".rstrip(":"), "mechgrok"
        ).load()

    @property
    def description(self) -> str:
        """The first line of the module's docstring, read from its source without importing it."""
        try:
            spec = importlib.util.find_spec(self.module)
        except (ImportError, ValueError):  # of a package that is gone
            return ""
        if spec is None or spec.origin is None:
            return ""
        try:
            docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes()))
        except (OSError, SyntaxError):
            return ""
        return (docstring or "").partition("\n")[0].rstrip(".")


@cache
def entries(group: str) -> dict[str, Entry]:
    """All entries of a group by name, in alphabetical order."""
    found: dict[str, Entry] = {}
    for point in entry_points(group=group):
        module, _, attribute = point.value.partition(":")
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            spec = None
        folders = spec.submodule_search_locations if spec else None
        if folders is None or attribute:
            found[point.name] = Entry(point.name, module, attribute)
            continue
        for child in pkgutil.iter_modules(folders):
            if not child.ispkg and not child.name.startswith("_"):
                name = child.name.replace("_", "-")
                found[name] = Entry(name, f"{module}.{child.name}")
    return dict(sorted(found.items()))


def find(group: str, name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UserError: there is none; the message lists those that exist.
    """
    known = entries(group)
    if name not in known:
        kind = {"mechgrok.analyses": "analysis", "mechgrok.tasks": "task"}.get(group, group)
        raise UserError(f"There is no {kind} {name!r}: choose {choices(known)}.")
    return known[name]
