"""Explore a run live: scrub through training, intervene in the browser, take the Python home"""

from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import OwnInterventions


def explore(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, shown side by side.")],
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1; any that is free.")
    ] = None,
    intervention: OwnInterventions = None,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Opens a page on this machine alone, at the address that is printed.

    Ctrl-C ends it. Needs the extra `mechgrok[explore]`.
    """
    from mechgrok.analyses.explorer import explore as page_of
    from mechgrok.cli.progress import status

    with status("opening the explorer"):
        page = page_of(*runs, port=port, interventions=intervention or ())
    print(f"{page.url}  (Ctrl-C ends it)", flush=True)
    if open_:
        import webbrowser

        webbrowser.open(page.url)
    page.serve()
