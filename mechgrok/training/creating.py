"""Creating run folders, completely or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mechgrok import user_code
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.metrics import column_of
from mechgrok.models import wiring_of
from mechgrok.optimization.weight_settings import by_weight
from mechgrok.results.probing import check_probes
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint, link_checkpoints, write_checkpoint
from mechgrok.runs.folder import check_room, new_run, write_config
from mechgrok.runs.metrics import write_metrics
from mechgrok.runs.state import write_state
from mechgrok.training.following import with_schedules
from mechgrok.training.memory import check_memory
from mechgrok.training.optimizer import make_optimizer
from mechgrok.training.recorder import load_for_training
from mechgrok.training.starting import first_checkpoint


@in_neutral_state
def create_run(
    path: str | Path,
    config: RunConfig,
    start: Checkpoint | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    before: Run | None = None,
    overwrite: bool = False,
    device: str = "cpu",
) -> Run:
    """Create a run folder with a configuration and a first checkpoint, ready to train.

    Args:
        path: the folder; absent or empty, unless ``overwrite`` is set.
        config: the run's configuration.
        start: the first checkpoint, such as a ticket's masked weights; default: fresh weights, or
            those of the configuration's start.
        state: the optimizer's initial state; default: none.
        before: a run whose earlier checkpoints and metrics are the new run's too.
        overwrite: replace the run in the folder, once the new one is complete.
        device: the device to train on, "cpu" or "cuda", whose memory is checked.

    Raises:
        UserError: the folder is not empty or not writable, the task's data is unavailable,
            training needs more memory than the device has, or the start cannot be used.
    """
    path, config = Path(path), with_schedules(config)
    phases = [config.at(step) for step in _phases(config)]
    for phase in phases:
        check_memory(phase, device)
        if phase.training is not None:
            wiring = wiring_of(phase.model, phase.task)
            phase.training.optimizer.check(wiring)
            by_weight(phase.training.weights, wiring)
    _ = config.task.examples  # Unavailable data must not cost the run that is replaced.
    check_room(path, overwrite=overwrite)
    if start is None:
        config, start = first_checkpoint(config)
    elif config.start is not None:
        raise UserError(
            f"The run starts from given weights and not from {config.start}: give one of them."
        )
    with new_run(path, overwrite=overwrite) as making:
        if before is not None:
            link_checkpoints(before.path, making, start.step)
        write_checkpoint(making, start)
        write_metrics(making, _rows(config, start.step, before), _further_columns(config))
        if state is not None:
            write_state(making, start.step, dict(state))
        for name in config.user_code():
            user_code.remember(name)
        write_config(making, config)
        if config.training is not None and config.training.probes:
            check_probes(Run(making))
        for phase in phases:
            if phase.training is not None and phase.training.constraints:
                make_optimizer(load_for_training(Run(making), start.step), phase)  # checks them
    return Run(path)


def _phases(config: RunConfig) -> list[int]:
    """The first steps of the beginning and of all phases."""
    return [0, *(phase.at for phase in (config.training.phases if config.training else ()))]


def _further_columns(config: RunConfig) -> list[str]:
    """The columns of ``metrics.csv`` that not every run has."""
    if config.training is None:
        return []
    return [*config.training.phase_column(0), *map(column_of, config.training.metrics)]


def _rows(config: RunConfig, step: int, before: Run | None) -> list[dict[str, float]]:
    """The metrics of another run before ``step``, with the numbers of this run's phases."""
    if before is None:
        return []
    table = before.metrics[before.metrics.step < step]
    return [
        {str(column): value for column, value in row.items()}
        | config.recipe.phase_column(row["step"])
        for row in table.to_dict("records")
    ]
