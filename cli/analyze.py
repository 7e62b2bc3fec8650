"""Ask one or several runs a question: `mechgrok analyze --list` describes them"""

from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.figures import Pictures, with_pictures
from mechgrok.cli.questions import Out, Questions
from mechgrok.results.analysis import analyses

if TYPE_CHECKING:
    from mechgrok.measuring import Asked


def answer(asked: "Asked", *, pictures: Pictures, out: Out = None) -> None:
    """Say what was found; write the figure and, where another folder is wanted, the tables."""
    from mechgrok.files import make_folder
    from mechgrok.runs.labels import short
    from mechgrok.runs.parquet import write_parquet

    if out is not None:
        make_folder(out)
    for label, dataset in asked.measured.items():
        print(f"{label}: {asked.analysis.finding(dataset)}")
        table = asked.tables[label]
        if out is not None:
            several = f"-{short(label)}" if len(asked.measured) > 1 else ""
            table = out / f"{asked.analysis.name}{several}.parquet"
            write_parquet(dataset, table)
        if table.exists():
            print(f"  {table}")
    pictures.write(asked.figure, asked.beside(out).with_suffix(".html"), indent="  ")


class AnalysisGroup(Questions):
    """``mechgrok analyze NAME RUN…``"""

    then = staticmethod(with_pictures(answer))


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
