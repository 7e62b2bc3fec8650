"""Groups of runs as a table of medians with intervals; censored runs count."""

from typing import TYPE_CHECKING

from mechgrok.cli.data import print_table

if TYPE_CHECKING:
    from mechgrok.sweeps.groups import RunGroups

_HEADINGS = {"tau_grok": "τ_grok", "t_gen_sustained": "t_gen, sustained"}


def print_groups(groups: "RunGroups") -> None:
    """Print one row per group: settings, runs, generalized runs and milestones.

    Medians are Kaplan-Meier estimates, with 95 % intervals in brackets, or for fewer than six runs
    the range in parentheses; ``> 5,000`` if half of the runs or more have not reached it by then.
    """
    from rich.table import Column

    from mechgrok.formatting import percent
    from mechgrok.grammar import show_value

    milestones = [_HEADINGS.get(name, name) for name in groups.milestones]
    headings = ("runs", "generalized", *milestones, "test accuracy")
    rows = []
    for key, labels in groups.groups.items():
        t_gen = groups.times["t_gen"][key]
        rows.append(
            [
                *(show_value(value) if value is not None else "—" for value in key),
                f"{t_gen.n}",
                f"{t_gen.n_reached}",
                *(str(groups.times[name][key]) for name in groups.milestones),
                percent(groups.table.loc[labels, "test_accuracy"].median()),
            ]
        )
    settings = [Column(name, justify="right") for name in groups.by or ()]
    print_table(settings, headings, rows)
    if any(t.n >= 3 for t in groups.times["t_gen"].values()):
        print(
            "Kaplan-Meier medians with [95 % intervals], or the (range) of fewer than six runs; "
            "runs that never reached it count as censored."
        )
