"""The command-line reference, generated from the commands."""

import inspect
from pathlib import Path
from typing import Any

from mechgrok.cli.main import COMMANDS, LazyGroup

_HEAD = """# Commands

`mechgrok COMMAND --help` shows the same in a terminal. Exit codes: 0 for success, 2 for a mistake
in the command or in a file, 130 after Ctrl-C, 1 for other failures.

"""


def write(into: Path) -> None:
    """Write one page of all commands with their arguments and options."""
    group = LazyGroup(name="mechgrok")
    parts = [_command(name, group.load(entry)) for name, entry in COMMANDS.items()]
    into.mkdir(parents=True, exist_ok=True)
    (into / "commands.md").write_text(_HEAD + "\n".join(parts), encoding="utf-8")


def _command(name: str, command: Any) -> str:
    if hasattr(command, "list_commands"):
        return _group(name, command)
    return _page(f"## {name}", f"mechgrok {name}", command)


def _group(name: str, group: Any) -> str:
    """A command with subcommands, such as an analysis."""
    subcommands = [group.get_command(None, name) for name in group.list_commands(None)]
    lines = [f"## {name}", "", _usage(f"mechgrok {name}", group), "", _text(group.help), ""]
    lines += [
        f"* `{command.name}`: {_line(command.short_help or command.help)}"
        for command in subcommands
    ]
    return "\n".join([*lines, "", *_parameters(group)]) + "\n"


def _page(heading: str, typed: str, command: Any) -> str:
    lines = [heading, "", _usage(typed, command), "", _text(command.help), ""]
    return "\n".join([*lines, *_parameters(command)]) + "\n"


def _usage(typed: str, command: Any) -> str:
    arguments = [_argument(p) for p in command.params if p.param_type_name == "argument"]
    return "\n".join(["```text", " ".join([typed, "[OPTIONS]", *arguments]), "```"])


def _argument(parameter: Any) -> str:
    name = parameter.name.strip("_").upper()
    name = f"{name}…" if parameter.nargs != 1 else name
    return name if parameter.required else f"[{name}]"


def _parameters(command: Any) -> list[str]:
    """A table of arguments and options."""
    rows = ["| option | default | description |", "| --- | --- | --- |"]
    for parameter in command.params:
        if parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            names = f"`{_argument(parameter)}`"
        else:
            names = ", ".join(f"`{n}`" for n in (*parameter.opts, *parameter.secondary_opts))
        help_ = _line(getattr(parameter, "help", ""))
        rows.append(f"| {names} | {_default(parameter)} | {help_} |")
    return [*rows, ""] if len(rows) > 2 else []


def _default(parameter: Any) -> str:
    value = parameter.default
    if (
        value is None
        or value == ""
        or callable(value)
        or value is False
        or "UNSET" in repr(value).upper()
    ):
        return ""
    return f"`{value}`".replace("|", "\\|")


def _line(text: str | None) -> str:
    """A text as one line of a table."""
    return " ".join(inspect.cleandoc(text or "").split()).replace("|", "\\|")


def _text(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\b\n", "").replace("\f", "")
