"""The ``mechgrok`` command: a table of subcommands, each imported when it is called."""

import errno
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from mechgrok.errors import UserError, near
from mechgrok.registry import Entry

#: Every subcommand and the module that holds it; the module's first line is its help.
COMMANDS = {
    name: Entry(name, module)
    for name, module in {
        "train": "mechgrok.cli.train",
        "presets": "mechgrok.cli.presets",
        "info": "mechgrok.cli.info",
        "verify": "mechgrok.cli.verify",
        "ticket": "mechgrok.cli.ticket",
        "popup": "mechgrok.cli.popup",
        "fork": "mechgrok.cli.fork",
        "sweep": "mechgrok.cli.sweep",
        "compare": "mechgrok.cli.compare",
        "analyze": "mechgrok.cli.analyze",
        "animate": "mechgrok.cli.animate",
        "intervene": "mechgrok.cli.intervene",
        "explore": "mechgrok.cli.explore",
        "report": "mechgrok.cli.report",
        "paper": "mechgrok.cli.paper",
        "import": "mechgrok.cli.import_",
        "export": "mechgrok.cli.export",
        "push": "mechgrok.cli.push",
        "log": "mechgrok.cli.log",
    }.items()
}


class LazyGroup(TyperGroup):
    """A group of commands that lists their names and help without importing any of them."""

    def entries(self) -> Mapping[str, Entry]:
        """The commands by name."""
        return COMMANDS

    def load(self, entry: Entry) -> Any:
        """The command of one entry, imported: the module's ``app``, or the function it names."""
        module = entry.load()
        if hasattr(module, "app"):
            return typer.main.get_command(module.app)
        function = getattr(module, entry.module.rpartition(".")[2])
        return as_command(entry.name, function)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.entries())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = self.entries().get(cmd_name)
        return entry and TyperCommand(cmd_name, short_help=entry.description, callback=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.entries() and (meant := near(args[0], self.entries())):
            ctx.fail(f"No such command {args[0]!r}{meant}")
        name, _, rest = super().resolve_command(ctx, args)
        return name, self.load(self.entries()[name or ""]), rest


def as_command(name: str, function: Any) -> Any:
    """A function as a command, its typed parameters as arguments and options."""
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name)(function)
    command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, rich_markup_mode="markdown", add_completion=True
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("mechgrok"))
        raise typer.Exit()


@app.callback()
def mechgrok(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train networks that grok, keep every checkpoint, and ask the sequence questions."""


#: The words after ``mechgrok``, as they were typed.
typed: list[str] = []


#: What the operating system says of a path that cannot be one.
_OF_NAMES = (errno.ENAMETOOLONG, errno.ELOOP)
_LONGEST_WORD = 200


def _in_one_line(error: Exception) -> str:
    """A message in one line that a terminal can show, the middle of long words left out.

    Names out of files and of files may hold line ends, or what a terminal takes for commands.
    """
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(error))
    words = "".join(shown).split(" ")
    half = _LONGEST_WORD // 2
    return " ".join(
        word if len(word) <= _LONGEST_WORD else f"{word[:half]}…{word[-half:]}" for word in words
    )


def _where_help_is(error: TyperException) -> str:
    """The command that shows what could have been typed, behind a mistake in what was."""
    context = getattr(error, "ctx", None)
    return f"; {context.command_path} --help shows what it takes." if context else "."


def main(args: list[str] | None = None) -> None:
    """Run the command line; a person's mistake is one sentence on stderr and exit code 2."""
    typed[:] = sys.argv[1:] if args is None else args
    command = typer.main.get_command(app)
    try:
        code = command.main(args=args, prog_name="mechgrok", standalone_mode=False)
    except UserError as error:
        print(f"mechgrok: {_in_one_line(error)}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        if error.errno not in _OF_NAMES:
            raise
        print(f"mechgrok: {_in_one_line(error)}: choose another path.", file=sys.stderr)
        code = 2
    except TyperException as error:
        if message := error.format_message():
            print(f"mechgrok: {message.rstrip('.')}{_where_help_is(error)}", file=sys.stderr)
        code = 2
    except (typer.Abort, KeyboardInterrupt):
        print("mechgrok: stopped.", file=sys.stderr)
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
