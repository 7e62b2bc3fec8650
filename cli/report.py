"""Write every applicable analysis of one or several runs to one offline page"""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import Fresh
from mechgrok.cli.progress import progress_callback
from mechgrok.cli.suggestions import Suggestion


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or sweeps.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page; default: analysis/report.html in the first folder, "
            "report-NAME.html with --only."
        ),
    ] = None,
    only: Annotated[str | None, typer.Option(help="Analyses to include: accuracy,fourier.")] = None,
    fresh: Fresh = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core, up to 8.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> Suggestion:
    """Write one self-contained page with every applicable analysis: facts, findings, figures.

    If an analysis fails, its section says why, the page is written, and the exit code is 1.
    """
    from mechgrok.reports.report import report as write_report

    began = time.monotonic()
    names = None if only is None else only.replace(" ", "").split(",")
    try:
        with progress_callback("measuring") as progress:
            written = write_report(
                runs, out, only=names, fresh=fresh, workers=workers, progress=progress
            )
    except KeyboardInterrupt:
        print(
            "Stopped: finished analyses are kept, so the next report resumes from there.",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    for failure in written.failures:
        print(f"mechgrok: {failure}", file=sys.stderr)
    size = written.path.stat().st_size / 1e6
    print(
        f"{written.path}: {len(written.shown)} of {len(written.sections)} analyses, {size:.1f} MB, "
        f"in {time.monotonic() - began:.0f} s"
    )
    if open_:
        import webbrowser

        webbrowser.open(written.path.resolve().as_uri())
    if written.failures or not written.shown:
        raise typer.Exit(1)
    return ("explore", *runs)
