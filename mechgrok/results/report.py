"""One page with the answers to all questions about one or several runs.

What is asked is independent of what fails: an analysis that cannot be imported, or that raises,
says so in its section, and the page comes out.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError, in_a_sentence
from mechgrok.files import make_room
from mechgrok.results.workers import Failure, Workers

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.results.page import Section
    from mechgrok.runs import Run

#: Called after every piece of work with how much is done, how much there is, and what was done.
Progress = Callable[[int, int, str], object]

#: More processes than this take more memory than they save time.
_MOST_WORKERS = 8


@dataclass(frozen=True)
class PassedOver:
    """Why a question was not asked of a run, in a sentence."""

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


def report(
    runs: "Run | str | Path | Iterable[Run | str | Path]",
    out: str | Path | None = None,
    *,
    only: Sequence[str] | None = None,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Ask runs every question that applies, and write one page that opens without a network.

    Args:
        runs: one or several, or their folders; measured each and laid over one another.
        out: the page; ``analysis/report.html`` of the first run unless given.
        only: the analyses to ask; all unless given.
        fresh: measure anew, whatever is kept.
        workers: processes; as many as there are cores, eight at most, unless given.
        progress: called after every piece of work.

    Raises:
        UserError: a run or an analysis is not there, a run has no checkpoint, or the page cannot be
            written. What an analysis raises is told in its section instead.
    """
    from mechgrok.results.page import write_page
    from mechgrok.runs import Run
    from mechgrok.runs.facts import facts
    from mechgrok.runs.labels import labelled

    given = [runs] if isinstance(runs, Run | str | Path) else runs
    opened = labelled(run if isinstance(run, Run) else Run(run) for run in given)
    if not opened:
        raise UserError("There is nothing to report on: name at least one run.")
    if empty := [run for run in opened.values() if not run.steps]:
        raise UserError(f"{empty[0].path} has no checkpoint yet: train it first.")
    page = Path(out) if out else next(iter(opened.values())).path / "analysis" / "report.html"
    names = _chosen(only)
    about = {label: facts(run) for label, run in opened.items()}
    make_room(page)
    paths = {label: run.path for label, run in opened.items()}
    n = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
    sections = _ask_all(names, paths, fresh, n, progress or (lambda done, total, words: None))
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    write_page(
        page,
        f"Report on {', '.join(opened)}",
        about,
        sections,
        f"Made by mechgrok report on {made}.",
    )
    return Report(page, sections)


def _chosen(only: Sequence[str] | None) -> list[str]:
    """The analyses to ask, accuracy first.

    Raises:
        UserError: one is unknown.
    """
    from mechgrok.registry import find
    from mechgrok.results.analysis import GROUP, analyses

    if only is not None:
        return [find(GROUP, name).name for name in only]
    return sorted(analyses(), key=lambda name: (name != "accuracy", name))


def _ask_all(
    names: Sequence[str], paths: dict[str, Path], fresh: bool, n: int, progress: Progress
) -> "list[Section]":
    """Ask every run every question, side by side in ``n`` processes, then draw each figure."""
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
                workers.submit((name, None), _draw, name, measured)
            else:
                done += 1
    return [_section(name, answers[name], drawn.get(name), list(paths)) for name in names]


def _section(
    name: str, answers: dict[str, Any], drawn: _Drawn | Failure | None, labels: list[str]
) -> "Section":
    from mechgrok.results.analysis import analyses
    from mechgrok.results.page import Section

    told = {label: answers[label] for label in labels}
    passed_over = {label: a.reason for label, a in told.items() if isinstance(a, PassedOver)}
    failed = {label: a.reason for label, a in told.items() if isinstance(a, Failure)}
    question = analyses()[name].description
    if isinstance(drawn, _Drawn):
        failed |= drawn.failed
        return Section(
            name, question, drawn.findings, passed_over, drawn.figure, drawn.title, failed
        )
    if isinstance(drawn, Failure):
        failed["all runs"] = drawn.reason
    return Section(name, question, {}, passed_over, failed=failed)


def _datasets(answers: dict[str, Any], order: Iterable[str]) -> "dict[str, xr.Dataset]":
    """The answers that are measurements, in the order of the runs."""
    return {
        label: answers[label]
        for label in order
        if not isinstance(answers[label], PassedOver | Failure)
    }


def _measure(name: str, path: Path, fresh: bool) -> "xr.Dataset | PassedOver":
    """In a worker: the answer of one run, or why the question makes no sense for it."""
    from mechgrok.results.analysis import Analysis
    from mechgrok.runs import Run

    try:
        analysis, run = Analysis.load(name), Run(path)
        if reason := analysis.applies(run):
            return PassedOver(reason)
        return analysis(run, fresh=fresh)
    except UserError as error:
        return PassedOver(str(error))


def _draw(name: str, measured: "dict[str, xr.Dataset]") -> _Drawn:
    """In a worker: the figure and the findings, as far as they come out."""
    from mechgrok.results.analysis import Analysis
    from mechgrok.results.page import untitled

    analysis = Analysis.load(name)
    findings: dict[str, str] = {}
    failed: dict[str, str] = {}
    for label, dataset in measured.items():
        try:
            findings[label] = analysis.finding(dataset)
        except Exception as error:
            failed[label] = f"no finding: {in_a_sentence(error)}"
    try:
        figure, title = untitled(analysis.draw(measured))
    except Exception as error:
        failed["all runs"] = f"no figure: {in_a_sentence(error)}"
        return _Drawn(None, ("", ""), findings, failed)
    return _Drawn(figure, title, findings, failed)
