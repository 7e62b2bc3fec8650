"""A row for every run of a sweep, kept in its folder so that a thousand runs are read once."""

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pandas as pd

from mechgrok.errors import UserError
from mechgrok.files import read_text, write_text
from mechgrok.runs import Run
from mechgrok.sweeps.plan import Member

#: The kept rows; it can be deleted at any time.
_KEPT = ".table.json"
_NUMBERS = ("step", "t_mem", "t_gen", "tau_grok", "train_accuracy", "test_accuracy")
_COLUMNS = ("status", *_NUMBERS, "best_test_accuracy")


def table_of(
    folder: Path, members: Sequence[Member], at_accuracy: float | None = None
) -> pd.DataFrame:
    """The table of `Sweep.table`; where the kept rows are none, the runs are read again."""
    try:
        return _table(folder, members, at_accuracy, _read(folder))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return _table(folder, members, at_accuracy, {})


def _table(
    folder: Path,
    members: Sequence[Member],
    at_accuracy: float | None,
    kept: dict[str, list[Any]],
) -> pd.DataFrame:
    level = "" if at_accuracy is None else f"{at_accuracy:g}"
    rows = {m.name: _row(folder / m.name, kept.get(m.name), at_accuracy, level) for m in members}
    settings = dict.fromkeys(name for member in members for name in member.settings)
    table = pd.DataFrame(
        [
            {"stage": member.stage, **{name: member.settings.get(name) for name in settings}}
            | {column: rows[member.name][1][level].get(column) for column in _COLUMNS}
            for member in members
        ],
        columns=["stage", *settings, *_COLUMNS],
        index=pd.Index([member.name for member in members], name="run"),
    )
    whole = dict.fromkeys(("step", "t_mem", "t_gen"), "Int64")
    rest = {name: float for name in _COLUMNS if name not in (*whole, "status")}
    table = table.astype({**whole, **rest})
    if any(kept.get(name) != row for name, row in rows.items()):
        _keep(folder, kept | rows)
    return table


def _row(folder: Path, kept: Any, at_accuracy: float | None, level: str) -> list[Any]:
    """What the run's files were when it was read, and what they said at each threshold."""
    stamp = _stamp(folder)
    known: dict[str, Any] = {}
    if isinstance(kept, list) and len(kept) == 2 and kept[0] == stamp:
        known = kept[1]
    if level in known:
        return [stamp, known]
    facts = _facts(folder, at_accuracy) if stamp else {"status": "missing"}
    return [stamp, {**known, level: facts}]


def _stamp(folder: Path) -> list[int]:
    """Size and time of what a row depends on; empty where there is no run."""
    try:
        files = [(folder / name).stat() for name in ("config.json", "metrics.csv")]
        folder_changed = folder.stat().st_mtime_ns
    except OSError:
        return []
    return [folder_changed, *(n for stat in files for n in (stat.st_size, stat.st_mtime_ns))]


def _facts(folder: Path, at_accuracy: float | None) -> dict[str, Any]:
    try:
        run = Run(folder)
        status = "unfinished" if run.diverged is None else "diverged"
        known = {"status": "finished" if run.finished and run.settled else status}
        empty = run.metrics.empty
    except UserError:
        return {"status": "damaged"}
    return known if empty else known | facts_of(run, at_accuracy)


def facts_of(run: Run, at_accuracy: float | None = None) -> dict[str, float | None]:
    """A run's last step, its milestones at an accuracy (None where not reached), its accuracies.

    Raises:
        UserError: it was never evaluated.
    """
    metrics = run.metrics
    if metrics.empty:
        raise UserError(f"{run.path} has no metrics yet: train it first.")
    last, reached = metrics.iloc[-1], run.milestones_at(at_accuracy)
    milestones = {name: reached.get(name) for name in ("t_mem", "t_gen", "tau_grok")}
    accuracies = {side: float(last[side]) for side in ("train_accuracy", "test_accuracy")}
    best = {"best_test_accuracy": float(metrics.test_accuracy.max())}
    return {"step": int(last.step), **milestones, **accuracies, **best}


def _read(folder: Path) -> dict[str, list[Any]]:
    """What is kept, unless it is damaged."""
    try:
        kept = json.loads(read_text(folder / _KEPT))
        rows: dict[str, list[Any]] = kept["rows"]
        return rows if kept["blake2b"] == _digest(rows) and isinstance(rows, dict) else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def _keep(folder: Path, rows: dict[str, list[Any]]) -> None:
    try:
        write_text(folder / _KEPT, json.dumps({"blake2b": _digest(rows), "rows": rows}))
    except UserError:
        return  # A folder that cannot be written keeps nothing.


def _digest(rows: dict[str, list[Any]]) -> str:
    return blake2b(json.dumps(rows, sort_keys=True).encode(), digest_size=16).hexdigest()
