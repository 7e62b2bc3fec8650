"""Analyze one or several runs: `mechgrok analyze --list` describes the analyses"""

from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.analysis_commands import Out, analysis_app
from mechgrok.cli.figures import Pictures
from mechgrok.cli.options import with_option_groups
from mechgrok.results.analysis import analyses

if TYPE_CHECKING:
    from mechgrok.measuring import AnalysisResult


def write_results(result: "AnalysisResult", *, out: Out = None, pictures: Pictures) -> None:
    """Print the findings and write the figure; with ``out``, write the tables there too."""
    from mechgrok.files import make_folder
    from mechgrok.runs.labels import truncate
    from mechgrok.runs.parquet import write_parquet

    stem = result.output_stem(out)
    if out is not None:
        make_folder(out)
    for label, dataset in result.measured.items():
        print(f"{label}: {result.analysis.finding(dataset)}")
        table = dataset.encoding.get("source")
        if out is not None:
            suffix = f"-{truncate(label)}" if len(result.measured) > 1 else ""
            table = out / f"{stem.name}{suffix}.parquet"
            write_parquet(dataset, table)
        if table is not None:
            print(f"  {table}")
    pictures.write(result.figure, stem.with_name(f"{stem.name}.html"), indent="  ")


app = analysis_app(with_option_groups(write_results))


def _list(requested: bool) -> None:
    if not requested:
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
    """Analyze runs; the results go to the run's `analysis/` as HTML and Parquet."""
