"""Edge-popup on a run's weights: a new run that trains a mask over them.

Source: Ramanujan et al. 2020 (arXiv 1911.13299).
"""

from pathlib import Path
from typing import Any

from mechgrok.configuration.keywords import checked, split_options, with_keywords
from mechgrok.configuration.origins import PopupOptions
from mechgrok.configuration.training import TrainingConfig
from mechgrok.derived.children import (
    child_config,
    for_each_run,
    relative_path,
    resolve_step,
    train_child,
)
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

#: Settings by name. All configurations in the code of arXiv 2310.19470 use the first; the paper's
#: text gives no other learning rate and no decay on the scores.
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


@for_each_run
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
    """Search a run's weights for a generalizing subnetwork with edge-popup.

    Args:
        parent: the run that provides the weights; or a sweep, to search each of its runs in
            ``out/NAME``.
        out: the new run's folder; absent or empty.
        overwrite, resume, train, device, progress: as for `mechgrok.train_ticket`.
        options: edge-popup's options, and training settings that differ from the parent's; listed
            below. ``seed`` is an alias of score_seed.

    Raises:
        UserError: the parent never memorized (for "mem"), the step has no checkpoint, the rate is
            outside [0, 1) or empties a weight, or ``width`` is above 1 at a step other than 0.
    """
    parent = open_run(parent)
    choices, training = popup_options(options)
    step, rate, width = resolve_step(parent, choices.at), choices.rate, choices.width
    if width != 1 and step != 0:
        raise UserError(
            f"A network {width} times as wide cannot take the weights of {parent.path} at step "
            f"{step}: use fresh ones, with --from-init."
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
        popup=choices.model_dump(include=set(PopupConfig.model_fields)),
    )
    changes: dict[str, Any] = {"model": config.model.widened(width)}
    if choices.split_seed is not None:
        changes["task"] = _with_split_seed(config.task, choices.split_seed)
    if width != 1 and config.seed is None:  # A wider network has fresh weights.
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
                f"A prune rate of {rate} leaves no edge in {name}: choose a lower --rate."
            )
    return train_child(parent, out, config, model, overwrite, resume, train, device, progress)


def _with_split_seed(task: Task, split_seed: int) -> Task:
    """The same task with another split.

    Raises:
        UserError: the task has no random split.
    """
    if "split_seed" not in type(task).model_fields:
        raise UserError(f"The task {task.name} has no split seed: omit --split-seed.")
    return type(task).model_validate(task.model_dump() | {"split_seed": split_seed})


def popup_options(given: dict[str, Any]) -> tuple[PopupOptions, dict[str, Any]]:
    """Split the keywords of `train_popup` into edge-popup's options and training settings.

    Raises:
        UserError: an option is unknown or out of range.
    """
    named = {"score_seed" if name == "seed" else name: value for name, value in given.items()}
    named = PRESETS.get(str(named.get("preset")), {}) | named
    own, training = split_options(named, PopupOptions, "Edge-popup")
    check_rate(own.get("rate", 0.6))
    return checked(PopupOptions, own, "edge-popup"), training
