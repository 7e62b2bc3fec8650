"""``mechgrok train`` and ``info``: options, resuming, and one sentence for every mistake."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mechgrok.runs import Run

TINY = ("--p", 7, "--train-fraction", 0.7, "--d-model", 12, "--d-mlp", 8, "--steps", 40)


def test_options_reach_the_configuration(mechgrok: Any) -> None:
    ended = mechgrok(
        "train", *TINY, "--task", "sub", "--pairs", "ordered", "--seed", 3, "--split-seed", 4,
        "--lr", 0.01, "--weight-decay", 0.5, "--batch-size", 8, "--set", "task.label_seed=2",
        "--checkpoint-every", 20, "--checkpoint-at", "7,13", "--init-scale", 2, "--act", "gelu",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    run = Run("ckpts")
    assert "ckpts: a − b mod 7, ordered pairs" in ended.out
    assert (run.config.seed, run.task.split_seed, run.task.label_seed) == (3, 4, 2)
    training, model = run.config.training, run.config.model
    assert (training.learning_rate, training.weight_decay, training.batch_size) == (0.01, 0.5, 8)
    assert (model.init_scale, model.act) == (2.0, "gelu")
    assert {0, 5, 7, 13, 20, 40} <= set(run.steps)


def test_without_a_terminal_progress_is_plain_and_quiet_is_silent(mechgrok: Any) -> None:
    plain = mechgrok("train", *TINY, "--out", "a")
    lines = plain.err.strip().splitlines()
    assert len(lines) <= 12
    assert lines[-2].startswith("step 40/40 train ")
    assert lines[-1] == "next: mechgrok analyze fourier a"
    assert "\x1b" not in plain.err
    assert mechgrok("train", *TINY, "--out", "b", "--quiet").err == ""


def test_a_transformer(mechgrok: Any) -> None:
    ended = mechgrok("train", *TINY, "--model", "transformer", "--n-heads", 2, "--n-layers", 2)
    assert ended.code == 0, ended.err
    assert Run("ckpts").weights("blocks.1.attn.W_Q").shape[1:] == (2, 12, 6)


def test_info_fits_on_a_screen(mechgrok: Any, tiny_run: Run) -> None:
    ended = mechgrok("info", tiny_run.path)
    assert ended.code == 0
    assert len(ended.out.splitlines()) <= 24
    for fact in ("a + b mod 7", "19 train, 9 test", "t_mem", "t_gen", "τ_grok", "L1", "L2"):
        assert fact in ended.out


def test_resuming_with_other_settings_is_refused(mechgrok: Any) -> None:
    mechgrok("train", *TINY)
    before = {file: file.read_bytes() for file in Path("ckpts").iterdir()}
    ended = mechgrok("train", "--resume", "--weight-decay", 0.5)
    assert ended.code == 2
    assert "weight_decay = 1.0" in ended.err
    assert "0.5" in ended.err
    assert {file: file.read_bytes() for file in Path("ckpts").iterdir()} == before


def test_resume_extends(mechgrok: Any) -> None:
    mechgrok("train", *TINY)
    assert mechgrok("train", "--resume", "--steps", 50).code == 0
    assert Run("ckpts").steps[-1] == 50


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    program = "import torch; torch.set_num_threads(1); from mechgrok.cli.main import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", program, "train", "--p", "7", "--train-fraction", "0.7",
         "--steps", "100000", "--out", str(folder)],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    while len(list(folder.glob("step_*"))) < 3:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, printed = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"mechgrok train --out {shlex.quote(str(folder))} --resume" in printed
    assert "Traceback" not in printed
    assert not Run(folder).finished


MISTAKES = {
    "unknown task": (["--task", "plus"], "'plus'"),
    "unknown model": (["--model", "rnn"], "rnn"),
    "unknown preset": (["paper-mpl"], "paper-mpl"),
    "unknown option": (["--modulus", "5"], "--modulus"),
    "not a number": (["--p", "seven"], "--p"),
    "modulus": (["--p", "1"], "p = 1"),
    "pairs": (["--task", "sub", "--pairs", "unordered"], "--pairs ordered"),
    "pairs' name": (["--pairs", "sorted"], "sorted"),
    "empty train side": (["--p", "5", "--train-fraction", "0.01"], "0.01"),
    "fraction": (["--train-fraction", "1.5"], "1.5"),
    "heads": (["--model", "transformer", "--d-model", "10", "--n-heads", "3"], "3 heads"),
    "rate": (["--lr", "-1"], "learning_rate = -1"),
    "optimizer": (["--optimizer", "lion"], "lion"),
    "steps": (["--steps", "-5"], "steps = -5"),
    "set": (["--set", "nonsense"], "nonsense"),
    "set's part": (["--set", "trainer.steps=5"], "trainer"),
    "checkpoints": (["--checkpoint-at", "7;13"], "7;13"),
    "device": (["--device", "tpu"], "tpu"),
    "nothing to resume": (["--resume"], "mechgrok train"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing(mechgrok: Any, mistake: str) -> None:
    arguments, names_it = MISTAKES[mistake]
    ended = mechgrok("train", *arguments)
    assert ended.code == 2
    assert names_it in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert "Traceback" not in ended.err
    assert not os.listdir()


@pytest.mark.parametrize("there", ["a run", "a thesis", "a file"])
def test_an_occupied_folder_is_refused(mechgrok: Any, there: str) -> None:
    folder = Path("ckpts")
    if there == "a file":
        folder.write_text("x")
    elif there == "a thesis":
        folder.mkdir()
        (folder / "chapter1.tex").write_text("x")
    else:
        mechgrok("train", *TINY)
    ended = mechgrok("train", *TINY)
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
    if there == "a run":
        assert mechgrok("train", *TINY, "--overwrite").code == 0


def test_versions_are_in_the_configuration(mechgrok: Any) -> None:
    mechgrok("train", *TINY)
    assert "torch" in json.loads(Path("ckpts/config.json").read_text())["versions"]


def test_a_task_that_the_model_cannot_fit_is_said_to_be_one(mechgrok: Any) -> None:
    hopeless = mechgrok("train", *TINY, "--task", "sub", "--pairs", "ordered")
    assert "--model positional-mlp" in hopeless.err
    fine = mechgrok("train", *TINY, "--task", "sub", "--out", "fine")
    assert "positional-mlp" not in fine.err


def test_resuming_with_an_unknown_setting_is_refused(mechgrok: Any) -> None:
    mechgrok("train", *TINY)
    ended = mechgrok("train", "--resume", "--set", "trainer.speed=5")
    assert ended.code == 2
    assert "'trainer'" in ended.err
