"""Do something to a network at all of its checkpoints: ablate, patch, prune, remove frequencies"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.runs import Run


def intervene(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs or sweeps, measured each and overlaid.")
    ],
    interventions: Annotated[
        Path, typer.Argument(help="What is done, in TOML: interventions.toml.")
    ],
    by: Annotated[
        str | None,
        typer.Option(help="Group runs by settings: weight_decay,p; a sweep: all but the seeds."),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Checkpoints: 0,2000,30000 or 0:30000:1000 or last; all."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the figure in a browser.")] = False,
    png: Annotated[
        bool, typer.Option("--png", help="Draw a PNG too (extra mechgrok[png]).")
    ] = False,
    log: Annotated[bool, typer.Option(help="Logarithmic step axis.")] = True,
) -> None:
    """Accuracy and loss with interventions and without, at every checkpoint.

    The file holds a table for each, done in their order; the answer goes to the run's `analysis/`
    as HTML and Parquet:

        [[do]]
        kind = "Patch"
        hook = "blocks.0.mlp.hook_post"
        from_step = 30000
    """
    from analyses.explorer import over_training
    from cli.analyze import answer
    from mechgrok import interventions as vocabulary
    from mechgrok.errors import UserError
    from mechgrok.results.analysis import Analysis

    done = vocabulary.load_toml(interventions)
    if not done:
        raise UserError(f"{interventions} holds no intervention: write a table [[do]] for each.")

    def measure(run: "Run", *, steps: Sequence[int] | None = None) -> "xr.Dataset":
        return vocabulary.intervene(run, done, steps=steps)

    question = Analysis(
        f"intervene-{interventions.stem}",
        "Interventions over training",
        vocabulary.__name__,
        measure,
        over_training.draw,
        over_training.finding,
        lambda run: None,
    )
    # Always measured: what a patch is taken from may have changed since the last answer.
    answer(question, runs, by, steps, {}, {"log": log}, out=out, fresh=True, open_=open_, png=png)
