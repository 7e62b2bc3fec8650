"""What a notebook shows of runs, sweeps and masks."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import rich.progress
import torch

import mechgrok
from mechgrok import Mask, train
from mechgrok.notebooks import html_table
from mechgrok.runs import Run


def test_a_run_shows_its_facts(tiny_run: Run, tmp_path: Path) -> None:
    shown = tiny_run._repr_html_()
    assert str(tiny_run.task) in shown
    assert '<th style="text-align: left">t_gen</th>' in shown


def test_a_mask_shows_what_it_keeps_of_each_weight() -> None:
    shown = Mask({"W_in": torch.eye(4, dtype=torch.bool)})._repr_html_()
    assert "[4, 4]" in shown
    assert shown.count("25.0%") == 2


def test_a_sweep_shows_its_runs(tmp_path: Path) -> None:
    settings = {"p": 7, "d_model": 4, "d_mlp": 4, "steps": 2}
    made = mechgrok.sweep(
        tmp_path / "s", "quick", over={"weight_decay": [0.5, 2]}, seeds=[0], jobs=1, **settings
    )
    shown = made._repr_html_()
    assert "2 runs; weight_decay × 2" in shown
    assert all(member.name in shown for member in made.members)
    assert "2 runs" in made.sel(seed=0)._repr_html_()


def test_names_are_shown_and_never_taken_for_html() -> None:
    shown = html_table("<b>", {"<script>": ["<img>"]}, ["<i>"])
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<img>" not in shown


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if in a notebook, without ipywidgets."""
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_a_notebook_shows_the_accuracies(
    notebook: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", "quick", p=7, d_model=4, d_mlp=4, steps=30)
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"step 30/30 train \d+\.\d% test \d+\.\d%", last)


def test_of_a_regression_it_shows_the_loss(
    notebook: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", "polynomial", d_mlp=4, samples=20, steps=30)
    shown = capsys.readouterr().err
    assert "nan" not in shown
    assert "test " in shown


def test_elsewhere_nothing_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", "quick", p=7, d_model=4, d_mlp=4, steps=3)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_a_notebook_with_ipywidgets_shows_a_bar(
    notebook: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    class Bar(rich.progress.Progress):
        def start(self) -> None:
            started.append("bar")

    monkeypatch.setattr(rich.progress, "Progress", Bar)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("mechgrok.progress.find_spec", lambda name: name == "ipywidgets")
    train(tmp_path / "run", "quick", p=7, d_model=4, d_mlp=4, steps=3)
    assert started == ["bar"]


def test_a_sweep_in_a_notebook_counts_its_runs(
    notebook: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"p": 7, "d_model": 4, "d_mlp": 4, "steps": 20}
    mechgrok.sweep(tmp_path / "s", "quick", seeds=[0], jobs=1, **settings)
    assert capsys.readouterr().err.splitlines()[-1].startswith("1/1 seed=0: ")
    mechgrok.sweep(tmp_path / "s", "quick", seeds=[0, 1, 2], jobs=2, **settings)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert "1/3 runs" in first  # What was there counts from the start.
    assert last.startswith("3/3 seed=")
