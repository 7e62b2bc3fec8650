"""Measuring the scalars over steps of many runs, and keeping them in the sweep's folder."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer

from mechgrok.errors import NotApplicable, UserError
from mechgrok.files import make_folder
from mechgrok.metrics import USUAL
from mechgrok.registry import ANALYSES, find
from mechgrok.reports.report import Progress
from mechgrok.results.analysis import Analysis
from mechgrok.results.store import Entries, Key, digest, load_entries, save_entries, stamp
from mechgrok.runs import Run
from mechgrok.workers import Failure, Workers

#: The source of the columns of metrics.csv.
METRICS = "metrics"
#: The file of kept curves in a sweep's ``analysis/``, which can be deleted at any time.
_STORE = "precursors.json"
#: Raise this when the content of the curves changes.
_VERSION = 1


@dataclass(frozen=True)
class Measure:
    """A scalar over steps, of one analysis or of metrics.csv.

    Attributes:
        name: ``analysis.scalar``, or ``metrics.column``.
        definition: what it is.
        uses_test_labels: whether it needs labels of the test set.
        hindsight: whether it uses later checkpoints, and so cannot be known at its step.
    """

    name: str
    definition: str
    uses_test_labels: bool = False
    hindsight: bool = False


@dataclass(frozen=True)
class Curve:
    """The finite values of a measure in one run."""

    steps: Integer[np.ndarray, " step"]
    values: Float[np.ndarray, " step"]

    def at(self, step: float) -> float:
        """The last value at or before a step; NaN without one."""
        index = np.searchsorted(self.steps, step, side="right") - 1
        return float(self.values[index]) if index >= 0 else math.nan


@dataclass
class Measured:
    """The curves of all runs.

    Attributes:
        measures: the measures by name.
        curves: the curves by measure, then by run.
        seconds: the time to measure one checkpoint, by analysis, of each run where it is known.
        skipped, failed: why an analysis has no answer, by analysis, then by run.
    """

    measures: dict[str, Measure]
    curves: dict[str, dict[str, Curve]]
    seconds: dict[str, list[float]]
    skipped: dict[str, dict[str, str]]
    failed: dict[str, dict[str, str]]


def measure_sweep(
    folder: Path,
    runs: Mapping[str, Run],
    names: Sequence[str],
    *,
    fresh: bool,
    workers: int,
    progress: Progress,
) -> Measured:
    """Measure the scalars of analyses on runs, in processes, and load those measured before.

    Args:
        folder: the folder of kept curves.
        runs: the runs by name.
        names: the analyses.
        fresh: measure again instead of loading.
        workers: the number of processes.
        progress: called after every analysis of a run.
    """
    store = folder / _STORE
    kept = load_entries(store)
    answers: dict[tuple[str, str], Any] = {(METRICS, n): _of_metrics(r) for n, r in runs.items()}
    missing = {}
    for (name, run_name), key in _keys(names, runs).items():
        entry = kept.get(f"{name} {run_name}")
        if entry and not fresh and entry[0] == key:
            answers[name, run_name] = entry[1]
        else:
            missing[name, run_name] = key
    total = len(missing)
    with Workers(min(workers, total)) as pool:
        for name, run_name in missing:
            pool.submit((name, run_name), _measure, name, runs[run_name].path, fresh)
        for done, ((name, run_name), answer) in enumerate(pool.answers(), 1):
            answers[name, run_name] = answer
            status = "failed on" if isinstance(answer, Failure) else "measured on"
            progress(done, total, f"{name} {status} {run_name}")
            if not isinstance(answer, Failure):
                _remember(kept, f"{name} {run_name}", missing[name, run_name], answer)
    if missing:
        with suppress(UserError):  # The folder cannot be written.
            make_folder(folder)
            save_entries(store, kept)
    return _sort_answers(answers)


def _remember(kept: Entries, name: str, key: Key, answer: dict[str, Any]) -> None:
    """Keep an answer, with the earlier cost if this time it was loaded from disk."""
    if answer.get("seconds") is None and name in kept:
        answer["seconds"] = kept[name][1].get("seconds")
    kept[name] = key, answer


def _keys(names: Sequence[str], runs: Mapping[str, Run]) -> dict[tuple[str, str], Key]:
    """The key of each analysis's curves of each run: the run's state and the analysis's source."""
    of_runs = {run_name: Key.of_run(run, _VERSION, {}) for run_name, run in runs.items()}
    return {
        (name, run_name): key.model_copy(update={"options": {"source": source}})
        for name, source in ((name, _source(name)) for name in names)
        for run_name, key in of_runs.items()
    }


