"""What a notebook shows of runs, sweeps and masks."""

from pathlib import Path

import torch

import mechgrok
from mechgrok import Mask
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


def test_a_sweep_shows_its_groups_before_and_after_it_is_trained(tmp_path: Path) -> None:
    settings = {"p": 7, "d_model": 4, "d_mlp": 4, "steps": 2}
    made = mechgrok.sweep(
        tmp_path / "s", "quick", over={"weight_decay": [0.5, 2]}, seeds=[0], jobs=1, **settings
    )
    shown = made._repr_html_()
    assert "weight_decay 0.5" in shown
    assert "not within 2" in shown
    assert "2 runs" in made.sel(seed=0)._repr_html_()


def test_names_are_shown_and_never_taken_for_html() -> None:
    shown = html_table("<b>", {"<script>": ["<img>"]}, ["<i>"])
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<img>" not in shown
