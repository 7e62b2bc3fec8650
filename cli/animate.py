"""Make a film of an analysis: its figure at every stop of the slider, as GIF or MP4"""

from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.progress import status
from mechgrok.cli.questions import Out, Questions

if TYPE_CHECKING:
    from mechgrok.measuring import AnalysisResult


def film(
    result: "AnalysisResult",
    *,
    mp4: Annotated[bool, typer.Option("--mp4", help="An MP4 instead of a GIF.")] = False,
    fps: Annotated[
        float, typer.Option(min=0.1, max=60, help="Stops of the slider in a second.")
    ] = 6.0,
    pixels: Annotated[
        int, typer.Option(min=100, max=4000, help="Width of the film, in pixels.")
    ] = 1000,
    out: Out = None,
) -> None:
    """Draw the figure at each stop and join the pictures."""
    from mechgrok.analyses.drawing.film import write_film
    from mechgrok.files import make_folder

    stem = result.output_stem(out)
    path = stem.with_name(f"{stem.name}.{'mp4' if mp4 else 'gif'}")
    make_folder(path.parent)
    with status(f"drawing {len(result.figure.frames)} pictures of {result.analysis.name}"):
        write_film(result.figure, path, fps=fps, width=pixels)
    print(path)


class FilmGroup(Questions):
    """``mechgrok animate NAME RUN…``"""

    then = staticmethod(film)


app = typer.Typer(
    cls=FilmGroup, no_args_is_help=True, rich_markup_mode="markdown", add_completion=False
)


@app.callback()
def animate() -> None:
    """A film of an analysis over training, in the run's `analysis/` (extra mechgrok[film])."""
