"""A paper made again on tiny networks: what is written, and what is made again."""

import json
import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from mechgrok.analyses.papers import Scale, Size, find_paper, join, list_papers, making
from mechgrok.analyses.papers.item import ItemResult
from mechgrok.analyses.papers.minegishi2023 import PAPER
from mechgrok.analyses.papers.page import write_paper
from mechgrok.errors import UserError
from mechgrok.reports.packing import packed_plotly
from mechgrok.sweeps import Plan
from mechgrok.sweeps.running import check_stages, complete
from tests.analyses.paper.small import here

#: Networks modulo 7, trained for a few steps.
FEW = {"p": 7, "d_model": 12, "d_mlp": 8, "steps": 60, "checkpoint_every": 10}
TINY = Size({**PAPER.quick.base_runs, "add": ("quick", FEW)}, paper_steps=1000)


class TinyScale(Scale):
    """Tickets are taken at steps that the tiny runs have."""

    def choose(self, full: str, quick: str) -> str:
        return "20,60" if "," not in quick else quick


SCALE = TinyScale(TINY, (0, 1), quick=True)
#: Items that share runs.
WANTED = ("v3-fig2a", "v3-fig5a")


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's folder, with two items made."""
    out = tmp_path_factory.mktemp("paper") / "paper"
    items = PAPER.find_items(WANTED)
    sweep = making.sweep_of(out, PAPER, items, SCALE)
    assert all(outcome.how == "done" for outcome in complete(sweep, here))
    for item in items:
        making.make_item(out, item.module, SCALE)
    results = {name: ItemResult.read(out, name)[1] for name in WANTED}
    write_paper(out, PAPER, items, results, SCALE)
    return out


def test_every_claim_has_a_row_and_a_verdict_in_both_files(paper: Path) -> None:
    written = json.loads((paper / "claims.json").read_text())
    assert written["quick"] is True
    assert written["seeds"] == [0, 1]
    names = [name for item in PAPER.find_items(WANTED) for name in item.claims]
    assert [row["claim"] for row in written["claims"]] == names
    quick = {"direction agrees", "direction does not agree", "undecided", "not tested"}
    assert {row["verdict"] for row in written["claims"]} <= quick
    assert all(row["seeds"] == 2 for row in written["claims"] if row["claim"] == "ticket-earlier")
    assert (paper / "claims.md").read_text(encoding="utf-8").count("\n") == 2 + len(names)
    table = pd.read_parquet(paper / "claims.parquet")
    assert table["verdict"].to_list() == [row["verdict"] for row in written["claims"]]


def test_the_items_made_before_are_found_if_they_are_of_the_same_runs(paper: Path) -> None:
    made = {item.name for item in making.find_made(paper, PAPER, SCALE)}
    assert made == set(WANTED)
    assert not making.find_made(paper, PAPER, PAPER.scale((5, 6), quick=True))


def test_every_run_has_a_line_with_its_times(paper: Path) -> None:
    table = pd.read_csv(paper / "runs.csv")
    assert len(table) == len({path.parent for path in (paper / "runs").glob("*/config.json")})
    assert list(table[table["stage"] == "controlled"]["settings"].unique()) == [
        "rate=0.6 control=l1 until_grokked=10",
        "rate=0.6 control=l2 until_grokked=10",
    ]
    assert (table["step"] > 0).all()


def test_the_page_opens_alone_and_says_what_decided(paper: Path) -> None:
    page = (paper / "index.html").read_text(encoding="utf-8")
    assert page.count(packed_plotly()) == 1
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "A preview, not a reproduction" in page
    assert PAPER.title in page
    assert page.index('id="verdicts"') < page.index('id="v3-fig2a"')
    for item in PAPER.find_items(WANTED):
        assert f"mechgrok paper minegishi2023 {item.name} --seeds 2 --quick" in page
        for claim in item.claims.values():
            assert claim.text.replace("'", "&#39;") in page
    for file in re.findall(r'href="(figures/[^"]+)"', page):
        assert (paper / file).is_file()


def test_what_two_items_need_is_trained_once(paper: Path) -> None:
    first, second = (
        {m.name for m in item.plan(SCALE).members()} for item in PAPER.find_items(WANTED)
    )
    there = {path.parent.name for path in (paper / "runs").glob("*/config.json")}
    assert first & second >= {"quick-add-seed=0", "quick-add-seed=1"}
    assert there == first | second


def test_what_is_there_is_neither_trained_nor_drawn_again(paper: Path) -> None:
    items = PAPER.find_items(WANTED)
    assert complete(making.sweep_of(paper, PAPER, items, SCALE), here) == []
    assert all(making.is_fresh(paper, item, SCALE) for item in items)
    metrics = next((paper / "runs").glob("quick-add-seed=0/metrics.csv"))
    metrics.write_bytes(metrics.read_bytes() + b"\n")
    assert not any(making.is_fresh(paper, item, SCALE) for item in items)


def test_a_lost_figure_is_drawn_again(paper: Path) -> None:
    (item,) = PAPER.find_items(["v3-fig5a"])
    making.make_item(paper, item.module, SCALE)
    assert making.is_fresh(paper, item, SCALE)
    (paper / "figures" / "v3-fig5a-norms.html").unlink()
    assert not making.is_fresh(paper, item, SCALE)


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"--out|folder"):
        making.check_folder(tmp_path)


@pytest.mark.parametrize("name", list_papers())
@pytest.mark.parametrize("quick", [True, False])
def test_every_item_has_runs_that_can_be_made_and_are_the_same_in_the_whole(
    name: str, quick: bool
) -> None:
    paper = find_paper(name)
    scale = paper.scale(quick=quick)
    items = paper.find_items()
    whole = join(item.plan(scale) for item in items)
    members = whole.members()
    check_stages(members)
    identity = {member.name: member.identity for member in members}
    for item in items:
        for member in item.plan(scale).members():
            assert identity[member.name] == member.identity
    assert Plan.read(tomllib.loads(whole.as_toml())) == whole


def test_base_runs_are_called_by_network_and_seed() -> None:
    names = {member.name for item in PAPER.find_items() for member in item.plan(FULL).members()}
    assert {"add-seed=0", "narrow-transformer-seed=2", "half-seed=1"} <= names


FULL = PAPER.scale((0, 1, 2))


def test_modular_addition_has_nine_seeds_and_other_tasks_six() -> None:
    members = join(item.plan(PAPER.scale()) for item in PAPER.find_items()).members()
    seeds: dict[object, set[object]] = {}
    for member in members:
        seeds.setdefault(member.settings["plan"], set()).add(member.settings["seed"])
    n = {plan: len(of) for plan, of in seeds.items()}
    assert [n[plan] for plan in ("add", "half", "transformer", "authors-transformer")] == [9] * 4
    assert [n[plan] for plan in ("sub", "mnist", "parity")] == [6] * 3
    assert n["start"] == 1  # the widest networks


def test_every_item_says_what_it_shows_and_what_is_claimed() -> None:
    items = PAPER.find_items()
    assert tuple(item.name for item in items) == PAPER.items
    for item in items:
        assert item.shows
        assert item.claims
    assert PAPER.find_items(["v2-fig1"])[0].name == "v3-fig2a"
    with pytest.raises(UserError, match="did you mean"):
        PAPER.find_items(["v3-fig2aa"])
