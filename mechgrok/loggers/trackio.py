"""Trackio: a run in the local project mechgrok for ``trackio show``."""

import contextlib
import io
import os
from collections.abc import Mapping

import trackio

from mechgrok.loggers.base import Logger
from mechgrok.runs import Run


class Trackio(Logger):
    """Logs the series and the configuration, and suppresses Trackio's output."""

    def __init__(self, run: Run, begun: int) -> None:
        super().__init__(run, begun)
        with contextlib.redirect_stdout(io.StringIO()):
            self.sent = trackio.init(
                os.environ.get("TRACKIO_PROJECT", "mechgrok"),
                run.name,
                config=self.settings,
                resume="allow" if begun else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def note(self, step: int, values: Mapping[str, float]) -> None:
        self.sent.log(dict(values), step=step)

    def close(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            trackio.finish()
