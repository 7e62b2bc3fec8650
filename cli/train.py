"""Train a network and keep its checkpoints; default: the paper's MLP on a + b mod 67"""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from mechgrok.cli.flags import Flag, flags_of, merged, nested, refuse_unknown, with_flags
from mechgrok.cli.options import Overwrite, Quiet, output_option
from mechgrok.cli.progress import train_and_report
from mechgrok.cli.suggestions import Suggestion, first_look
from mechgrok.configuration import presets
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.settings import model_classes, task_classes
from mechgrok.configuration.training import TrainingConfig
from mechgrok.errors import UserError
from mechgrok.grammar import show_list, show_value
from mechgrok.models.config import KINDS, ModelShape
from mechgrok.optimization.optimizers import OPTIMIZERS, Optimizer
from mechgrok.optimization.transforms import TRANSFORMS
from mechgrok.optimization.transforms.base import Transform
from mechgrok.tasks.making import TASKS

#: The sections of ``config.json`` that users can set; the others record the run's origin.
_SETTABLE = ("task", "model", "training", "seed", "start")


#: The help panel of each training setting.
_PANELS = {
    **dict.fromkeys(TrainingConfig.model_fields, "Training"),
    **dict.fromkeys(
        ("optimizer", "transforms", "learning_rate", "weight_decay", "l1", "l2"), "Optimizer"
    ),
    **dict.fromkeys(
        ("checkpoint_every", "checkpoint_at", "keep", "probes", "metrics"), "Checkpoints"
    ),
}


def training_flags(panel: str | None = None) -> list[Flag]:
    """Flags for all training settings and options of optimizers and transforms.

    Args:
        panel: one help panel for all settings; default: several panels.
    """
    methods = [registry.load(name) for registry in (OPTIMIZERS, TRANSFORMS) for name in registry]
    return merged(
        flags_of(TrainingConfig, "training", lambda name: panel or _PANELS[name]),
        *(flags_of(kind, "training", "Optimizer", but=("name",), hidden=True) for kind in methods),
    )


def task_flags() -> list[Flag]:
    """Flags for all settings of the registered tasks."""
    base, modular, *others = task_classes()
    internal = ("fixed_split",)
    return merged(
        flags_of(base, "task", "Task", but=internal),
        flags_of(modular, "task", "Task", but=internal),
        *(flags_of(task, "task", "Task", hidden=True) for task in (base, *others)),
    )


def _all_flags() -> list[Flag]:
    base, *models = model_classes()
    return merged(
        task_flags(),
        flags_of(base, "model", "Model"),
        *(flags_of(model, "model", "Model", hidden=True) for model in models),
        flags_of(RunConfig, "", "Model"),
        training_flags(),
    )


def _method_options() -> str:
    """The options of every task, model, optimizer and transform, with their defaults."""
    kinds: dict[str, tuple[Any, Mapping[str, Any]]] = {
        "task": (TASKS.load("add"), {name: TASKS.load(name) for name in TASKS.own}),
        "model": (ModelShape, {kind: shape for kind, (shape, *_) in KINDS.items()}),
        "optimizer": (Optimizer, {name: OPTIMIZERS.load(name) for name in OPTIMIZERS}),
        "transform": (Transform, {name: TRANSFORMS.load(name) for name in TRANSFORMS}),
    }
    lines = ["Options follow a name after colons, as in `--transform sam:rho=0.1`. Defaults:"]
    for flag, (base, methods) in kinds.items():
        texts = [_with_options(name, method, base) for name, method in methods.items()]
        lines.append(f"`--{flag}` {', '.join(text for text in texts if ':' in text)}")
    return "\n\n".join(lines)


def _with_options(name: str, method: type[BaseModel], base: type[BaseModel]) -> str:
    """A method with its own options, such as ``sam:rho=0.05``."""
    options = {
        option: field.get_default(call_default_factory=True)
        for option, field in method.model_fields.items()
        if option not in base.model_fields and field.description
    }
    texts = (
        f"{option}={show_list(value) if isinstance(value, tuple) else show_value(value)}"
        for option, value in options.items()
    )
    return ":".join([name, *texts])


