"""Write the page of a paper: verdicts first, then each item with figures, numbers and rules.

Next to ``index.html`` are ``claims.json``, ``claims.parquet`` and ``claims.md`` with the verdicts,
and ``runs.csv`` with a row for each run.
"""

import html
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from mechgrok.analyses.papers.estimates import SIGN_TEST_FROM, Bounds, Estimate
from mechgrok.analyses.papers.item import Item, ItemResult
from mechgrok.analyses.papers.making import runs_of
from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import Scale
from mechgrok.files import write_text, write_whole
from mechgrok.reports.page import plotly_text, write_page
from mechgrok.sweeps import Sweep

_COLORS = {"holds": "#00734F", "differs": "#A3300C", "undecided": "#6b6b6b"}
_HEADINGS = ("item", "the paper says", "verdict", "here: median [interval]", "the paper's number")
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
    about = {"seeds": list(scale.seeds), "quick": scale.quick, "claims": rows}
    write_text(folder / "claims.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "claims.md", as_markdown(rows))
    table = pd.DataFrame(rows)
    if "values" in table:
        table["values"] = table["values"].map(json.dumps)
    write_whole(folder / "claims.parquet", lambda file: table.to_parquet(file, index=False))
    runs = _table_of_runs(runs_of(folder, items, scale))
    write_text(folder / "runs.csv", runs.to_csv(index=False, lineterminator="\n"))
    page = folder / "index.html"
    sections = [_section(folder, paper, item, results[item.name], scale) for item in items]
    write_page(
        page,
        title=f"{paper.title}, made again",
        contents={"verdicts": False}
        | {item.name: not results[item.name].figures for item in items},
        sections=Markup("\n".join([_summary(paper, scale, rows), *sections])),
        figures={
            f"{item.name}-{figure['name']}": figure["packed"]
            for item in items
            for figure in results[item.name].figures
        },
        footer=f"Made by mechgrok paper on {datetime.now().astimezone():%Y-%m-%d %H:%M}.",
    )
    return page


def as_markdown(rows: Iterable[Row]) -> str:
    """Claims as a Markdown table: item, statement, verdict, our estimate, the paper's number."""
    lines = [_HEADINGS, ["---"] * len(_HEADINGS), *(_cells(row, "**{}**".format) for row in rows)]
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
    unlisted = ("steps", "checkpoint_every")
    table["settings"] = [
        " ".join(f"{name}={value}" for name, value in m.options.items() if name not in unlisted)
        for m in sweep.members
    ]
    table["t_gen_90"] = sweep.at(0.9).table["t_gen"]
    return table[list(_COLUMNS)]


def _summary(paper: Paper, scale: Scale, rows: Sequence[Row]) -> str:
    """The verdicts on all claims, and an explanation of verdicts."""
    count = Counter(row["verdict"] for row in rows)
    counts = ", ".join(f"{count[verdict]} {verdict}" for verdict in _COLORS)
    n = len(scale.seeds)
    about = (
        f"Figures, tables and claims of {paper.authors} (arXiv {paper.arxiv}, {paper.published}), "
        f"with {n} seed{'s' if n > 1 else ''}."
    )
    warning = (
        "Quick: small networks on small tasks, trained for "
        f"1/{scale.size.paper_steps} of the steps. This tests that everything runs; the verdicts "
        "do not apply to the paper."
    )
    return (
        f'<section id="verdicts"><h2>{len(rows)} claims: {counts}</h2>'
        f"{_paragraph('failed', warning) if scale.quick else ''}"
        f"<p>{_text(about)}</p><p>{_text(_HOW)} {_text(_INTERVAL[n >= SIGN_TEST_FROM])}</p>"
        f"{_table(_HEADINGS, map(_summary_cells, rows))}</section>"
    )


_HOW = (
    "Each claim has a quantity, with a value for each seed, and a rule fixed before any result was "
    "known: the rule sets the region for the interval of the median. A run that has not "
    "generalized by its last step is censored there, and > marks a censored value."
)
#: Explanations of the interval with few seeds, and with many.
_INTERVAL = (
    "With fewer than six seeds no interval of the median reaches 95 % for every distribution (the "
    "range of three values: 75 %). The interval is therefore the wider, at either end, of the "
    "range and of Student's 95 % interval of the mean (of logarithms, for ratios and times), "
    "which assumes nearly normal values.",
    "The interval is the sign test's for the median, with 95 % or more for any distribution.",
)


def _section(folder: Path, paper: Paper, item: Item, result: ItemResult, scale: Scale) -> str:
    """The section of an item: claims, figures, settings, and the command to rebuild it."""
    parts = [f"<h2>{_text(item.title)}</h2>", _paragraph("question", item.shows)]
    if result.failed:
        parts.append(_paragraph("failed", f"Not made: {result.failed}"))
    if result.claims:
        headings = ("the paper says", "here: median [interval]", "verdict and its rule")
        parts.append(_table(headings, map(_detailed_cells, result.claims)))
    parts += [_figure(item.name, figure) for figure in result.figures]
    if item.settings:
        parts.append(_paragraph("below", item.settings, "Settings."))
    runs = ", ".join(
        f"{evaluated}{f' of {n}' if evaluated < n else ''} {stage}"
        for stage, (evaluated, n) in result.groups.items()
    )
    parts.append(_paragraph("below", f"{runs}.", "Runs."))
    command = ["mechgrok", "paper", paper.name, item.name, *scale.to_argv(), "--out", str(folder)]
    parts.append(f"<p><code>{_text(shlex.join(command))}</code></p>")
    return "\n".join([f'<section id="{item.name}">', *parts, "</section>"])


def _cells(row: Row, emphasize: Any = str) -> list[str]:
    """The cells of a claim under `_HEADINGS`."""
    verdict = emphasize(row["verdict"])
    return [row["item"], row["text"], verdict, _estimate(row), row["paper"] or "—"]


def _estimate(row: Row) -> str:
    """Median, interval and number of seeds of a claim."""
    return str(Estimate.from_row(row) or "no value")


def _summary_cells(row: Row) -> list[str]:
    item, text, _, *numbers = map(_text, _cells(row))
    return [f'<a href="#{item}">{item}</a>', text, _verdict(row), *numbers]


def _detailed_cells(row: Row) -> list[str]:
    """The cells of a claim with its source, the values of the seeds, and the rule."""
    source = f"{row['source']}: {row['paper']}" if row["paper"] else row["source"]
    values = "; ".join(f"seed {s}: {Bounds.from_json(v)}" for s, v in row["values"].items())
    quantity = f"{row['quantity']}; {values or 'no value'}"
    return [
        f"{_text(row['text'])}{_muted(source)}",
        f"{_text(_estimate(row))}{_muted(quantity)}",
        f"{_verdict(row)}{_muted(row['rule'])}",
    ]


def _paragraph(kind: str, text: str, heading: str = "") -> str:
    """A paragraph of a CSS class, optionally with a heading."""
    return f'<p class="{kind}">{f"<b>{heading}</b> " if heading else ""}{_text(text)}</p>'


def _muted(text: str) -> str:
    return f'<div class="muted">{_text(text)}</div>'


def _verdict(row: Row) -> str:
    verdict = row["verdict"]
    return f'<b style="color: {_COLORS[verdict]}">{verdict}</b>'


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML cells."""
    head = "".join(f'<th scope="col">{_text(heading)}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="pan"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _figure(item: str, figure: Mapping[str, str]) -> str:
    name = f"{item}-{figure['name']}"
    links = " ".join(
        f'<a href="figures/{name}.{kind}">{kind.upper()}</a>' for kind in figure["files"].split(",")
    )
    below = f'<p class="below">{plotly_text(figure["below"])}</p>' if figure["below"] else ""
    return (
        f"<h3>{plotly_text(figure['title'])}</h3>{below}"
        f'<div class="pan wide"><div class="figure" data-figure="{name}"></div></div>'
        f'<p class="below">{links}</p>'
    )


def _text(text: str) -> str:
    return html.escape(text)
