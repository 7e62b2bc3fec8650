"""All analyses that apply to one or several runs on one page that opens without a network"""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.progress import progress_of_pieces


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or sweeps, measured each.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The page; analysis/report.html in the first folder."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Analyses to ask, with commas: accuracy,fourier.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure anew, whatever is kept.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; as many as there are cores, up to 8.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """One page with every analysis that applies: facts, findings and figures, self-contained.

    An analysis that fails is named in its section and ends the command with exit code 1; the page
    is written all the same.
    """
    from mechgrok.reports.report import report as make

    began = time.monotonic()
    names = None if only is None else only.replace(" ", "").split(",")
    try:
        with progress_of_pieces("measuring") as progress:
            made = make(runs, out, only=names, fresh=fresh, workers=workers, progress=progress)
    except KeyboardInterrupt:
        print(
            "Stopped: what was measured is kept, so that the next report goes on from there.",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    for failure in made.failures:
        print(f"mechgrok: {failure}", file=sys.stderr)
    size = made.path.stat().st_size / 1e6
    print(
        f"{made.path}: {len(made.shown)} of {len(made.sections)} analyses, {size:.1f} MB, in "
        f"{time.monotonic() - began:.0f} s"
    )
    if open_:
        import webbrowser

        webbrowser.open(made.path.resolve().as_uri())
    if made.failures or not made.shown:
        raise typer.Exit(1)
