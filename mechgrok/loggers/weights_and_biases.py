"""Weights & Biases: a run in the project mechgrok; WANDB_MODE, WANDB_PROJECT and the like hold.

Files lie in ``logs/wandb``. A run that is gone on with goes on there too, by the identifier that is
kept in ``logs/wandb-id``.
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
    """The series by step, and the configuration."""

    def __init__(self, run: Run, begun: int) -> None:
        super().__init__(run, begun)
        online = wandb.setup().settings.mode in ("online", "shared")
        if online and not wandb.login(prompt=False, verify=False):
            raise UserError(
                "nobody is logged in: type wandb login first, or set WANDB_API_KEY or "
                "WANDB_MODE=offline"
            )
        self.folder.mkdir(exist_ok=True)
        kept = self.folder / "wandb-id"
        if not begun or not kept.is_file():
            write_text(kept, uuid4().hex[:12])
        self.sent = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "mechgrok"),
            name=run.name,
            id=read_text(kept),
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
