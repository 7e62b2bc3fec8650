"""The API reference: one page per package, filled by autodoc."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

#: Packages with a public ``__all__``.
PACKAGES = (
    "mechgrok.configuration",
    "mechgrok.runs",
    "mechgrok.derived",
    "mechgrok.sweeps",
    "mechgrok.interventions",
    "mechgrok.results",
    "mechgrok.tasks",
    "mechgrok.models",
    "mechgrok.masks",
    "mechgrok.training",
    "mechgrok.optimization",
    "mechgrok.exchange",
    "mechgrok.reports",
    "mechgrok.loggers",
    "mechgrok.analyses.drawing",
    "mechgrok.analyses.precursors",
)
#: A package of public modules, documented completely.
MEASURES = "mechgrok.analyses.measures"


def write(into: Path) -> None:
    """Write the pages of the packages, and that of ``mechgrok``, which links to them."""
    into.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        _write(into, package, _package(importlib.import_module(package)))
    measures = importlib.import_module(MEASURES)
    names = sorted(info.name for info in pkgutil.iter_modules(measures.__path__))
    for name in names:
        module = importlib.import_module(f"{MEASURES}.{name}")
        _write(into, module.__name__, _module(module))
    _write(into, "mechgrok", _top())
    listed = "\n".join(f"   {name}" for name in ("mechgrok", *PACKAGES))
    modules = "\n".join(f"   {MEASURES}.{name}" for name in names)
    (into / "index.rst").write_text(
        f"{_title('API')}\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n\n"
        f"Measures\n{'-' * 8}\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n{modules}\n",
        encoding="utf-8",
    )


def _write(into: Path, name: str, text: str) -> None:
    (into / f"{name}.rst").write_text(text, encoding="utf-8")


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def _about(module: ModuleType) -> str:
    return f"{_title(module.__name__)}\n{inspect.cleandoc(module.__doc__ or '')}\n"


def _package(module: ModuleType) -> str:
    parts = [_about(module), f".. currentmodule:: {module.__name__}\n"]
    parts += [_documented(name, getattr(module, name)) for name in sorted(module.__all__)]
    return "\n".join(parts)


def _module(module: ModuleType) -> str:
    parts = [_about(module), f".. currentmodule:: {module.__name__}\n"]
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if own and not name.startswith("_") and (inspect.isclass(value) or callable(value)):
            parts.append(_documented(name, value))
    return "\n".join(parts)


def _documented(name: str, value: Any) -> str:
    if inspect.isclass(value) and issubclass(value, BaseModel):
        return _model(name, value)
    if inspect.isclass(value):
        members = "" if issubclass(value, BaseException) else "   :members:\n"
        return f".. autoclass:: {name}\n{members}   :show-inheritance:\n"
    if inspect.isroutine(value):
        return f".. autofunction:: {name}\n"
    return f".. py:data:: {name}\n"


def _model(name: str, model: type[BaseModel]) -> str:
    """A pydantic class: its own methods, and its fields unless the docstring describes them."""
    own = [
        key
        for key, value in vars(model).items()
        if not key.startswith(("_", "model_")) and key not in model.model_fields
    ]
    lines = [f".. autoclass:: {name}({', '.join(model.model_fields)})", "   :show-inheritance:"]
    lines += [f"   :members: {', '.join(own)}"] if own else ["   :no-members:"]
    if model.model_fields and "Attributes:" not in (model.__doc__ or ""):
        lines += ["", "   .. list-table:: Fields", "      :header-rows: 1"]
        lines += ["      :widths: 20 20 60", "", *_row("field", "default", "meaning")]
        for field, about in model.model_fields.items():
            lines += _row(f"``{field}``", _default(about), _escaped(about.description or ""))
    return "\n".join([*lines, ""])


def _default(field: FieldInfo) -> str:
    """A field's default, as it is written in Python."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return f"``{type(value).__name__}()``"
    return "computed" if field.default_factory and value else f"``{value!r}``"


def _row(*cells: str) -> list[str]:
    first, *others = cells
    return [f"      * - {first}", *(f"        - {cell}" for cell in others)]


def _escaped(text: str) -> str:
    """The text with the signs escaped that reStructuredText reads as markup."""
    return re.sub(r"([*|`])", r"\\\1", text)


def _top() -> str:
    """The page of ``mechgrok``: a line and link per name, and the names of no other package."""
    module = importlib.import_module("mechgrok")
    homes = {
        name: package
        for package in PACKAGES
        for name in importlib.import_module(package).__all__
        if package.startswith("mechgrok")
    }
    rows, own = [], []
    for name in sorted(module.__all__):
        value = getattr(module, name)
        home = homes.get(name, "mechgrok")
        if home == "mechgrok":
            own.append(_documented(name, value))
        first = (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ")
        role = "class" if inspect.isclass(value) else "func"
        rows.append(f"   * - :py:{role}:`mechgrok.{name} <{home}.{name}>`\n     - {first}\n")
    table = ".. list-table::\n   :widths: 30 70\n\n" + "".join(rows)
    return "\n".join([_about(module), table, "\n.. currentmodule:: mechgrok\n", *own])


_LITERAL = re.compile(r"(``.*?``)")


def escape_bars(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Escape |x|, which is a magnitude in our docstrings and a substitution in reStructuredText."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = _LITERAL.split(line)
            parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
            lines[number] = "".join(parts)
