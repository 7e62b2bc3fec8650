"""What the docs say of the paper's claims is what a full run found."""

import json
from pathlib import Path

import pytest

from analyses.paper.page import as_markdown

DOCS = Path(__file__).parents[1] / "docs"


def test_the_table_of_verdicts_is_that_of_the_shipped_claims() -> None:
    shipped = DOCS / "paper" / "claims.json"
    if not shipped.is_file():
        pytest.skip("docs/paper/claims.json is not there: no full run has been shipped yet")
    told = json.loads(shipped.read_text(encoding="utf-8"))
    assert not told["quick"]
    assert as_markdown(told["claims"]) in (DOCS / "paper.md").read_text(encoding="utf-8")
