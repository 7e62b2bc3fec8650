"""Do something to a network at all of its checkpoints: ablate, patch, prune, remove frequencies"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.analyze import answer
from mechgrok.cli.figures import Pictures, with_pictures
from mechgrok.cli.options import OwnInterventions
from mechgrok.cli.progress import waiting
from mechgrok.cli.questions import By, Out, Runs, Steps

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.runs import Run


@with_pictures
def intervene(
    runs: Runs,
    interventions: Annotated[
        Path, typer.Argument(help="What is done, in TOML: interventions.toml.")
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
    from mechgrok.measuring import ask
    from mechgrok.results.analysis import Analysis
    from mechgrok.sweeps.family import Family

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
    # Always measured: what a patch is taken from may have changed since the last answer.
    family = Family.open(runs, by)
    drawing = {"log": log}
    asked = ask(question, family, steps=steps, fresh=True, drawing=drawing, waiting=waiting)
    answer(asked, pictures=pictures, out=out)
