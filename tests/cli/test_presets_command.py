"""``mechgrok presets`` lists what ``mechgrok train NAME`` trains."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from mechgrok.configuration import presets
from mechgrok.runs import Run


def test_the_list_names_and_describes_them(mechgrok: Any) -> None:
    ended = mechgrok("presets")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert len(lines) == len(presets.names())
    for line, (name, description) in zip(lines, presets.names().items(), strict=True):
        assert line.startswith(f"{name} ")
        assert description in line


def test_one_is_shown_as_its_settings(mechgrok: Any) -> None:
    assert json.loads(mechgrok("presets", "parity").out) == presets.load("parity")
    ended = mechgrok("presets", "qick")
    assert ended.code == 2
    assert "mean quick?" in ended.err


def test_a_preset_trains_with_options_over_it(mechgrok: Any) -> None:
    ended = mechgrok("train", "parity", "--steps", 30, "--d-mlp", 20, "--lr", 0.05, "--quiet")
    assert ended.code == 0, ended.err
    config = Run("ckpts").config
    assert (config.task.name, config.task.k, config.model.d_model) == ("parity", 3, None)
    assert (config.model.d_mlp, config.training.steps) == (20, 30)
    assert (config.training.learning_rate, config.training.batch_size) == (0.05, 32)


def test_data_that_cannot_be_had_costs_nothing(
    mechgrok: Any, tiny_run: Run, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run.path, "ckpts")
    for out in ("ckpts", "new"):
        ended = mechgrok("train", "mnist", "--folder", tmp_path, "--out", out, "--overwrite")
        assert ended.code == 2
        assert "train-images-idx3-ubyte" in ended.err
    assert Run("ckpts").steps == tiny_run.steps
    assert not Path("new").exists()


@pytest.mark.slow
def test_quick_groks_in_seconds(mechgrok: Any) -> None:
    started = time.process_time()
    assert mechgrok("train", "quick", "--quiet").code == 0
    assert time.process_time() - started < 15
    run = Run("ckpts")
    assert run.t_mem is not None
    assert run.t_gen is not None
    assert run.t_gen > 8 * run.t_mem
