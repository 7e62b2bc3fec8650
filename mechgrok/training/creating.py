"""A run that is about to be trained: its folder, made whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mechgrok import user_code
from mechgrok.configuration.run_config import RunConfig
from mechgrok.global_state import in_neutral_state
from mechgrok.metrics import column_of
from mechgrok.models import make_model, wiring_of
from mechgrok.optimization.optimizers import make_optimizer
from mechgrok.results.probing import check_probes
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.runs.folder import check_room, new_run, write_config
from mechgrok.runs.metrics import write_metrics
from mechgrok.runs.state import write_state
from mechgrok.training.memory import check_memory
from mechgrok.training.recorder import load_for_training


@in_neutral_state
def create_run(
    path: str | Path,
    config: RunConfig,
    start: Checkpoint | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: str = "cpu",
) -> Run:
    """Make a run folder that holds a configuration and its first checkpoint, ready to train.

    Args:
        path: the folder; it must be absent or empty, unless it holds a run and ``overwrite`` is on,
            which the new one replaces when it is whole.
        config: what the run is.
        start: what it starts from (a ticket's masked weights, say); fresh weights unless given.
        state: the optimizer's state that it starts from; a fresh one unless given.
        overwrite: replace a run that is there.
        device: where it will be trained, so that what does not fit is refused: "cpu" or "cuda".

    Raises:
        UserError: the folder holds a run or anything else, or cannot be written; the task's data
            cannot be had; or training would take more memory than there is.
    """
    path = Path(path)
    check_memory(config, device)
    if config.training is not None:
        config.training.optimizer.check(wiring_of(config.model, config.task))
    _ = config.task.examples  # Data that cannot be had must not cost the run that is there.
    check_room(path, overwrite=overwrite)
    if start is None:
        model = make_model(config.model, config.task, config.seed or 0)
        start = Checkpoint(0, {name: p.detach() for name, p in model.named_parameters()})
    with new_run(path, overwrite=overwrite) as making:
        write_checkpoint(making, start)
        metrics = config.training.metrics if config.training else ()
        write_metrics(making, [], map(column_of, metrics))
        if state:
            write_state(making, start.step, dict(state))
        for name in config.user_code():
            user_code.remember(name)
        write_config(making, config)
        if config.training is not None and config.training.probes:
            check_probes(Run(making))
        if config.training is not None and config.training.constraints:
            make_optimizer(load_for_training(Run(making), start.step), config)  # checks them
    return Run(path)