@with_flags(_all_flags())
def train(
    preset: Annotated[
        str | None,
        typer.Argument(
            help="The preset to start from (see `mechgrok presets`), or a TOML file of settings; "
            "default: paper-mlp."
        ),
    ] = None,
    out: Annotated[Path, output_option(help="The run's folder.")] = Path("ckpts"),
    resume: Annotated[
        bool,
        output_option("--resume", help="Resume the run in the folder, to --steps if given."),
    ] = False,
    overwrite: Overwrite = False,
    log: Annotated[
        list[str] | None,
        output_option(
            help="Log the metrics to tensorboard, wandb, trackio or your own file.py:Class."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda.", rich_help_panel="Training")
    ] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting by its path: task.label_seed=3; repeatable."),
    ] = None,
    quiet: Quiet = False,
    **given: Any,
) -> Suggestion:
    """Train a network and keep its checkpoints.

    Default: the paper's MLP on a + b mod 67, unordered pairs, for 30,000 steps, in `ckpts/`.
    """
    settings = nested(given["given"], set_)
    refuse_unknown(settings, _SETTABLE, "A run")
    from mechgrok.training import resume as resume_run
    from mechgrok.training import train as train_run

    if resume:
        planned, changed = _changes(out, settings)
        steps, start = changed.get("steps") or planned, partial(resume_run, out, **changed)
    else:
        config = _configuration(preset, settings)
        steps = config.recipe.steps
        start = partial(train_run, out, config, overwrite=overwrite)
    return first_look(train_and_report(steps, quiet, partial(start, device=device, log=log or ())))


train.epilog = _method_options()  # type: ignore[attr-defined]


def _configuration(preset: str | None, given: dict[str, Any]) -> RunConfig:
    """The configuration of a preset with the given settings; prints hints about it."""
    if preset is not None and preset.isdigit():
        raise UserError(
            f"{preset} is no preset: the number of steps is --steps {preset}, and that after t_gen "
            f"is --until-grokked --margin {preset}."
        )
    fields = presets.load(presets.DEFAULT if preset is None else preset)
    if preset is None and given.get("model", {}).get("kind", "mlp") != "mlp":
        fields["model"] = {}  # The sizes are those of the preset's MLP.
    config = RunConfig.make(**presets.merge(fields, given))
    if ignored := presets.left_out(fields, given) if preset else []:
        print(
            f"mechgrok: ignored settings of the preset {preset} that do not apply: "
            f"{', '.join(ignored)}.",
            file=sys.stderr,
        )
    if not config.model.knows_order and getattr(config.task, "order_matters", False):
        descending = "--pairs descending, " if "pairs" in type(config.task).model_fields else ""
        print(
            f"mechgrok: An MLP sums its tokens, so it cannot distinguish (a, b) from (b, a) or fit "
            f"{config.task}: use {descending}--model positional-mlp or --model transformer.",
            file=sys.stderr,
        )
    return config


#: Training settings that may change on resuming.
_CHANGEABLE = {"steps", "checkpoint_every"}


def _changes(out: Path, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The planned steps of a run to resume, and its settings that change.

    Raises:
        UserError: the folder holds no such run, or another setting would change.
    """
    from mechgrok.training.loop import open_resumable

    run = open_resumable(out)
    training = given.get("training", {})
    changed = {name: training.pop(name) for name in _CHANGEABLE & training.keys()}
    saved = run.config.model_dump(mode="json")
    requested = RunConfig.make(**presets.merge(saved, given)).model_dump(mode="json")
    for path, before, after in _differences(saved, requested):
        raise UserError(
            f"{out} was trained with {path} = {before}, so it cannot be resumed with {after}: "
            "omit the option, train in another folder, or use mechgrok fork."
        )
    # Validate the texts: `resume` takes numbers.
    validated = RunConfig.make(training=changed).training
    return run.config.recipe.steps, {name: getattr(validated, name) for name in changed}


def _differences(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Path and both values of each difference between two nested dictionaries."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [(path, before, after)]
    return [
        difference
        for key in dict.fromkeys([*before, *after])
        for difference in _differences(
            before.get(key), after.get(key), f"{path}.{key}" if path else str(key)
        )
    ]
