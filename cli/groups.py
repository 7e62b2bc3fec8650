"""Groups of runs as a table of medians with intervals; censored runs count."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechgrok.sweeps.groups import RunGroups

_HEADINGS = {"tau_grok": "τ_grok", "t_gen_sustained": "t_gen, sustained"}


def print_groups(groups: "RunGroups") -> None:
    """Print one row per group: settings, runs, generalized runs and milestones.

    Medians are Kaplan-Meier estimates, with 95 % intervals in brackets, or for fewer than six runs
    the range in parentheses; ``> 5,000`` if half of the runs or more have not reached it by then.
    """
    from rich.console import Console
    from rich.table import Table

    from mechgrok.formatting import percent
    from mechgrok.grammar import show_value

    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in groups.by or ():
        table.add_column(name, justify="right")
    milestones = [_HEADINGS.get(name, name) for name in groups.milestones]
    for heading in ("runs", "generalized", *milestones, "test accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for key, labels in groups.groups.items():
        t_gen = groups.times["t_gen"][key]
        accuracy = groups.table.loc[labels, "test_accuracy"].median()
        table.add_row(
            *(show_value(value) if value is not None else "—" for value in key),
            f"{t_gen.n}",
            f"{t_gen.n_reached}",
            *(str(groups.times[name][key]) for name in groups.milestones),
            percent(accuracy),
        )
    terminal = Console()
    # A pipe has no width to fit: print every column in full.
    (terminal if terminal.is_terminal else Console(width=200)).print(table)
    if any(t.n >= 3 for t in groups.times["t_gen"].values()):
        print(
            "Kaplan-Meier medians with [95 % intervals], or the (range) of fewer than six runs; "
            "runs that never reached it count as censored."
        )
