"""Write the page of a paper: verdicts first, then each item with figures, numbers and rules.

Next to ``index.html`` are ``claims.json``, ``claims.parquet`` and ``claims.md`` with the verdicts,
and ``runs.csv`` with a row for each run.
"""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from mechgrok.analyses.papers.claims import headline
from mechgrok.analyses.papers.estimates import Bounds, Estimate
from mechgrok.analyses.papers.item import Item, ItemResult
from mechgrok.analyses.papers.making import runs_of
from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import Scale
from mechgrok.files import write_text, write_whole
from mechgrok.reports.page import write_page
from mechgrok.sweeps import Member, Sweep
from mechgrok.sweeps.survival import INTERVAL_FROM

#: The colors of verdicts.
COLORS = {
    "differs": "#A3300C",
    "direction does not agree": "#A3300C",
    "undecided": "#6b6b6b",
    "direction agrees": "#00734F",
    "holds": "#00734F",
    "not tested": "#6b6b6b",
}
_HEADINGS = (
    "item",
    "claim",
    "verdict",
    "here: median [interval] or (range)",
    "published number",
)
#: A claim as a row of ``claims.json``.
Row = Mapping[str, Any]


def write_paper(
    folder: Path,
    paper: Paper,
    items: Sequence[Item],
    results: Mapping[str, ItemResult],
    scale: Scale,
) -> Path:
    """Write the page of the items and its data files.

    Args:
        folder: the paper's folder.
        paper: the paper.
        items: the items in order of appearance.
        results: the results by item name.
        scale: the scale of the runs.

    Raises:
        UserError: writing a file fails.
    """
    rows = [{"item": item.name, **row} for item in items for row in results[item.name].claims]
    _write_data(folder, paper, rows, runs_of(folder, items, scale), scale)
    page = folder / "index.html"
    seeds = sorted({row["seeds"] for row in rows})

    def command(item: Item) -> str:
        options = [*scale.to_argv(), "--out", str(folder)]
        return shlex.join(["mechgrok", "paper", paper.name, item.name, *options])

    write_page(
        page,
        Path(__file__).with_name("paper.html"),
        title=f"{paper.title}{_kind(paper, scale)}",
        contents={"verdicts": False}
        | {item.name: not results[item.name].figures for item in items},
        figures={
            f"{item.name}-{figure['name']}": figure["packed"]
            for item in items
            for figure in results[item.name].figures
        },
        footer=f"Made by mechgrok paper on {datetime.now().astimezone():%Y-%m-%d %H:%M}.",
        paper=paper,
        scale=scale,
        items=items,
        results=results,
        claims=rows,
        headings=_HEADINGS,
        colors=COLORS,
        headline=headline(rows),
        seeds=" to ".join(map(str, seeds[:1] + seeds[1:][-1:])),
        few=INTERVAL_FROM,
        estimate=describe,
        values=_values,
        command=command,
    )
    return page


def _kind(paper: Paper, scale: Scale) -> str:
    """What the page is: a preview, a reproduction, or for a study that is not a paper itself."""
    return ", a preview" if scale.quick else ", made again" if paper.arxiv else ""


def _write_data(folder: Path, paper: Paper, rows: Sequence[Row], runs: Sweep, scale: Scale) -> None:
    """Write the claims as JSON, Markdown and Parquet, and the table of runs as CSV."""
    seeds = sorted({int(str(member.settings["seed"])) for member in runs.members})
    about = {
        **{"paper": paper.name, "title": paper.title, "seeds": seeds, "quick": scale.quick},
        "claims": rows,
    }
    write_text(folder / "claims.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "claims.md", as_markdown(rows))
    table = pd.DataFrame(rows)
    if "values" in table:
        table["values"] = table["values"].map(json.dumps)
    write_whole(folder / "claims.parquet", lambda file: table.to_parquet(file, index=False))
    csv = _table_of_runs(runs).to_csv(index=False, lineterminator="\n")
    write_text(folder / "runs.csv", csv)


def as_markdown(rows: Iterable[Row]) -> str:
    """Claims as a Markdown table: item, statement, verdict, our estimate, the published number."""
    lines = [list(_HEADINGS), ["---"] * len(_HEADINGS)]
    for row in rows:
        numbers = [describe(row), row["paper"] or "—"]
        lines.append([row["item"], row["text"], f"**{row['verdict']}**", *numbers])
    return "".join(
        f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |\n" for cells in lines
    )


#: The columns of ``runs.csv``.
_COLUMNS = (
    *("network", "stage", "seed", "settings", "step", "t_mem", "t_gen"),
    *("test_accuracy", "best_test_accuracy", "t_gen_90"),
)


def _table_of_runs(sweep: Sweep) -> pd.DataFrame:
    """A row for each run: settings, last step, t_mem and t_gen, t_gen at 90 %, and accuracies.

    t_mem and t_gen use the task's own criterion, and are empty if the run did not reach it.
    """
    table = sweep.table.rename(columns={"plan": "network"})
    table["settings"] = [_settings(member, sweep) for member in sweep.members]
    table["t_gen_90"] = sweep.at(0.9).table["t_gen"]
    return table[list(_COLUMNS)]


def _settings(member: Member, sweep: Sweep) -> str:
    """The options of a derived run, or the settings in which base runs of one plan differ."""
    plan = member.settings["plan"]
    alike = [m.settings for m in sweep.members if not m.make and m.settings["plan"] == plan]
    own = member.options or {
        name: value
        for name, value in member.settings.items()
        if any(other.get(name) != value for other in alike)
    }
    unlisted = ("steps", "checkpoint_every", "seed")
    return " ".join(f"{name}={value}" for name, value in own.items() if name not in unlisted)


def describe(row: Row) -> str:
    """Median, interval or range, and the number of seeds of a claim: ``3 [2, 5], 9 seeds``."""
    estimate = Estimate.from_row(row)
    if estimate is None:
        return "no value"
    seeds = f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
    n = len(row["values"])
    return f"{estimate}, {seeds if n == row['seeds'] else f'{n} runs of {seeds}'}"


def _values(row: Row) -> str:
    """The value of each seed of a claim."""
    values = "; ".join(f"seed {s}: {Bounds.from_json(v)}" for s, v in row["values"].items())
    return values or "no value"
