"""A page over the claims of several papers: filter, search, sharpest disagreements first.

It reads ``claims.json`` in each paper's folder, as `mechgrok.analyses.papers.page` writes it. A
package of a paper has the one of its own full runs beside its modules.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from mechgrok.analyses.papers.claims import VERDICTS, headline
from mechgrok.analyses.papers.page import COLORS, describe
from mechgrok.analyses.papers.paper import list_papers
from mechgrok.errors import UserError, warn
from mechgrok.files import read_text
from mechgrok.reports.page import write_page

_FILE = "claims.json"


@dataclass(frozen=True)
class Reproduction:
    """The verdicts in a paper's folder.

    Attributes:
        folder: the folder.
        title: the paper's title, or for folders of earlier revisions the folder's name.
        seeds: the seeds.
        quick: whether it is a preview with small networks.
        claims: a row for each claim.
        shipped: whether it comes with the paper's package, without a page and runs.
    """

    folder: Path
    title: str
    seeds: Sequence[int]
    quick: bool
    claims: Sequence[Mapping[str, Any]]
    shipped: bool = False

    @classmethod
    def read(cls, folder: Path, *, shipped: bool = False) -> Self:
        """Read a paper's folder.

        Raises:
            UserError: it has no verdicts.
        """
        try:
            about = json.loads(read_text(folder / _FILE))
            rows = [row for row in about["claims"] if row["verdict"] in VERDICTS]
            title = about.get("title", folder.resolve().name)
            return cls(folder, title, about["seeds"], about["quick"], rows, shipped)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{folder} has no verdicts of a paper ({_FILE}: {reason}): make them with mechgrok "
                "paper."
            ) from None

    @property
    def headline(self) -> str:
        """The number of claims with each verdict."""
        return headline(self.claims)


def find_reproductions(folder: Path) -> list[Reproduction]:
    """The verdicts of the papers' folders in a folder, by name."""
    found = sorted(file.parent for file in folder.glob(f"*/{_FILE}"))
    return [Reproduction.read(paper) for paper in found if (paper / "runs").is_dir()]


def find_shipped() -> dict[str, Reproduction]:
    """The verdicts that come with the papers' packages, by the paper's name.

    Warns of a file that cannot be read.
    """
    found = {}
    for name, entry in list_papers().items():
        try:
            spec = find_spec(entry.module)
        except (ImportError, ValueError):  # `find_paper` says that it is not installed.
            continue
        if spec and spec.origin and (file := Path(spec.origin).with_name(_FILE)).is_file():
            try:
                found[name] = Reproduction.read(file.parent, shipped=True)
            except UserError as error:
                warn(str(error))
    return found


def write_overview(path: Path, reproductions: Iterable[Reproduction]) -> None:
    """Write the page over all claims.

    Raises:
        UserError: writing fails.
    """
    reproductions = list(reproductions)
    rows = [
        {**row, "of": at, "link": _link(path, of, row["item"]), "here": describe(row)}
        for at, of in enumerate(reproductions)
        for row in of.claims
    ]
    rows.sort(key=_sharpness)
    write_page(
        path,
        Path(__file__).with_name("overview.html"),
        title="Claims of papers about grokking",
        contents={"papers": False, "claims": False},
        figures={},
        footer=f"Made by mechgrok papers on {datetime.now().astimezone():%Y-%m-%d %H:%M}.",
        reproductions=reproductions,
        rows=rows,
        verdicts=[v for v in VERDICTS if any(row["verdict"] == v for row in rows)],
        colors=COLORS,
    )


def _sharpness(row: Mapping[str, Any]) -> tuple[int, float]:
    """The order of the rows: by verdict, and by margin, from the clearest disagreement on."""
    return VERDICTS.index(row["verdict"]), row.get("margin", 0.0)


def _link(page: Path, of: Reproduction, item: str) -> str | None:
    """The item on the paper's own page, relative to the overview; shipped ones have none."""
    if of.shipped:
        return None
    relative = os.path.relpath((of.folder / "index.html").resolve(), page.resolve().parent)
    return f"{quote(Path(relative).as_posix())}#{item}"
