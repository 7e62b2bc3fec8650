"""The variables of every analysis, from the tables that define their Datasets."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mechgrok.results.analysis import Analysis, analyses
from mechgrok.results.variables import SHARED, Variable, as_listed

_HEAD = """# Variables

The variables of each analysis's Dataset: `mechgrok.analyze(run, "fourier").share`, or a column of
`analysis/fourier.parquet`. Units and definition are in each variable's attributes too
(`.attrs["units"]`, `.attrs["definition"]`), with that run's numbers. A cross-entropy loss is in
nats. Frequencies are in cycles per n residues; on a group they are the numbers of representations,
without units. A variable whose only dimension is its own name is a coordinate.

## Shared coordinates

"""


def write(into: Path) -> None:
    """Write one page with a section per analysis."""
    parts = [_HEAD + _table(SHARED)]
    for name in analyses():
        analysis = Analysis.load(name)
        parts.append(
            f"## {name}\n\n{analysis.description} ([more](../analyses/{name}.md))\n\n"
            + _table(analysis.variables)
        )
    into.mkdir(parents=True, exist_ok=True)
    (into / "variables.md").write_text("\n".join(parts), encoding="utf-8")


def link(app: Any, page: str, source: list[str]) -> None:
    """Sphinx event: link the page of an analysis to its variables."""
    folder, _, name = page.rpartition("/")
    if folder == "analyses":
        source[0] += f"\n\n[The variables of its Dataset](../reference/variables.md#{name})\n"


def _table(variables: Mapping[str, Variable]) -> str:
    rows = ["| variable | dimensions | units | definition |", "| --- | --- | --- | --- |"]
    for name, (dims, units, definition) in as_listed(variables).items():
        rows.append(f"| `{name}` | {_text(dims)} | {_text(units)} | {_text(definition)} |")
    return "\n".join([*rows, ""])


def _text(text: str) -> str:
    """Escape Markdown."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
