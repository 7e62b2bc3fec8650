"""Measuring a sweep, comparing its measures, and writing the page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mechgrok.analyses.precursors.comparison import Precursors, compare_measures, summarize
from mechgrok.analyses.precursors.curves import measure_sweep
from mechgrok.analyses.precursors.outcomes import find_outcomes
from mechgrok.analyses.precursors.page import write_precursors
from mechgrok.files import ensure_writable, write_text, write_whole
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import ANALYSES, find
from mechgrok.reports.report import Progress
from mechgrok.results.analysis import analyses
from mechgrok.runs import Run
from mechgrok.runs.labels import truncate
from mechgrok.sweeps import Sweep


@in_neutral_state
def precursors(
    sweep: "Sweep | str | Path",
    *,
    only: Sequence[str] | None = None,
    horizon: int | None = None,
    within: Sequence[str] | str | None = None,
    top: int = 10,
    out: str | Path | None = None,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Precursors:
    """Compare all measures of a sweep's runs as precursors of generalization, and write a page.

    Args:
        sweep: a sweep, or its folder, with runs that generalize and runs that do not.
        only: the analyses to measure; default: all. Columns of metrics.csv are always compared.
        horizon: the step within which a run generalizes or not; default: the last step of the
            shortest finished run that does not generalize.
        within: the settings whose values runs must share to be compared; default: ``plan`` if the
            sweep has several named plans, else none.
        top: the number of measures in the page's figure.
        out: the page; default: ``analysis/precursors.html`` in the sweep's folder.
        fresh: measure again instead of loading.
        workers: the number of processes; default: one per core, at most eight.
        progress: called after every measurement.

    Raises:
        UserError: the folder holds no sweep, fewer than two runs have an outcome, all have the same
            one, or there is no such analysis or setting.
    """
    sweep = sweep if isinstance(sweep, Sweep) else Sweep(sweep)
    names = [find(ANALYSES, name).name for name in (analyses() if only is None else only)]
    outcomes = find_outcomes(sweep, horizon, within)
    stem = truncate("-".join(["precursors", *(names if only else ())]))
    page = Path(out) if out else sweep.path / "analysis" / f"{stem}.html"
    ensure_writable(page)
    runs: dict[str, Run] = {name: sweep.runs[name] for name in outcomes.names}
    measured = measure_sweep(
        sweep.path / "analysis",
        runs,
        names,
        fresh=fresh,
        workers=workers or min(os.cpu_count() or 1, 8),
        progress=progress or (lambda done, total, text: None),
    )
    table, chance = compare_measures(measured, outcomes)
    result = Precursors(
        page,
        table,
        outcomes,
        chance,
        summarize(table, outcomes, chance),
        _sentences(measured.skipped, "does not apply to"),
        _sentences(measured.failed, "failed on"),
    )
    write_text(page.with_suffix(".csv"), table.to_csv(index=False, lineterminator="\n"))
    write_whole(page.with_suffix(".parquet"), lambda file: table.to_parquet(file, index=False))
    write_precursors(result, measured, top)
    return result


def _sentences(reasons: Mapping[str, Mapping[str, str]], verb: str) -> list[str]:
    """A sentence for each analysis and reason, with its runs."""
    sentences = []
    for name, by_run in reasons.items():
        for reason in dict.fromkeys(by_run.values()):
            runs = [run for run, other in by_run.items() if other == reason]
            more = f" and {len(runs) - 1} more runs" if len(runs) > 1 else ""
            sentences.append(f"{name} {verb} {runs[0]}{more}: {reason}")
    return sentences
