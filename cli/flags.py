"""Options of a configuration as options of a command: a field and its description are the flag.

A configuration is a pydantic class; what is written here is how the words of a command line reach
its fields. Flags are left unset unless they are given, so that a preset's, a parent's or a field's
own value stays.
"""

import inspect
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mechgrok import user_code
from mechgrok.configuration.probe import read_probes
from mechgrok.configuration.settings import (
    ALIASES,
    NAMING_CODE,
    PART_KEYS,
    PARTS,
    PROBES,
    TRANSFORMS,
    path_of,
    put,
    value_at,
)
from mechgrok.errors import UserError, near
from mechgrok.fields import is_numeric, named_parts, types_in
from mechgrok.optimization.constraints import CONSTRAINTS
from mechgrok.optimization.transforms.reading import names_in


def _dashed(path: str) -> str:
    """The last word of a path as a flag: --weight-decay for training.weight_decay."""
    return f"--{path.rpartition('.')[2].replace('_', '-')}"


#: Fields whose flag is not their name in other letters, or not alone.
_CALLED = {
    **{path: (f"--{name}",) for name, path in PART_KEYS.items()},
    **{path: (_dashed(path), f"--{name}") for name, path in ALIASES.items()},
    "popup.score_seed": ("--seed",),
    "method": ("--method", "--scores"),
}
#: Fields whose flag takes no value: what it stands for, and the flag that gives another value.
_SWITCHES = {"training.until_grokked": (1000, "margin", "With --until-grokked: steps after t_gen.")}


@dataclass(frozen=True)
class Flag:
    """One option of a command, and the setting that it gives.

    Attributes:
        path: of the setting: ``training.steps``.
        words: what is typed: ``--steps``.
        help: the field's description.
        panel: under which heading the help shows it.
        annotation: the field's type.
        default: what the help shows as its default.
        hidden: whether the help leaves it out: an option of one method, which stands behind its
            name, ``--transform sam:rho=0.1``.
    """

    path: str
    words: tuple[str, ...]
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
        """Whether it takes no value."""
        return self.annotation is bool

    def parameter(self) -> inspect.Parameter:
        """The parameter by which typer knows the flag."""
        words = self.words
        if self.is_switch and len(words) == 1 and self.path not in _SWITCHES:
            words = (f"{words[0]}/--no-{words[0].removeprefix('--')}",)
        option = typer.Option(
            *words,
            help=self.help,
            rich_help_panel=self.panel,
            hidden=self.hidden,
            show_default=self.default or False,
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
        """The value that the words after the flag stand for.

        Raises:
            UserError: they are not of the field's type.
        """
        if isinstance(text, list):  # Typed several times, or once.
            text = ",".join(text)
        if not isinstance(text, str):
            return text
        if text.lower() == "none" and types.NoneType in get_args(self.annotation):
            return None
        value = text.split(",") if _is_list(self.annotation) else text
        if not is_numeric(self.annotation):
            return value
        value = list(map(_as_whole, value)) if isinstance(value, list) else _as_whole(value)
        try:
            return TypeAdapter(self.annotation).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            several = "; mechgrok sweep trains with several values" if "," in text else ""
            raise UserError(
                f"{self.words[0]} was given {text!r}: {message[0].lower()}{message[1:]}{several}."
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
        part: where its settings stand: ``training``; empty for those that stand alone.
        panel: the heading in the help, or a function from a field's name to one.
        but: fields that have none.
        defaults: show each field's default in the help.
        hidden: leave them out of the help.
    """
    flags = []
    for name, field in configuration.model_fields.items():
        if name in but or field.description is None:
            continue
        path = f"{part}.{name}" if part else name
        heading = panel(name) if callable(panel) else panel
        words = _CALLED.get(path, (_dashed(path),))
        shown = _shown(field) if defaults else None
        if path in _SWITCHES:
            usual, amount, help_ = _SWITCHES[path]
            text = f"{field.description.split(';')[0]}".replace("this many", f"{usual:,}")
            flags.append(Flag(path, words, text + ".", heading, bool))
            flags.append(
                Flag(f"{part}.{amount}", (f"--{amount}",), help_, heading, field.annotation)
            )
            continue
        flags.append(Flag(path, words, field.description, heading, field.annotation, shown, hidden))
    return flags


def merged(*lists: Iterable[Flag]) -> list[Flag]:
    """All flags, each once: of several with the same path, the first."""
    known: dict[str, Flag] = {}
    for flag in (flag for flags in lists for flag in flags):
        known.setdefault(flag.path, flag)
    return list(known.values())


def with_flags(flags: Iterable[Flag]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: a command's ``**given`` becomes one option for every flag.

    The command receives a dictionary of those that were given, by their paths.
    """
    flags = list(flags)
    by_parameter = {flag.parameter_name: flag for flag in flags}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]

        def command(**words: Any) -> None:
            texts = {name: words.pop(name) for name in by_parameter}
            given = {
                by_parameter[name].path: by_parameter[name].read(text)
                for name, text in texts.items()
                if text is not None and text != []
            }
            function(**words, given=_switched(given))

        # Flags first: in their order the help shows its panels.
        parameters = [flag.parameter() for flag in flags] + own
        parameters = [each for each in parameters if each.name != "given"]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        command.__doc__ = function.__doc__
        command.__name__ = function.__name__
        return command

    return decorate


def nested(given: Mapping[str, Any], assignments: Iterable[str] | None = None) -> dict[str, Any]:
    """Settings by their paths, and those of ``--set PATH=VALUE``, as a configuration's fields.

    A name of a person's own code among them was typed by that person: it may be loaded.

    Raises:
        UserError: an assignment has another form.
    """
    settings: dict[str, Any] = {}
    for path, value in given.items():
        put(settings, path, value)
    for assignment in assignments or ():
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.split(".")):
            raise UserError(f"--set {assignment} is not of the form task.KEY=VALUE.")
        if path in (*PARTS, "popup"):
            raise UserError(
                f"--set {assignment}: {path} has settings of its own, as {path}.KEY=VALUE."
            )
        part, dot, _ = path.partition(".")  # other commands have other parts, such as popup
        put(settings, path if dot and part not in PARTS else path_of(path), typed_value(text))
    names: list[Any] = names_in(value_at(settings, TRANSFORMS))
    names += named_parts(CONSTRAINTS, value_at(settings, "training.constraints"))
    names += [probe.name for probe in read_probes(value_at(settings, PROBES))]
    for path in NAMING_CODE:
        named = value_at(settings, path)
        named = named.get("name") if isinstance(named, dict) else named
        names += named if isinstance(named, list) else [named]
    for name in names:
        user_code.allow(name)
    return settings


