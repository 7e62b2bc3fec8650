"""A page with all analyses of one or several runs.

An analysis that cannot be imported or raises an error has the error in its section; the others are
not affected.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import NotApplicable, UserError, in_a_sentence
from mechgrok.files import ensure_writable
from mechgrok.global_state import in_neutral_state
from mechgrok.workers import Failure, Workers

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.reports.page import Section
    from mechgrok.runs import Run
    from mechgrok.sweeps.groups import RunGroups, RunsLike

#: Called after every unit of work with the units done, their total, and a description.
Progress = Callable[[int, int, str], object]

#: More processes cost more memory than they save time.
_MOST_WORKERS = 8


@dataclass(frozen=True)
class Skipped:
    """Why an analysis does not apply to a run, in a sentence."""

    reason: str


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        path: the page.
        sections: one section per analysis, in the page's order.
    """

    path: Path
    sections: "Sequence[Section]"

    @property
    def shown(self) -> list[str]:
        """The analyses with a figure."""
        return [section.name for section in self.sections if section.figure is not None]

    @property
    def failures(self) -> list[str]:
        """A sentence per failure."""
        return [
            f"{section.name} failed on {label}: {reason}"
            for section in self.sections
            for label, reason in section.failed.items()
        ]


@dataclass(frozen=True)
class _Drawn:
    """The packed figure of one analysis, its titles, and the findings."""

    figure: str | None
    title: tuple[str, str]
    findings: dict[str, str]
    failed: dict[str, str]


