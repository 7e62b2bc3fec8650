"""Reproduce a paper: train the runs of its items, then draw and judge each item.

The paper's folder contains ``runs/``, a sweep with the runs of all items, each trained once;
``figures/``, every figure as HTML, SVG and PNG; and ``items/``, the result of each item, from which
`mechgrok.analyses.papers.page` writes the page. An item is rebuilt when its runs or its version
change. After an interruption, the next process continues.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mechgrok.analyses.drawing import write_html, write_picture
from mechgrok.analyses.drawing.browser import find_browser, one_browser
from mechgrok.analyses.papers.item import FAILED, Item, ItemResult
from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import Scale, join
from mechgrok.errors import UserError
from mechgrok.files import make_folder
from mechgrok.reports.page import untitled
from mechgrok.results.store import Key
from mechgrok.sweeps import Sweep
from mechgrok.sweeps.running import prepare_sweep
from mechgrok.workers import Failure, Workers

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Folders in the paper's folder: the sweep, and the figures.
RUNS, FIGURES = "runs", "figures"
#: Called after each item with the number done, the total, and a message.
Progress = Callable[[int, int, str], object]


def check_folder(folder: Path) -> None:
    """Check that a folder is new, empty or a paper's.

    Raises:
        UserError: it contains something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another folder with --out.")
    if folder.is_dir() and any(folder.iterdir()) and not Sweep.is_at(folder / RUNS):
        raise UserError(f"{folder} holds something other than a paper: choose another --out.")


def sweep_of(folder: Path, paper: Paper, items: Sequence[Item], scale: Scale) -> Sweep:
    """The runs of the items, in the sweep of all runs of the paper; makes the folder if needed.

    Raises:
        UserError: the folder contains something else.
    """
    make_folder(folder)
    plan = join(item.plan(scale) for item in paper.find_items())
    prepare_sweep(folder / RUNS, plan, extend=True)
    return runs_of(folder, items, scale)


def runs_of(folder: Path, items: Sequence[Item], scale: Scale) -> Sweep:
    """The runs of the items in a paper's folder."""
    return Sweep(folder / RUNS, join(item.plan(scale) for item in items).members())


def make_items(
    folder: Path,
    items: Sequence[Item],
    scale: Scale,
    *,
    fresh: bool = False,
    workers: int = 1,
    progress: Progress = lambda done, total, message: None,
) -> dict[str, ItemResult]:
    """Draw and judge the items with changed runs or version, and save their results.

    Args:
        folder: the paper's folder, with its runs.
        items: the items in order.
        scale: the scale of the runs.
        fresh: rebuild all items.
        workers: the number of processes.
        progress: called after each item.

    Returns:
        The result of each item, by name.
    """
    stale = [item for item in items if fresh or not is_fresh(folder, item, scale)]
    done = len(items) - len(stale)
    with Workers(min(workers, max(1, len(stale)))) as pool:
        for item in stale:
            pool.submit(item.name, make_item, folder, item.module, scale)
        for name, answer in pool.answers():
            done += 1
            failed = isinstance(answer, Failure)
            if failed:
                ItemResult(failed=answer.reason).save(folder, name, FAILED)
            progress(done, len(items), f"{name} {'failed' if failed else 'drawn and judged'}")
    return {item.name: ItemResult.read(folder, item.name)[1] for item in items}


def find_made(folder: Path, paper: Paper, scale: Scale) -> list[Item]:
    """The items of the paper in the folder whose results are of the current runs, in order."""
    return [item for item in paper.find_items() if is_fresh(folder, item, scale)]


def make_item(folder: Path, module: str, scale: Scale) -> None:
    """Draw and judge the item in a module, and save its result."""
    item = Item.load(module)
    key = _key(folder, item, scale)
    sweep = runs_of(folder, [item], scale)
    claims = [
        {"claim": name, **claim.judge(sweep, quick=scale.quick)}
        for name, claim in item.claims.items()
    ]
    make_folder(folder / FIGURES)
    with one_browser():
        figures = [
            _write_figure(folder / FIGURES, item.name, name, figure)
            for name, figure in item.draw(sweep).items()
        ]
    steps = sweep.table.groupby("stage", sort=False)["step"]
    counts = steps.agg(["count", "size"])
    groups = {str(stage): row.tolist() for stage, row in counts.iterrows()}
    ItemResult(claims, figures, groups).save(folder, item.name, key)


def _write_figure(folder: Path, item: str, name: str, figure: "go.Figure") -> dict[str, str]:
    """Write a figure as HTML, and as SVG and PNG if a browser is installed; see `ItemResult`."""
    packed, (title, below) = untitled(figure)
    written = {"name": name, "packed": packed, "title": title, "below": below, "files": "html"}
    write_html(figure, folder / f"{item}-{name}.html")
    try:
        for kind in ("svg", "png"):
            write_picture(figure, folder / f"{item}-{name}.{kind}")
            written["files"] += f",{kind}"
    except UserError as error:  # the page shows the interactive figure
        written["undrawn"] = str(error)
    return written


def is_fresh(folder: Path, item: Item, scale: Scale) -> bool:
    """Whether the item's result is of the current runs and this version of the code.

    False if a figure's file is missing, or if a browser can now draw a missing picture.
    """
    key, result = ItemResult.read(folder, item.name)
    if key != _key(folder, item, scale):
        return False
    files = [
        folder / FIGURES / f"{item.name}-{figure['name']}.{kind}"
        for figure in result.figures
        for kind in figure["files"].split(",")
    ]
    undrawn = any("undrawn" in figure for figure in result.figures)
    return all(file.is_file() for file in files) and not (undrawn and find_browser())


def _key(folder: Path, item: Item, scale: Scale) -> Key:
    """The key of an item: its version and the files of its existing runs."""
    names = [
        f"{member.name}/{file}"
        for member in item.plan(scale).members()
        for file in ("config.json", "metrics.csv")
    ]
    return Key.of_files(folder / RUNS, names, item.version, {"scale": repr(scale)})