def _as_whole(number: str) -> str:
    """``10000`` for ``1e4``, as whole numbers are parsed; any other text as it is."""
    try:
        whole = float(number) if "e" in number.lower() else math.nan
    except ValueError:
        return number
    return f"{whole:.0f}" if whole.is_integer() and abs(whole) < 2**53 else number


def typed_value(text: str) -> Any:
    """What a text stands for: JSON where it is, null for none, else itself."""
    if text == "none":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _switched(given: dict[str, Any]) -> dict[str, Any]:
    """Flags without a value as the values that they stand for."""
    for path, (usual, amount, _) in _SWITCHES.items():
        beside = f"{path.rpartition('.')[0]}.{amount}"
        wanted, value = given.pop(path, None), given.pop(beside, None)
        if value is not None and not wanted:
            raise UserError(f"--{amount} {value} says nothing without {_dashed(path)}: give both.")
        if wanted is not None:
            given[path] = (usual if value is None else value) if wanted else None
    return given


def refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse settings that something does not have.

    Raises:
        UserError: it has no such setting.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise UserError(f"{what} has no setting {name!r}{near(name, known)}.")


def _shown(field: FieldInfo) -> str | None:
    default = field.default
    if default is None or default is False or field.is_required() or default == ():
        return None
    return str(default)


def _is_list(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_is_list(each) for each in get_args(annotation))
    return get_origin(annotation) in (tuple, list)


def _metavar(annotation: Any) -> str:
    leaves = types_in(annotation) - {types.NoneType}
    kind = "INTEGER" if leaves == {int} else "FLOAT" if leaves <= {int, float} else "TEXT"
    return f"{kind},…" if _is_list(annotation) else kind
