"""Prune a run, rewind it and train the ticket; or one of its controls"""

from pathlib import Path
from typing import Annotated, Any

import typer

Pruning = {"rich_help_panel": "What is pruned"}
Start = {"rich_help_panel": "What the ticket starts from"}
Training = {"rich_help_panel": "Training (the parent's settings unless given)"}
Folder = {"rich_help_panel": "Run folder"}


def ticket(
    run: Annotated[Path, typer.Argument(help="The parent's folder.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The ticket's folder; RUN-ticket, RUN-snip, … beside it.", **Folder),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="Step to prune: a number, mem, gen or last.", **Pruning),
    ] = None,
    rate: Annotated[float, typer.Option(help="Share of weights removed.", **Pruning)] = 0.6,
    method: Annotated[
        str,
        typer.Option(help="magnitude, random, snip, grasp, synflow or imp.", **Pruning),
    ] = "magnitude",
    scope: Annotated[
        str, typer.Option(help="global (one threshold) or layer (rate in each).", **Pruning)
    ] = "global",
    rounds: Annotated[
        int | None, typer.Option(help="Of imp (3) and synflow (100).", **Pruning)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of random pruning and of the shuffle.", **Pruning)] = 0,
    shuffle_mask: Annotated[
        bool,
        typer.Option("--shuffle-mask", help="Same density per matrix, other places.", **Pruning),
    ] = False,
    prune_only: Annotated[
        str | None, typer.Option(help="dead: prune the dead neurons' edges only.", **Pruning)
    ] = None,
    revive: Annotated[
        str | None, typer.Option(help="dead: put the dead neurons' edges back.", **Pruning)
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(help="l1 or l2: no mask, but scaled to the ticket's norm.", **Start),
    ] = None,
    rewind: Annotated[int, typer.Option(help="The parent's step to rewind to.", **Start)] = 0,
    reinit: Annotated[
        int | None, typer.Option(help="Fresh weights with this seed instead.", **Start)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.", **Training)] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.", **Training)] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Step size.", **Training)
    ] = None,
    batch_seed: Annotated[
        int | None, typer.Option(help="Seed of the mini-batches' order.", **Training)
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
    """Prune a run at a step, rewind its weights to the start, and train what is left.

    Magnitude pruning and imp look at the last checkpoint; random, snip, grasp and synflow prune at
    initialization. `--control` trains the dense network of the same norm, `--shuffle-mask` the same
    density elsewhere. The ticket is a run like any other and knows its parent.
    """
    from cli.options import beside, parse_at, planned_steps, training_options
    from cli.progress import train_and_report
    from mechgrok.runs import Run
    from mechgrok.runs.tickets import train_ticket

    parent = Run(run)
    kind = [method] if method != "magnitude" else [] if control else ["ticket"]
    kind += ["shuffled"] * shuffle_mask + [f"control-{control}"] * (control is not None)
    kind += ["only-dead"] * (prune_only is not None) + ["revived"] * (revive is not None)
    out = out or beside(run, "-".join(kind))
    given = training_options(
        steps=steps,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        batch_seed=batch_seed,
        until_grokked=1000 if until_grokked else None,
        checkpoint_every=checkpoint_every,
        checkpoint_at=checkpoint_at,
    )
    chosen: dict[str, Any] = {
        "rate": rate,
        "method": method,
        "scope": scope,
        "rounds": rounds,
        "seed": seed,
        "rewind": rewind,
        "reinit": reinit,
        "shuffle_mask": shuffle_mask,
        "prune_only": prune_only,
        "revive": revive,
        "control": control,
    }
    train_and_report(
        steps or planned_steps(parent),
        quiet,
        lambda progress: train_ticket(
            parent,
            out,
            at=None if at is None else parse_at(at),
            overwrite=overwrite,
            device=device,
            progress=progress,
            **chosen,
            **given,
        ),
    )
