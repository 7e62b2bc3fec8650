"""A browser process that renders figures as pictures.

Kaleido runs the browser in a separate process, shared by many pictures. If the browser is missing,
hangs or dies, an error follows within the deadline, and that process and its children are killed.
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

#: Timeouts in seconds for starting the browser, and for drawing one figure.
START, FIGURE = 60.0, 120.0


def find_browser() -> str | None:
    """The path of the browser; None if the browser or Kaleido is not installed.

    Searches ``BROWSER_PATH``, the PATH, and the usual folders.
    """
    if find_spec("kaleido") is None:
        return None
    from choreographer.browsers.chromium import Chromium

    path = Chromium.find_browser(skip_local=False)
    return path if path and Path(path).is_file() else None


class Browser:
    """A browser, started for the first figure.

    After a failure, every later call fails at once rather than waiting for the timeout again.
    """

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._failure = ""

    def draw(
        self, figure: go.Figure, form: str, *, width: int, height: int, scale: float = 1.0
    ) -> bytes:
        """Render the figure in its initial state and return the file's content.

        Args:
            figure: the figure to draw.
            form: png, svg or pdf.
            width: in layout pixels.
            height: in layout pixels.
            scale: picture pixels per layout pixel.

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
        with suppress(OSError):  # `_answer` reports a dead process.
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

    def _answer(self, seconds: float, action: str) -> Any:
        """The process's answer within the given time; None after a failure."""
        assert self._pipe is not None
        try:
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        except (EOFError, OSError):
            self._fail("died")
        else:
            self._fail(f"did not {action} within {seconds:g} seconds")
        return None

    def _fail(self, problem: str) -> None:
        self.close()
        self._failure = (
            f"The browser {find_browser() or ''} {problem}: try again, or set BROWSER_PATH to "
            "another Chrome or Chromium."
        )

    def close(self) -> None:
        """Kill the process and all of its children, the browser among them."""
        if self._process is None:
            return
        import psutil

        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            for process in [parent, *parent.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait(timeout=10)
        assert self._pipe is not None
        self._pipe.close()
        assert self._folder is not None
        self._folder.cleanup()
        self._process = self._pipe = self._folder = None


_shared: Browser | None = None


@contextmanager
def one_browser() -> Iterator[Browser]:
    """Share one browser among all pictures drawn inside the block; starting one takes seconds."""
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
    """Draw the figures that arrive through the pipe, until it closes; runs in the new process.

    Sends None once the browser has started, then for each figure its bytes or an error message.
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

    # Kaleido would download MathJax, which no figure uses.
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
