"""Command-line flags generated from the fields of pydantic configurations.

Unset flags are omitted, so that the value of a preset, a parent or the field's default applies.
"""

import inspect
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mechgrok import user_code
from mechgrok.cli.suggestions import Suggestion
from mechgrok.configuration.aliases import ALIASES
from mechgrok.configuration.settings import (
    NAMES_WITH_OPTIONS,
    NAMING_CODE,
    PART_KEYS,
    PARTS,
    path_of,
    put,
    trust_and_normalize,
    value_at,
)
from mechgrok.errors import UserError, near
from mechgrok.fields import is_numeric, types_in


def _dashed(path: str) -> str:
    """The flag for a setting's path: --weight-decay for training.weight_decay."""
    return f"--{path.rpartition('.')[2].replace('_', '-')}"


#: Fields with other flags than their own name.
_NAMES = {
    **{path: (f"--{name}",) for name, path in PART_KEYS.items()},
    **{path: (_dashed(path), f"--{name}") for name, path in ALIASES.items()},
    "popup.score_seed": ("--seed",),
    "method": ("--method", "--scores"),
}
#: Flags without a value: the value, the flag that overrides it, and that flag's help.
_SWITCHES = {"training.until_grokked": (1000, "margin", "With --until-grokked: steps after t_gen.")}


@dataclass(frozen=True)
class Flag:
    """A command-line option and the setting that it sets.

    Attributes:
        path: path of the setting, such as ``training.steps``.
        names: names of the option, such as ``--steps``.
        help: the field's description.
        panel: heading in the help.
        annotation: the field's type.
        default: the default that the help shows.
        hidden: omit the flag from the help: it is an option of a single method, usually written
            after the method's name, ``--transform sam:rho=0.1``.
    """

    path: str
    names: tuple[str, ...]
    help: str
    panel: str
    annotation: Any
    default: str | None = None
    hidden: bool = False

    @property
    def parameter_name(self) -> str:
        """The name of the command's parameter."""
        return self.path.replace(".", "__")

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.annotation is bool

    def parameter(self) -> inspect.Parameter:
        """The flag as a typer parameter."""
        names, help_ = self.names, self.help
        if self.is_switch and len(names) == 1 and self.path not in _SWITCHES:
            names = (f"{names[0]}/--no-{names[0].removeprefix('--')}",)
        if self.default is not None:
            help_ = f"{help_.removesuffix('.')} (default: {self.default})."
        option = typer.Option(
            *names,
            help=help_,
            rich_help_panel=self.panel,
            hidden=self.hidden,
            show_default=False,
            metavar=None if self.is_switch else _metavar(self.annotation),
        )
        kind: Any = bool if self.is_switch else list[str] if _is_list(self.annotation) else str
        return inspect.Parameter(
            self.parameter_name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[kind | None, option],
            default=None,
        )

    def read(self, text: Any) -> Any:
        """Parse the text after the flag.

        Raises:
            UserError: the text is not of the field's type.
        """
        if isinstance(text, list):  # A repeatable flag.
            text = ",".join(text)
        if not isinstance(text, str):
            return text
        if self.path in NAMES_WITH_OPTIONS:
            return text
        if text.lower() == "none" and types.NoneType in get_args(self.annotation):
            return None
        value = text.split(",") if _is_list(self.annotation) else text
        if not is_numeric(self.annotation):
            return value
        value = (
            list(map(_expand_exponent, value))
            if isinstance(value, list)
            else _expand_exponent(value)
        )
        try:
            return TypeAdapter(self.annotation).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            hint = "; for several values use mechgrok sweep" if "," in text else ""
            raise UserError(
                f"{self.names[0]} was given {text!r}: {message[0].lower()}{message[1:]}{hint}."
            ) from None


def flags_of(
    configuration: type[BaseModel],
    part: str,
    panel: str | Callable[[str], str],
    *,
    but: Iterable[str] = (),
    defaults: bool = False,
    hidden: bool = False,
) -> list[Flag]:
    """A flag for every field of a configuration.

    Args:
        configuration: the class.
        part: the part of ``config.json`` that holds its settings, such as ``training``, or "".
        panel: the heading in the help, or a function from a field's name to its heading.
        but: fields without a flag.
        defaults: show the fields' defaults in the help.
        hidden: omit the flags from the help.
    """
    flags = []
    for name, field in configuration.model_fields.items():
        if name in but or field.description is None:
            continue
        path = f"{part}.{name}" if part else name
        heading = panel(name) if callable(panel) else panel
        names = _NAMES.get(path, (_dashed(path),))
        default = _default_text(field) if defaults else None
        if path in _SWITCHES:
            value, amount, help_ = _SWITCHES[path]
            text = field.description.split(";")[0].replace("this many", f"{value:,}")
            flags.append(Flag(path, names, text + ".", heading, bool))
            flags.append(
                Flag(f"{part}.{amount}", (f"--{amount}",), help_, heading, field.annotation)
            )
            continue
        flags.append(
            Flag(path, names, field.description, heading, field.annotation, default, hidden)
        )
    return flags


