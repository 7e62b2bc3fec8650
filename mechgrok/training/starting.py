"""The first checkpoint of a run: drawn weights, and what its start makes of them."""

from collections.abc import Mapping
from hashlib import file_digest

import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.models import load_weights, make_model, raw_weights
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.starts import Drawn, Start
from mechgrok.starts.base import FromRun
from mechgrok.starts.reading import read_start


def first_checkpoint(config: RunConfig) -> tuple[RunConfig, Checkpoint]:
    """The checkpoint at step 0, and the configuration with the step and digest of its source.

    Raises:
        UserError: the start does not suit the network, or its source is missing or has changed.
    """
    model = make_model(config.model, config.task, config.seed or 0)
    weights = raw_weights(model)
    if config.start is not None:
        start, source = _with_source(config.start)
        with torch.no_grad():
            read_start(start.model_dump())  # config.json must be readable.
            made = start.initial_weights(Drawn(model, config.task, config.seed or 0, source))
            _check_finite(start, made)
            load_weights(model, {**weights, **made})
        config = config.model_copy(update={"start": start})
    return config, Checkpoint(0, {name: weight.detach() for name, weight in weights.items()})


def _with_source(start: Start) -> tuple[Start, Mapping[str, Tensor]]:
    """A start with the step and the digest of its source, and the source's weights.

    Raises:
        UserError: the source is no run, has no such checkpoint, or its file has changed.
    """
    if not isinstance(start, FromRun):
        return start, {}
    run = Run(start.path)
    (step,) = run.select([-1 if start.step is None else start.step])
    with run.file(step).open("rb") as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    if start.sha256 not in (None, sha256):
        raise UserError(
            f"{run.file(step)} has changed since its weights were first used: omit sha256 to use "
            "the new ones."
        )
    start = start.model_copy(update={"step": step, "sha256": sha256})
    return start, run.checkpoint(step).effective_weights


def _check_finite(start: Start, made: Mapping[str, Tensor]) -> None:
    for name, weight in made.items():
        if not torch.isfinite(weight).all():
            raise UserError(f"The start {start.name} gives {name} values that are not finite.")
