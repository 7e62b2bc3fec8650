"""Summarize a run or a sweep: task, model, checkpoints, t_mem, t_gen, norms"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.data import Form, write_data
from mechgrok.cli.options import AtAccuracy, By
from mechgrok.cli.suggestions import Suggestion, first_look

if TYPE_CHECKING:
    from mechgrok.sweeps import Sweep


def info(
    run: Annotated[Path, typer.Argument(help="The folder of a run or of a sweep.")],
    by: By = None,
    at_accuracy: AtAccuracy = None,
    form: Form = "table",
) -> Suggestion:
    """Summarize a run: task, model, size, checkpoints, t_mem, t_gen, τ_grok, norms.

    For a sweep: the varied settings, the number of runs and the medians of its groups. CSV and JSON
    hold one row per run with all settings and milestones.
    """
    from mechgrok.errors import UserError
    from mechgrok.runs import Run
    from mechgrok.runs.facts import facts, row_of
    from mechgrok.sweeps import Sweep

    if Sweep.is_at(run):
        sweep = Sweep(run, at_accuracy=at_accuracy)
        if form == "table":
            _print_sweep(sweep, by)
        else:
            write_data(sweep.table, form)
        return ("compare", run) if form == "table" else None
    if by is not None:
        raise UserError(f"{run} is not a sweep, so --by {by} does not apply: omit it.")
    source = Run(run)
    if form != "table":
        write_data(row_of(source, at_accuracy), form)
        return None
    print_facts(str(source.path), facts(source, at_accuracy))
    return first_look(source)


def _print_sweep(sweep: "Sweep", by: str | None) -> None:
    from mechgrok.cli.groups import print_groups
    from mechgrok.cli.sweep import print_status
    from mechgrok.grammar import show_value
    from mechgrok.sweeps.groups import RunGroups

    facts = {"starts from": sweep.plan.preset}
    for name, value in sweep.plan.set.items():
        facts[name] = str(value)
    for name, values in sweep.dims.items():
        facts[name] = ", ".join("—" if value is None else show_value(value) for value in values)
    print_facts(str(sweep.path), facts)
    print_status(sweep)
    if sweep.groups([]):
        print_groups(RunGroups.of_sweep(sweep, by))


def print_facts(title: str, facts: dict[str, str]) -> None:
    """Print headings and values under a title."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), title=title)
    table.title_justify = "left"
    table.add_column(style="bold")
    for name, value in facts.items():
        table.add_row(name, value)
    Console().print(table)
