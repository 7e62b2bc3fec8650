"""What is known of runs, as data for other programs."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mechgrok.runs import Run

Command = Callable[..., Any]


def test_a_comparison_has_every_number_of_its_table(
    mechgrok: Command, tiny_run: Run, masked_run: Run
) -> None:
    ended = mechgrok("compare", tiny_run.path, masked_run.path, "--format", "json")
    rows = {row["run"]: row for row in json.loads(ended.out)}
    assert rows["masked"]["density"] == masked_run.density
    assert rows["tiny"]["train_accuracy"] == tiny_run.metrics.train_accuracy.iloc[-1]
    assert rows["tiny"]["t_gen"] == tiny_run.t_gen
    assert not list(tiny_run.path.glob("analysis/compare-vs-masked.html"))


def test_a_run_is_a_row_of_its_settings_and_milestones(mechgrok: Command, tiny_run: Run) -> None:
    told = pd.read_csv(io.StringIO(mechgrok("info", tiny_run.path, "--format", "csv").out))
    assert told.loc[0, "task.p"] == tiny_run.task.p
    assert told.loc[0, "step"] == tiny_run.steps[-1]
    assert told.loc[0, "train_loss"] == pytest.approx(tiny_run.metrics.train_loss.iloc[-1])
    (row,) = json.loads(mechgrok("info", tiny_run.path, "--format", "json").out)
    assert row["train_loss"] == tiny_run.metrics.train_loss.iloc[-1]  # to the last bit


def test_groups_tell_their_runs_and_what_is_not_reached_is_missing(
    mechgrok: Command, tiny_run: Run, tmp_path: Path
) -> None:
    for name, decay in (("a", 0.5), ("b", 0.5), ("c", 2.0)):
        copy = shutil.copytree(tiny_run.path, tmp_path / name)
        config = json.loads((copy / "config.json").read_text())
        config["training"]["weight_decay"] = decay
        (copy / "config.json").write_text(json.dumps(config))
        metrics = pd.read_csv(copy / "metrics.csv")
        metrics["test_accuracy"] = 0.0 if name == "c" else (metrics.step >= 4).astype(float)
        metrics.to_csv(copy / "metrics.csv", index=False)
    runs = [tmp_path / name for name in "abc"]
    ended = mechgrok("compare", *runs, "--by", "weight_decay", "--format", "json")
    both, alone = json.loads(ended.out)
    assert (both["weight_decay"], both["runs"], both["generalized"]) == (0.5, 2, 2)
    assert both["t_gen"] == min(step for step in tiny_run.metrics.step if step >= 4)
    assert (alone["runs"], alone["generalized"], alone["t_gen"]) == (1, 0, None)
