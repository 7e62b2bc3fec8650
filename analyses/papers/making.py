"""Making the paper: train what its items need, draw and judge each, and write one page of all.

Everything lies in one folder: ``runs/`` is a sweep with the runs of all items, each trained once;
``figures/`` holds every figure as HTML, SVG and PNG; ``items/`` what is known of each item, from
which ``index.html``, ``claims.json`` and ``claims.parquet`` are put together. An item is drawn anew
where its runs or its code have changed. Whatever ends the process, the next one goes on from there.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.analyses.drawing.browser import find_browser
from mechgrok.analyses.papers.item import Item
from mechgrok.analyses.papers.scale import Scale
from mechgrok.errors import UserError
from mechgrok.files import make_folder, read_text, write_text, write_whole
from mechgrok.results.provenance import source_digest
from mechgrok.sweeps import Plan, Sweep
from mechgrok.sweeps.executor import Display, Executor, Outcome
from mechgrok.sweeps.running import complete, settle
from mechgrok.workers import Failure, Workers

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

#: Of the folder: the sweep, the figures, what is known of the items.
RUNS, FIGURES, ITEMS = "runs", "figures", "items"
#: Called after each item with how many are done, how many there are, and what was done.
Progress = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Made:
    """An item that was made.

    Attributes:
        item: which.
        claims: a row for each of its claims, as ``claims.json`` has them.
        figures: name, packed figure, title and subtitle of each, the endings of its files, and
            why there is no picture of it where there is none (``undrawn``).
        groups: how many runs of each stage there are, of how many.
        failed: what went wrong, in a sentence; empty where nothing did.
    """

    item: Item
    claims: Sequence[dict[str, Any]]
    figures: Sequence[dict[str, str]]
    groups: dict[str, list[int]]
    failed: str = ""


def plan_of(items: Sequence[Item], scale: Scale) -> Plan:
    """The plan of all items' runs, in which plans of one name are one."""
    plans: dict[str, Plan] = {}
    for item in items:
        whole = item.plan(scale)
        for plan in (whole, *whole.also):
            before = plans.get(plan.name)
            stages = [] if before is None else list(before.stages)
            stages += [stage for stage in plan.stages if stage not in stages]
            fields = plan.fields() | {"stage": [stage.as_toml() for stage in stages], "also": []}
            plans[plan.name] = Plan.read(fields)
    first, *rest = plans.values()
    return Plan.read(first.fields() | {"also": [each.fields() for each in rest]})


def sweep_of(out: Path, items: Sequence[Item], scale: Scale) -> Sweep:
    """The runs of the items in the folder's sweep, which is made where it is new.

    Raises:
        UserError: the folder holds something else.
    """
    from mechgrok.analyses.papers.item import find_items

    make_folder(out)
    settle(out / RUNS, plan_of(find_items(), scale), extend=True)
    return Sweep(out / RUNS, plan_of(items, scale).members())


def train(found: Sweep, executor: Executor, display: Display | None = None) -> list[Outcome]:
    """Train what is missing of the runs."""
    return complete(found, executor, display=display)


def make_items(
    out: Path,
    items: Sequence[Item],
    scale: Scale,
    *,
    fresh: bool = False,
    workers: int = 1,
    progress: Progress = lambda done, total, words: None,
) -> list[Made]:
    """Draw and judge each item whose runs or code have changed, and write what is known of it.

    Args:
        out: the paper's folder, whose runs are there.
        items: which.
        scale: at what size.
        fresh: do it again, whatever is kept.
        workers: processes.
        progress: called after each item.
    """
    stale = [item for item in items if fresh or _kept(out, item, scale) is None]
    done = len(items) - len(stale)
    with Workers(min(workers, max(1, len(stale)))) as pool:
        for item in stale:
            pool.submit(item.name, _make, str(out), item.name, scale)
        for name, answer in pool.answers():
            done += 1
            failed = isinstance(answer, Failure)
            if failed:
                _write(out, name, {"made_from": "", "failed": answer.reason})
            progress(done, len(items), f"{name} {'failed' if failed else 'drawn and judged'}")
    return [_read(out, item) for item in items]


def _make(folder: str, name: str, scale: Scale) -> None:
    """In a worker: the figures and verdicts of one item."""
    from mechgrok.analyses.drawing.browser import one_browser
    from mechgrok.reports.page import untitled

    out, item = Path(folder), Item.load(name)
    make_folder(out / FIGURES)
    made_from = _made_from(out, item, scale)
    sweep = Sweep(out / RUNS, item.plan(scale).members())
    rows = [claim.judge(sweep).as_row() for claim in item.claims]
    figures = []
    with one_browser():
        for figure_name, figure in item.draw(sweep).items():
            packed, (title, below) = untitled(figure)
            files = _write_figure(out / FIGURES / f"{name}-{figure_name}", figure)
            figures.append(
                {"name": figure_name, "packed": packed, "title": title, "below": below, **files}
            )
    groups: dict[str, list[int]] = {}
    evaluated = sweep.table["step"].notna()
    for member in sweep.members:
        there, all_ = groups.get(member.stage, [0, 0])
        groups[member.stage] = [there + int(evaluated[member.name]), all_ + 1]
    told = {"made_from": made_from, "claims": rows, "figures": figures, "groups": groups}
    _write(out, name, told | {"failed": ""})


