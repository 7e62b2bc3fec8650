"""Interventions as text: reading and writing TOML, writing Python."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok import user_code
from mechgrok.errors import UserError, choices, near
from mechgrok.files import read_text
from mechgrok.interventions.network import Intervention, listed
from mechgrok.registry import Registry

if TYPE_CHECKING:
    from mechgrok.runs import Run

#: Every kind of intervention by class name.
INTERVENTIONS: Registry[type[Intervention]] = Registry(
    "intervention",
    "mechgrok.interventions",
    {
        "Ablate": "mechgrok.interventions.units:Ablate",
        "Patch": "mechgrok.interventions.units:Patch",
        "PatchPath": "mechgrok.interventions.units:PatchPath",
        "Remove": "mechgrok.interventions.frequencies:Remove",
        "Keep": "mechgrok.interventions.frequencies:Keep",
        "Remask": "mechgrok.interventions.edges:Remask",
        "Fit": "mechgrok.interventions.fitting:Fit",
        "Edges": "mechgrok.interventions.edges:Edges",
        "Revive": "mechgrok.interventions.edges:Revive",
    },
)
#: The files of kinds that `add_intervention` loaded from a file.
_FILES: dict[type[Intervention], str] = {}
#: Size limit of a TOML file; 10,000 edges need a fifth of it.
_LARGEST_FILE = 2**20
#: Limit on the number of interventions in a file.
_MOST = 1000


def add_intervention(chosen: type[Intervention] | str) -> type[Intervention]:
    """Register a user's intervention under its class name.

    Args:
        chosen: the class, or its location: ``file.py:Name`` or ``module:Name``.

    Raises:
        UserError: it is not an intervention, or its name is taken.
    """
    user_code.allow(chosen)
    kind = INTERVENTIONS.load(chosen) if isinstance(chosen, str) else chosen
    if not (isinstance(kind, type) and issubclass(kind, Intervention)):
        raise UserError(
            f"{chosen} is not an intervention: make it a subclass of mechgrok.interventions."
            "Intervention."
        )
    if isinstance(INTERVENTIONS.own.get(kind.__name__), str):
        raise UserError(f"{kind.__name__} is a built-in intervention: rename {chosen}.")
    if user_code.is_own(chosen):
        _FILES[kind] = user_code.absolute(str(chosen))
    return INTERVENTIONS.register(kind.__name__)(kind)


def files_of(interventions: Iterable[Intervention]) -> list[str]:
    """The files that `add_intervention` loaded the interventions' kinds from, each once."""
    return list(dict.fromkeys(_FILES[kind] for kind in map(type, interventions) if kind in _FILES))


def as_toml(interventions: Intervention | Iterable[Intervention]) -> str:
    """Write one intervention or several as TOML: a table ``[[do]]`` for each, in order.

    >>> from mechgrok.interventions import Ablate
    >>> print(as_toml([Ablate(neurons=[3, 7], to="mean")]))
    [[do]]
    kind = "Ablate"
    neurons = [3, 7]
    to = "mean"
    <BLANKLINE>
    """
    tables = []
    for intervention in listed(interventions):
        lines = ["[[do]]", f'kind = "{type(intervention).__name__}"']
        lines += [f"{name} = {_toml(value)}" for name, value in intervention.given.items()]
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def from_toml(text: str) -> list[Intervention]:
    """Parse interventions from TOML, in the format of `as_toml`.

    The text cannot import code; register user kinds with `add_intervention`.

    Raises:
        UserError: the text is not TOML, or a table is not an intervention.

    >>> from_toml('do = [{kind = "Ablate", neurons = [3, 7]}]')
    [Ablate(neurons=[3, 7])]
    """
    try:
        fields = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"The interventions are not TOML ({_short(error)}).") from None
    if unknown := [name for name in fields if name != "do"]:
        raise UserError(f"Interventions must be tables [[do]], not {unknown[0]!r}.")
    tables = fields.get("do", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError("Interventions must be tables [[do]], each with its kind.")
    if len(tables) > _MOST:
        raise UserError(f"{len(tables)} interventions are more than {_MOST}: give fewer.")
    return [
        make_intervention(table.get("kind"), {k: v for k, v in table.items() if k != "kind"})
        for table in tables
    ]


def load_toml(path: str | Path) -> list[Intervention]:
    """Read interventions from a TOML file; its run folders are relative to the working directory.

    Raises:
        UserError: the file cannot be read, or has no valid interventions.
    """
    path = Path(path)
    try:
        text = read_text(path, _LARGEST_FILE)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: write interventions to it as tables [[do]], such as kind = "
            '"Ablate" and neurons = [3].'
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as interventions ({_short(error)}).") from None
    try:
        return from_toml(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def as_python(run: Run, step: int, interventions: Intervention | Sequence[Intervention]) -> str:
    """Python code that applies interventions to a run at a step and prints accuracy and loss."""
    interventions = listed(interventions)
    names: dict[str, set[str]] = {"mechgrok.interventions": {"intervened"}}
    files = files_of(interventions)
    if files:
        names["mechgrok.interventions"].add("add_intervention")
    for kind in map(type, interventions):
        if kind in _FILES:
            continue
        built_in = INTERVENTIONS.own.get(kind.__name__) == f"{kind.__module__}:{kind.__name__}"
        module = "mechgrok.interventions" if built_in else kind.__module__
        names.setdefault(module, set()).add(kind.__name__)
    imports = [f"from {module} import {', '.join(sorted(own))}" for module, own in names.items()]
    lines = "".join(f"    {intervention!r},\n" for intervention in interventions)
    added = [f"{file.rpartition(':')[2]} = add_intervention({file!r})" for file in files]
    return (
        "\n".join(["import mechgrok", *imports, *added]) + "\n\n"
        f"run = mechgrok.Run({str(run.path.resolve())!r})\n"
        f"interventions = [{f'{chr(10)}{lines}' if lines else ''}]\n"
        f"network = intervened(run, {step}, interventions)\n"
        f"model = network.model  # run.model({step})\n"
        "for inputs, labels in (run.task.train, run.task.test):\n"
        "    outputs = model.run_with_hooks(inputs, fwd_hooks=network.hooks(inputs)).detach()\n"
        "    accuracy, loss = run.task.accuracy(outputs, labels), run.task.loss(outputs, labels)\n"
        '    print(f"accuracy {accuracy:.6f}, loss {loss:.6g}")\n'
    )


def make_intervention(kind: object, options: Mapping[str, Any]) -> Intervention:
    """Make an intervention of a kind from untrusted options.

    Raises:
        UserError: the kind is unknown, or an option is invalid.
    """
    if not isinstance(kind, str) or kind not in INTERVENTIONS:
        known = list(INTERVENTIONS)
        raise UserError(
            f"There is no intervention {_short(repr(kind))}{near(kind, known)}: choose "
            f"{choices(known)}."
        )
    return INTERVENTIONS.load(kind)(**options)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        items = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{{items}}}"
    return json.dumps(value, ensure_ascii=False)


def _short(message: object) -> str:
    text = " ".join(str(message).split())
    return text if len(text) <= 200 else f"{text[:200]} …"
