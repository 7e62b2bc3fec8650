"""The ``mechgrok`` command: a table of subcommands, each imported when it is called."""

import errno
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from mechgrok.cli.mistakes import advice_on_command, advice_on_option
from mechgrok.cli.streams import prepare_streams
from mechgrok.errors import TOO_LITTLE_MEMORY, ExternalError, UserError, lacks_memory
from mechgrok.registry import Entry

#: The subcommands in the panels of the help.
PANELS = {
    "Make runs": ("train", "presets", "ticket", "popup", "fork"),
    "Analyze": ("info", "verify", "analyze", "animate", "intervene", "explore", "report"),
    "Many runs": ("sweep", "compare", "paper", "papers"),
    "Exchange": ("import", "export", "push", "log"),
}
#: Every subcommand and the module that holds it; the module's first line is its help.
COMMANDS = {
    name: Entry(name, f"mechgrok.cli.{'import_' if name == 'import' else name}")
    for names in PANELS.values()
    for name in names
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

    def advice(self, args: list[str]) -> str:
        """What may have been meant by words that begin with no command of the group."""
        return advice_on_command(args, list(self.entries()))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.entries())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = self.entries().get(cmd_name)
        panel = next((panel for panel, names in PANELS.items() if cmd_name in names), None)
        return entry and TyperCommand(
            cmd_name, short_help=entry.description, callback=None, rich_help_panel=panel
        )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.entries():
            ctx.fail(f"No such command {args[0]!r}{self.advice(args)}")
        name, _, rest = super().resolve_command(ctx, args)
        return name, self.load(self.entries()[name or ""]), rest


def as_command(name: str, function: Any) -> Any:
    """A function as a command, its typed parameters as arguments and options."""
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name, epilog=getattr(function, "epilog", None))(function)
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
#: And of an output that takes no more.
_OF_OUTPUT = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
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


#: Commands that import neither torch nor SciPy.
_LIGHT = {"info", "presets"}
#: Bytes of address space below which those cannot be imported; then some of what they load fails,
#: and some (OpenBLAS) tries again for ever.
_LEAST_ADDRESS_SPACE = 1_500_000_000


def _check_address_space() -> None:
    """Refuse to begin where ``ulimit -v`` leaves too little to import what computes.

    Raises:
        ExternalError: it does.
    """
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    light = not typed or typed[0] in _LIGHT or "--help" in typed or typed[0].startswith("-")
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE and not light:
        raise ExternalError(
            f"{TOO_LITTLE_MEMORY[:-1]} (ulimit -v allows {limit / 1e9:.1f} GB; "
            f"{_LEAST_ADDRESS_SPACE / 1e9:.1f} GB are the least)."
        )


def main(args: list[str] | None = None) -> None:
    """Run the command line; a person's mistake is one sentence on stderr and exit code 2."""
    typed[:] = sys.argv[1:] if args is None else args
    prepare_streams()
    command = typer.main.get_command(app)
    try:
        _check_address_space()
        code = command.main(args=args, prog_name="mechgrok", standalone_mode=False)
        sys.stdout.flush()
    except (typer.Abort, KeyboardInterrupt):
        print("mechgrok: stopped.", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # Who read the output has seen enough.
        code = _discard_stdout()
    except Exception as error:
        said = _explained(error)
        if said is None:
            raise
        message, code = said
        if message:
            print(f"mechgrok: {message}", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _explained(error: Exception) -> tuple[str, int] | None:
    """A sentence and an exit code for what a person or the machine did; None for a bug."""
    if isinstance(error, UserError):
        return _in_one_line(error), error.exit_code
    if isinstance(error, TyperException):
        message = error.format_message()
        if advice := advice_on_option(error):
            message = f"{message.partition(' (')[0]}: {advice}"
        return message and f"{message.rstrip('.')}{_where_help_is(error)}", 2
    if isinstance(error, OSError) and error.errno in _OF_NAMES:
        return f"{_in_one_line(error)}: choose another path.", 2
    if isinstance(error, OSError) and error.errno in _OF_OUTPUT and error.filename is None:
        return f"The output cannot be written ({error.strerror}).", _discard_stdout()
    if lacks_memory(error):
        return TOO_LITTLE_MEMORY, ExternalError.exit_code
    return None


def _discard_stdout() -> int:
    """Let Python end without trying once more to write what could not be written; exit code 1."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExternalError.exit_code


if __name__ == "__main__":
    main()
