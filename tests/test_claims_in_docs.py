"""What the docs say of papers' claims is what full runs found."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from mechgrok.analyses.papers import find_paper
from mechgrok.analyses.papers.overview import find_shipped

PAPER = Path(__file__).parents[1] / "docs" / "paper"


def the_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", PAPER / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_docs_are_those_of_the_shipped_runs() -> None:
    script = the_script()
    for name, shipped in find_shipped().items():
        assert shipped.title == find_paper(name).title
        assert not shipped.quick
    made = script.tables()
    filled = 0
    for page in script.PAGES:
        text = page.read_text(encoding="utf-8")
        assert script.filled(text, made) == text, page
        filled += len(script._PLACE.findall(text))
    assert filled >= len(made)


def test_the_sums_of_verdicts_are_those_of_all_papers() -> None:
    script = the_script()
    claims = {
        "power2022": [{"item": "fig1", "verdict": "holds"}, {"item": "fig1", "verdict": "differs"}],
        "liu2022": [{"item": "sphere", "verdict": "holds"}],
    }
    *_, last = script.counts(claims).splitlines()
    assert last == "| all |  | 3 | 2 | 1 |"


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
        "| some | 90 (90 to 100) | 12,220 (8,000 to > 30,000) | 136 | 50 to 100 % |"
    )
