"""Writing self-contained HTML pages with many figures, which work offline and on phones."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from mechgrok.files import write_text
from mechgrok.reports.packing import pack, packed_plotly, script, style
from mechgrok.reports.titles import bare

_TEMPLATES = Path(__file__).parent
#: The number of analyses, from the first, whose figures are printed; all findings are.
_PRINTED = 7
#: Tags of plotly's titles that have the same meaning in HTML.
_TITLE_TAGS = re.compile(r"&lt;(/?(?:b|i|em|sub|sup|br)/?)&gt;")


@dataclass(frozen=True)
class Section:
    """One analysis on the page.

    Attributes:
        name: the analysis's name; also the section's anchor.
        question: the analysis's description.
        findings: the findings, by run.
        skipped: why the analysis does not apply, by run.
        figure: the figure, packed by `untitled`; None if no run was measured.
        title: the figure's title and subtitle, which the page wraps.
        failed: error messages, by run.
    """

    name: str
    question: str
    findings: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    figure: str | None = None
    title: tuple[str, str] = ("", "")
    failed: Mapping[str, str] = field(default_factory=dict)


def untitled(figure: go.Figure) -> tuple[str, tuple[str, str]]:
    """Pack a figure without its titles for a page; also returns its title and subtitle.

    The page unpacks a figure when it scrolls into view, so that megabytes of images do not block a
    phone.
    """
    copy, title = bare(figure)
    return pack(copy.update_layout(width=None, autosize=True)), title


def write_report(
    path: Path,
    title: str,
    facts: Mapping[str, Mapping[str, str]],
    summary: Mapping[str, Sequence[str]],
    sections: Sequence[Section],
    footer: str,
) -> None:
    """Write the report atomically, with one copy of plotly.js.

    Args:
        path: the HTML file.
        title: the page's heading.
        facts: a table by the run's label, then by heading.
        summary: a few lines for each run.
        sections: one section per analysis, in the order of the page.
        footer: the command and the date.
    """
    muted = {section.name: section.figure is None for section in sections}
    write_page(
        path,
        _TEMPLATES / "report.html",
        title=title,
        contents={"summary": False, "facts": False} | muted,
        figures={section.name: section.figure for section in sections if section.figure},
        footer=footer,
        facts=facts,
        headings=dict.fromkeys(heading for about in facts.values() for heading in about),
        summary=summary,
        report=sections,
        printed=_PRINTED,
    )


def write_page(
    path: Path,
    template: Path,
    *,
    title: str,
    contents: Mapping[str, bool],
    figures: Mapping[str, str],
    footer: str,
    **more: object,
) -> None:
    """Write a page of sections and figures atomically, with one copy of plotly.js.

    Args:
        path: the HTML file.
        template: a Jinja template that extends page.html of this folder and fills its block
            ``sections``, where ``<div class="figure" data-figure="NAME">`` shows a figure.
        title: the page's heading.
        contents: the sections' names (and anchors), and whether the table of contents mutes them.
        figures: figures packed by `untitled`, by name.
        footer: the command and the date.
        more: further variables of the template.
    """
    templates = Environment(
        loader=FileSystemLoader([template.parent, _TEMPLATES]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["plotly_text"] = plotly_text
    text = templates.get_template(template.name).render(
        title=title,
        contents=contents,
        figures=figures,
        footer=footer,
        plotly=packed_plotly(),
        script=script(),
        style=style(),
        **more,
    )
    write_text(path, text)


def plotly_text(text: str) -> Markup:
    """A figure's title as HTML; only plotly's tags are kept."""
    return Markup(_TITLE_TAGS.sub(r"<\1>", html.escape(text)))
