"""Intervene at every checkpoint: ablate, patch, prune, remove frequencies"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.analysis_commands import Out
from mechgrok.cli.analyze import write_results
from mechgrok.cli.figures import Pictures
from mechgrok.cli.mistakes import separate_file
from mechgrok.cli.options import By, Checkpoints, OwnInterventions, with_option_groups
from mechgrok.cli.progress import progress_callback
from mechgrok.cli.suggestions import Suggestion

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.runs import Run


@with_option_groups
def intervene(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN… FILE", help="Folders of runs or sweeps, and a TOML file of interventions."
        ),
    ],
    *,
    by: By = None,
    steps: Checkpoints = None,
    out: Out = None,
    intervention: OwnInterventions = None,
    log: Annotated[bool, typer.Option(help="Logarithmic step axis.")] = True,
    pictures: Pictures,
) -> Suggestion:
    """Measure accuracy and loss with and without interventions, at every checkpoint.

    The file holds one table per intervention, applied in order; the results go to the run's
    `analysis/` as HTML and Parquet:

        [[do]]
        kind = "Patch"
        hook = "blocks.0.mlp.hook_post"
        from_step = 30000
    """
    from mechgrok import interventions as vocabulary
    from mechgrok.analyses.explorer import over_training
    from mechgrok.errors import UserError
    from mechgrok.measuring import measure_all
    from mechgrok.results.analysis import Analysis
    from mechgrok.sweeps.groups import RunGroups

    file, runs = separate_file(paths)
    for name in intervention or ():
        vocabulary.add_intervention(name)
    applied = vocabulary.load_toml(file)
    if not applied:
        raise UserError(f"{file} holds no intervention: write one [[do]] table for each.")

    def measure(run: "Run", *, steps: Sequence[int] | None = None) -> "xr.Dataset":
        selected, count = run.select(steps), itertools.count(1)
        with progress_callback(f"intervening on {run.name}") as show:
            return vocabulary.intervene(
                run,
                applied,
                steps=selected,
                progress=lambda step: show(next(count), len(selected), f"{run.name} step {step}"),
            )

    analysis = Analysis(
        f"intervene-{file.stem}",
        "Interventions over training",
        vocabulary.__name__,
        measure,
        over_training.draw,
        over_training.finding,
        lambda run: None,
    )
    result = measure_all(
        analysis,
        RunGroups.open(runs, by),
        steps=steps,
        fresh=True,  # The source of a patch may have changed since the last result.
        drawing={"log": log},
    )
    write_results(result, pictures=pictures, out=out)
    return ("explore", *runs)
