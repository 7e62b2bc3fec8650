"""Many figures on one page: a report that opens without a network, on a laptop and on a phone."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import plotly.graph_objects as go

from mechgrok.files import write_text
from mechgrok.reports.packing import pack, packed_plotly, script

#: The tags that plotly understands in titles and that mean the same on a page.
_TITLE_TAGS = re.compile(r"&lt;(/?(?:b|i|em|sub|sup|br)/?)&gt;")


@dataclass(frozen=True)
class Section:
    """One analysis on the page.

    Attributes:
        name: of the analysis; also the section's anchor.
        question: what it asks.
        findings: what was seen, by run.
        skipped: why it does not apply, by run.
        figure: the figure, packed by `untitled`; None where no run was measured.
        title: the figure's title and subtitle, which the page sets as text that wraps.
        failed: what went wrong, by run.
    """

    name: str
    question: str
    findings: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    figure: str | None = None
    title: tuple[str, str] = ("", "")
    failed: Mapping[str, str] = field(default_factory=dict)


def untitled(figure: go.Figure) -> tuple[str, tuple[str, str]]:
    """A figure as compressed text for a page, without its titles; and its title and subtitle.

    The page unpacks a figure when it comes into view, so that megabytes of pictures do not keep a
    phone busy at once.
    """
    shown, title = bare(figure)
    return pack(shown.update_layout(width=None, autosize=True)), title


def bare(figure: go.Figure) -> tuple[go.Figure, tuple[str, str]]:
    """A copy of the figure without its titles, less high by their room; its title and subtitle."""
    layout = figure.layout
    title = (layout.title.text or "", layout.title.subtitle.text or "")
    top = 60 if layout.margin.t is None else max(60, layout.margin.t - 65)
    height = layout.height and layout.height - ((layout.margin.t or 80) - top)
    return go.Figure(figure).update_layout(title=None, margin={"t": top}, height=height), title


def write_page(
    path: Path,
    title: str,
    facts: Mapping[str, Mapping[str, str]],
    summary: Mapping[str, Sequence[str]],
    sections: Sequence[Section],
    footer: str,
) -> None:
    """Write the report, whole or not at all, with one copy of plotly.js in it.

    Args:
        path: the HTML file.
        title: its heading.
        facts: what there is to say about each run, by the run's label and then by heading.
        summary: the page in a few lines, by run.
        sections: in the order in which they appear.
        footer: how and when it was made.
    """
    opening = [
        f'<section id="summary"><h2>summary</h2>{_lines(summary)}</section>',
        f'<section id="facts"><h2>facts</h2><div class="pan">{_table(facts)}</div></section>',
    ]
    muted = {section.name: section.figure is None for section in sections}
    write_document(
        path,
        title,
        {"summary": False, "facts": False} | muted,
        [*opening, *map(_section, sections)],
        {section.name: section.figure for section in sections if section.figure is not None},
        footer,
    )


def write_document(
    path: Path,
    title: str,
    contents: Mapping[str, bool],
    sections: Sequence[str],
    figures: Mapping[str, str],
    footer: str,
) -> None:
    """Write a page of sections that are HTML already, with one copy of plotly.js in it.

    Args:
        path: the HTML file.
        title: its heading.
        contents: the sections' names, which are their anchors, and whether they are muted there.
        sections: as HTML. A ``<div class="figure" data-figure="NAME">`` in one shows a figure.
        figures: packed by `untitled`, by their names.
        footer: how and when it was made.
    """
    entries = (
        f'<li><a href="#{name}"{" class=muted" if muted else ""}>{html.escape(name)}</a></li>'
        for name, muted in contents.items()
    )
    text = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        contents="\n".join(entries),
        sections="\n".join(sections),
        figures="\n".join(
            f'<script type="text/plain" id="data-{name}">{packed}</script>'
            for name, packed in figures.items()
        ),
        footer=html.escape(footer),
        plotly=packed_plotly(),
        script=script(),
    )
    write_text(path, text)


def in_page(text: str) -> str:
    """A figure's title as HTML: the tags that plotly knows stay, all else is text."""
    return _TITLE_TAGS.sub(r"<\1>", html.escape(text))


def _table(facts: Mapping[str, Mapping[str, str]]) -> str:
    headings = list(dict.fromkeys(heading for about in facts.values() for heading in about))
    head = "".join(f'<th scope="col">{html.escape(label)}</th>' for label in facts)
    rows = [
        f'<tr><th scope="row">{html.escape(heading)}</th>'
        + "".join(f"<td>{html.escape(about.get(heading, '—'))}</td>" for about in facts.values())
        + "</tr>"
        for heading in headings
    ]
    return f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _lines(summary: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(
        f"<h3>{html.escape(label)}</h3><ul>"
        + "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        + "</ul>"
        for label, lines in summary.items()
    )


def _section(section: Section) -> str:
    parts = [f'<section id="{section.name}">', f"<h2>{html.escape(section.name)}</h2>"]
    parts.append(f'<p class="question">{html.escape(section.question)}</p>')
    parts += [
        f'<p class="muted">Does not apply to {html.escape(label)}: {html.escape(reason)}</p>'
        for label, reason in section.skipped.items()
    ]
    parts += [
        f'<p class="failed">Failed on {html.escape(label)}: {html.escape(reason)}</p>'
        for label, reason in section.failed.items()
    ]
    if section.findings:
        lines = "".join(
            f"<li><b>{html.escape(label)}</b>: {html.escape(found)}</li>"
            for label, found in section.findings.items()
        )
        parts.append(f'<ul class="findings">{lines}</ul>')
    if section.figure is not None:
        heading, below = map(in_page, section.title)
        parts.append(f"<h3>{heading}</h3>" + (f'<p class="below">{below}</p>' if below else ""))
        parts.append(
            f'<div class="pan wide"><div class="figure" data-figure="{section.name}"></div></div>'
        )
    return "\n".join([*parts, "</section>"])
