"""Continue a run from a step with other settings, as a new run"""

from functools import partial
from typing import Annotated, Any

import typer

from mechgrok.cli import options
from mechgrok.cli.flags import nested, refuse_unknown, with_flags
from mechgrok.cli.suggestions import Suggestion
from mechgrok.cli.train import training_flags


@with_flags(training_flags(options.CHANGED_TRAINING))
def fork(
    run: options.Parent,
    at: Annotated[
        str, typer.Option(help="Step to continue from: a number, mem, gen or last.")
    ] = "last",
    out: options.ChildFolder = None,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    set_: options.SetTraining = None,
    quiet: options.Quiet = False,
    **given: Any,
) -> Suggestion:
    """Continue a run from a step with other settings, as a new run.

    The fork shares the parent's checkpoints up to that step, where a phase with the new settings
    begins, and trains for --steps more; default: as many as the parent. The optimizer state carries
    over only from the parent's newest two checkpoints; otherwise the optimizer starts afresh.
    """
    from mechgrok.cli.progress import train_and_report
    from mechgrok.configuration.origins import as_step
    from mechgrok.derived.children import resolve_step
    from mechgrok.derived.forking import fork as train_fork
    from mechgrok.runs import Run

    settings = nested(given["given"], set_)
    refuse_unknown(settings, ["training", "task"], "A fork")
    changes = settings.get("training", {}) | settings.get("task", {})
    parent = Run(run)
    step = resolve_step(parent, as_step(at))
    arguments = {"at": step, "overwrite": overwrite, "device": device, **changes}
    steps = changes.get("steps")
    child = train_and_report(
        step + (steps if isinstance(steps, int) else options.planned_steps(parent)),
        quiet,
        partial(train_fork, parent, out or options.sibling(run, f"fork-{step}"), **arguments),
    )
    state = "carried over" if child.config.origin.optimizer_state else "new"  # type: ignore
    print(f"Forked from step {step:,} of {run}; optimizer state: {state}.")
    return ("compare", run, child.path)