@in_neutral_state
def report(
    runs: "RunsLike | Iterable[RunsLike]",
    out: str | Path | None = None,
    *,
    only: Sequence[str] | None = None,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure all applicable analyses of runs, and write one page that opens offline.

    Args:
        runs: one or several runs or sweeps, or their folders; figures overlay them, and group the
            runs of a sweep by all settings but the seeds.
        out: the page; default: ``analysis/report.html`` of the first run, or of the sweep, and with
            ``only`` a page with the names of the analyses, ``report-accuracy-norms.html``.
        only: the analyses to measure; default: all.
        fresh: measure again instead of loading answers.
        workers: the number of processes; default: one per core, at most eight.
        progress: called after every unit of work.

    Raises:
        UserError: a run or an analysis does not exist, a run has no checkpoint, or the page cannot
            be written. Errors of an analysis appear in its section instead.
    """
    from mechgrok.reports.page import write_report
    from mechgrok.runs import Run
    from mechgrok.runs.facts import facts
    from mechgrok.runs.labels import truncate
    from mechgrok.sweeps import Sweep

    sources = [runs] if isinstance(runs, Run | Sweep | str | Path) else list(runs)
    if not sources:
        raise UserError("There is nothing to report on: name at least one run.")
    groups = _groups(sources)
    opened = groups.runs
    if empty := [run for run in opened.values() if not run.steps]:
        raise UserError(f"{empty[0].path} has no checkpoint yet: train it first.")
    names = _analysis_names(only)
    stem = truncate("-".join(["report", *(names if only else ())]))
    page = Path(out) if out else groups.path / f"{stem}.html"
    ungrouped = groups.by is None
    about = {label: facts(run) for label, run in opened.items()} if ungrouped else groups.about()
    ensure_writable(page)
    n = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
    sections = _measure_all(names, groups, fresh, n, progress or (lambda done, total, text: None))
    date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    write_report(
        page,
        f"Report on {', '.join(opened if ungrouped else dict.fromkeys(map(_name, sources)))}",
        about,
        _summary(sections, groups),
        sections,
        f"Made by mechgrok report on {date}.",
    )
    return Report(page, sections)


def _groups(sources: "Sequence[RunsLike]") -> "RunGroups":
    from mechgrok.runs import Run
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.groups import RunGroups

    if len(sources) == 1 and isinstance(sources[0], Sweep):
        return RunGroups.of_sweep(sources[0])  # perhaps a selection of its runs
    return RunGroups.open([s.path if isinstance(s, Run | Sweep) else s for s in sources])


def _name(source: "RunsLike") -> str:
    return Path(source).resolve().name if isinstance(source, str | Path) else source.name


def _analysis_names(only: Sequence[str] | None) -> list[str]:
    """The analyses to measure, in the order of their packages' ``STORY``.

    Raises:
        UserError: one is unknown.
    """
    from mechgrok.registry import ANALYSES, find
    from mechgrok.results.analysis import analyses

    if only is not None:
        return [find(ANALYSES, name).name for name in only]
    story = [name for name in _constant("STORY") if name in analyses()]
    return [*story, *(name for name in analyses() if name not in story)]


def _constant(constant: str) -> list[str]:
    """The names in a constant of all packages with analyses."""
    from mechgrok.results.analysis import analyses

    packages = dict.fromkeys(entry.module.rpartition(".")[0] for entry in analyses().values())
    names: dict[str, None] = {}
    for package in filter(None, packages):
        with suppress(ImportError):
            names |= dict.fromkeys(getattr(import_module(package), constant, ()))
    return list(names)


def _summary(sections: "Sequence[Section]", groups: "RunGroups") -> dict[str, list[str]]:
    """The findings of the ``SUMMARY`` analyses for each run.

    Without groups, a line compares each further run with the first.
    """
    names = _constant("SUMMARY")
    chosen = [section for name in names for section in sections if section.name == name]
    lines = {
        label: [section.findings[label] for section in chosen if label in section.findings]
        for label in groups.runs
    }
    if groups.by is None:
        base, *others = groups.runs
        for label in others:
            lines[label] += _compare(groups.runs[base], groups.runs[label])
    return {label: findings for label, findings in lines.items() if findings}


def _compare(base: "Run", other: "Run") -> list[str]:
    """A line that compares another run's density and t_gen with the base run's, if known."""
    parts = [] if other.density is None else [f"keeps {other.density:.0%} of its masked weights"]
    before, after = base.t_gen, other.t_gen
    if before and after:
        ratio = before / after
        times = f"{ratio:,.1f} times earlier" if ratio >= 1 else f"{1 / ratio:,.1f} times later"
        parts.append(f"generalizes {times} than {base.name}")
    elif before and not base.caveat and not other.caveat and other.steps:
        parts.append(f"has not generalized within {other.steps[-1]:,} steps; {base.name} has")
    return [", ".join(parts)] if parts else []


def _measure_all(
    names: Sequence[str], groups: "RunGroups", fresh: bool, n: int, progress: Progress
) -> "list[Section]":
    """Measure every analysis on every run in ``n`` processes, then draw each figure."""
    paths = {label: run.path for label, run in groups.runs.items()}
    answers: dict[str, dict[str, Any]] = {name: {} for name in names}
    drawn: dict[str, _Drawn | Failure] = {}
    total, done = len(names) * (len(paths) + 1), 0
    with Workers(min(n, len(names) * len(paths))) as workers:
        for name in names:
            for label, path in paths.items():
                workers.submit((name, label), _measure, name, path, fresh)
        for (name, label), answer in workers.answers():
            done += 1
            status = "failed on" if isinstance(answer, Failure) else "measured on"
            if label is None:
                drawn[name] = answer
                progress(done, total, f"{name} drawn")
                continue
            answers[name][label] = answer
            progress(done, total, f"{name} {status} {label}")
            if len(answers[name]) < len(paths):
                continue
            if measured := _datasets(answers[name], paths):
                workers.submit((name, None), _draw, name, measured, groups.grouped(measured))
            else:
                done += 1
    return [_section(name, answers[name], drawn.get(name), list(paths)) for name in names]


def _section(
    name: str, answers: dict[str, Any], drawn: _Drawn | Failure | None, labels: list[str]
) -> "Section":
    from mechgrok.reports.page import Section
    from mechgrok.results.analysis import analyses

    ordered = {label: answers[label] for label in labels}
    skipped = {label: a.reason for label, a in ordered.items() if isinstance(a, Skipped)}
    failed = {label: a.reason for label, a in ordered.items() if isinstance(a, Failure)}
    question = analyses()[name].description
    if isinstance(drawn, _Drawn):
        failed |= drawn.failed
        return Section(name, question, drawn.findings, skipped, drawn.figure, drawn.title, failed)
    if isinstance(drawn, Failure):
        failed["all runs"] = drawn.reason
    return Section(name, question, {}, skipped, failed=failed)


def _datasets(answers: dict[str, Any], order: Iterable[str]) -> "dict[str, xr.Dataset]":
    """The answers that are datasets, in the order of the runs."""
    return {
        label: answers[label]
        for label in order
        if not isinstance(answers[label], Skipped | Failure)
    }


def _measure(name: str, path: Path, fresh: bool) -> "xr.Dataset | Skipped":
    """In a worker: measure one run, unless the analysis does not apply to it."""
    from mechgrok.results.analysis import Analysis
    from mechgrok.runs import Run

    try:
        analysis, run = Analysis.load(name), Run(path)
        if reason := analysis.applies(run):
            return Skipped(reason)
        return analysis(run, fresh=fresh)
    except NotApplicable as error:
        return Skipped(str(error))


def _draw(name: str, measured: "dict[str, xr.Dataset]", grouped: "dict[str, xr.Dataset]") -> _Drawn:
    """In a worker: make the figure and the findings; errors are recorded by run."""
    from mechgrok.reports.page import untitled
    from mechgrok.results.analysis import Analysis

    analysis = Analysis.load(name)
    findings: dict[str, str] = {}
    failed: dict[str, str] = {}
    for label, dataset in measured.items():
        try:
            findings[label] = analysis.finding(dataset)
        except Exception as error:
            failed[label] = f"no finding: {in_a_sentence(error)}"
    try:
        figure, title = untitled(analysis.draw(grouped))
    except Exception as error:
        failed["all runs"] = f"no figure: {in_a_sentence(error)}"
        return _Drawn(None, ("", ""), findings, failed)
    return _Drawn(figure, title, findings, failed)
