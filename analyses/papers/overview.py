"""A page over the claims of several papers: filter, search, sharpest disagreements first.

It reads ``claims.json`` in each paper's folder, as `mechgrok.analyses.papers.page` writes it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from mechgrok.analyses.papers.claims import VERDICTS, headline
from mechgrok.analyses.papers.page import COLORS, describe
from mechgrok.errors import UserError
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
    """

    folder: Path
    title: str
    seeds: Sequence[int]
    quick: bool
    claims: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a paper's folder.

        Raises:
            UserError: it has no verdicts.
        """
        try:
            about = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            rows = [row for row in about["claims"] if row["verdict"] in VERDICTS]
            title = about.get("title", folder.resolve().name)
            return cls(folder, title, about["seeds"], about["quick"], rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{folder} has no verdicts of a paper ({error}): make them with mechgrok paper."
            ) from None

    @property
    def headline(self) -> str:
        """The number of claims with each verdict."""
        return headline(self.claims)


def find_reproductions(folder: Path) -> list[Reproduction]:
    """The verdicts of the papers' folders in a folder, by name."""
    found = sorted(file.parent for file in folder.glob(f"*/{_FILE}"))
    return [Reproduction.read(paper) for paper in found if (paper / "runs").is_dir()]


def write_overview(path: Path, reproductions: Iterable[Reproduction]) -> None:
    """Write the page over all claims.

    Raises:
        UserError: writing fails.
    """
    reproductions = list(reproductions)
    rows = [
        {**row, "of": at, "link": _link(path, of.folder, row["item"]), "here": describe(row)}
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


def _link(page: Path, folder: Path, item: str) -> str:
    """The item on the paper's own page, relative to the overview."""
    relative = os.path.relpath((folder / "index.html").resolve(), page.resolve().parent)
    return f"{quote(Path(relative).as_posix())}#{item}"
