"""Writing a figure: its HTML page, and PNG, SVG and PDF files next to it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import plotly.graph_objects as go

_figure_option = partial(typer.Option, rich_help_panel="Figure")


@dataclass(frozen=True)
class Pictures:
    """The options of how to export a figure."""

    open: Annotated[bool, _figure_option("--open", help="Open the figure in a browser.")] = False
    png: Annotated[bool, _figure_option("--png", help="Write a PNG too (extra mechgrok[png]).")] = (
        False
    )
    svg: Annotated[
        bool, _figure_option("--svg", help="Write an SVG too (extra mechgrok[png]).")
    ] = False
    pdf: Annotated[bool, _figure_option("--pdf", help="Write a PDF too (extra mechgrok[png]).")] = (
        False
    )
    width: Annotated[
        float | None,
        _figure_option(
            min=2,
            max=200,
            help="Width in cm, for print: small type and no title. Default format: PDF.",
        ),
    ] = None

    def write(self, figure: "go.Figure", page: Path, *, indent: str = "") -> None:
        """Write the page and the pictures and print their paths."""
        from mechgrok.analyses.drawing import write_html, write_picture
        from mechgrok.analyses.drawing.browser import one_browser
        from mechgrok.files import make_folder

        make_folder(page.parent)
        write_html(figure, page)
        print(f"{indent}{page}")
        forms = [form for form in ("png", "svg", "pdf") if getattr(self, form)]
        if self.width is not None:
            forms = forms or ["pdf"]
        with one_browser():
            for form in forms:
                picture = page.with_suffix(f".{form}")
                write_picture(figure, picture, width=self.width)
                print(f"{indent}{picture}")
        if self.open:
            import webbrowser

            webbrowser.open(page.resolve().as_uri())
