"""What is typed wrong for the paper is told in a sentence, before anything is written."""

from pathlib import Path

import pytest

from mechgrok.cli.main import main


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (["v3-fig33"], "did you mean v3-fig3?"),
        (["minegishi2023", "v3-fig33"], "did you mean v3-fig3?"),
        (["minegishi2032"], "did you mean minegishi2023?"),
        (["nosuch"], "choose a paper (minegishi2023"),
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


def test_papers_are_listed_with_their_items_and_claims(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["papers"])
    assert ended.value.code == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.split() == [
        "minegishi2023",
        "Bridging",
        "Lottery",
        "Ticket",
        "and",
        "Grokking",
        "17",
        "73",
    ]
