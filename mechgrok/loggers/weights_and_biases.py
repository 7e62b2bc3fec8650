"""Weights & Biases: a run in the project mechgrok; WANDB_MODE, WANDB_PROJECT etc. apply.

Files are in ``logs/wandb``. The identifier in ``logs/wandb-id`` resumes the same run there.
"""

import os
from collections.abc import Mapping
from uuid import uuid4

import wandb

from mechgrok.errors import UserError
from mechgrok.files import read_text, write_text
from mechgrok.loggers.base import Logger
from mechgrok.runs import Run


class WeightsAndBiases(Logger):
    """Logs the series and the configuration."""

    def __init__(self, run: Run, begun: int) -> None:
        super().__init__(run, begun)
        online = wandb.setup().settings.mode in ("online", "shared")
        if online and not wandb.login(prompt=False, verify=False):
            raise UserError(
                "you are not logged in: run wandb login first, or set WANDB_API_KEY or "
                "WANDB_MODE=offline"
            )
        self.folder.mkdir(exist_ok=True)
        id_file = self.folder / "wandb-id"
        if not begun or not id_file.is_file():
            write_text(id_file, uuid4().hex[:12])
        self.sent = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "mechgrok"),
            name=run.name,
            id=read_text(id_file),
            dir=self.folder,
            config=self.settings,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    def note(self, step: int, values: Mapping[str, float]) -> None:
        self.sent.log(dict(values), step=step)

    def close(self) -> None:
        self.sent.finish()
