"""Do something to a network at all of its checkpoints: ablate, patch, prune, remove frequencies"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.analyze import write_answers
from mechgrok.cli.figures import Pictures, with_pictures
from mechgrok.cli.mistakes import separate_file
from mechgrok.cli.options import OwnInterventions
from mechgrok.cli.progress import status
from mechgrok.cli.questions import By, Out, Steps

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.runs import Run


@with_pictures
def intervene(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN… FILE", help="Folders of runs or sweeps, and the interventions in TOML."
        ),
    ],
    *,
    pictures: Pictures,
    by: By = None,
    steps: Steps = None,
    out: Out = None,
    intervention: OwnInterventions = None,
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
    from mechgrok import interventions as vocabulary
    from mechgrok.analyses.explorer import over_training
    from mechgrok.errors import UserError
    from mechgrok.measuring import measure_all
    from mechgrok.results.analysis import Analysis
    from mechgrok.sweeps.groups import RunGroups

    interventions, runs = separate_file(paths)
    for each in intervention or ():
        vocabulary.add_intervention(each)
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
    result = measure_all(
        question,
        RunGroups.open(runs, by),
        steps=steps,
        fresh=True,  # What a patch is taken from may have changed since the last answer.
        drawing={"log": log},
        status=status,
    )
    write_answers(result, pictures=pictures, out=out)