def merged(*lists: Iterable[Flag]) -> list[Flag]:
    """All flags, without duplicates: the first flag of a path wins."""
    by_path: dict[str, Flag] = {}
    for flag in chain.from_iterable(lists):
        by_path.setdefault(flag.path, flag)
    return list(by_path.values())


def with_flags(
    flags: Iterable[Flag],
) -> Callable[[Callable[..., Suggestion]], Callable[..., Suggestion]]:
    """Decorator: replace a command's ``**given`` by one option per flag.

    The command receives ``given``, a dictionary of the typed flags by their paths.
    """
    flags = list(flags)
    by_parameter = {flag.parameter_name: flag for flag in flags}

    def decorate(function: Callable[..., Suggestion]) -> Callable[..., Suggestion]:
        hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]

        def command(**options: Any) -> Suggestion:
            texts = {name: options.pop(name) for name in by_parameter}
            given = {
                by_parameter[name].path: by_parameter[name].read(text)
                for name, text in texts.items()
                if text is not None and text != []
            }
            return function(**options, given=_resolve_switches(given))

        # The help orders its panels by the parameters: flags come first.
        parameters = [flag.parameter() for flag in flags] + own
        parameters = [p for p in parameters if p.name != "given"]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        command.__doc__ = function.__doc__
        command.__name__ = function.__name__
        return command

    return decorate


def nested(given: Mapping[str, Any], assignments: Iterable[str] | None = None) -> dict[str, Any]:
    """Nest settings by path, and those of ``--set PATH=VALUE``, into a configuration's fields.

    User code among them was named on the command line, so it may be loaded.

    Raises:
        UserError: an assignment is malformed.
    """
    settings: dict[str, Any] = {}
    for path, value in given.items():
        put(settings, path, value)
    for assignment in assignments or ():
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.split(".")):
            raise UserError(f"--set {assignment} is malformed: write task.KEY=VALUE.")
        if path in (*PARTS, "popup"):
            raise UserError(f"--set {assignment} replaces a whole section: write {path}.KEY=VALUE.")
        part, dot, _ = path.partition(".")  # commands add parts, such as popup
        known = (*PARTS, "weights")
        put(settings, path if dot and part not in known else path_of(path), typed_value(text))
    for path in NAMING_CODE:
        named = value_at(settings, path)
        named = named.get("name") if isinstance(named, dict) else named
        for name in named if isinstance(named, list) else [named]:
            user_code.allow(name)
    for path in NAMES_WITH_OPTIONS:
        trust_and_normalize(path, value_at(settings, path))
    return settings


def _expand_exponent(number: str) -> str:
    """``10000`` for ``1e4``; other texts unchanged."""
    try:
        value = float(number) if "e" in number.lower() else math.nan
    except ValueError:
        return number
    return f"{value:.0f}" if value.is_integer() and abs(value) < 2**53 else number


def typed_value(text: str) -> Any:
    """Parse a text as JSON if it is JSON; ``none`` is null; otherwise the text itself."""
    if text == "none":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _resolve_switches(given: dict[str, Any]) -> dict[str, Any]:
    """Replace flags without a value by the values of their settings."""
    for path, (default, amount, _) in _SWITCHES.items():
        is_on = given.pop(path, None)
        value = given.pop(f"{path.rpartition('.')[0]}.{amount}", None)
        if value is not None and not is_on:
            raise UserError(f"--{amount} {value} needs {_dashed(path)}: add it.")
        if is_on is not None:
            given[path] = (default if value is None else value) if is_on else None
    return given


def refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse unknown settings.

    Raises:
        UserError: ``what`` has no such setting.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise UserError(f"{what} has no setting {name!r}{near(name, known)}.")


def _default_text(field: FieldInfo) -> str | None:
    default = field.default
    if default is None or default is False or field.is_required() or default in ((), {}):
        return None
    return str(default)


def _is_list(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(map(_is_list, get_args(annotation)))
    return get_origin(annotation) in (tuple, list)


def _metavar(annotation: Any) -> str:
    leaves = types_in(annotation) - {types.NoneType}
    kind = "int" if leaves == {int} else "float" if leaves <= {int, float} else "str"
    return f"<{kind},…>" if _is_list(annotation) else f"<{kind}>"
