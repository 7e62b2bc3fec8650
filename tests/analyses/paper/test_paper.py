"""The paper made again on tiny networks: what is written, and what is made anew."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mechgrok.analyses.papers import making, runs
from mechgrok.analyses.papers.item import Item, find_items, item_names
from mechgrok.analyses.papers.scale import Scale
from mechgrok.errors import UserError
from mechgrok.reports.packing import packed_plotly
from mechgrok.sweeps import Plan
from mechgrok.sweeps.running import check_stages
from tests.analyses.paper.small import here

SCALE = Scale((0, 1), quick=True)
#: Items that take the runs of one another.
WANTED = ("v3-fig2a", "v3-fig5a")


@pytest.fixture(scope="module")
def tiny() -> Any:
    """Networks modulo 7, trained for a few steps."""
    patch = pytest.MonkeyPatch()
    few = {"p": 7, "d_model": 12, "d_mlp": 8, "steps": 60, "checkpoint_every": 10}
    patch.setitem(runs._QUICK, "add", ("quick", few))
    patch.setattr(Scale, "steps", lambda self, steps: max(10, steps // 1000))
    patch.setattr(Scale, "some", lambda self, values, few: "20,60" if "," not in few else few)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def paper(tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's folder, with two items made."""
    out = tmp_path_factory.mktemp("paper") / "paper"
    items = find_items(WANTED)
    assert all(o.how == "done" for o in making.train(making.sweep_of(out, items, SCALE), here))
    for item in items:
        making._make(str(out), item.name, SCALE)
    making.write_paper(out, [making._read(out, item) for item in items], SCALE)
    return out


def test_every_claim_has_a_row_and_a_verdict_in_both_files(paper: Path) -> None:
    told = json.loads((paper / "claims.json").read_text())
    assert told["quick"] is True
    assert told["seeds"] == [0, 1]
    claims = [claim for name in WANTED for claim in Item.load(name).claims]
    assert [row["claim"] for row in told["claims"]] == [claim.name for claim in claims]
    assert {row["verdict"] for row in told["claims"]} <= {"holds", "differs", "undecided"}
    assert all(row["seeds"] == 2 for row in told["claims"] if row["claim"] == "ticket-earlier")
    assert (paper / "claims.md").read_text(encoding="utf-8").count("\n") == 2 + len(claims)
    table = pd.read_parquet(paper / "claims.parquet")
    assert table["verdict"].to_list() == [row["verdict"] for row in told["claims"]]


def test_every_run_has_a_line_with_its_times(paper: Path) -> None:
    table = pd.read_csv(paper / "runs.csv")
    assert len(table) == len({path.parent for path in (paper / "runs").glob("*/config.json")})
    assert list(table[table["stage"] == "controlled"]["settings"].unique()) == [
        "rate=0.6 control=l1",
        "rate=0.6 control=l2",
    ]
    assert (table["step"] > 0).all()


def test_the_page_opens_alone_and_says_what_decided(paper: Path) -> None:
    page = (paper / "index.html").read_text(encoding="utf-8")
    assert page.count(packed_plotly()) == 1
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "Quick: small networks" in page
    assert page.index('id="verdicts"') < page.index('id="v3-fig2a"')
    for item in find_items(WANTED):
        assert f"mechgrok paper {item.name}" in page
        for claim in item.claims:
            assert str(claim.rule).replace("'", "&#x27;") in page
    for file in re.findall(r'href="(figures/[^"]+)"', page):
        assert (paper / file).is_file()


def test_what_two_items_need_is_trained_once(paper: Path) -> None:
    first, second = ({m.name for m in item.plan(SCALE).members()} for item in find_items(WANTED))
    there = {path.parent.name for path in (paper / "runs").glob("*/config.json")}
    assert first & second >= {"quick-add-seed=0", "quick-add-seed=1"}
    assert there == first | second


def test_what_is_there_is_neither_trained_nor_drawn_again(paper: Path, tiny: None) -> None:
    items = find_items(WANTED)
    assert making.train(making.sweep_of(paper, items, SCALE), here) == []
    assert all(making._kept(paper, item, SCALE) for item in items)
    metrics = next((paper / "runs").glob("quick-add-seed=0/metrics.csv"))
    metrics.write_bytes(metrics.read_bytes() + b"\n")
    assert not any(making._kept(paper, item, SCALE) for item in items)


def test_a_lost_figure_is_drawn_again(paper: Path) -> None:
    (item,) = find_items(["v3-fig5a"])
    making._make(str(paper), item.name, SCALE)
    assert making._kept(paper, item, SCALE)
    (paper / "figures" / "v3-fig5a-norms.html").unlink()
    assert making._kept(paper, item, SCALE) is None


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="other than a paper"):
        making.check_room(tmp_path)


@pytest.mark.parametrize("quick", [True, False])
def test_every_item_has_runs_that_can_be_made_and_are_the_same_in_the_whole(quick: bool) -> None:
    scale = Scale((0, 1, 2), quick)
    items = find_items()
    whole = making.plan_of(items, scale)
    members = whole.members()
    check_stages(members)
    identity = {member.name: member.identity for member in members}
    for item in items:
        for member in item.plan(scale).members():
            assert identity[member.name] == member.identity
    import tomllib

    assert Plan.read(tomllib.loads(whole.as_toml())) == whole


def test_every_item_says_what_it_shows_and_what_is_claimed() -> None:
    names = item_names()
    assert names[0].startswith("v2")
    every = find_items()
    assert [item.name for item in every] == names
    for item in every:
        assert item.shows
        assert item.claims
        assert len({claim.name for claim in item.claims}) == len(item.claims)
    assert find_items(["v2-fig1"])[0].name == "v3-fig2a"
    with pytest.raises(UserError, match="did you mean"):
        find_items(["v3-fig2aa"])
