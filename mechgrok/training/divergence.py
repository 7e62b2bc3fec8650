"""Divergence: the first loss that is not finite ends a training."""

from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path

import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig
from mechgrok.runs.metrics import METRICS, append_metrics, drop_metrics_from

Row = dict[str, float]


class Diverged(ArithmeticError):
    """The loss at ``step`` was no finite number: the run in ``path`` ends there.

    What came before is saved: the metrics, whose last row is that step's, and the checkpoints.
    """

    def __init__(self, step: int, path: Path, sentence: str) -> None:
        super().__init__(sentence)
        self.step = step
        self.path = path


def stop_if_diverged(
    path: Path, config: RunConfig, losses: Sequence[Tensor], rows: Sequence[Row], written: int
) -> None:
    """End a training whose loss was not finite at one of the steps before an evaluation.

    The losses are checked together, at evaluations (at most 50 steps apart), because reading each
    from a GPU would make it wait. The reported step is the first one all the same.

    Args:
        path: the run's folder.
        config: the run's.
        losses: of the steps before the last evaluation, one each.
        rows: of the metrics, the last evaluation's too.
        written: how many of them are saved.

    Raises:
        Diverged: one of the losses, or that of the evaluation, is not finite.
    """
    values = torch.stack(list(losses)).flatten().tolist() if losses else []
    values.append(rows[-1]["train_loss"])
    bad = next((index for index, value in enumerate(values) if not isfinite(value)), None)
    if bad is None:
        return
    step, loss = int(rows[-1]["step"]) - len(losses) + bad, values[bad]
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
    told = ", ".join(f"{name} {value:g}" for name, value in settings.items() if value)
    return (
        f"The loss is {'not a number' if loss != loss else 'infinite'} at step {step:,} "
        f"({training.method}, {told}), so the training of {path} was stopped, and what came "
        "before is saved"
    )


def _remedy(config: RunConfig, step: int, *, penalized: bool) -> str:
    """What to try; ``penalized`` where the loss is finite without the penalties."""
    training = config.recipe
    if penalized and (training.l1 or training.l2):
        return f"the penalties give that, so choose a lower --{'l1' if training.l1 else 'l2'}"
    shrinking = training.learning_rate * training.weight_decay
    if step == 0 and config.origin is not None:
        return "the weights that it starts from give that already, so start from other ones"
    if step == 0:
        return (
            f"the initial weights give that already (init_scale {config.model.init_scale:g}); "
            "choose a lower --init-scale, or look at the task's own loss"
        )
    if shrinking > 2 and training.optimizer.name == "adamw":
        return (
            f"learning rate times weight decay is {shrinking:.3g}, and above 2 decay lets weights "
            "grow; choose a lower --weight-decay or --lr"
        )
    return "choose a lower --lr"
