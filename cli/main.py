"""The ``mechgrok`` command: subcommands, imported when called."""

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
from mechgrok.cli.suggestions import print_suggestion
from mechgrok.errors import TOO_LITTLE_MEMORY, ExternalError, UserError, lacks_memory
from mechgrok.registry import Entry

#: The subcommands by panel of the help.
PANELS = {
    "Start here": ("demo", "zoo"),
    "Make runs": ("train", "presets", "ticket", "popup", "fork"),
    "Analyze": ("info", "verify", "analyze", "animate", "intervene", "explore", "report"),
    "Many runs": ("sweep", "compare", "precursors", "paper", "papers"),
    "Exchange": ("import", "export", "push", "log"),
}
#: Each subcommand's module, whose first line is its help.
COMMANDS = {
    name: Entry(name, f"mechgrok.cli.{'import_' if name == 'import' else name}")
    for names in PANELS.values()
    for name in names
}


class LazyGroup(TyperGroup):
    """A group of commands that lists names and help without importing them."""

    def entries(self) -> Mapping[str, Entry]:
        """The commands by name."""
        return COMMANDS

    def load(self, entry: Entry) -> Any:
        """Import the command of an entry: its module's ``app``, or the function named like it."""
        module = entry.load()
        if hasattr(module, "app"):
            return typer.main.get_command(module.app)
        function = getattr(module, entry.module.rpartition(".")[2])
        return as_command(entry.name, function)

    def advice(self, args: list[str]) -> str:
        """A suggestion for words that begin with no command of the group."""
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
    """Make a command of a function; its parameters become arguments and options."""
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name, epilog=getattr(function, "epilog", None))(function)
    command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup, invoke_without_command=True, rich_markup_mode="markdown", add_completion=True
)

#: What ``mechgrok`` alone prints.
WELCOME = """\
mechgrok trains small networks that grok, keeps every checkpoint, and analyzes the sequence.

  mechgrok demo          train a network, draw three figures, open them (half a minute)
  mechgrok zoo           list small runs that come with mechgrok
  mechgrok train         train the default network (a minute or two)
  mechgrok --help        list all commands"""


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print(version("mechgrok"))
        raise typer.Exit()


@app.callback()
def mechgrok(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Do not suggest the next command.")
    ] = False,
) -> None:
    """Train networks that grok, and analyze training at every checkpoint."""
    if context.invoked_subcommand is None:
        print(WELCOME)


#: The command line after ``mechgrok``.
typed: list[str] = []


#: Errors for an invalid path.
_PATH_ERRORS = (errno.ENAMETOOLONG, errno.ELOOP)
#: Errors for a full output device.
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
_LONGEST_WORD = 200


def _in_one_line(error: Exception) -> str:
    """A message as one printable line, with long words abbreviated.

    File names and file contents may hold line ends or terminal control sequences.
    """
    letters = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(error))
    words = "".join(letters).split(" ")
    half = _LONGEST_WORD // 2
    return " ".join(
        word if len(word) <= _LONGEST_WORD else f"{word[:half]}…{word[-half:]}" for word in words
    )


def _help_hint(error: TyperException) -> str:
    """The end of a parser's message: how to show the command's help."""
    context = getattr(error, "ctx", None)
    return f"; see {context.command_path} --help." if context else "."


#: Commands that import neither torch nor SciPy.
_LIGHT = {"info", "presets", "zoo"}
#: Least address space, in bytes, for torch and SciPy: with less, some libraries fail to load and
#: others (OpenBLAS) retry for ever.
_LEAST_ADDRESS_SPACE = 1_500_000_000


def _check_address_space() -> None:
    """Refuse to start if ``ulimit -v`` is too small to import torch and SciPy.

    Raises:
        ExternalError: it is.
    """
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    words = [word for word in typed if not word.startswith("-")]
    light = not words or words[0] in _LIGHT or "--help" in typed
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE and not light:
        raise ExternalError(
            f"{TOO_LITTLE_MEMORY[:-1]} (ulimit -v allows {limit / 1e9:.1f} GB; "
            f"at least {_LEAST_ADDRESS_SPACE / 1e9:.1f} GB are needed)."
        )


def main(args: list[str] | None = None) -> None:
    """Run the command line; a user's mistake is one sentence on stderr and exit code 2."""
    typed[:] = sys.argv[1:] if args is None else args
    prepare_streams()
    command = typer.main.get_command(app)
    try:
        _check_address_space()
        code = command.main(args=args, prog_name="mechgrok", standalone_mode=False)
        sys.stdout.flush()
        if isinstance(code, tuple) and not {"--quiet", "-q"} & {*typed}:
            print_suggestion(code)
    except (typer.Abort, KeyboardInterrupt):
        print("mechgrok: stopped.", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # The reader closed the pipe.
        code = _discard_stdout()
    except Exception as error:
        explanation = _explain(error)
        if explanation is None:
            raise
        message, code = explanation
        if message:
            print(f"mechgrok: {message}", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> tuple[str, int] | None:
    """A sentence and an exit code for a user's or the machine's error; None for a bug."""
    if isinstance(error, UserError):
        return _in_one_line(error), error.exit_code
    if isinstance(error, TyperException):
        message = error.format_message()
        if advice := advice_on_option(error):
            message = f"{message.partition(' (')[0]}: {advice}"
        return message and f"{message.rstrip('.')}{_help_hint(error)}", 2
    if isinstance(error, OSError) and error.errno in _PATH_ERRORS:
        return f"{_in_one_line(error)}: choose another path.", 2
    if isinstance(error, OSError) and error.errno in _OUTPUT_ERRORS and error.filename is None:
        return f"The output cannot be written ({error.strerror}).", _discard_stdout()
    if lacks_memory(error):
        return TOO_LITTLE_MEMORY, ExternalError.exit_code
    return None


def _discard_stdout() -> int:
    """Keep Python from retrying a failed write at exit; return exit code 1."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExternalError.exit_code


if __name__ == "__main__":
    main()
