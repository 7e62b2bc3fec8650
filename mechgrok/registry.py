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
    """An object that is loaded by name, from ``module``."""

    name: str
    module: str
    attribute: str = ""

    def load(self) -> Any:
        """Import the module and return it, or the object that ``attribute`` names."""
        return EntryPoint(
            self.name, f"{self.module}:{self.attribute}".rstrip(":"), "mechgrok"
        ).load()

    @property
    def description(self) -> str:
        """The first line of the module's docstring, read without importing the module."""
        try:
            spec = importlib.util.find_spec(self.module)
        except (ImportError, ValueError):  # of a package that is gone
            return ""
        if spec is None or spec.origin is None:
            return ""
        return first_line(Path(spec.origin))


def first_line(source: Path) -> str:
    """The first line of a Python file's docstring, read without importing it; empty without one."""
    try:
        docstring = ast.get_docstring(ast.parse(source.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return ""
    return (docstring or "").partition("\n")[0].rstrip(".")


@cache
def entries(group: str) -> dict[str, Entry]:
    """The entry points of a group, by name, in alphabetical order; packages give their modules."""
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
    """The public modules of a package, and its subpackages that define ``measure``."""
    for child in pkgutil.iter_modules(folders):
        if child.name.startswith("_"):
            continue
        if not child.ispkg or any(_measures(Path(folder, child.name)) for folder in folders):
            yield child.name


def _measures(package: Path) -> bool:
    """Whether a package's ``__init__`` defines or imports ``measure``, as analyses do."""
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


#: The entry-point group of analyses.
ANALYSES = "mechgrok.analyses"


@dataclass(frozen=True)
class Registry(Generic[Thing]):
    """Objects of one kind, by name.

    Attributes:
        kind: the kind's name in messages.
        group: the entry-point group by which other packages add objects.
        own: the built-in objects: each itself, or as ``module:attribute`` to import it lazily.
        more: further names derived from elsewhere: every modular operation is a task.
    """

    kind: str
    group: str
    own: dict[str, Thing | str] = field(default_factory=dict)
    more: Callable[[], Mapping[str, Thing | str]] = dict

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Decorator that registers an object under ``name``."""

        def add(thing: Registered) -> Registered:
            self.own[name] = cast(Any, thing)
            return thing

        return add

    def __iter__(self) -> Iterator[str]:
        """The names: built-in ones in their order, then those of other packages."""
        return iter(dict.fromkeys([*self.own, *self.more(), *entries(self.group)]))

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def resolve(self, name: object) -> object:
        """Where ``name`` is defined, without importing it; equal for two names of one object."""
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
        """Import the object called ``name``.

        Raises:
            UserError: there is none, and the message lists the names; or the name refers to user
                code that is not trusted.
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
        """The object of an entry point, if its package still has it."""
        try:
            return entry.load()
        except (ModuleNotFoundError, AttributeError) as error:
            raise UserError(
                f"A package registers the {self.kind} {entry.name} but does not have it ({error}): "
                "reinstall or uninstall that package."
            ) from None


def find(group: str, name: str) -> Entry:
    """The entry point called ``name``.

    Raises:
        UserError: there is none; the message lists the names.
    """
    known = entries(group)
    if name not in known:
        kind = {"mechgrok.analyses": "analysis"}.get(group, group)
        raise UserError(f"There is no {kind} {name!r}{near(name, known)}: choose {choices(known)}.")
    return known[name]
