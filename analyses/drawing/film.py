"""Write figures as films, one picture per slider stop, as GIF or MP4."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import plotly.graph_objects as go

from mechgrok.analyses.drawing.browser import one_browser
from mechgrok.analyses.drawing.export import without_menus
from mechgrok.analyses.drawing.layouts import fitted
from mechgrok.errors import UserError
from mechgrok.files import write_whole

#: ffmpeg's filters by file ending: a GIF with its own palette of 256 colours; an MP4 with even
#: numbers of pixels, which some players require.
_FILTERS = {
    "gif": "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=none",
    "mp4": "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white,format=yuv420p",
}
_CODEC = {"gif": ["-loop", "0"], "mp4": ["-c:v", "libx264", "-movflags", "+faststart"]}
#: ffmpeg's timeout in seconds.
_FFMPEG = 600
#: Seconds for which the last picture remains.
_LAST = 2


def write_film(figure: go.Figure, path: Path | str, *, fps: float = 6.0, width: int = 1000) -> None:
    """Draw the figure at every stop of its slider and join the pictures.

    Args:
        figure: a figure with a slider.
        path: the film, ending in .gif or .mp4.
        fps: stops per second.
        width: in pixels.

    Raises:
        UserError: the figure has no slider, a number is out of range, or ffmpeg or a browser is
            missing or fails.
    """
    path = Path(path)
    form = path.suffix[1:]
    if not figure.frames:
        raise UserError(f"{path} cannot be made: the figure has no slider to animate.")
    if not 0.1 <= fps <= 60:
        raise UserError(f"A film cannot have {fps:g} stops per second: give 0.1 to 60.")
    if not 100 <= width <= 4000:
        raise UserError(f"A film cannot be {width} pixels wide: give 100 to 4000.")
    ffmpeg = _ffmpeg()
    with TemporaryDirectory() as folder, one_browser() as browser:
        for number, now in enumerate(stops(fitted(figure, width))):
            drawn = browser.draw(now, "png", width=width, height=now.layout.height or 700)
            (Path(folder) / f"{number:05}.png").write_bytes(drawn)

        def join(temporary: Path) -> None:
            command = [ffmpeg, "-loglevel", "error", "-y", "-framerate", f"{fps:g}"]
            command += ["-i", f"{folder}/%05d.png", "-vf"]
            command += [f"tpad=stop_mode=clone:stop_duration={_LAST},{_FILTERS[form]}"]
            command += [*_CODEC[form], "-f", form, str(temporary)]
            try:
                subprocess.run(command, check=True, timeout=_FFMPEG, stdin=subprocess.DEVNULL)
            except subprocess.SubprocessError as error:
                raise UserError(f"ffmpeg could not make {path} ({error}): try again.") from None

        write_whole(path, join)


def stops(figure: go.Figure) -> Iterator[go.Figure]:
    """Yield the figure at each stop of its slider."""
    shown = without_menus(figure)
    for number, frame in enumerate(figure.frames):
        for at, changed in zip(frame.traces, frame.data, strict=True):
            shown.data[at].update(changed)
        for slider in shown.layout.sliders:
            slider.active = number
        yield shown


def _ffmpeg() -> str:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        raise UserError("A film needs ffmpeg: pip install 'mechgrok[film]'.") from None
    path: str = get_ffmpeg_exe()
    return path
