"""A row for every run of a sweep, kept in its folder so that a thousand runs are read once."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mechgrok.errors import UserError
from mechgrok.files import write_text
from mechgrok.runs import Run
from mechgrok.sweeps.plan import Member

#: The kept rows; it can be deleted at any time.
_KEPT = ".table.json"
_NUMBERS = ("step", "t_mem", "t_gen", "tau_grok", "train_accuracy", "test_accuracy")
_COLUMNS = ("status", *_NUMBERS, "best_test_accuracy")


def table_of(folder: Path, members: Sequence[Member]) -> pd.DataFrame:
    """The table of `Sweep.table`."""
    kept = _read(folder)
    rows = {member.name: _row(folder / member.name, kept.get(member.name)) for member in members}
    if any(kept.get(name) != row for name, row in rows.items()):
        _keep(folder, kept | rows)
    settings = dict.fromkeys(name for member in members for name in member.settings)
    table = pd.DataFrame(
        [
            {"stage": member.stage, **{name: member.settings.get(name) for name in settings}}
            | {column: rows[member.name][1].get(column) for column in _COLUMNS}
            for member in members
        ],
        index=pd.Index([member.name for member in members], name="run"),
    )
    whole = dict.fromkeys(("step", "t_mem", "t_gen"), "Int64")
    rest = {name: float for name in _COLUMNS if name not in (*whole, "status")}
    return table.astype({**whole, **rest})


def _row(folder: Path, kept: list[Any] | None) -> list[Any]:
    """What the run's files were when it was read, and the row of what they said."""
    stamp = _stamp(folder)
    if kept is not None and kept[0] == stamp:
        return kept
    return [stamp, _facts(folder) if stamp else {"status": "missing"}]


def _stamp(folder: Path) -> list[int]:
    """Size and time of what a row depends on; empty where there is no run."""
    try:
        files = [(folder / name).stat() for name in ("config.json", "metrics.csv")]
        folder_changed = folder.stat().st_mtime_ns
    except OSError:
        return []
    return [folder_changed, *(n for stat in files for n in (stat.st_size, stat.st_mtime_ns))]


def _facts(folder: Path) -> dict[str, Any]:
    try:
        run = Run(folder)
        metrics = run.metrics
    except UserError:
        return {"status": "damaged"}
    status = "unfinished" if run.diverged is None else "diverged"
    facts: dict[str, Any] = {"status": "finished" if run.finished else status}
    if metrics.empty:
        return facts
    last = metrics.iloc[-1]
    facts |= {"step": int(last.step), "t_mem": run.t_mem, "t_gen": run.t_gen}
    facts |= {"tau_grok": run.tau_grok}
    facts |= {side: float(last[side]) for side in ("train_accuracy", "test_accuracy")}
    return facts | {"best_test_accuracy": float(metrics.test_accuracy.max())}


def _read(folder: Path) -> dict[str, list[Any]]:
    try:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(folder: Path, rows: dict[str, list[Any]]) -> None:
    try:
        write_text(folder / _KEPT, json.dumps(rows))
    except UserError:
        return  # A folder that cannot be written keeps nothing.
