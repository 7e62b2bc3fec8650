"""Go on from a step of a run with other settings, as a run of its own"""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.flags import nested, refuse_unknown, with_flags
from cli.train import FOLDER, training_flags

TRAINING = "Training (the parent's settings unless given)"


@with_flags(training_flags(TRAINING))
def fork(
    run: Annotated[Path, typer.Argument(help="The parent's folder.")],
    at: Annotated[
        str, typer.Option(help="Step to go on from: a number, mem, gen or last.")
    ] = "last",
    out: Annotated[
        Path | None,
        typer.Option(help="The fork's folder; RUN-fork-STEP beside it.", rich_help_panel=FOLDER),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the run in the folder.", rich_help_panel=FOLDER),
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=TRAINING)
    ] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting of the training: training.threads=2."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    **given: Any,
) -> None:
    """Go on from a step of a run with other training settings, as a new run.

    The fork's step 0 is the parent's step, with its weights, its mask and its scores; it is trained
    for as many steps as the parent unless `--steps` is given. The optimizer begins anew, unless the
    step is that of the parent's newest checkpoint, whose optimizer state is kept.
    """
    import shlex

    from cli.options import beside, planned_steps
    from cli.progress import train_and_report
    from mechgrok.origins import as_step
    from mechgrok.runs import Run
    from mechgrok.runs.forking import fork as begin
    from mechgrok.runs.tickets import resolve_step

    settings = nested(given["given"], set_)
    refuse_unknown(settings, ["training"], "A fork")
    training = settings.get("training", {})
    parent = Run(run)
    step = resolve_step(parent, as_step(at))
    folder = out or beside(run, f"fork-{step}")
    made = train_and_report(
        training.get("steps") or planned_steps(parent),
        quiet,
        lambda progress: begin(
            parent,
            folder,
            at=step,
            overwrite=overwrite,
            device=device,
            progress=progress,
            **training,
        ),
        again=shlex.join(["mechgrok", "train", "--out", str(folder), "--resume"]),
    )
    kept = "was taken along" if made.config.origin.optimizer_state else "began anew"  # type: ignore
    print(f"It began at step {step:,} of {run}; the optimizer's state {kept}.")
