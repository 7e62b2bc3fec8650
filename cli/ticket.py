"""Prune a run, rewind it and train the ticket, or a control"""

from functools import partial
from typing import Annotated, Any

import typer

from mechgrok.cli import options
from mechgrok.cli.flags import flags_of, merged, nested, refuse_unknown, with_flags
from mechgrok.cli.suggestions import Suggestion
from mechgrok.cli.train import training_flags
from mechgrok.configuration.origins import TicketOptions
from mechgrok.masks.methods import SCORES

PRUNING, START = "Pruning", "Initial weights"
#: Settings in the panel of the initial weights.
_START_SETTINGS = ("control", "rewind", "reinit")


@with_flags(
    merged(
        flags_of(
            TicketOptions,
            "",
            lambda name: START if name in _START_SETTINGS else PRUNING,
            but=("options",),
            defaults=True,
        ),
        training_flags(options.CHANGED_TRAINING),
    )
)
def ticket(
    run: options.Parent,
    out: options.ChildFolder = None,
    resume: options.ResumeChild = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting by its path: options.temperature=100; repeatable."),
    ] = None,
    quiet: options.Quiet = False,
    **given: Any,
) -> Suggestion:
    """Prune a run, rewind the remaining weights to their initial values, and train them.

    Controls: `--control` trains a dense network of the same norm, `--shuffle-mask` a shuffled mask
    of the same density. The ticket is a run and records its parent. It trains for the parent's
    number of steps, for comparison; `--until-grokked` stops earlier.
    """
    from mechgrok.cli.progress import train_and_report
    from mechgrok.derived.tickets import train_ticket
    from mechgrok.runs import Run

    settings = nested(given["given"], set_)
    refuse_unknown(settings, [*TicketOptions.model_fields, "training"], "A ticket")
    training = settings.pop("training", {})
    parent = Run(run)
    arguments = {"resume": resume, "overwrite": overwrite, "device": device, **settings, **training}
    child = train_and_report(
        training.get("steps") or options.planned_steps(parent),
        quiet,
        partial(train_ticket, parent, out or options.sibling(run, _kind(settings)), **arguments),
        retype=True,
        learned=None if training.get("until_grokked") is not None else parent.task.criterion,
    )
    return ("compare", run, child.path)


def _kind(settings: dict[str, Any]) -> str:
    """The kind of ticket, for the name of its folder."""
    control = settings.get("control")
    method = SCORES.describe(settings.get("method", "magnitude"))["name"].rpartition(":")[2]
    kind = [method] if method != "magnitude" else [] if control else ["ticket"]
    kind += ["shuffled"] if settings.get("shuffle_mask") else []
    kind += [f"control-{control}"] if control else []
    kind += ["only-dead"] if settings.get("prune_only") else []
    kind += ["revived"] if settings.get("revive") else []
    return "-".join(kind)
