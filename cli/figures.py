"""Writing a figure: its HTML page, and PNG, SVG and PDF files next to it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PANEL = "Figure"


@dataclass(frozen=True)
class Pictures:
    """How to export a figure.

    Attributes:
        forms: picture formats to write besides HTML.
        width: width in centimetres in print; None for slides.
        open: open the page in a browser.
    """

    forms: tuple[str, ...] = ()
    width: float | None = None
    open: bool = False

    def write(self, figure: "go.Figure", page: Path, *, indent: str = "") -> None:
        """Write the page and the pictures and print their paths."""
        from mechgrok.analyses.drawing import write_html, write_picture
        from mechgrok.analyses.drawing.browser import one_browser
        from mechgrok.files import make_folder

        make_folder(page.parent)
        write_html(figure, page)
        print(f"{indent}{page}")
        with one_browser():
            for form in self.forms:
                picture = page.with_suffix(f".{form}")
                write_picture(figure, picture, width=self.width)
                print(f"{indent}{picture}")
        if self.open:
            import webbrowser

            webbrowser.open(page.resolve().as_uri())


def _flag(kind: Any, default: Any, *names: str, **option: Any) -> tuple[Any, Any]:
    return Annotated[kind, typer.Option(*names, rich_help_panel=_PANEL, **option)], default


_FLAGS = {
    "open": _flag(bool, False, "--open", help="Open the figure in a browser."),
    "png": _flag(bool, False, "--png", help="Write a PNG too (extra mechgrok[png])."),
    "svg": _flag(bool, False, "--svg", help="Write an SVG too (extra mechgrok[png])."),
    "pdf": _flag(bool, False, "--pdf", help="Write a PDF too (extra mechgrok[png])."),
    "width": _flag(
        float | None,
        None,
        "--width",
        min=2,
        max=200,
        help="Width in cm, for print: small type and no title. Default format: PDF.",
    ),
}


def with_pictures(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: build a command's parameter ``pictures`` from the flags for figures."""

    @wraps(command)
    def wrapper(*arguments: Any, **options: Any) -> None:
        flags = {name: options.pop(name) for name in _FLAGS}
        forms = tuple(form for form in ("png", "svg", "pdf") if flags[form])
        if flags["width"] is not None:
            forms = forms or ("pdf",)
        pictures = Pictures(forms, flags["width"], flags["open"])
        command(*arguments, pictures=pictures, **options)

    signature = inspect.signature(command)
    parameters = [p for p in signature.parameters.values() if p.name != "pictures"]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in _FLAGS.items()
    ]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper
