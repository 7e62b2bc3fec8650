"""The base classes of starts, and the drawn weights that they change."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mechgrok.errors import UserError, choices
from mechgrok.fields import Settings, show_named
from mechgrok.optimization.constraints.base import Weights

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor

    from mechgrok.models import HookedModel
    from mechgrok.tasks import Task

#: A step behind a path: ``ckpts@30000`` or ``ckpts@last``.
_STEP = re.compile(r"^(.+)@([0-9]+|last)$")
#: The initial weights of all kinds are drawn from the run's seed; other streams differ by this.
_STREAM = 0x57A27


class Drawn(Weights):
    """The weights of a network as they were drawn from the run's seed.

    Args:
        model: the network.
        task: its task.
        seed: the run's seed.
        source: the weights of the run that the start names, as that network computes with them
            (masked ones are 0 where its mask is).

    Attributes:
        act: the neurons' nonlinearity.
        generator: for further random numbers; it does not repeat those of the weights.
        source: see above; empty if the start names no run.
    """

    def __init__(
        self,
        model: HookedModel,
        task: Task,
        seed: int = 0,
        source: Mapping[str, Float[Tensor, "..."]] | None = None,
    ) -> None:
        import numpy as np
        import torch

        super().__init__(model, task)
        self.act = model.config.act
        stream = int(np.random.SeedSequence([seed, _STREAM]).generate_state(1)[0])
        self.generator: torch.Generator = torch.Generator().manual_seed(stream)
        self.source = source or {}


class Start(Settings):
    """What the initial weights are. A subclass adds its options as fields and defines
    `initial_weights`.
    """

    name: str

    def initial_weights(self, drawn: Drawn) -> Mapping[str, Float[Tensor, "..."]]:
        """The weights that replace drawn ones, by name.

        Args:
            drawn: the weights as they were drawn, with the network's wiring and task.

        Raises:
            UserError: the start does not suit the network or the task.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        """The text that `mechgrok.starts.reading.read_start` parses: ``waves:frequencies=1+3``."""
        return show_named(self)


class FromRun(Start):
    """A start that uses weights of another run.

    Attributes:
        path: the run's folder, absolute.
        step: the step of its checkpoint; None for its last one, until the run is created.
        sha256: the digest of the checkpoint's file, stored when the run is created.
    """

    path: Annotated[str, BeforeValidator(lambda path: os.path.abspath(os.path.expanduser(path)))]
    step: Annotated[int, Field(ge=0)] | None = Field(
        default=None, exclude_if=lambda step: step is None
    )
    sha256: str | None = Field(default=None, exclude_if=lambda digest: digest is None)
    rescale: Literal["drawn"] | None = Field(
        default=None, description="drawn: give every weight the norm that a drawn one would have."
    )

    @model_validator(mode="before")
    @classmethod
    def _step_of_path(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        if fields.get("path") is None:
            raise UserError(
                f"The start {fields.get('name', cls.model_fields['name'].default)} needs a run: "
                "write its folder and step behind the name, as in run:ckpts@30000."
            )
        if match := _STEP.match(str(fields["path"])):
            step = None if match[2] == "last" else int(match[2])
            return fields | {"path": match[1], "step": fields.get("step", step)}
        return fields | {"path": str(fields["path"])}

    def source_weight(self, name: str, drawn: Drawn) -> Float[Tensor, "..."]:
        """A weight of the other run.

        Raises:
            UserError: the other run has no such weight.
        """
        if name not in drawn.source:
            raise UserError(
                f"The run {self.path} has no weight {name!r}: choose {choices(drawn.source)}, or "
                "a run of the same kind of model."
            )
        return drawn.source[name]

    def described(self, name: str) -> str:
        """A weight of the other run, for messages."""
        return f"{name} of {self.path} at step {self.step}"

    def rescaled(
        self, weight: Float[Tensor, "..."], drawn: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """The weight, with the norm of the drawn one if ``rescale`` asks for it."""
        norm = weight.norm()
        return weight * (drawn.norm() / norm) if self.rescale and norm else weight
