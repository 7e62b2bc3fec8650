"""The reference of the command line, from the commands themselves."""

import inspect
from pathlib import Path
from typing import Any

from mechgrok.cli.main import COMMANDS, LazyGroup

_HEAD = """# Commands

`mechgrok COMMAND --help` says the same in a terminal. Exit codes: 0, 2 for a mistake in what was
typed or in a file, 130 after Ctrl-C, 1 where something else failed.

"""


def write(into: Path) -> None:
    """One page of all commands with their arguments and options."""
    group = LazyGroup(name="mechgrok")
    parts = [_command(name, group.load(entry)) for name, entry in COMMANDS.items()]
    into.mkdir(parents=True, exist_ok=True)
    (into / "commands.md").write_text(_HEAD + "\n".join(parts), encoding="utf-8")


def _command(name: str, command: Any) -> str:
    if hasattr(command, "list_commands"):
        return _group(name, command)
    return _page(f"## {name}", f"mechgrok {name}", command)


def _group(name: str, group: Any) -> str:
    """A command whose first word chooses what it does, as an analysis."""
    inner = [group.get_command(None, each) for each in group.list_commands(None)]
    lines = [f"## {name}", "", _usage(f"mechgrok {name}", group), "", _text(group.help), ""]
    lines += [f"* `{each.name}`: {_line(each.short_help or each.help)}" for each in inner]
    return "\n".join([*lines, "", *_parameters(group)]) + "\n"


def _page(heading: str, typed: str, command: Any) -> str:
    lines = [heading, "", _usage(typed, command), "", _text(command.help), ""]
    return "\n".join([*lines, *_parameters(command)]) + "\n"


def _usage(typed: str, command: Any) -> str:
    words = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    return "\n".join(["```text", " ".join([typed, "[OPTIONS]", *words]), "```"])


def _argument(parameter: Any) -> str:
    name = parameter.name.strip("_").upper()
    name = f"{name}…" if parameter.nargs != 1 else name
    return name if parameter.required else f"[{name}]"


def _parameters(command: Any) -> list[str]:
    """A table of the options; options of one panel together."""
    rows = ["| option | default | what it is |", "| --- | --- | --- |"]
    for each in command.params:
        if each.name == "help":
            continue
        if each.param_type_name == "argument":
            typed = f"`{_argument(each)}`"
        else:
            typed = ", ".join(f"`{word}`" for word in (*each.opts, *each.secondary_opts))
        rows.append(f"| {typed} | {_default(each)} | {_line(getattr(each, 'help', ''))} |")
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
    """In one line of a table."""
    return " ".join(inspect.cleandoc(text or "").split()).replace("|", "\\|")


def _text(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\b\n", "").replace("\f", "")
