"""Learning rates that change over a run: warm-up and cosine decay."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from mechgrok.optimization.transforms.base import Transform


class Warmup(Transform):
    """The learning rate times min(1, (t + 1) / n) at step t: a linear rise over n steps."""

    name: str = "warmup"
    warmup_steps: Annotated[int, Field(ge=1)] = Field(
        default=10, description="Steps over which warmup raises the learning rate."
    )

    def lr_scale(self, step: int, steps: int) -> float:
        return min(1.0, (step + 1) / self.warmup_steps)


class Cosine(Transform):
    """The learning rate times f + (1 − f) (1 + cos(π min(1, t / n))) / 2 at step t, with floor f.

    Source: Loshchilov and Hutter 2017 (arXiv 1608.03983), equation 5, without restarts.
    """

    name: str = "cosine"
    decay_until: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Step at which cosine reaches its floor; default: the last.",
    )
    decay_floor: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="Final share of the learning rate under cosine."
    )

    def lr_scale(self, step: int, steps: int) -> float:
        done = min(1.0, step / max(1, self.decay_until or steps))
        floor = self.decay_floor
        return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
