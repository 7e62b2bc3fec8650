"""Prune a run, rewind it and train the ticket; or one of its controls"""

from functools import partial
from typing import Annotated, Any

import typer

from mechgrok.cli import options
from mechgrok.cli.flags import flags_of, merged, nested, refuse_unknown, with_flags
from mechgrok.cli.train import training_flags
from mechgrok.configuration.origins import TicketOptions
from mechgrok.masks.methods import SCORES

PRUNED, START = "What is pruned", "What the ticket starts from"
#: Settings of what a ticket starts from; all others are of what is pruned.
_OF_START = ("control", "rewind", "reinit")


@with_flags(
    merged(
        flags_of(
            TicketOptions,
            "",
            lambda name: START if name in _OF_START else PRUNED,
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
        typer.Option("--set", help="Any setting, by its path: options.temperature=100."),
    ] = None,
    quiet: options.Quiet = False,
    **given: Any,
) -> None:
    """Prune a run at a step, rewind its weights to the start, and train what is left.

    Magnitude pruning and imp prune the last checkpoint; most other methods prune at initialization.
    `--control` trains the dense network of the same norm, `--shuffle-mask` the same density
    elsewhere. The ticket is a run like any other and knows its parent. It is trained for as many
    steps as its parent, so that the two can be compared; `--until-grokked` stops it earlier.
    """
    from mechgrok.cli.progress import train_and_report
    from mechgrok.derived.tickets import train_ticket
    from mechgrok.runs import Run

    settings = nested(given["given"], set_)
    refuse_unknown(settings, [*TicketOptions.model_fields, "training"], "A ticket")
    training = settings.pop("training", {})
    parent = Run(run)
    how = {"resume": resume, "overwrite": overwrite, "device": device, **settings, **training}
    train_and_report(
        training.get("steps") or options.planned_steps(parent),
        quiet,
        partial(train_ticket, parent, out or options.beside(run, _kind(settings)), **how),
        retype=True,
        learned=None if training.get("until_grokked") is not None else parent.task.criterion,
    )


def _kind(settings: dict[str, Any]) -> str:
    """What a ticket with these settings is, for the name of its folder."""
    control = settings.get("control")
    method = SCORES.describe(settings.get("method", "magnitude"))["name"].rpartition(":")[2]
    kind = [method] if method != "magnitude" else [] if control else ["ticket"]
    kind += ["shuffled"] if settings.get("shuffle_mask") else []
    kind += [f"control-{control}"] if control else []
    kind += ["only-dead"] if settings.get("prune_only") else []
    kind += ["revived"] if settings.get("revive") else []
    return "-".join(kind)
