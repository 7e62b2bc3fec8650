"""Print the table of docs/accelerators.md from the sweep that comes with the project.

    mechgrok sweep FOLDER accelerators
    python docs/measure_accelerators.py FOLDER

A sweep that is not whole gives the rows of what is there. Key frequencies are those of `progress`
at a run's last step, of runs that generalized; their overlap with those of AdamW is
|A ∩ B| / |A ∪ B| for the two runs of one seed, which begin with the same weights and split.
"""

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean, median

import mechgrok
from mechgrok.grammar import show_value
from mechgrok.runs import Run
from mechgrok.sweeps import Sweep
from mechgrok.sweeps.plan import Member
from mechgrok.sweeps.survival import time_to_event

#: The settings that make a row, in the order in which they are told.
SETTINGS = ("optimizer", "muon_learning_rate", "transforms", "objective", "weight_decay")
HEADER = (
    "| method | generalized | t_mem | t_gen [95 %] | test at the end | key frequencies | "
    "overlap with AdamW's |\n| --- | --- | --- | --- | --- | --- | --- |"
)


def main() -> None:
    """Parse the arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    sweep = Sweep(parser.parse_args().folder)
    ended = set(sweep.table.index[sweep.table.status == "finished"])
    rows: dict[str, list[Member]] = {}
    for member in sweep.members:
        if member.name in ended:
            rows.setdefault(method(member), []).append(member)
    print(HEADER)
    for name, members in rows.items():
        print(row(sweep, name, members))


def method(member: Member) -> str:
    """What a run was trained with, in words."""
    told = [
        f"{name.replace('_', ' ')} {show_value(member.settings[name])}"
        for name in SETTINGS
        if name in member.settings
    ]
    return "grokked ticket, k = 0.6" if member.make else ", ".join(told) or "AdamW, the default"


def row(sweep: Sweep, name: str, members: Sequence[Member]) -> str:
    """A line of the table."""
    table = sweep.table.loc[[member.name for member in members]]
    waits = {mark: time_to_event(table, mark) for mark in ("t_mem", "t_gen")}
    learned = [m for m in members if sweep.runs[m.name].t_gen is not None]
    keys = {m.name: keys_of(sweep.runs[m.name]) for m in learned}
    shares = []
    for member in learned:
        base = sweep.runs.get(f"seed={member.settings['seed']}")
        if base is not None and base.finished and base.t_gen is not None and base.steps:
            ours, theirs = keys[member.name], keys_of(base)
            shares.append(len(ours & theirs) / len(ours | theirs))
    numbers = sorted(len(found) for found in keys.values())
    return " | ".join(
        [
            f"| {name}",
            f"{waits['t_gen'].n_reached} of {waits['t_gen'].n}",
            str(waits["t_mem"]),
            str(waits["t_gen"]),
            f"{median(table.test_accuracy):.1%}",
            f"{numbers[0]} to {numbers[-1]}" if numbers else "—",
            f"{mean(shares):.2f} ({len(shares)}) |" if shares else "— |",
        ]
    )


@cache
def keys_of(run: Run) -> frozenset[int]:
    """The key frequencies of a run at its last step."""
    found = mechgrok.analyze(run, "progress", steps=[run.steps[-1]])
    return frozenset(found.key.to_numpy().tolist())


if __name__ == "__main__":
    main()
