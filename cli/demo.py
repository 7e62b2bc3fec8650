"""Train a small network, draw three figures and open them: a first minute"""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import Quiet
from mechgrok.cli.progress import progress_callback, train_and_report
from mechgrok.cli.suggestions import Suggestion

#: What the page shows.
ANALYSES = ("accuracy", "fourier", "embedding")


def demo(
    folder: Annotated[Path, typer.Argument(help="The run's folder.")] = Path("mechgrok-demo"),
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    quiet: Quiet = False,
) -> Suggestion:
    """Train the preset `quick`, draw accuracy, spectra and embedding, and open the page.

    If the folder holds a run already, training goes on where it stopped.
    """
    from mechgrok.configuration import RunConfig, presets
    from mechgrok.reports import report
    from mechgrok.training import resume, train

    config = RunConfig.make(**presets.load("quick"))
    start = (
        partial(resume, folder)
        if (folder / "config.json").exists()
        else partial(train, folder, config)
    )
    run = train_and_report(config.recipe.steps, quiet, start)
    with progress_callback("drawing", quiet=quiet) as progress:
        page = report(run, only=ANALYSES, progress=progress).path
    print(page)
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return ("ticket", folder)
