"""Subcommands for every analysis, with options from its functions' signatures."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from mechgrok import user_code
from mechgrok.cli.main import LazyGroup, as_command
from mechgrok.cli.mistakes import check_analysis
from mechgrok.cli.options import By, Checkpoints, Fresh
from mechgrok.cli.progress import status
from mechgrok.cli.suggestions import Suggestion
from mechgrok.registry import Entry
from mechgrok.results.analysis import Analysis, analyses
from mechgrok.results.variables import as_listed

Runs = Annotated[
    list[Path], typer.Argument(help="Folders of runs or sweeps; several are overlaid.")
]
Out = Annotated[
    Path | None, typer.Option(help="Folder for the results; default: the run's analysis/.")
]


class AnalysisCommands(LazyGroup):
    """A subcommand for every analysis, which measures runs and outputs the result."""

    #: Outputs the result; its keyword-only parameters are options of every subcommand.
    output: Callable[..., object]

    def entries(self) -> Mapping[str, Entry]:
        return analyses()

    def load(self, entry: Entry) -> Any:
        return self.command_of(Analysis.load(entry.name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.entries():
            if user_code.is_own(own := user_code.analysis_name(args[0])):
                user_code.allow(own)
                analysis = Analysis.load(args[0])
                return analysis.name, self.command_of(analysis), args[1:]
            from mechgrok.registry import ANALYSES, find

            check_analysis(args)
            find(ANALYSES, args[0])
        return super().resolve_command(ctx, args)

    def command_of(self, analysis: Analysis) -> Any:
        """The subcommand of ``analysis``."""
        return as_command(analysis.name, make_command(analysis, type(self).output))


def analysis_app(output: Callable[..., object]) -> typer.Typer:
    """An app with a subcommand for every analysis, which outputs the result by ``output``."""
    group = type("Group", (AnalysisCommands,), {"output": staticmethod(output)})
    return typer.Typer(
        cls=group, no_args_is_help=True, rich_markup_mode="markdown", add_completion=False
    )


def make_command(analysis: Analysis, output: Callable[..., object]) -> Callable[..., Suggestion]:
    """The function behind ``mechgrok analyze NAME``; its parameters are the analysis's options."""
    measuring, drawing = _options(analysis.measure), _options(analysis.draw)
    output_options = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(output).parameters.items()
        if name != "result"
    }

    def command(
        runs: list[Path], by: str | None, steps: str | None, fresh: bool, **options: Any
    ) -> Suggestion:
        from mechgrok.measuring import measure_all
        from mechgrok.sweeps.groups import RunGroups

        result = measure_all(
            analysis,
            RunGroups.open(runs, by),
            steps=steps or None,
            fresh=fresh,
            measuring={name: options[name] for name in measuring},
            drawing={name: options[name] for name in drawing},
            status=status,
        )
        output(result, **{name: options[name] for name in output_options})
        return ("report", *runs)

    def option(name: str, kind: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default
        )

    parameters = [
        option("runs", Runs, inspect.Parameter.empty),
        option("by", By, None),
        option("steps", Checkpoints, None),
        option("fresh", Fresh, False),
        *output_options.values(),
        *(
            option(name, Annotated[kind, typer.Option(help=help_)], default)
            for name, (kind, help_, default) in (measuring | drawing).items()
        ),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = "\n\n".join([analysis.about, *_variables(analysis)])
    return command


def _variables(analysis: Analysis) -> list[str]:
    """A paragraph that lists the variables of its Dataset, or nothing."""
    variables = as_listed(analysis.variables).items()
    names = [f"`{name} [{v.dims}]`" for name, v in variables if v.dims != name]
    return [f"Variables: {', '.join(names)}."] if names else []


def _options(function: Callable[..., Any]) -> dict[str, tuple[Any, str, Any]]:
    """Type, help and default of each keyword option of ``measure`` or ``draw``."""
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
