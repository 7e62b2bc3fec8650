"""The page of the paper: verdicts first, then each item with its figures, numbers and rules."""

import html
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mechgrok.analyses.papers.claims import SIGN_TEST_FROM
from mechgrok.analyses.papers.scale import Scale
from mechgrok.reports.page import plotly_text, write_page

if TYPE_CHECKING:
    from mechgrok.analyses.papers.making import Made

VERDICTS = ("holds", "differs", "undecided")
_COLORS = {"holds": "#00734F", "differs": "#A3300C", "undecided": "#6b6b6b"}


def write_index(out: Path, made: "Sequence[Made]", scale: Scale) -> Path:
    """Write ``index.html``, which opens without a network.

    Args:
        out: the paper's folder.
        made: its items.
        scale: at what size.
    """
    page = out / "index.html"
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    sections = [_summary(made, scale), *(_section(each, out, scale) for each in made)]
    write_page(
        page,
        title="Bridging Lottery Ticket and Grokking, made again",
        contents={"verdicts": False} | {each.item.name: not each.figures for each in made},
        sections=Markup("\n".join(sections)),
        figures={
            f"{each.item.name}-{figure['name']}": figure["packed"]
            for each in made
            for figure in each.figures
        },
        footer=f"Made by mechgrok paper on {now}.",
    )
    return page


def as_markdown(rows: Iterable[dict[str, Any]]) -> str:
    """Claims as a table of Markdown: where, what, verdict, ours, and the paper's number."""
    lines = ["| item | the paper says | verdict | here: median [interval] | the paper's number |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for row in rows:
        cells = (row["item"], row["text"], f"**{row['verdict']}**", _ours(row), row["paper"] or "—")
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _summary(made: "Sequence[Made]", scale: Scale) -> str:
    """What was found of all claims, and how a verdict comes about."""
    rows = [(each, row) for each in made for row in each.claims]
    count = Counter(row["verdict"] for _, row in rows)
    told = ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS)
    seeds = f"{len(scale.seeds)} seed{'s' if len(scale.seeds) > 1 else ''}"
    marked = (
        '<p class="failed">Quick: small networks on small tasks, trained for a 25th of the '
        "steps. It shows that everything runs; its verdicts say nothing about the paper.</p>"
        if scale.quick
        else ""
    )
    table = "".join(
        f'<tr><th scope="row"><a href="#{each.item.name}">{each.item.name}</a></th>'
        f"<td>{_text(row['text'])}</td><td>{_verdict(row['verdict'])}</td><td>{_text(_ours(row))}</td>"
        f"<td>{_text(row['paper'])}</td></tr>"
        for each, row in rows
    )
    head = _head(
        "item", "the paper says", "verdict", "here: median [interval]", "the paper's number"
    )
    return (
        f'<section id="verdicts"><h2>{len(rows)} claims: {told}</h2>{marked}'
        "<p>Figures, tables and claims of Minegishi, Iwasawa and Matsuo (arXiv 2310.19470, "
        f"versions 2 and 3, TMLR 2025), with {seeds}.</p>{_how(scale)}{_table(head, table)}"
        "</section>"
    )


def _how(scale: Scale) -> str:
    few = len(scale.seeds) < SIGN_TEST_FROM
    interval = (
        "With fewer than six seeds no interval of the median reaches 95 % whatever the "
        "distribution (smallest to largest of three values: 75 %). The interval is therefore the "
        "wider, at either end, of that one and Student's 95 % interval of the mean, of logarithms "
        "for ratios and times, which supposes that values are about normal."
        if few
        else "The interval is the sign test's of the median, with 95 % or more, whatever the "
        "distribution."
    )
    return (
        "<p>Each claim has a quantity, with a value for each seed, and a rule that was fixed "
        "before anything was looked at; the rule asks where the interval of the median lies. A run "
        "that has not generalized by its last step counts as later than that, and what is only "
        f"known to lie beyond a bound is written &gt;. {interval}</p>"
    )


def _section(made: "Made", out: Path, scale: Scale) -> str:
    item = made.item
    parts = [
        f'<section id="{item.name}">',
        f"<h2>{_text(item.title)}</h2>",
        f'<p class="question">{_text(item.shows)}</p>',
    ]
    if made.failed:
        parts.append(f'<p class="failed">Not made: {_text(made.failed)}</p>')
    if made.claims:
        parts.append(_claims(made.claims))
    parts += [_figure(item.name, figure) for figure in made.figures]
    if item.settings:
        parts.append(f'<p class="below"><b>Settings.</b> {_text(item.settings)}</p>')
    told = ", ".join(
        f"{there}{f' of {n}' if there < n else ''} {stage}"
        for stage, (there, n) in made.groups.items()
    )
    again = ["mechgrok", "paper", item.name, *scale.typed(), "--out", str(out)]
    parts.append(f'<p class="below"><b>Runs.</b> {_text(told)}. {_code(shlex.join(again))}</p>')
    return "\n".join([*parts, "</section>"])


def _claims(rows: Iterable[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        values = "; ".join(f"seed {s}: {_value(v)}" for s, v in row["values"].items()) or "no value"
        lines.append(
            f'<tr><td>{_text(row["text"])}<div class="muted">{_text(row["source"])}'
            f"{': ' if row['paper'] else ''}{_text(row['paper'])}</div></td>"
            f'<td>{_text(_ours(row))}<div class="muted">{_text(row["quantity"])}; {_text(values)}'
            f'</div></td><td>{_verdict(row["verdict"])}<div class="muted">{_text(row["rule"])}'
            "</div></td></tr>"
        )
    head = _head("the paper says", "here: median [interval]", "verdict and its rule")
    return _table(head, "".join(lines))


def _table(head: str, rows: str) -> str:
    return f'<div class="pan"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _figure(item: str, figure: dict[str, str]) -> str:
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


def _ours(row: dict[str, Any]) -> str:
    """Median, interval and seeds of a row of claims."""
    from mechgrok.analyses.papers.claims import Estimate, Known

    if row["median"] is None:
        return "no value"
    unbounded = [float("inf") if end is None else end for end in (row["median_high"], row["high"])]
    low = float("-inf") if row["low"] is None else row["low"]
    interval = Known(low, unbounded[1]) if row["seeds"] > 1 else None
    return str(Estimate(Known(row["median_low"], unbounded[0]), interval, row["seeds"]))


def _value(bounds: Sequence[float | None]) -> str:
    from mechgrok.analyses.papers.claims import Known

    low, high = bounds
    return str(Known(low or 0.0, float("inf") if high is None else high))


def _verdict(verdict: str) -> str:
    return f'<b style="color: {_COLORS[verdict]}">{verdict}</b>'


def _head(*names: str) -> str:
    return "<tr>" + "".join(f'<th scope="col">{_text(name)}</th>' for name in names) + "</tr>"


def _text(text: str) -> str:
    return html.escape(text)


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"
