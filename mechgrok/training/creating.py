"""Creating run folders, completely or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mechgrok import user_code
from mechgrok.configuration.run_config import RunConfig
from mechgrok.global_state import in_neutral_state
from mechgrok.metrics import column_of
from mechgrok.models import make_model, wiring_of
from mechgrok.optimization.optimizers import make_optimizer
from mechgrok.optimization.weight_settings import by_weight
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
    """Create a run folder with a configuration and a first checkpoint, ready to train.

    Args:
        path: the folder; absent or empty, unless ``overwrite`` is set.
        config: the run's configuration.
        start: the first checkpoint, such as a ticket's masked weights; default: fresh weights.
        state: the optimizer's initial state; default: none.
        overwrite: replace the run in the folder, once the new one is complete.
        device: the device to train on, "cpu" or "cuda", whose memory is checked.

    Raises:
        UserError: the folder is not empty or not writable, the task's data is unavailable, or
            training needs more memory than the device has.
    """
    path = Path(path)
    check_memory(config, device)
    if config.training is not None:
        wiring = wiring_of(config.model, config.task)
        config.training.optimizer.check(wiring)
        by_weight(config.training.weights, wiring)
    _ = config.task.examples  # Unavailable data must not cost the run that is replaced.
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
