"""Edge-popup on a run: which edges of its network are on is trained, as a run of its own.

Source: Ramanujan et al. 2020 (arXiv 1911.13299).
"""

from pathlib import Path
from typing import Any

from mechgrok.configuration.keywords import checked, split_options, with_keywords
from mechgrok.configuration.origins import PopupOptions
from mechgrok.configuration.training import TrainingConfig
from mechgrok.derived.children import child_config, relative_path, resolve_step, train_child
from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.masks import Mask, check_rate, mask_of
from mechgrok.masks.config import PopupConfig
from mechgrok.masks.popup import apply_popup
from mechgrok.models import load_weights, make_model
from mechgrok.runs import Run, RunLike, open_run
from mechgrok.tasks import Task
from mechgrok.training.machine import find_device
from mechgrok.training.memory import check_memory
from mechgrok.training.recorder import Shown

#: Settings by name. Every configuration that the authors of arXiv 2310.19470 have committed has the
#: first; their text names neither another learning rate nor a decay on the scores.
PRESETS: dict[str, dict[str, Any]] = {
    "paper-code": {
        "at": 1000,
        "rate": 0.6,
        "learning_rate": 0.01,
        "weight_decay": 1.0,
        "score_weight_decay": 1.0,
    },
    "paper-text": {"at": 400, "rate": 0.6, "learning_rate": 0.001, "score_weight_decay": 0.0},
}


@in_neutral_state
@with_keywords(PopupOptions, TrainingConfig)
def train_popup(
    parent: RunLike,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    train: bool = True,
    device: str = "auto",
    progress: Shown = "auto",
    **options: Any,
) -> Run:
    """Look for a generalizing network inside a run's weights with edge-popup, into ``out``.

    Args:
        parent: the run whose weights are taken.
        out: the new run's folder; absent or empty.
        overwrite, resume, train, device, progress: as in `mechgrok.train_ticket`.
        options: where and how it looks, and settings of the training that differ from the
            parent's; listed below. ``seed`` is another word for score_seed.

    Raises:
        UserError: the parent never memorized (for "mem"), the step has no checkpoint, the rate is
            outside [0, 1) or empties a weight, or a wider network was asked for at another step
            than 0.
    """
    parent = open_run(parent)
    how, training = popup_options(options)
    step, rate, width = resolve_step(parent, how.at), how.rate, how.width
    if width != 1 and step != 0:
        raise UserError(
            f"A network {width} times as wide has no weights of {parent.path} at step {step}: take "
            "fresh ones, with --from-init."
        )
    config = child_config(
        parent,
        training,
        origin={
            "kind": "popup",
            "parent": relative_path(parent, out),
            "step": step,
            "width": width,
        },
        popup=how.model_dump(include=set(PopupConfig.model_fields)),
    )
    changes: dict[str, Any] = {"model": config.model.widened(width)}
    if how.split_seed is not None:
        changes["task"] = _split_anew(config.task, how.split_seed)
    if width != 1 and config.seed is None:  # weights are drawn, whatever the parent's came from
        changes["seed"] = 0
    config = config.model_copy(update=changes)
    check_memory(config, find_device(device))
    model = make_model(config.model, config.task, config.seed or 0)
    if width == 1:
        load_weights(model, parent.checkpoint(step).weights)
    assert config.popup is not None
    apply_popup(model, config.popup)
    for name, density in (mask_of(model) or Mask({})).densities.items():
        if density == 0:
            raise UserError(
                f"A prune rate of {rate} leaves {name} without an edge, so that nothing passes "
                "through it: choose a lower --rate."
            )
    return train_child(parent, out, config, model, overwrite, resume, train, device, progress)


def _split_anew(task: Task, split_seed: int) -> Task:
    """The same task with another split.

    Raises:
        UserError: it is not split at random.
    """
    if "split_seed" not in type(task).model_fields:
        raise UserError(f"The task {task.name} has no split seed: leave --split-seed out.")
    return type(task).model_validate(task.model_dump() | {"split_seed": split_seed})


def popup_options(given: dict[str, Any]) -> tuple[PopupOptions, dict[str, Any]]:
    """The choices of edge-popup and those of its training, from the keywords of `train_popup`.

    Raises:
        UserError: one is unknown or out of range.
    """
    named = {"score_seed" if name == "seed" else name: value for name, value in given.items()}
    named = PRESETS.get(str(named.get("preset")), {}) | named
    own, training = split_options(named, PopupOptions, "Edge-popup")
    check_rate(own.get("rate", 0.6))
    return checked(PopupOptions, own, "edge-popup"), training
