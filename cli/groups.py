"""Groups of runs as a table: medians with their intervals, censored runs counted."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechgrok.sweeps.groups import RunGroups


def print_groups(family: "RunGroups") -> None:
    """A row a group: its settings, how many runs generalized, t_mem, t_gen and τ_grok.

    Medians are Kaplan and Meier's, with 95 % intervals in brackets from six runs on, and the range
    of fewer in parentheses; ``> 5,000`` where half
    of the runs or more have not got there by then.
    """
    from rich.console import Console
    from rich.table import Table

    from mechgrok.formatting import percent
    from mechgrok.grammar import show_value

    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in family.by or ():
        table.add_column(name, justify="right")
    for heading in ("runs", "generalized", "t_mem", "t_gen", "τ_grok", "test accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for key, labels in family.groups.items():
        t_gen = family.times["t_gen"][key]
        accuracy = family.table.loc[labels, "test_accuracy"].median()
        table.add_row(
            *(show_value(value) if value is not None else "—" for value in key),
            f"{t_gen.n}",
            f"{t_gen.n_reached}",
            *(str(times[key]) for times in family.times.values()),
            percent(accuracy),
        )
    terminal = Console()
    # A pipe has no width to fit: there, every column is printed whole.
    (terminal if terminal.is_terminal else Console(width=200)).print(table)
    if any(t.n >= 3 for t in family.times["t_gen"].values()):
        print(
            "Medians by Kaplan and Meier, with [95 % intervals] or the (range) of fewer than six "
            "runs: runs that never got there count."
        )
