"""Where a figure goes: its page, and pictures of it beside the page."""

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
    """What becomes of a figure beside its page.

    Attributes:
        forms: the formats in which it is drawn too.
        width: of the pictures, in centimetres, on a printed page; None for slides.
        open: show the page in a browser.
    """

    forms: tuple[str, ...] = ()
    width: float | None = None
    open: bool = False

    def write(self, figure: "go.Figure", page: Path, *, indent: str = "") -> None:
        """Write the page and the pictures, say where they are, and show the page."""
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
    "open": _flag(bool, False, "--open", help="Show the figure in a browser."),
    "png": _flag(bool, False, "--png", help="Draw a PNG too (extra mechgrok[png])."),
    "svg": _flag(bool, False, "--svg", help="Draw an SVG too (extra mechgrok[png])."),
    "pdf": _flag(bool, False, "--pdf", help="Draw a PDF too (extra mechgrok[png])."),
    "width": _flag(
        float | None,
        None,
        "--width",
        min=2,
        max=200,
        help="Pictures for print, this many centimetres wide: no title, small letters. PDF unless "
        "other formats are asked for.",
    ),
}


def with_pictures(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter ``pictures`` is given by the flags for figures."""

    @wraps(command)
    def flagged(*arguments: Any, **given: Any) -> None:
        flags = {name: given.pop(name) for name in _FLAGS}
        forms = tuple(form for form in ("png", "svg", "pdf") if flags[form])
        if flags["width"] is not None:
            forms = forms or ("pdf",)
        pictures = Pictures(forms, flags["width"], flags["open"])
        command(*arguments, pictures=pictures, **given)

    signature = inspect.signature(command)
    kept = [each for each in signature.parameters.values() if each.name != "pictures"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in _FLAGS.items()
    ]
    flagged.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]
    flagged.__annotations__ = {each.name: each.annotation for each in [*kept, *added]}
    return flagged
