"""Compare all measures of a sweep's runs as precursors of generalization"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import AtAccuracy, Fresh, Quiet
from mechgrok.cli.progress import progress_callback
from mechgrok.cli.suggestions import Suggestion


def precursors(
    sweep: Annotated[Path, typer.Argument(help="The folder of a sweep.")],
    only: Annotated[
        str | None, typer.Option(help="Analyses to measure: entropy,norms; default: all.")
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Step within which a run generalizes or not; default: the last step of the "
            "shortest finished run that does not.",
        ),
    ] = None,
    within: Annotated[
        str | None,
        typer.Option(
            help="Compare only runs with the same values of these settings; default: plan, if the "
            "sweep has several."
        ),
    ] = None,
    at_accuracy: AtAccuracy = None,
    top: Annotated[int, typer.Option(min=1, help="Measures to print and to draw.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(help="The page; default: analysis/precursors.html in the sweep's folder."),
    ] = None,
    fresh: Fresh = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core, up to 8.")
    ] = None,
    quiet: Quiet = False,
) -> Suggestion:
    """Compare every measure's power to tell early which runs generalize.

    Writes a page with a row per measure, and the table as CSV and Parquet beside it. Analyses that
    do not apply to a run or fail on it are listed; a failure also sets the exit code 1.
    """
    import mechgrok

    names = None if only is None else only.replace(" ", "").split(",")
    with progress_callback("measuring", quiet=quiet) as progress:
        result = mechgrok.precursors(
            mechgrok.Sweep(sweep, at_accuracy=at_accuracy),
            only=names,
            horizon=horizon,
            within=within,
            top=top,
            out=out,
            fresh=fresh,
            workers=workers,
            progress=progress,
        )
    columns = ["measure", "auroc", "low", "high", "p_family", "rho", "lead"]
    print(result.top(top)[columns].to_string(index=False, float_format="%.2f", na_rep="—"))
    for sentence in result.summary:
        print(sentence)
    for sentence in result.failures:
        print(f"mechgrok: {sentence}", file=sys.stderr)
    print(result.path)
    if result.failures:
        raise typer.Exit(1)
    return ("report", sweep)
