"""The table of a sweep with a row per run, cached in the sweep's folder."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from mechgrok.errors import UserError
from mechgrok.results.store import Entries, Key, load_entries, save_entries
from mechgrok.runs import Run
from mechgrok.runs.comparison import MILESTONES, milestones_and_accuracies
from mechgrok.sweeps.plan import Member

#: The file of cached rows, which can be deleted at any time.
_CACHE = ".table.json"
#: Raise this when the content of rows changes.
_VERSION = 2
#: Inputs of a row; a new or deleted checkpoint changes the folder's modification time.
_FILES = (".", "config.json", "metrics.csv")
_NUMBERS = {
    "step": "Int64",
    **MILESTONES,
    **dict.fromkeys(("train_accuracy", "test_accuracy", "best_test_accuracy"), "float"),
}


def table_of(
    folder: Path, members: Sequence[Member], at_accuracy: float | None = None
) -> pd.DataFrame:
    """The table of `Sweep.table`; only changed runs are read."""
    try:
        return _table(folder, members, at_accuracy, load_entries(folder / _CACHE))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return _table(folder, members, at_accuracy, {})  # The cache is invalid.


def _table(
    folder: Path, members: Sequence[Member], at_accuracy: float | None, cached: Entries
) -> pd.DataFrame:
    rows, new = {}, Entries()
    for member in members:
        key = Key.of_files(folder / member.name, _FILES, _VERSION, {"at_accuracy": at_accuracy})
        name = f"{member.name} {at_accuracy}"
        if name in cached and cached[name][0] == key:
            rows[member.name] = cached[name][1]
        elif None in key.inputs.values():
            rows[member.name] = {"status": "missing"}
        else:
            rows[member.name] = _row(folder / member.name, at_accuracy)
            new[name] = key, rows[member.name]
    table = _as_frame(members, rows)
    if new:
        with suppress(UserError):  # The folder cannot be written.
            save_entries(folder / _CACHE, cached | new)
    return table


def _as_frame(members: Sequence[Member], rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    settings = dict.fromkeys(name for member in members for name in member.settings)
    table = pd.DataFrame(
        [
            {"stage": member.stage, **{name: member.settings.get(name) for name in settings}}
            | {column: rows[member.name].get(column) for column in ("status", *_NUMBERS)}
            for member in members
        ],
        columns=["stage", *settings, "status", *_NUMBERS],
        index=pd.Index([member.name for member in members], name="run"),
    )
    return table.astype(_NUMBERS)


def _row(folder: Path, at_accuracy: float | None) -> dict[str, Any]:
    try:
        run = Run(folder)
        status = "unfinished" if run.diverged is None else "diverged"
        row = {"status": "finished" if run.finished and run.is_unlocked else status}
        empty = run.metrics.empty
    except UserError:
        return {"status": "damaged"}
    return row if empty else row | milestones_and_accuracies(run, at_accuracy)
