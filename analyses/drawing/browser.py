"""The browser that draws figures as pictures.

Kaleido drives it in a process of its own, one for many pictures. A browser that is missing, never
answers, is stopped or dies costs a sentence and no more than a deadline: that process is then
killed, and all that it started with it.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from mechgrok import processes
from mechgrok.errors import ExternalError, UserError, in_a_sentence

#: Seconds that a browser may take to start, and to draw one figure.
START, FIGURE = 60.0, 120.0


def find_browser() -> str | None:
    """The path of the browser that draws pictures; None where it or Kaleido is not installed.

    It is the one that ``BROWSER_PATH`` names, or one on the PATH or in its usual place.
    """
    if find_spec("kaleido") is None:
        return None
    from choreographer.browsers.chromium import Chromium

    path = Chromium.find_browser(skip_local=False)
    return path if path and Path(path).is_file() else None


class Browser:
    """A browser that is started when the first figure is drawn.

    Once it has failed, it fails again at once: what is wrong with it would cost the deadline again.
    """

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._failure = ""

    def draw(
        self, figure: go.Figure, form: str, *, width: int, height: int, scale: float = 1.0
    ) -> bytes:
        """The figure as it opens, as the content of a file.

        Args:
            figure: what to draw.
            form: png, svg or pdf.
            width: in the layout's pixels.
            height: likewise.
            scale: the picture's pixels for each of the layout's.

        Raises:
            UserError: Kaleido or a browser is missing.
            ExternalError: the browser failed.
        """
        if not self._failure and self._pipe is None:
            self._start()
        if self._failure:
            raise ExternalError(self._failure)
        assert self._pipe is not None
        options = {"format": form, "width": width, "height": height, "scale": scale}
        with suppress(OSError):  # One that has died is found by its answer.
            self._pipe.send((figure.to_json(), options))
        answer = self._answer(FIGURE, "draw the figure")
        if isinstance(answer, bytes):
            return answer
        raise ExternalError(self._failure or f"The browser could not draw the figure ({answer}).")

    def _start(self) -> None:
        path = find_browser()
        if path is None:
            raise UserError(
                "No browser was found to draw the figure: install the extra mechgrok[png] and a "
                "Chrome or Chromium browser."
            )
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process, self._pipe = processes.start(_serve, path, self._folder.name)
        problem = self._answer(START, "start")
        if problem and not self._failure:
            self._fail(f"could not start ({problem})")

    def _answer(self, seconds: float, what: str) -> Any:
        """What the process sends within so many seconds; after a failure, nothing."""
        assert self._pipe is not None
        try:
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        except (EOFError, OSError):
            self._fail("died")
        else:
            self._fail(f"did not {what} within {seconds:g} seconds")
        return None

    def _fail(self, how: str) -> None:
        self.close()
        self._failure = (
            f"The browser {find_browser() or ''} {how}: try again, or set BROWSER_PATH to another "
            "Chrome or Chromium."
        )

    def close(self) -> None:
        """End the process, the browser and whatever else it started."""
        if self._process is None:
            return
        import psutil

        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(self._process.pid)
            for each in [started, *started.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self._process.wait(timeout=10)
        assert self._pipe is not None
        self._pipe.close()
        assert self._folder is not None
        self._folder.cleanup()
        self._process = self._pipe = self._folder = None


_shared: Browser | None = None


@contextmanager
def one_browser() -> Iterator[Browser]:
    """One browser for all pictures that are drawn inside; starting one takes seconds."""
    global _shared
    if _shared is not None:
        yield _shared
        return
    _shared = browser = Browser()
    try:
        yield browser
    finally:
        _shared = None
        browser.close()


def _serve(pipe: Connection, path: str, folder: str) -> None:
    """In the new process: draw what comes through the pipe until it is closed.

    It sends None when the browser has started, then bytes, or a sentence on what went wrong.
    """
    import asyncio

    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        asyncio.run(_draw(pipe, path))
    except Exception as error:
        pipe.send(in_a_sentence(error))


async def _draw(pipe: Connection, path: str) -> None:
    import asyncio
    import json

    from kaleido import Kaleido

    # No formula needs MathJax, which would be fetched.
    async with Kaleido(path=path, timeout=None, mathjax=False) as browser:
        pipe.send(None)
        while True:
            try:
                figure, options = await asyncio.to_thread(pipe.recv)
            except EOFError:
                return
            try:
                pipe.send(await browser.calc_fig(json.loads(figure), opts=options))
            except Exception as error:
                pipe.send(in_a_sentence(error))
