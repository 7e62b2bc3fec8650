"""Finding things by name: in this project, in other people's packages, and in a person's own code.

Each kind of thing (tasks, optimizers, objectives, analyses, …) is a `Registry`. What the project
brings itself is registered in code. Other packages announce theirs as entry points of the
registry's group: one that names a *package* contributes each of its modules and packages, under
their names; one that names a *module or an object* contributes that, under the entry point's own
name. ``file.py:name`` and ``module:name`` stand for code of a person's own (`mechgrok.user_code`).
Nothing is imported to list what exists, so that an entry point whose package is gone breaks no
list; it is told of when it is asked for.
"""

import ast
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from mechgrok import user_code
from mechgrok.errors import UserError, choices, near
from mechgrok.grammar import split_options

Thing = TypeVar("Thing")
Registered = TypeVar("Registered")  # a Thing, whose own type a decorator keeps


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
        return first_line(Path(spec.origin))


def first_line(source: Path) -> str:
    """The first line of a Python file's docstring, without importing it; empty where none is."""
    try:
        docstring = ast.get_docstring(ast.parse(source.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return ""
    return (docstring or "").partition("\n")[0].rstrip(".")


@cache
def entries(group: str) -> dict[str, Entry]:
    """What packages announce in a group of entry points, by name, in alphabetical order."""
    found: dict[str, Entry] = {}
    for point in entry_points(group=group):
        module, _, attribute = point.value.partition(":")
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            spec = None
        folders = spec.submodule_search_locations if spec else None
        if folders is None or attribute:
            found[point.name] = Entry(point.name, module, attribute)
            continue
        for child in _members(folders):
            found[child.replace("_", "-")] = Entry(child.replace("_", "-"), f"{module}.{child}")
    return dict(sorted(found.items()))


def _members(folders: list[str]) -> Iterator[str]:
    """The modules of a package that are entries, and its packages that say so by ``measure``."""
    for child in pkgutil.iter_modules(folders):
        if child.name.startswith("_"):
            continue
        if not child.ispkg or any(_measures(Path(folder, child.name)) for folder in folders):
            yield child.name


def _measures(package: Path) -> bool:
    """Whether a package's ``__init__`` defines or imports ``measure``, as an analysis does."""
    try:
        tree = ast.parse((package / "__init__.py").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    names = {
        name
        for node in tree.body
        for name in (
            [node.name]
            if isinstance(node, ast.FunctionDef)
            else [alias.asname or alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    return "measure" in names


#: The group of entry points in which analyses are announced.
ANALYSES = "mechgrok.analyses"


@dataclass(frozen=True)
class Registry(Generic[Thing]):
    """Everything of one kind, by name.

    Attributes:
        kind: what one of them is called, in messages.
        group: the group of entry points in which other packages announce theirs.
        own: the project's: a thing itself, or ``module:attribute`` where it is imported on use.
        more: names that follow from something else, as every modular operation is a task.
    """

    kind: str
    group: str
    own: dict[str, Thing | str] = field(default_factory=dict)
    more: Callable[[], Mapping[str, Thing | str]] = dict

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Decorator: what it decorates is found under ``name``."""

        def add(thing: Registered) -> Registered:
            self.own[name] = cast(Any, thing)
            return thing

        return add

    def __iter__(self) -> Iterator[str]:
        """The names: the project's in their order, then other packages'."""
        return iter(dict.fromkeys([*self.own, *self.more(), *entries(self.group)]))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def where(self, name: object) -> object:
        """What ``name`` stands for, without importing it: equal where two names are one thing."""
        if not isinstance(name, str):
            return name
        known: dict[str, Any] = {**self.own, **self.more()}
        entry = entries(self.group).get(name)
        return known.get(name, entry and f"{entry.module}:{entry.attribute}") or name

    def describe(self, value: object) -> dict[str, Any]:
        """A name with options, as text or as a dictionary, as a dictionary with a ``name``.

        ``"sgd:momentum=0.9"`` is ``{"momentum": 0.9, "name": "sgd"}``.

        Raises:
            UserError: ``value`` names nothing, or an option has no value.
        """
        options = value if isinstance(value, dict) else {"name": value}
        if not isinstance(text := options.get("name"), str):
            raise UserError(
                f"{self._a_kind.capitalize()} is named, as {next(iter(self))} is, not {value!r}."
            )
        name, behind = split_options(text)
        first, _, rest = name.partition(":")
        if rest and first in self:
            raise UserError(f"{text!r} gives {rest} no value: write {first}:{rest}=VALUE.")
        return behind | options | {"name": name}

    @property
    def _a_kind(self) -> str:
        return f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"

    def load(self, name: str) -> Thing:
        """The thing called ``name``, imported.

        Raises:
            UserError: there is none; the message lists those that exist. Or the name stands for
                code that no person has named here.
        """
        if user_code.is_own(name):
            return user_code.load(user_code.absolute(name), self.kind)
        known = {**self.own, **self.more()}
        if name in known:
            thing = known[name]
            if not isinstance(thing, str):
                return thing
            module, _, attribute = thing.partition(":")
            return Entry(name, module, attribute).load()
        if (entry := entries(self.group).get(name)) is not None:
            return self._announced(entry)
        raise UserError(
            f"There is no {self.kind} {name!r}{near(name, self)}: choose {choices(self)}, or "
            f"{self._a_kind} of your own as file.py:name."
        )

    def _announced(self, entry: Entry) -> Thing:
        """What a package announced, if it is still there."""
        try:
            return entry.load()
        except (ModuleNotFoundError, AttributeError) as error:
            raise UserError(
                f"The {self.kind} {entry.name} is announced by a package that lacks it ({error}): "
                "install that package again, or remove what is left of it."
            ) from None


def find(group: str, name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UserError: there is none; the message lists those that exist.
    """
    known = entries(group)
    if name not in known:
        kind = {"mechgrok.analyses": "analysis"}.get(group, group)
        raise UserError(f"There is no {kind} {name!r}{near(name, known)}: choose {choices(known)}.")
    return known[name]
