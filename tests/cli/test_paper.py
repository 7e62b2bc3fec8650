"""What is typed wrong for the paper is told in a sentence, before anything is written."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from mechgrok.analyses.papers import Paper, Scale, list_papers
from mechgrok.analyses.papers.item import Item
from mechgrok.cli.main import main


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (["v3-fig33"], "did you mean v3-fig3?"),
        (["minegishi2023", "v3-fig33"], "did you mean v3-fig3?"),
        (["minegishi2032"], "did you mean minegishi2023?"),
        (["nosuch"], "choose a paper ("),
        (["--seeds", "0"], "--seeds 0"),
        (["--seeds", "few"], "--seeds few"),
        (["--together", "perhaps"], "--together perhaps"),
        (["--out", "notes"], "notes"),
        (["--mnist", "notes", "v3-fig2b"], "train-images-idx3-ubyte"),
        (["--jobs", "1", "--ray", "auto"], "--jobs"),
    ],
)
def test_mistakes(
    typed: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes").mkdir()
    Path("notes", "todo.txt").touch()
    with pytest.raises(SystemExit) as ended:
        main(["paper", *typed])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["notes", "todo.txt"]


def test_the_list_comes_out_where_a_data_set_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mechgrok.errors import UserError
    from mechgrok.sweeps import costs as module

    def without_data(member: object, root: object) -> object:
        raise UserError("MNIST could not be downloaded.")

    monkeypatch.setattr(module, "_measure", without_data)
    with pytest.raises(SystemExit) as ended:
        main(["paper", "--list", "v3-fig2b"])
    assert ended.value.code == 0
    told = capsys.readouterr()
    assert "36 runs\n" in told.out
    assert "MNIST" in told.err


@pytest.mark.parametrize("paper", [[], ["minegishi2023"]])
def test_the_list_says_what_each_item_shows_and_costs(
    paper: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mechgrok.sweeps import costs as module

    cost = module._Cost(0.001, 0.01, 10**5, 10**6)
    monkeypatch.setattr(module, "_measure", lambda member, root: cost)
    with pytest.raises(SystemExit) as ended:
        main(["paper", "--list", "--quick", "--seeds", "1", *paper, "v3-fig3", "v2-fig13"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "v3-fig3 (v3-fig4b, v2-fig12b)\n  The delay τ over the prune rate" in told
    assert "8 runs, at most" in told
    assert "11 runs" in told


def test_papers_are_listed_with_the_verdicts_that_come_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["papers"])
    assert ended.value.code == 0
    *lines, page = capsys.readouterr().out.splitlines()
    rows = {row.split()[0]: row.split() for row in lines[1:]}
    assert list(rows) == list(list_papers())
    shown = Path(page).read_text(encoding="utf-8")
    assert shown.count("results that come with the package") == len(rows)
    assert 'href="' not in shown[shown.index('id="rows"') : shown.index("<script>")]
    assert rows["tveit2025"][1:7] == ["1", "3", "3", "0", "0", "Muon"]


def test_a_page_shows_the_claims_of_every_folder_and_the_sharpest_disagreements_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"item": "fig1", "quantity": "t_gen", "paper": "", "seeds": 1, "values": {"0": [3, 3]}}
    row |= {"median": "3", "median_low": 3, "median_high": 3, "low": None, "high": None}
    claims = [
        row | {"text": "It agrees.", "verdict": "holds", "margin": 4},
        row | {"text": "It nearly agrees.", "verdict": "differs", "margin": -1.1},
        row | {"text": "It does not agree.", "verdict": "differs", "margin": -7},
    ]
    for name, title in (("one", "The First Paper"), ("two", "<The Second>")):
        (tmp_path / name / "runs").mkdir(parents=True)
        about = {"title": title, "seeds": [0], "quick": name == "two", "claims": claims}
        (tmp_path / name / "claims.json").write_text(json.dumps(about))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["papers"])
    assert ended.value.code == 0
    assert "one: 3 claims (differs: 2, holds: 1)" in capsys.readouterr().out
    page = Path("papers.html").read_text(encoding="utf-8")
    assert page.count("It does not agree.") == 2
    order = [page.index(text) for text in ("It does not", "It nearly", "It agrees")]
    assert order == sorted(order)
    assert 'href="one/index.html#fig1"' in page
    assert "&lt;The Second&gt;" in page
    assert "preview with small networks" in page


@pytest.mark.parametrize(("end", "n_made", "code"), [(None, 18, 0), (1, 18, 1), (130, 1, 130)])
def test_previews_of_all_papers_are_made_unless_one_is_interrupted(
    end: int | None, n_made: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(
        folder: Path, paper: Paper, items: list[Item], scale: Scale, *_: object, **__: object
    ) -> None:
        assert scale.quick
        assert [item.name for item in items] == list(paper.items)
        made.append(folder)
        if end:
            raise typer.Exit(end)

    monkeypatch.setattr("mechgrok.cli.paper.make", make)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["papers", "--quick"])
    assert ended.value.code == code
    assert made == [Path(f"{name}-quick") for name in list_papers()][:n_made]
    assert Path("papers.html").exists() == (code < 2)


@pytest.mark.parametrize("make", [lambda file: None, os.mkfifo])
def test_a_folder_without_verdicts_is_refused(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "claims.json")
    with pytest.raises(SystemExit) as ended:
        main(["papers", str(tmp_path)])
    assert ended.value.code == 2
    assert str(tmp_path) in capsys.readouterr().err
