"""One page with the answers to all questions about one or several runs.

What is asked is independent of what fails: an analysis that cannot be imported, or that raises,
says so in its section, and the page comes out.
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
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.groups import RunGroups

#: Called after every piece of work with how much is done, how much there is, and what was done.
Progress = Callable[[int, int, str], object]

#: More processes than this take more memory than they save time.
_MOST_WORKERS = 8


@dataclass(frozen=True)
class Skipped:
    """Why an analysis does not apply to a run, in a sentence."""

    reason: str


@dataclass(frozen=True)
class Report:
    """A report that was made.

    Attributes:
        path: the page.
        sections: one per analysis, in the page's order.
    """

    path: Path
    sections: "Sequence[Section]"

    @property
    def shown(self) -> list[str]:
        """The analyses that came out with a figure."""
        return [section.name for section in self.sections if section.figure is not None]

    @property
    def failures(self) -> list[str]:
        """What failed, a sentence each."""
        return [
            f"{section.name} failed on {label}: {reason}"
            for section in self.sections
            for label, reason in section.failed.items()
        ]


@dataclass(frozen=True)
class _Drawn:
    """The figure of one analysis, packed for the page, its titles, and what was found."""

    figure: str | None
    title: tuple[str, str]
    findings: dict[str, str]
    failed: dict[str, str]


@in_neutral_state
def report(
    runs: "Run | Sweep | str | Path | Iterable[Run | Sweep | str | Path]",
    out: str | Path | None = None,
    *,
    only: Sequence[str] | None = None,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Ask runs every question that applies, and write one page that opens without a network.

    Args:
        runs: one or several runs or sweeps, or their folders; measured each and laid over one
            another, those of a sweep in groups that are the same but for their seeds.
        out: the page; ``analysis/report.html`` of the first run, or of the sweep, unless given.
        only: the analyses to ask; all unless given.
        fresh: measure anew, whatever is kept.
        workers: processes; as many as there are cores, eight at most, unless given.
        progress: called after every piece of work.

    Raises:
        UserError: a run or an analysis is not there, a run has no checkpoint, or the page cannot be
            written. What an analysis raises is told in its section instead.
    """
    from mechgrok.reports.page import write_report
    from mechgrok.runs import Run
    from mechgrok.runs.facts import facts
    from mechgrok.sweeps import Sweep

    given = [runs] if isinstance(runs, Run | Sweep | str | Path) else list(runs)
    if not given:
        raise UserError("There is nothing to report on: name at least one run.")
    family = _family(given)
    opened = family.runs
    if empty := [run for run in opened.values() if not run.steps]:
        raise UserError(f"{empty[0].path} has no checkpoint yet: train it first.")
    page = Path(out) if out else family.path / "report.html"
    names = _chosen(only)
    alone = family.by is None
    about = {label: facts(run) for label, run in opened.items()} if alone else family.about()
    ensure_writable(page)
    n = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
    sections = _ask_all(names, family, fresh, n, progress or (lambda done, total, words: None))
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    write_report(
        page,
        f"Report on {', '.join(opened if alone else dict.fromkeys(map(_name, given)))}",
        about,
        _summary(sections, family, alone),
        sections,
        f"Made by mechgrok report on {made}.",
    )
    return Report(page, sections)


def _family(given: "Sequence[Run | Sweep | str | Path]") -> "RunGroups":
    from mechgrok.runs import Run
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.groups import RunGroups

    if len(given) == 1 and isinstance(given[0], Sweep):
        return RunGroups.of_sweep(given[0])  # perhaps some of its runs only
    return RunGroups.open([each.path if isinstance(each, Run | Sweep) else each for each in given])


def _name(each: "Run | Sweep | str | Path") -> str:
    return Path(each).resolve().name if isinstance(each, str | Path) else each.name


def _chosen(only: Sequence[str] | None) -> list[str]:
    """The analyses to ask, in the order of the story that their packages tell.

    Raises:
        UserError: one is unknown.
    """
    from mechgrok.registry import ANALYSES, find
    from mechgrok.results.analysis import analyses

    if only is not None:
        return [find(ANALYSES, name).name for name in only]
    story = [name for name in _told("STORY") if name in analyses()]
    return [*story, *(name for name in analyses() if name not in story)]


