"""Options shared by several commands."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechgrok.cli.suggestions import Suggestion
from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run
    from mechgrok.sweeps import Executor

#: The heading of the training settings of a derived run.
CHANGED_TRAINING = "Training (default: the parent's settings)"

#: Options under a heading of the help.
execution_option = partial(typer.Option, rich_help_panel="Execution")
output_option = partial(typer.Option, rich_help_panel="Output")

Parent = Annotated[Path, typer.Argument(help="The folder of the parent run.")]
ChildFolder = Annotated[
    Path | None, output_option(help="The new run's folder; default: RUN-ticket, RUN-popup, …")
]
ResumeChild = Annotated[bool, output_option("--resume", help="Resume this run in the folder.")]
Overwrite = Annotated[bool, output_option("--overwrite", help="Replace the run in the folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=CHANGED_TRAINING)]
SetTraining = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting by its path: training.threads=2; repeatable."),
]
OwnInterventions = Annotated[
    list[str] | None,
    typer.Option("--intervention", help="Your own intervention, file.py:Name; repeatable."),
]
License = Annotated[str, typer.Option(help="License of the weights: mit, apache-2.0, cc-by-4.0, …")]
AtAccuracy = Annotated[
    float | None,
    typer.Option(help="Accuracy that defines t_mem and t_gen; default: the task's."),
]
By = Annotated[
    str | None,
    typer.Option(
        help="Group runs by settings: weight_decay,p; default for a sweep: all but the seeds."
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure again instead of reusing results.")]
Checkpoints = Annotated[
    str | None,
    typer.Option(help="Checkpoints: 0,2000,30000 or 0:30000:1000 or last; default: all."),
]
Quiet = Annotated[
    bool, output_option("--quiet", "-q", help="Show no progress and no next command.")
]


@dataclass(frozen=True)
class Execution:
    """The options of where and how a command trains its runs."""

    jobs: Annotated[
        int | None, execution_option(min=1, help="Runs at a time; default: one per core.")
    ] = None
    device: Annotated[str, execution_option(help="auto, cpu or cuda.")] = "auto"
    together: Annotated[
        str,
        execution_option(
            help="Train runs of one shape together: on, off, or auto (only on a GPU)."
        ),
    ] = "auto"
    ray: Annotated[
        str | None,
        execution_option(
            metavar="ADDRESS", help="Train on a Ray cluster: host:port of its head node, or auto."
        ),
    ] = None
    ray_timeout: Annotated[
        float, execution_option(min=1, help="Seconds to wait for the Ray cluster.")
    ] = 60.0

    def executor(self) -> "Executor":
        """This machine, or a Ray cluster, as the executor of runs.

        Raises:
            UserError: there is no such device or cluster.
        """
        from mechgrok.sweeps.running import on_this_machine

        if self.ray is None:
            return on_this_machine(self.jobs, self.device, self.together)
        from mechgrok.sweeps.cluster import Cluster

        if self.jobs is not None:
            raise UserError(
                "--jobs does not apply to a cluster, which trains one run per core: omit it."
            )
        cluster = Cluster(self.ray, "cuda" if self.device == "cuda" else "cpu", self.ray_timeout)
        cluster.check()
        return cluster


def with_option_groups(command: Callable[..., Suggestion]) -> Callable[..., Suggestion]:
    """Decorator: the fields of parameters that are dataclasses become options of the command.

    These parameters must be keyword-only.
    """
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(parameter.annotation):
            groups[name] = parameter.annotation
            options = inspect.signature(groups[name]).parameters.values()
            parameters += [option.replace(kind=option.KEYWORD_ONLY) for option in options]
        else:
            parameters.append(parameter)

    @wraps(command)
    def wrapper(*arguments: Any, **options: Any) -> Suggestion:
        made = {
            name: group(**{field.name: options.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        return command(*arguments, **options, **made)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def whole_numbers(text: str) -> list[int]:
    """Parse ``7,13``."""
    try:
        return [int(number) for number in text.replace(" ", "").split(",")]
    except ValueError:
        raise UserError(f"{text!r} is not a list of whole numbers: write 7,13.") from None


def planned_steps(parent: "Run") -> int:
    """The default number of training steps of a run derived from ``parent``."""
    from mechgrok.configuration.training import TrainingConfig

    return TrainingConfig(**parent.config.inherited_training()).steps


def sibling(run: Path, suffix: str) -> Path:
    """A folder next to a run's and named after it: ckpts-ticket for ckpts."""
    run = run if run.name not in ("", "..") else run.resolve()
    return run.with_name(f"{run.name}-{suffix}")