def _source(name: str) -> str:
    """A digest of the stamps of an analysis's files, which are not imported."""
    spec = find_spec(find(ANALYSES, name).module)
    file = Path(spec.origin) if spec and spec.origin else Path()
    files = sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]
    return digest(repr([stamp(source) for source in files]).encode())


def _measure(name: str, path: Path, fresh: bool) -> dict[str, Any]:
    """In a worker: the curves of one run, or why the analysis does not apply, as JSON values."""
    run, analysis = Run(path), Analysis.load(name)
    if reason := analysis.applies(run):
        return {"skipped": reason}
    file, began = analysis.cache_path(run), time.perf_counter()
    before = stamp(file)
    try:
        answer = analysis(run, fresh=fresh)
    except NotApplicable as error:
        return {"skipped": str(error)}
    elapsed = time.perf_counter() - began
    was_loaded = before is not None and stamp(file) == before
    measures = {}
    for scalar_name, scalar in analysis.scalars.items():
        if scalar_name in USUAL:  # in metrics.csv
            continue
        with suppress(KeyError):  # This network has no such part.
            values = scalar.of(answer)
            measures[scalar_name] = {
                "definition": scalar.definition(answer),
                "uses_test_labels": scalar_name in analysis.uses_test_labels,
                "hindsight": scalar_name in analysis.uses_later_steps,
                "steps": values.step.to_numpy().tolist(),
                "values": values.to_numpy().astype(float).tolist(),
            }
    n = answer.sizes.get("step", 1)
    return {"seconds": None if was_loaded else elapsed / max(n, 1), "measures": measures}


def _of_metrics(run: Run) -> dict[str, Any]:
    """The columns of metrics.csv at the steps of the checkpoints, and the slope of L2."""
    table = run.metrics.drop_duplicates("step", keep="last").set_index("step")
    steps = [step for step in run.steps if len(table) and step >= table.index[0]]
    table = table.reindex(steps, method="ffill")
    definitions = {name: f"{name} of metrics.csv" for name in table}
    table["l2_slope"] = table.l2.diff() / pd.Series(table.index, table.index).diff()
    definitions["l2_slope"] = "change of l2 per step since the previous checkpoint"
    return {
        "seconds": 0.0,
        "measures": {
            str(name): {
                "definition": definitions[name],
                "uses_test_labels": str(name).startswith("test_"),
                "hindsight": False,
                "steps": steps,
                "values": column.astype(float).tolist(),
            }
            for name, column in table.items()
        },
    }


def _sort_answers(answers: Mapping[tuple[str, str], Any]) -> Measured:
    """Sort the answers by measure, skipped and failed."""
    sorted_ = Measured({}, {}, {}, {}, {})
    for (analysis, run), answer in answers.items():
        if isinstance(answer, Failure):
            sorted_.failed.setdefault(analysis, {})[run] = answer.reason
            continue
        if "skipped" in answer:
            sorted_.skipped.setdefault(analysis, {})[run] = answer["skipped"]
            continue
        if answer["seconds"] is not None:
            sorted_.seconds.setdefault(analysis, []).append(answer["seconds"])
        for measure, curve in _measures_of(analysis, answer):
            sorted_.measures[measure.name] = measure
            sorted_.curves.setdefault(measure.name, {})[run] = curve
    return sorted_


def _measures_of(analysis: str, answer: Mapping[str, Any]) -> Iterator[tuple[Measure, Curve]]:
    for name, saved in answer["measures"].items():
        steps, values = np.array(saved["steps"], int), np.array(saved["values"], float)
        known = np.isfinite(values)
        about = (saved[key] for key in ("definition", "uses_test_labels", "hindsight"))
        yield Measure(f"{analysis}.{name}", *about), Curve(steps[known], values[known])
