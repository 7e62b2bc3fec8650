"""TensorBoard: event files in ``logs/tensorboard`` for ``tensorboard --logdir``."""

import json
from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from mechgrok.loggers.base import Logger
from mechgrok.runs import Run


class TensorBoard(Logger):
    """Logs a scalar for every series, and the configuration as text."""

    def __init__(self, run: Run, begun: int) -> None:
        super().__init__(run, begun)
        self.writer = SummaryWriter(self.folder / "tensorboard", purge_step=begun)
        text = json.dumps(self.settings, indent=2)
        self.writer.add_text("config", f"```\n{text}\n```", begun)

    def note(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()