def _figure_file(stem: Path, kind: str) -> Path:
    return stem.with_name(f"{stem.name}.{kind}")


def _write_figure(stem: Path, figure: "go.Figure") -> dict[str, str]:
    """The figure as HTML, and as SVG and PNG where a browser can draw it; the files' endings."""
    from mechgrok.analyses.drawing.export import write_html, write_picture

    write_html(figure, _figure_file(stem, "html"))
    written = "html"
    try:
        for kind in ("svg", "png"):
            write_picture(figure, _figure_file(stem, kind))
            written += f",{kind}"
    except UserError as error:  # The page shows it all the same.
        return {"files": written, "undrawn": str(error)}
    return {"files": written}


# --- what is kept of an item ----------------------------------------------------------------------


def _file(out: Path, name: str) -> Path:
    return out / ITEMS / f"{name}.json"


def _write(out: Path, name: str, told: dict[str, Any]) -> None:
    make_folder(out / ITEMS)
    write_text(_file(out, name), json.dumps(told, ensure_ascii=False))


def _told(out: Path, name: str) -> dict[str, Any]:
    try:
        told = json.loads(read_text(_file(out, name)))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _kept(out: Path, item: Item, scale: Scale) -> dict[str, Any] | None:
    """What is known of the item, where its runs, code and figures are what they were."""
    told = _told(out, item.name)
    if told.get("made_from") != _made_from(out, item, scale):
        return None
    for figure in told["figures"]:
        stem = out / FIGURES / f"{item.name}-{figure['name']}"
        if not all(_figure_file(stem, kind).is_file() for kind in figure["files"].split(",")):
            return None
        if "undrawn" in figure and find_browser():  # one that was installed since
            return None
    return told


def _read(out: Path, item: Item) -> Made:
    told = _told(out, item.name)
    return Made(
        item,
        told.get("claims", ()),
        told.get("figures", ()),
        told.get("groups", {}),
        told.get("failed", "it was not made."),
    )


def _made_from(out: Path, item: Item, scale: Scale) -> str:
    """Digest of an item's code and of its runs, as far as they are there."""
    parts = [source_digest(item.module), repr(scale)]
    for member in item.plan(scale).members():
        files = [out / RUNS / member.name / name for name in ("config.json", "metrics.csv")]
        try:
            stats = [file.stat() for file in files]
        except OSError:
            parts.append(f"{member.name} missing")
        else:
            parts += [f"{member.name} {stat.st_size} {stat.st_mtime_ns}" for stat in stats]
    return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


# --- all items together ---------------------------------------------------------------------------


def write_paper(out: Path, made: Sequence[Made], scale: Scale) -> Path:
    """``claims.json``, ``claims.parquet``, ``claims.md``, ``runs.csv`` and the page of these items.

    Raises:
        UserError: they cannot be written.
    """
    import pandas as pd

    from mechgrok.analyses.papers.page import as_markdown, write_index

    rows = [{"item": each.item.name, **row} for each in made for row in each.claims]
    about = {"seeds": list(scale.seeds), "quick": scale.quick}
    text = json.dumps({**about, "claims": rows}, indent=1, ensure_ascii=False)
    write_text(out / "claims.json", f"{text}\n")
    write_text(out / "claims.md", as_markdown(rows))
    table = pd.DataFrame(rows)
    if "values" in table:
        table["values"] = table["values"].map(json.dumps)
    write_whole(out / "claims.parquet", lambda file: table.to_parquet(file, index=False))
    of_runs = _table_of_runs(Sweep(out / RUNS, plan_of([m.item for m in made], scale).members()))
    write_text(out / "runs.csv", of_runs.to_csv(index=False, lineterminator="\n"))
    return write_index(out, made, scale)


#: Of `Sweep.table`, what ``runs.csv`` holds of a run besides what it is.
_OF_RUNS = ("step", "t_mem", "t_gen", "test_accuracy", "best_test_accuracy")


def _table_of_runs(sweep: Sweep) -> "pd.DataFrame":
    """A row for each run: what it is, the last step, t_mem and t_gen, also at 90 %, accuracies.

    t_mem and t_gen are those of the task's own criterion and empty where a run had none by its last
    step.
    """
    import pandas as pd

    table, at_90 = sweep.table, sweep.at(0.9).table
    rows = []
    for member in sweep.members:
        made = {n: v for n, v in member.options.items() if n not in ("steps", "checkpoint_every")}
        rows.append(
            {
                "network": str(member.settings["plan"]),
                "stage": member.stage,
                "seed": member.settings["seed"],
                "settings": " ".join(f"{name}={value}" for name, value in made.items()),
                **{name: table.at[member.name, name] for name in _OF_RUNS},
                "t_gen_90": at_90.at[member.name, "t_gen"],
            }
        )
    return pd.DataFrame(rows).astype(
        {"step": "Int64", "t_mem": "Int64", "t_gen": "Int64", "t_gen_90": "Int64"}
    )


def check_room(out: Path) -> None:
    """Refuse a folder that holds something other than a paper.

    Raises:
        UserError: it does.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: choose another folder with --out.")
    if out.is_dir() and any(out.iterdir()) and not Sweep.is_at(out / RUNS):
        raise UserError(f"{out} holds something other than a paper: choose another --out.")
