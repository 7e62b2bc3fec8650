"""All analyses that apply to one or several runs on one page that opens without a network"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechgrok.errors import UserError

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.results.page import Section


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, measured each and overlaid.")],
    out: Annotated[
        Path | None, typer.Option(help="The page; analysis/report.html in the first run.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Analyses to ask, with commas: accuracy,fourier.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure anew, whatever is kept.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; as many as there are cores.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> None:
    """One page with every analysis that applies: facts, findings and figures, self-contained."""
    from cli.analyze import labelled, make_folder
    from cli.info import facts
    from mechgrok.results.page import write_page
    from mechgrok.runs import Run

    began = time.monotonic()
    opened = labelled([Run(path) for path in runs])
    if empty := [run for run in opened.values() if not run.steps]:
        raise UserError(f"{empty[0].path} has no checkpoint yet: train it first.")
    page = out or next(iter(opened.values())).path / "analysis" / "report.html"
    if page.is_dir():
        raise UserError(f"{page} is a folder: name a file with --out, such as {page}/report.html.")
    make_folder(page.parent)
    names = _chosen(only)
    paths = {label: run.path for label, run in opened.items()}
    sections = ask_all(names, paths, fresh=fresh, workers=workers or os.cpu_count() or 1)
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    write_page(
        page,
        f"Report on {', '.join(opened)}",
        {label: facts(run) for label, run in opened.items()},
        sections,
        f"Made by mechgrok report on {made}.",
    )
    shown = sum(section.figure is not None for section in sections)
    size = page.stat().st_size / 1e6
    print(
        f"{page}: {shown} of {len(sections)} analyses, {size:.1f} MB, in "
        f"{time.monotonic() - began:.0f} s"
    )
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


def _chosen(only: str | None) -> list[str]:
    """The analyses to ask, accuracy first.

    Raises:
        UserError: one is unknown.
    """
    from mechgrok.registry import find
    from mechgrok.results.analysis import GROUP, analyses

    if only is not None:
        return [find(GROUP, name).name for name in only.replace(" ", "").split(",")]
    return sorted(analyses(), key=lambda name: (name != "accuracy", name))


def ask_all(
    names: list[str], paths: dict[str, Path], *, fresh: bool, workers: int
) -> "list[Section]":
    """Ask every run every question, side by side in ``workers`` processes, then draw each figure.

    Args:
        names: the analyses.
        paths: the runs' folders by label.
        fresh: measure anew, whatever is kept.
        workers: processes.
    """
    from mechgrok.results.analysis import analyses
    from mechgrok.results.page import Section

    known = analyses()
    # A fork server imports torch and the analyses once, for all workers.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, *(known[name].module for name in names)])
    answers: dict[str, dict[str, xr.Dataset | str]] = {name: {} for name in names}
    drawn: dict[str, tuple[str, tuple[str, str], dict[str, str]]] = {}
    with (
        _pool(workers, context) as pool,
        _progress(len(names) * (len(paths) + 1)) as advance,
    ):
        pending: dict[Future, tuple[str, str | None]] = {
            pool.submit(_measure, name, path, fresh): (name, label)
            for name in names
            for label, path in paths.items()
        }
        while pending:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                name, label = pending.pop(future)
                if label is None:
                    drawn[name] = future.result()
                    advance(f"drew {name}")
                    continue
                answers[name][label] = future.result()
                advance(f"measured {name} on {label}")
                if len(answers[name]) < len(paths):
                    continue
                if measured := _datasets(answers[name], paths):
                    pending[pool.submit(_draw, name, measured)] = (name, None)
                else:
                    advance(f"passed over {name}")
    sections = []
    for name in names:
        passed_over = {
            label: answer for label in paths if isinstance(answer := answers[name][label], str)
        }
        figure, title, findings = drawn.get(name, (None, ("", ""), {}))
        sections.append(
            Section(name, known[name].description, findings, passed_over, figure, title)
        )
    return sections


def _datasets(
    answers: "dict[str, xr.Dataset | str]", order: Iterable[str]
) -> "dict[str, xr.Dataset]":
    """The answers that are measurements, in the order of the runs."""
    return {
        label: answer
        for label in order
        if (answer := answers.get(label)) is not None and not isinstance(answer, str)
    }


@contextmanager
def _pool(workers: int, context: Any) -> Iterator[ProcessPoolExecutor]:
    """Worker processes; what has not begun is dropped when something goes wrong."""
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    """In a worker: leave the other cores to the other workers."""
    import torch

    torch.set_num_threads(1)


def _measure(name: str, path: Path, fresh: bool) -> "xr.Dataset | str":
    """In a worker: the answer of one run, or why the question makes no sense for it."""
    from mechgrok.results.analysis import Analysis
    from mechgrok.runs import Run

    analysis, run = Analysis.load(name), Run(path)
    try:
        return analysis.applies(run) or analysis(run, fresh=fresh)
    except UserError as error:
        return str(error)


def _draw(
    name: str, measured: "dict[str, xr.Dataset]"
) -> tuple[str, tuple[str, str], dict[str, str]]:
    """In a worker: the packed figure of one analysis, its titles, and what was found."""
    from mechgrok.results.analysis import Analysis
    from mechgrok.results.page import pack

    analysis = Analysis.load(name)
    figure, title = pack(analysis.draw(measured))
    return figure, title, {label: analysis.finding(dataset) for label, dataset in measured.items()}


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Called with what has been done: a bar on a terminal, a line each where there is none."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        done = 0

        def line(words: str) -> None:
            nonlocal done
            done += 1
            print(f"{done}/{total} {words}", file=sys.stderr, flush=True)

        yield line
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console) as bar:
        task = bar.add_task("measuring", total=total)
        yield lambda words: bar.update(task, advance=1, description=words)
