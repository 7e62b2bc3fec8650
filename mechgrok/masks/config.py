"""Edge-popup's settings."""

from typing import Annotated

from pydantic import Field

from mechgrok.fields import Settings
from mechgrok.tasks.base import Seed

#: The pruned share, in [0, 1).
Rate = Annotated[float, Field(ge=0, lt=1)]


class PopupConfig(Settings):
    """Settings of edge-popup, which trains a mask by a score per edge (`mechgrok.masks.popup`)."""

    rate: Rate = Field(default=0.6, description="Share of each weight's edges to switch off.")
    train_weights: bool = Field(
        default=False, description="Train the weights too, instead of freezing them."
    )
    score_weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="Weight decay of the scores."
    )
    score_seed: Seed = Field(default=0, description="Seed of the scores.")
