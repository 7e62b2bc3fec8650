"""Explore a run in the browser: scrub through training, intervene, copy the Python"""

from pathlib import Path
from typing import Annotated

import typer

from mechgrok.cli.options import OwnInterventions


def explore(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, shown side by side.")],
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port on 127.0.0.1; default: any free port."),
    ] = None,
    intervention: OwnInterventions = None,
    view: Annotated[
        str | None,
        typer.Option(metavar="LINK", help="A link copied from the page, on any machine: its view."),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Explore runs on a local page, at the printed address.

    Ctrl-C stops the server. Needs the extra `mechgrok[explore]`.
    """
    from mechgrok.analyses.explorer import explore as open_page
    from mechgrok.cli.progress import status

    with status("opening the explorer"):
        page = open_page(*runs, port=port, interventions=intervention or ())
    url = page.url if view is None else f"{page.url}?{view.partition('?')[2] or view}"
    print(f"{url}  (Ctrl-C stops it)", flush=True)
    if open_:
        import webbrowser

        webbrowser.open(url)
    page.serve()
