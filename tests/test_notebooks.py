"""What a notebook shows of runs, sweeps and masks."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import tqdm.auto

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


class Kernel:
    """What IPython says of itself in a notebook."""

    kernel = object()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """As if in a notebook; the bar's places and words, as they are shown."""
    seen: list[tuple[int, str]] = []

    class Bar(tqdm.std.tqdm):  # type: ignore[type-arg]
        def display(self, *arguments: Any, **options: Any) -> None:
            seen.append((int(self.n), f"{self.desc} {self.postfix}"))

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=Kernel))
    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    return seen


def test_a_notebook_shows_a_bar(notebook: list[tuple[int, str]], tmp_path: Path) -> None:
    train(tmp_path / "run", "quick", p=7, d_model=4, d_mlp=4, steps=30)
    place, words = notebook[-1]
    assert place == 30
    assert "test=" in words
    assert "%" in words


def test_of_a_regression_it_shows_the_loss(notebook: list[tuple[int, str]], tmp_path: Path) -> None:
    train(tmp_path / "run", "polynomial", d_mlp=4, samples=20, steps=30)
    assert "nan" not in notebook[-1][1]


def test_elsewhere_nothing_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", "quick", p=7, d_model=4, d_mlp=4, steps=3)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")


def test_a_sweep_in_a_notebook_shows_one_bar_over_all_steps(
    notebook: list[tuple[int, str]], tmp_path: Path
) -> None:
    settings = {"p": 7, "d_model": 4, "d_mlp": 4, "steps": 20}
    mechgrok.sweep(tmp_path / "s", "quick", seeds=[0], jobs=1, **settings)
    assert notebook[-1] == (20, "1/1 runs:  None")
    mechgrok.sweep(tmp_path / "s", "quick", seeds=[0, 1, 2], jobs=2, **settings)
    places = [place for place, _ in notebook]
    assert places[-1] == 60
    assert min(places[places.index(20) + 1 :]) >= 20  # What was there counts from the start.
