"""Retraining: a new run with a run's task, network and seed, and with some other settings."""

import re
from pathlib import Path
from typing import Any

from mechgrok.configuration.keywords import split_options, with_keywords
from mechgrok.configuration.training import TrainingConfig
from mechgrok.derived.children import child_config, for_each_run
from mechgrok.global_state import in_neutral_state
from mechgrok.models.config import ModelShape
from mechgrok.optimization.constraints.following import PARENT
from mechgrok.runs import Run, RunLike, open_run
from mechgrok.starts.reading import read_start
from mechgrok.training import create_run, loop
from mechgrok.training.recorder import Shown

#: A start from the parent: ``run:parent@0``.
_FROM_PARENT = re.compile(rf"^(run|low-rank):{PARENT}(?=[@:]|$)")


@for_each_run
@in_neutral_state
@with_keywords(TrainingConfig, ModelShape)
def retrain(
    parent: RunLike,
    out: str | Path,
    *,
    overwrite: bool = False,
    train: bool = True,
    device: str = "auto",
    progress: Shown = "auto",
    **settings: Any,
) -> Run:
    """Train a new run with a run's task, network, seed and training settings in the folder ``out``.

    Weights are drawn from the seed as in `mechgrok.train`, without the parent's mask: of a ticket,
    the new run is dense. Settings can refer to the parent: ``start="run:parent@0"`` takes its
    weights at step 0 (a ticket's pruned weights start at 0, but are trained), and
    ``constraints="norm:like=parent"`` holds its weight norm. The network can have another shape:
    ``d_model=128, start="low-rank:parent"`` gives a wider one the embedding of the parent.

    Args:
        parent: the run; or a sweep, to retrain each of its runs in ``out/NAME``.
        out: the new run's folder; absent or empty.
        overwrite: replace the run in ``out``.
        train: False to create the run without training it (see `mechgrok.training.resume`).
        device: "auto", "cpu" or "cuda".
        progress: as for `mechgrok.train`.
        settings: a start, and settings of training and of the network's shape that differ from the
            parent's (until_grokked is not inherited); listed below.

    Raises:
        UserError: a setting is unknown, the start or a constraint cannot be used, or ``out`` cannot
            be used.
    """
    parent = open_run(parent)
    (start, shape), training = retrain_options(settings)
    if isinstance(start, str):
        start = _FROM_PARENT.sub(lambda match: f"{match[1]}:{parent.path.resolve()}", start)
    model = parent.config.model.model_dump(mode="json") | shape
    config = child_config(parent, training, model=model, start=start or parent.config.start)
    if not train:
        return create_run(out, config, overwrite=overwrite)
    return loop.train(out, config, overwrite=overwrite, device=device, progress=progress)


def retrain_options(
    given: dict[str, Any],
) -> tuple[tuple[Any, dict[str, Any]], dict[str, Any]]:
    """Split the keywords of `retrain` into start and shape, and training settings.

    Raises:
        UserError: an option is unknown, or the start is invalid.
    """
    rest = {name: value for name, value in given.items() if name != "start"}
    shape, training = split_options(rest, ModelShape, "Retraining")
    read_start(start := given.get("start"))
    return (start, shape), training
