"""Train a network and keep its checkpoints: the paper's MLP on a + b mod 67 unless told"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from mechgrok.cli.flags import Flag, flags_of, merged, nested, refuse_unknown, with_flags
from mechgrok.cli.options import FOLDER, Overwrite, Quiet
from mechgrok.cli.progress import train_and_report
from mechgrok.configuration import presets
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.settings import model_classes, task_classes
from mechgrok.configuration.training import TrainingConfig
from mechgrok.errors import UserError
from mechgrok.optimization.optimizers import OPTIMIZERS
from mechgrok.optimization.transforms import TRANSFORMS

#: The parts of ``config.json`` that can be set; the others say how a run came about.
_SETTABLE = ("task", "model", "training", "seed")


def training_flags(panel: str = "Training") -> list[Flag]:
    """A flag for every setting of the training, and for every option of an optimizer."""
    return merged(
        flags_of(
            TrainingConfig, "training", lambda name: FOLDER if "checkpoint" in name else panel
        ),
        *(flags_of(each, "training", panel, but=("name",)) for each in choosable()),
    )


def choosable() -> "list[type[BaseModel]]":
    """The optimizers and the transforms that there are, by their classes."""
    return [registry.load(name) for registry in (OPTIMIZERS, TRANSFORMS) for name in registry]


def task_flags() -> list[Flag]:
    """A flag for every setting of every task that is registered."""
    return merged(*(flags_of(each, "task", "Task") for each in task_classes()))


def _all_flags() -> list[Flag]:
    of_the_run = flags_of(RunConfig, "", "Model")
    of_models = (flags_of(shape, "model", "Model") for shape in model_classes())
    return merged(task_flags(), *of_models, of_the_run, training_flags())


@with_flags(_all_flags())
def train(
    preset: Annotated[
        str | None,
        typer.Argument(
            help="What to start from; `mechgrok presets` lists them. The default is paper-mlp."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run's folder.", rich_help_panel=FOLDER)] = Path(
        "ckpts"
    ),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run in the folder; with --steps, to another last step.",
            rich_help_panel=FOLDER,
        ),
    ] = False,
    overwrite: Overwrite = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda.", rich_help_panel="Training")
    ] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting of config.json, by its path: task.label_seed=3."),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="Send the metrics to tensorboard, wandb or trackio too, or your own: "
            "file.py:Class; repeatable.",
            rich_help_panel="Training",
        ),
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
        _go_on(out, settings, device, quiet, log or ())
    else:
        _begin(preset, out, settings, overwrite, device, quiet, log or ())


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


#: What may be changed when a run is gone on with, by the names of `resume`'s arguments.
_CHANGEABLE = {"training.steps": "steps", "training.checkpoint_every": "checkpoint_every"}


def _go_on(out: Path, given: dict[str, Any], device: str, quiet: bool, log: Sequence[str]) -> None:
    from mechgrok.training import resume
    from mechgrok.training.loop import open_resumable

    run = open_resumable(out)
    changed = {
        argument: given["training"].pop(path.partition(".")[2])
        for path, argument in _CHANGEABLE.items()
        if path.partition(".")[2] in given.get("training", {})
    }
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
