"""Many figures on one page: a report that opens without a network, on a laptop and on a phone."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

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


def write_report(
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
        facts: a table of facts: by the run's label, then by heading.
        summary: a few lines for each run.
        sections: one per analysis, in the order of the page.
        footer: how and when it was made.
    """
    shown = {section.name: section.figure is None for section in sections}
    write_page(
        path,
        "report.html",
        title=title,
        contents={"summary": False, "facts": False} | shown,
        figures={section.name: section.figure for section in sections if section.figure},
        footer=footer,
        facts=facts,
        headings=dict.fromkeys(heading for about in facts.values() for heading in about),
        summary=summary,
        report=sections,
    )


def write_page(
    path: Path,
    template: str = "page.html",
    *,
    title: str,
    contents: Mapping[str, bool],
    figures: Mapping[str, str],
    footer: str,
    **more: object,
) -> None:
    """Write a page of sections and figures, whole or not at all, with one copy of plotly.js in it.

    Args:
        path: the HTML file.
        template: in this folder; one that extends page.html fills its block ``sections``, where a
            ``<div class="figure" data-figure="NAME">`` shows a figure.
        title: its heading.
        contents: the sections' names, which are their anchors, and whether they are muted there.
        figures: packed by `untitled`, by their names.
        footer: how and when it was made.
        more: what the template needs besides; without a template ``sections``, safe HTML.
    """
    templates = Environment(
        loader=PackageLoader("mechgrok.reports", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["plotly_text"] = plotly_text
    text = templates.get_template(template).render(
        title=title,
        contents=contents,
        figures=figures,
        footer=footer,
        plotly=packed_plotly(),
        script=script(),
        **more,
    )
    write_text(path, text)


def plotly_text(text: str) -> Markup:
    """A figure's title as HTML: the tags that plotly knows stay, all else is text."""
    return Markup(_TITLE_TAGS.sub(r"<\1>", html.escape(text)))
