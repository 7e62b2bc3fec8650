"""Train a network and keep its checkpoints: the paper's MLP on a + b mod 67 unless told"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import assign, whole_numbers
from cli.progress import train_and_report
from mechgrok import own_code, presets
from mechgrok.errors import UserError

Task = {"rich_help_panel": "Task"}
Model = {"rich_help_panel": "Model"}
Training = {"rich_help_panel": "Training"}
Folder = {"rich_help_panel": "Run folder"}


def train(
    preset: Annotated[
        str, typer.Argument(help="What to start from; `mechgrok presets` lists them.")
    ] = "paper-mlp",
    out: Annotated[Path, typer.Option(help="The run's folder.", **Folder)] = Path("ckpts"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder.", **Folder)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the folder.", **Folder)
    ] = False,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(help="Steps between checkpoints; a 300th of all, rounded.", **Folder),
    ] = None,
    checkpoint_at: Annotated[
        str | None, typer.Option(help="Further steps to save: 7,13.", **Folder)
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="add, sub, mul, …, parity, mnist, or your own: file.py:name.", **Task),
    ] = None,
    p: Annotated[int | None, typer.Option(help="Modulus.", **Task)] = None,
    pairs: Annotated[
        str | None, typer.Option(help="unordered, ordered, or descending (b < a).", **Task)
    ] = None,
    equals: Annotated[
        bool | None, typer.Option("--equals", help="Append an '=' token to each pair.", **Task)
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Training images (mnist).", **Task)] = None,
    folder: Annotated[
        str | None,
        typer.Option(help="IDX files to use instead of downloading them (mnist).", **Task),
    ] = None,
    train_fraction: Annotated[
        float | None, typer.Option(help="Share of examples trained on.", **Task)
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(help="Seed of the train/test split.", **Task)
    ] = None,
    model: Annotated[str | None, typer.Option(help="mlp or transformer.", **Model)] = None,
    d_model: Annotated[int | None, typer.Option(help="Width of the embedding.", **Model)] = None,
    d_mlp: Annotated[int | None, typer.Option(help="Neurons per layer.", **Model)] = None,
    n_layers: Annotated[
        int | None, typer.Option(help="Hidden layers, or transformer blocks.", **Model)
    ] = None,
    n_heads: Annotated[int | None, typer.Option(help="Attention heads.", **Model)] = None,
    act: Annotated[str | None, typer.Option(help="relu or gelu.", **Model)] = None,
    init_scale: Annotated[
        float | None, typer.Option(help="κ in N(0, κ²/d_in), which draws the weights.", **Model)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the weights.", **Model)] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.", **Training)] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples per step; all unless given.", **Training)
    ] = None,
    batch_seed: Annotated[
        int | None, typer.Option(help="Seed of the mini-batches' order.", **Training)
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw, adam or sgd.", **Training)] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Step size.", **Training)
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.", **Training)] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum of SGD.", **Training)] = None,
    l1: Annotated[float | None, typer.Option(help="Adds l1·Σ|θ| to the loss.", **Training)] = None,
    l2: Annotated[float | None, typer.Option(help="Adds l2·Σθ² to the loss.", **Training)] = None,
    until_grokked: Annotated[
        bool, typer.Option("--until-grokked", help="Stop soon after t_gen.", **Training)
    ] = False,
    margin: Annotated[
        int, typer.Option(help="With --until-grokked: steps after t_gen.", **Training)
    ] = 1000,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", **Training)] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting of config.json: task.label_seed=3."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a network and keep its checkpoints.

    Without arguments: the paper's MLP on a + b mod 67, unordered pairs, 30,000 steps, to `ckpts/`.
    """
    options: dict[str, dict[str, Any]] = {
        "task": {
            "name": task,
            "p": p,
            "pairs": pairs,
            "equals": equals,
            "limit": limit,
            "folder": folder,
            "train_fraction": train_fraction,
            "split_seed": split_seed,
        },
        "model": {
            "kind": model,
            "d_model": d_model,
            "d_mlp": d_mlp,
            "n_layers": n_layers,
            "n_heads": n_heads,
            "act": act,
            "init_scale": init_scale,
        },
        "training": {
            "steps": steps,
            "batch_size": batch_size,
            "batch_seed": batch_seed,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "l1": l1,
            "l2": l2,
            "until_grokked": margin if until_grokked else None,
            "checkpoint_every": checkpoint_every,
            "checkpoint_at": checkpoint_at and whole_numbers(checkpoint_at),
        },
    }
    given: dict[str, Any] = {
        part: {key: value for key, value in fields.items() if value is not None}
        for part, fields in options.items()
    }
    if seed is not None:
        given["seed"] = seed
    for assignment in set_ or []:
        assign(given, assignment)
    own_code.allow(given["task"].get("name"))
    if resume:
        _go_on(out, given, device, quiet)
    else:
        _begin(preset, out, given, overwrite, device, quiet)


def _begin(
    preset: str, out: Path, given: dict[str, Any], overwrite: bool, device: str, quiet: bool
) -> None:
    from mechgrok.config import RunConfig
    from mechgrok.training import train

    config = RunConfig.make(**presets.merge(presets.load(preset), given))
    if not config.model.knows_order and getattr(config.task, "order_matters", False):
        print(
            f"mechgrok: An MLP sums its tokens and cannot tell (a, b) from (b, a), so that it will "
            f"never fit {config.task}: --pairs descending, --model positional-mlp or "
            "--model transformer would.",
            file=sys.stderr,
        )
    train_and_report(
        config.recipe.steps,
        quiet,
        lambda progress: train(out, config, overwrite=overwrite, device=device, progress=progress),
    )


def _go_on(out: Path, given: dict[str, Any], device: str, quiet: bool) -> None:
    from mechgrok.runs import Run
    from mechgrok.training import resume

    run = Run(out)
    saved = run.config.model_dump(mode="json")
    steps = given["training"].pop("steps", None)
    for part, fields in given.items():
        for key, value in fields.items() if isinstance(fields, dict) else [("", fields)]:
            before = saved.get(part, {}).get(key) if key else saved.get(part)
            if value != before:
                raise UserError(
                    f"{out} was trained with {key or part} = {before}, so it cannot be resumed "
                    f"with {value}: leave the option out, or train into another folder."
                )
    train_and_report(
        steps or run.config.recipe.steps,
        quiet,
        lambda progress: resume(out, steps=steps, device=device, progress=progress),
    )
