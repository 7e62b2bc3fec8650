"""Animate an analysis over training, as GIF or MP4"""

from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.analysis_commands import Out, analysis_app
from mechgrok.cli.progress import status

if TYPE_CHECKING:
    from mechgrok.measuring import AnalysisResult


def film(
    result: "AnalysisResult",
    *,
    mp4: Annotated[bool, typer.Option("--mp4", help="Write an MP4 instead of a GIF.")] = False,
    fps: Annotated[float, typer.Option(min=0.1, max=60, help="Slider positions per second.")] = 6.0,
    pixels: Annotated[int, typer.Option(min=100, max=4000, help="Width in pixels.")] = 1000,
    out: Out = None,
) -> None:
    """Draw the figure at each position of its slider and join the frames."""
    from mechgrok.analyses.drawing.film import write_film
    from mechgrok.files import make_folder

    stem = result.output_stem(out)
    path = stem.with_name(f"{stem.name}.{'mp4' if mp4 else 'gif'}")
    make_folder(path.parent)
    with status(f"drawing {len(result.figure.frames)} pictures of {result.analysis.name}"):
        write_film(result.figure, path, fps=fps, width=pixels)
    print(path)


app = analysis_app(film)


@app.callback()
def animate() -> None:
    """Animate an analysis over training; the film goes to the run's `analysis/`.

    Needs the extra `mechgrok[film]`.
    """
