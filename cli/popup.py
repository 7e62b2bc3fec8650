"""Edge-popup: look for a generalizing network inside a run's weights by training a mask"""

from pathlib import Path
from typing import Annotated

import typer

Search = {"rich_help_panel": "Where and how it looks"}
Training = {"rich_help_panel": "Training (the parent's settings unless given)"}
Folder = {"rich_help_panel": "Run folder"}


def popup(
    run: Annotated[Path, typer.Argument(help="The parent's folder.")],
    out: Annotated[
        Path | None, typer.Option(help="The new run's folder; RUN-popup beside it.", **Folder)
    ] = None,
    at: Annotated[
        str, typer.Option(help="Step of the weights: a number, mem, gen or last.", **Search)
    ] = "mem",
    from_init: Annotated[
        bool, typer.Option("--from-init", help="The initial weights instead: --at 0.", **Search)
    ] = False,
    rate: Annotated[float, typer.Option(help="Share of edges that is off.", **Search)] = 0.6,
    train_weights: Annotated[
        bool, typer.Option("--train-weights", help="Train the weights too.", **Search)
    ] = False,
    score_weight_decay: Annotated[
        float, typer.Option(help="Weight decay on the scores.", **Search)
    ] = 0.0,
    width: Annotated[
        int, typer.Option(min=1, help="With --from-init: times as wide, fresh.", **Search)
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of the scores.", **Search)] = 0,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.", **Training)] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="On the weights, where they are trained.", **Training)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Step size.", **Training)
    ] = None,
    until_grokked: Annotated[
        bool, typer.Option("--until-grokked", help="Stop 1,000 steps after t_gen.", **Training)
    ] = False,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between checkpoints.", **Folder)
    ] = None,
    checkpoint_at: Annotated[
        str | None, typer.Option(help="Further steps to save: 7,13.", **Folder)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the folder.", **Folder)
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", **Training)] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a score for every edge of a run's network; the highest-scored edges are on.

    The weights are those of the first checkpoint that has memorized everything (θ_mem), and are
    frozen, unless told otherwise. Every checkpoint holds the scores and the mask they select.
    """
    from cli.options import beside, parse_at, planned_steps, training_options
    from cli.progress import train_and_report
    from mechgrok.errors import UserError
    from mechgrok.runs import Run
    from mechgrok.runs.tickets import train_popup

    parent = Run(run)
    if from_init and at != "mem":
        raise UserError(f"--from-init starts from step 0, so --at {at} contradicts it: give one.")
    out = out or beside(run, "popup")
    given = training_options(
        steps=steps,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        until_grokked=1000 if until_grokked else None,
        checkpoint_every=checkpoint_every,
        checkpoint_at=checkpoint_at,
    )
    train_and_report(
        steps or planned_steps(parent),
        quiet,
        lambda progress: train_popup(
            parent,
            out,
            at=0 if from_init else parse_at(at),
            rate=rate,
            train_weights=train_weights,
            score_weight_decay=score_weight_decay,
            width=width,
            seed=seed,
            overwrite=overwrite,
            device=device,
            progress=progress,
            **given,
        ),
    )
