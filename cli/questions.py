"""Commands for every analysis: their options read from the functions' signatures."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from mechgrok import user_code
from mechgrok.cli.main import LazyGroup, as_command
from mechgrok.cli.mistakes import check_analysis
from mechgrok.cli.progress import status
from mechgrok.registry import Entry
from mechgrok.results.analysis import Analysis, analyses
from mechgrok.results.variables import as_listed

Runs = Annotated[
    list[Path], typer.Argument(help="Folders of runs or sweeps, measured each and overlaid.")
]
By = Annotated[
    str | None,
    typer.Option(help="Group runs by settings: weight_decay,p; a sweep: all but the seeds."),
]
Steps = Annotated[
    str | None, typer.Option(help="Checkpoints: 0,2000,30000 or 0:30000:1000 or last; all.")
]
Out = Annotated[Path | None, typer.Option(help="Folder for the results.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure anew, whatever is on disk.")]


class Questions(LazyGroup):
    """A subcommand for every analysis, which asks it of runs and does something with the answer."""

    #: What is done: its keyword-only parameters are further options of every subcommand.
    then: Callable[..., None]

    def entries(self) -> Mapping[str, Entry]:
        return analyses()

    def load(self, entry: Entry) -> Any:
        return self.command_of(Analysis.load(entry.name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.entries():
            if user_code.is_own(own := user_code.analysis_name(args[0])):
                user_code.allow(own)
                found = Analysis.load(args[0])
                return found.name, self.command_of(found), args[1:]
            from mechgrok.registry import ANALYSES, find

            check_analysis(args)
            find(ANALYSES, args[0])
        return super().resolve_command(ctx, args)

    def command_of(self, analysis: Analysis) -> Any:
        """The subcommand that asks ``analysis``."""
        return as_command(analysis.name, asking(analysis, type(self).then))


def asking(analysis: Analysis, then: Callable[..., None]) -> Callable[..., None]:
    """The function behind ``mechgrok analyze NAME``: its parameters are the analysis's options."""
    measuring, drawing = _options(analysis.measure), _options(analysis.draw)
    after = {
        name: each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, each in inspect.signature(then).parameters.items()
        if name != "result"
    }

    def command(
        runs: list[Path], by: str | None, steps: str | None, fresh: bool, **given: Any
    ) -> None:
        from mechgrok.measuring import measure_all
        from mechgrok.sweeps.groups import RunGroups

        result = measure_all(
            analysis,
            RunGroups.open(runs, by),
            steps=steps or None,
            fresh=fresh,
            measuring={name: given[name] for name in measuring},
            drawing={name: given[name] for name in drawing},
            status=status,
        )
        then(result, **{name: given[name] for name in after})

    def parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
        keyword = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, keyword, annotation=kind, default=default)

    parameters = [
        parameter("runs", Runs, inspect.Parameter.empty),
        parameter("by", By, None),
        parameter("steps", Steps, None),
        parameter("fresh", Fresh, False),
        *after.values(),
        *(
            parameter(name, Annotated[kind, typer.Option(help=help_)], default)
            for name, (kind, help_, default) in (measuring | drawing).items()
        ),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = "\n\n".join([analysis.about, *_variables(analysis)])
    return command


def _variables(analysis: Analysis) -> list[str]:
    """What its Dataset holds, in a paragraph; none where it does not say."""
    listed = as_listed(analysis.variables).items()
    names = [f"`{name} [{each.dims}]`" for name, each in listed if each.dims != name]
    return [f"Variables: {', '.join(names)}."] if names else []


def _options(function: Callable[..., Any]) -> dict[str, tuple[Any, str, Any]]:
    """The keyword options of ``measure`` or ``draw``: type, help (from Annotated), default."""
    hints = get_type_hints(function, include_extras=True)
    options = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or name == "steps":
            continue
        kind, help_ = hints[name], ""
        if get_origin(kind) is Annotated:
            kind, help_ = get_args(kind)[0], str(get_args(kind)[1])
        options[name] = (kind, help_, parameter.default)
    return options