def _told(what: str) -> list[str]:
    """The names in a constant of every package that brings analyses."""
    from mechgrok.results.analysis import analyses

    packages = dict.fromkeys(entry.module.rpartition(".")[0] for entry in analyses().values())
    names: dict[str, None] = {}
    for package in filter(None, packages):
        with suppress(ImportError):
            names |= dict.fromkeys(getattr(import_module(package), what, ()))
    return list(names)


def _summary(
    sections: "Sequence[Section]", family: "RunGroups", alone: bool
) -> dict[str, list[str]]:
    """The report in a few lines for each run: when it learned, how, and what it computes.

    Of runs that are compared, those after the first say what they are ahead of it by.
    """
    chosen = [section for name in _told("SUMMARY") for section in sections if section.name == name]
    lines = {
        label: [section.findings[label] for section in chosen if label in section.findings]
        for label in family.runs
    }
    if alone:
        base, *others = family.runs
        for label in others:
            lines[label] += _against(family.runs[base], family.runs[label])
    return {label: found for label, found in lines.items() if found}


def _against(base: "Run", other: "Run") -> list[str]:
    """What another run has changed, in a line, where both have generalized or one has not."""
    words = [] if other.density is None else [f"keeps {other.density:.0%} of its masked weights"]
    before, after = base.t_gen, other.t_gen
    if before and after:
        ratio = before / after
        times = f"{ratio:,.1f} times earlier" if ratio >= 1 else f"{1 / ratio:,.1f} times later"
        words.append(f"generalizes {times} than {base.name}")
    elif before and not base.caveat and not other.caveat and other.steps:
        words.append(f"has not generalized within {other.steps[-1]:,} steps; {base.name} has")
    return [", ".join(words)] if words else []


def _ask_all(
    names: Sequence[str], family: "RunGroups", fresh: bool, n: int, progress: Progress
) -> "list[Section]":
    """Ask every run every question, side by side in ``n`` processes, then draw each figure."""
    paths = {label: run.path for label, run in family.runs.items()}
    answers: dict[str, dict[str, Any]] = {name: {} for name in names}
    drawn: dict[str, _Drawn | Failure] = {}
    total, done = len(names) * (len(paths) + 1), 0
    with Workers(min(n, len(names) * len(paths))) as workers:
        for name in names:
            for label, path in paths.items():
                workers.submit((name, label), _measure, name, path, fresh)
        for (name, label), answer in workers.answers():
            done += 1
            what = "failed on" if isinstance(answer, Failure) else "measured on"
            if label is None:
                drawn[name] = answer
                progress(done, total, f"{name} drawn")
                continue
            answers[name][label] = answer
            progress(done, total, f"{name} {what} {label}")
            if len(answers[name]) < len(paths):
                continue
            if measured := _datasets(answers[name], paths):
                workers.submit((name, None), _draw, name, measured, family.grouped(measured))
            else:
                done += 1
    return [_section(name, answers[name], drawn.get(name), list(paths)) for name in names]


def _section(
    name: str, answers: dict[str, Any], drawn: _Drawn | Failure | None, labels: list[str]
) -> "Section":
    from mechgrok.reports.page import Section
    from mechgrok.results.analysis import analyses

    told = {label: answers[label] for label in labels}
    skipped = {label: a.reason for label, a in told.items() if isinstance(a, Skipped)}
    failed = {label: a.reason for label, a in told.items() if isinstance(a, Failure)}
    question = analyses()[name].description
    if isinstance(drawn, _Drawn):
        failed |= drawn.failed
        return Section(name, question, drawn.findings, skipped, drawn.figure, drawn.title, failed)
    if isinstance(drawn, Failure):
        failed["all runs"] = drawn.reason
    return Section(name, question, {}, skipped, failed=failed)


def _datasets(answers: dict[str, Any], order: Iterable[str]) -> "dict[str, xr.Dataset]":
    """The answers that are measurements, in the order of the runs."""
    return {
        label: answers[label]
        for label in order
        if not isinstance(answers[label], Skipped | Failure)
    }


def _measure(name: str, path: Path, fresh: bool) -> "xr.Dataset | Skipped":
    """In a worker: the answer of one run, or why the analysis does not apply to it."""
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
    """In a worker: the figure of runs, in groups or not, and findings, as far as they come out."""
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
