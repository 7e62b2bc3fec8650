"""Ask one or several runs a question: `mechgrok analyze --list` describes them"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from cli.main import LazyGroup, as_command
from cli.progress import waiting
from mechgrok import own_code
from mechgrok.registry import Entry
from mechgrok.results.analysis import Analysis, analyses, own_analysis


class AnalysisGroup(LazyGroup):
    """A subcommand for every analysis, its options read from the functions' signatures."""

    def entries(self) -> Mapping[str, Entry]:
        return analyses()

    def load(self, entry: Entry) -> Any:
        return as_command(entry.name, command_of(Analysis.load(entry.name)))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in self.entries():
            if own_code.is_own(own := own_analysis(args[0])):
                own_code.allow(own)
                found = Analysis.load(args[0])
                return found.name, as_command(found.name, command_of(found)), args[1:]
            from mechgrok.registry import find
            from mechgrok.results.analysis import GROUP

            find(GROUP, args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=AnalysisGroup, no_args_is_help=True, rich_markup_mode="markdown", add_completion=False
)


def _list(wanted: bool) -> None:
    if not wanted:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, entry in analyses().items():
        table.add_row(f"[bold]{name}[/bold]", entry.description)
    Console().print(table)
    raise typer.Exit()


@app.callback()
def analyze(
    list_: Annotated[
        bool, typer.Option("--list", callback=_list, is_eager=True, help="Describe all analyses.")
    ] = False,
) -> None:
    """Ask runs a question; the answer goes to the run's `analysis/` as HTML and Parquet."""


def command_of(analysis: Analysis) -> Callable[..., None]:
    """The function behind ``mechgrok analyze NAME``: its parameters are the analysis's options."""
    measuring = _options(analysis.measure)
    drawing = _options(analysis.draw)

    def command(
        runs: list[Path],
        by: str | None,
        steps: str | None,
        out: Path | None,
        fresh: bool,
        open_: bool,
        png: bool,
        **given: Any,
    ) -> None:
        answer(
            analysis,
            runs,
            by,
            steps,
            {name: given[name] for name in measuring},
            {name: given[name] for name in drawing},
            out=out,
            fresh=fresh,
            open_=open_,
            png=png,
        )

    keyword = inspect.Parameter.KEYWORD_ONLY
    frame = {
        "runs": (
            list[Path],
            typer.Argument(help="Folders of runs or sweeps, measured each and overlaid."),
            ...,
        ),
        "by": (
            str | None,
            typer.Option(
                help="Group runs by settings: weight_decay,p; a sweep: all but the seeds."
            ),
            None,
        ),
        "steps": (
            str | None,
            typer.Option(help="Checkpoints: 0,2000,30000 or 0:30000:1000 or last; all."),
            None,
        ),
        "out": (Path | None, typer.Option(help="Folder for the results."), None),
        "fresh": (bool, typer.Option("--fresh", help="Measure anew, whatever is kept."), False),
        "open_": (bool, typer.Option("--open", help="Show the figure in a browser."), False),
        "png": (bool, typer.Option("--png", help="Draw a PNG too (extra mechgrok[png])."), False),
    }
    parameters = [
        inspect.Parameter(
            name,
            keyword,
            annotation=Annotated[kind, option],
            default=inspect.Parameter.empty if default is ... else default,
        )
        for name, (kind, option, default) in frame.items()
    ]
    parameters += [
        inspect.Parameter(
            name, keyword, annotation=Annotated[kind, typer.Option(help=help_)], default=default
        )
        for name, (kind, help_, default) in (measuring | drawing).items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = analysis.about
    return command


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


def answer(
    analysis: Analysis,
    paths: list[Path],
    by: str | None,
    steps: str | None,
    measuring: dict[str, Any],
    drawing: dict[str, Any],
    *,
    out: Path | None,
    fresh: bool,
    open_: bool,
    png: bool,
) -> None:
    """Measure every run, keep Parquet beside each, draw one figure, and say what was found."""
    from analyses.drawing import write_html, write_png
    from mechgrok.files import make_folder
    from mechgrok.results.parquet import write_parquet
    from mechgrok.runs.labels import short
    from mechgrok.sweeps.family import Family

    family = Family.open(paths, by)
    runs = family.runs
    chosen = {label: run.select(steps) if steps else None for label, run in runs.items()}
    measured = {}
    for label, run in runs.items():
        with waiting(f"measuring {analysis.name} on {label}"):
            measured[label] = analysis(run, steps=chosen[label], fresh=fresh, **measuring)
    figure = analysis.draw(family.grouped(measured), **drawing)
    stem = family.stem(analysis.name) if out is None else analysis.name
    page = (out or family.path) / f"{stem}.html"
    make_folder(page.parent)
    for label, run in runs.items():
        print(f"{label}: {analysis.finding(measured[label])}")
        table = analysis.kept_at(run, steps=chosen[label], **measuring)
        if out is not None:
            table = out / f"{analysis.name}{f'-{short(label)}' if len(runs) > 1 else ''}.parquet"
            write_parquet(measured[label], table)
        if table.exists():
            print(f"  {table}")
    write_html(figure, page)
    print(f"  {page}")
    if png:
        write_png(figure, page.with_suffix(".png"))
        print(f"  {page.with_suffix('.png')}")
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
