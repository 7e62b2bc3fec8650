"""Go on from a step of a run with other settings, as a run of its own"""

from functools import partial
from typing import Annotated, Any

import typer

from mechgrok.cli import options
from mechgrok.cli.flags import nested, refuse_unknown, with_flags
from mechgrok.cli.train import training_flags


@with_flags(training_flags(options.CHANGED_TRAINING))
def fork(
    run: options.Parent,
    at: Annotated[
        str, typer.Option(help="Step to go on from: a number, mem, gen or last.")
    ] = "last",
    out: options.ChildFolder = None,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    set_: options.SetTraining = None,
    quiet: options.Quiet = False,
    **given: Any,
) -> None:
    """Go on from a step of a run with other training settings, as a new run.

    The fork's step 0 is the parent's step, with its weights, its mask and its scores; it is trained
    for as many steps as the parent unless `--steps` is given. The optimizer begins anew, unless the
    step is that of the parent's newest checkpoint, whose optimizer state is kept.
    """
    from mechgrok.cli.progress import train_and_report
    from mechgrok.configuration.origins import as_step
    from mechgrok.derived.children import resolve_step
    from mechgrok.derived.forking import fork as begin
    from mechgrok.runs import Run

    settings = nested(given["given"], set_)
    refuse_unknown(settings, ["training"], "A fork")
    training = settings.get("training", {})
    parent = Run(run)
    step = resolve_step(parent, as_step(at))
    how = {"at": step, "overwrite": overwrite, "device": device, **training}
    made = train_and_report(
        training.get("steps") or options.planned_steps(parent),
        quiet,
        partial(begin, parent, out or options.beside(run, f"fork-{step}"), **how),
    )
    kept = "was taken along" if made.config.origin.optimizer_state else "began anew"  # type: ignore
    print(f"It began at step {step:,} of {run}; the optimizer's state {kept}.")
