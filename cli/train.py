"""Train a network and keep its checkpoints: the paper's MLP on a + b mod 67 unless told"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from mechgrok.cli.flags import Flag, flags_of, merged, nested, refuse_unknown, with_flags
from mechgrok.cli.options import OUTPUT, Overwrite, Quiet
from mechgrok.cli.progress import train_and_report
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

#: The parts of ``config.json`` that can be set; the others record how a run was made.
_SETTABLE = ("task", "model", "training", "seed")


#: The panel of the help for each setting of the training.
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
    """A flag for every setting of the training, and for every option of an optimizer.

    Args:
        panel: where the help shows them, for commands that have other settings before.
    """
    methods = [registry.load(name) for registry in (OPTIMIZERS, TRANSFORMS) for name in registry]
    return merged(
        flags_of(TrainingConfig, "training", lambda name: panel or _PANELS[name]),
        *(flags_of(each, "training", "Optimizer", but=("name",), hidden=True) for each in methods),
    )


def task_flags() -> list[Flag]:
    """A flag for every setting of every task that is registered."""
    usual, modular, *others = task_classes()
    internal = ("fixed_split",)
    return merged(
        flags_of(usual, "task", "Task", but=internal),
        flags_of(modular, "task", "Task", but=internal),
        *(flags_of(each, "task", "Task", hidden=True) for each in (usual, *others)),
    )


def _all_flags() -> list[Flag]:
    usual, *models = model_classes()
    return merged(
        task_flags(),
        flags_of(usual, "model", "Model"),
        *(flags_of(each, "model", "Model", hidden=True) for each in models),
        flags_of(RunConfig, "", "Model"),
        training_flags(),
    )


def _options_behind_names() -> str:
    """The options of every task, model, optimizer and transform, with their defaults."""
    kinds: dict[str, tuple[Any, Mapping[str, Any]]] = {
        "task": (TASKS.load("add"), {name: TASKS.load(name) for name in TASKS.own}),
        "model": (ModelShape, {kind: shape for kind, (shape, *_) in KINDS.items()}),
        "optimizer": (Optimizer, {name: OPTIMIZERS.load(name) for name in OPTIMIZERS}),
        "transform": (Transform, {name: TRANSFORMS.load(name) for name in TRANSFORMS}),
    }
    lines = ["Options stand behind a name, as in `--transform sam:rho=0.1`:"]
    for flag, (base, methods) in kinds.items():
        written = [_with_options(name, each, base) for name, each in methods.items()]
        lines.append(f"`--{flag}` {', '.join(each for each in written if ':' in each)}")
    return "\n\n".join(lines)


def _with_options(name: str, method: type[BaseModel], base: type[BaseModel]) -> str:
    """``sam:rho=0.05``: a method with the options that are not those of all."""
    options = {
        option: field.get_default(call_default_factory=True)
        for option, field in method.model_fields.items()
        if option not in base.model_fields and field.description
    }
    shown = (
        f"{option}={show_list(value) if isinstance(value, tuple) else show_value(value)}"
        for option, value in options.items()
    )
    return ":".join([name, *shown])


@with_flags(_all_flags())
def train(
    preset: Annotated[
        str | None,
        typer.Argument(
            help="What to start from; `mechgrok presets` lists them. The default is paper-mlp."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run's folder.", rich_help_panel=OUTPUT)] = Path(
        "ckpts"
    ),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume the run in the folder; with --steps, to another last step.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    overwrite: Overwrite = False,
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="Send the metrics to tensorboard, wandb or trackio too, or your own, "
            "file.py:Class.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda.", rich_help_panel="Training")
    ] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting of config.json, by its path: task.label_seed=3."),
    ] = None,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Train a network and keep its checkpoints.

    Without arguments: the paper's MLP on a + b mod 67, unordered pairs, 30,000 steps, to `ckpts/`.
    """
    settings = nested(given["given"], set_)
    refuse_unknown(settings, _SETTABLE, "A run that is trained")
    if resume:
        _resume(out, settings, device, quiet, log or ())
    else:
        _begin(preset, out, settings, overwrite, device, quiet, log or ())


train.epilog = _options_behind_names()  # type: ignore[attr-defined]


def _begin(
    preset: str | None,
    out: Path,
    given: dict[str, Any],
    overwrite: bool,
    device: str,
    quiet: bool,
    log: Sequence[str],
) -> None:
    from mechgrok.training import train

    fields = presets.load(presets.DEFAULT if preset is None else preset)
    if preset is None and given.get("model", {}).get("kind", "mlp") != "mlp":
        fields["model"] = {}  # Nobody asked for the sizes of the paper's MLP.
    config = RunConfig.make(**presets.merge(fields, given))
    if lost := presets.left_out(fields, given) if preset else []:
        print(
            f"mechgrok: ignored settings of the preset {preset}, which do not apply to your "
            f"choices: {', '.join(lost)}.",
            file=sys.stderr,
        )
    if not config.model.knows_order and getattr(config.task, "order_matters", False):
        print(
            f"mechgrok: An MLP sums its tokens and cannot tell (a, b) from (b, a), so that it will "
            f"never fit {config.task}: "
            f"{'--pairs descending, ' if 'pairs' in type(config.task).model_fields else ''}"
            "--model positional-mlp or --model transformer would.",
            file=sys.stderr,
        )
    train_and_report(
        config.recipe.steps,
        quiet,
        partial(train, out, config, overwrite=overwrite, device=device, log=log),
    )


#: Settings of the training that may change when a run is resumed.
_CHANGEABLE = {"steps", "checkpoint_every"}


def _resume(out: Path, given: dict[str, Any], device: str, quiet: bool, log: Sequence[str]) -> None:
    from mechgrok.training import resume
    from mechgrok.training.loop import open_resumable

    run = open_resumable(out)
    training = given.get("training", {})
    changed = {name: training.pop(name) for name in _CHANGEABLE & training.keys()}
    saved = run.config.model_dump(mode="json")
    wanted = RunConfig.make(**presets.merge(saved, given)).model_dump(mode="json")
    for path, before, after in _differences(saved, wanted):
        raise UserError(
            f"{out} was trained with {path} = {before}, so it cannot be resumed with {after}: "
            "leave the option out, train into another folder, or use mechgrok fork."
        )
    # The words are checked as a configuration is: `resume` takes numbers.
    settled = RunConfig.make(training=changed).training
    numbers = {argument: getattr(settled, argument) for argument in changed}
    train_and_report(
        numbers.get("steps") or run.config.recipe.steps,
        quiet,
        partial(resume, out, device=device, log=log, **numbers),
    )


def _differences(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Where two nested dictionaries differ."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [(path, before, after)]
    return [
        found
        for key in dict.fromkeys([*before, *after])
        for found in _differences(
            before.get(key), after.get(key), f"{path}.{key}" if path else str(key)
        )
    ]
