"""Divergence: training stops at the first loss that is not finite."""

from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path

import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig
from mechgrok.runs.metrics import METRICS, append_metrics, drop_metrics_from

Row = dict[str, float]


class Diverged(ArithmeticError):
    """The loss of the run in ``path`` was not finite at ``step``, where training stopped.

    Earlier checkpoints are saved, and so are the metrics, up to a last row for this step.
    """

    def __init__(self, step: int, path: Path, sentence: str) -> None:
        super().__init__(sentence)
        self.step = step
        self.path = path


def stop_if_diverged(
    path: Path, config: RunConfig, losses: Sequence[Tensor], rows: Sequence[Row], written: int
) -> None:
    """Stop training if a loss was not finite.

    Losses are checked together, at evaluations (at most 50 steps apart), because reading each one
    from a GPU would stall it. The reported step is still the first one.

    Args:
        path: the run's folder.
        config: the run's configuration.
        losses: one per step since the evaluation before the last one.
        rows: the rows of metrics, the last evaluation's included.
        written: the number of rows already saved.

    Raises:
        Diverged: one of the losses, or the last evaluation's, is not finite.
    """
    values = torch.stack(list(losses)).flatten().tolist() if losses else []
    values.append(rows[-1]["train_loss"])
    bad = next((index for index, value in enumerate(values) if not isfinite(value)), None)
    if bad is None:
        return
    step, loss = int(rows[-1]["step"]) - len(losses) + bad, values[bad]
    config = config.at(step)
    known = next((row for row in rows if row["step"] == step), dict.fromkeys(METRICS, nan))
    last = known | {"step": step, "train_loss": loss}
    drop_metrics_from(path, step)
    append_metrics(path, [*(row for row in rows[written:] if row["step"] < step), last])
    remedy = _remedy(config, step, penalized=isfinite(known["train_loss"]))
    raise Diverged(step, path, _sentence(path, config, step, loss) + f": {remedy}.")


def _sentence(path: Path, config: RunConfig, step: int, loss: float) -> str:
    training = config.recipe
    settings = {
        "learning rate": training.learning_rate,
        "weight decay": training.weight_decay,
        "l1": training.l1,
        "l2": training.l2,
    }
    shown = ", ".join(f"{name} {value:g}" for name, value in settings.items() if value)
    return (
        f"The loss is {'not a number' if loss != loss else 'infinite'} at step {step:,} "
        f"({training.method}, {shown}), so training of {path} stopped; earlier steps are saved"
    )


def _remedy(config: RunConfig, step: int, *, penalized: bool) -> str:
    """A remedy; ``penalized`` if the loss is finite without the penalties."""
    training = config.recipe
    if penalized and (training.l1 or training.l2):
        return f"the cause is the penalty, so choose a lower --{'l1' if training.l1 else 'l2'}"
    shrinking = training.learning_rate * training.weight_decay
    if step == 0 and config.origin is not None:
        return "the cause is the starting weights, so start from other ones"
    if step == 0:
        return (
            f"the cause is the initial weights (init_scale {config.model.init_scale:g}); "
            "choose a lower --init-scale, or check the task's own loss"
        )
    if shrinking > 2 and training.optimizer.name == "adamw":
        return (
            f"learning rate times weight decay is {shrinking:.3g}, and above 2 decay makes weights "
            "grow; choose a lower --weight-decay or --lr"
        )
    return "choose a lower --lr"
