"""What the docs say of the paper's claims is what a full run found."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

PAPER = Path(__file__).parents[1] / "docs" / "paper"
needs_a_full_run = pytest.mark.skipif(
    not (PAPER / "claims.json").is_file(),
    reason="docs/paper/claims.json is not there: no full run has been shipped yet",
)


def the_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", PAPER / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_a_full_run
def test_the_tables_of_the_docs_are_those_of_the_shipped_run() -> None:
    script = the_script()
    assert not json.loads((PAPER / "claims.json").read_text(encoding="utf-8"))["quick"]
    made = script.tables()
    filled = 0
    for page in script.PAGES:
        text = page.read_text(encoding="utf-8")
        assert script.filled(text, made) == text, page
        filled += len(script._PLACE.findall(text))
    assert filled >= len(made)


def test_a_row_says_what_was_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    script = the_script()
    monkeypatch.setitem(script.KINDS, "some", ("add", "base", ""))
    columns = ["network", "stage", "seed", "settings", "step", "t_mem", "t_gen"]
    columns.append("best_test_accuracy")
    runs = pd.DataFrame(
        [
            ("add", "base", 1, "", 30_000, 90, None, 0.5),
            ("add", "base", 0, "", 30_000, 90, 12_220, 1.0),
            ("add", "base", 2, "", 30_000, 100, 8_000, 0.996),
        ],
        columns=columns,
    )
    assert script.table(runs, ["some"]).splitlines()[-1] == (
        "| some | 90 · 90 · 100 | 12,220 · > 30,000 · 8,000 | 136 | 50 to 100 % |"
    )
