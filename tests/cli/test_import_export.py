"""``mechgrok import`` and ``mechgrok export``: options, what they say, and mistakes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok.runs import Run


def test_files_become_a_run_that_every_command_opens(mechgrok: Any, tiny_run: Run) -> None:
    files = [tiny_run.file(step) for step in (0, 20, 60)]
    ended = mechgrok("import", *files, "--out", "run", "--train-fraction", 0.7)
    assert ended.code == 0, ended.err
    assert "3 checkpoints" in ended.out
    assert f"accuracy {tiny_run.metrics.train_accuracy.iloc[-1]:.4f} and " in ended.out
    shown = mechgrok("info", "run")
    assert shown.code == 0
    assert "steps 0 to 60" in shown.out


def test_options_tell_what_the_file_does_not(mechgrok: Any, tiny_transformer_run: Run) -> None:
    ended = mechgrok(
        "import", tiny_transformer_run.file(40), "--out", "run", "--task", "random", "--p", 7,
        "--pairs", "unordered", "--set", "task.label_seed=3", "--split-seed", 2, "--steps", 5,
        "--act", "gelu",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    run = Run("run")
    assert (run.task.name, run.task.pairs, run.task.label_seed) == ("random", "unordered", 3)
    assert (run.task.split_seed, run.steps, run.config.model.act) == (2, [5], "gelu")


def test_weights_at_chance_level_raise_a_warning(mechgrok: Any, tiny_run: Run) -> None:
    ended = mechgrok("import", tiny_run.file(0), "--out", "run")
    assert ended.code == 0
    assert "--pairs" in ended.err


def test_a_folder_is_overwritten_only_when_told_so(mechgrok: Any, tiny_run: Run) -> None:
    assert mechgrok("import", tiny_run.file(60), "--out", "run").code == 0
    again = mechgrok("import", tiny_run.file(0), "--out", "run")
    assert again.code == 2
    assert "--overwrite" in again.err
    assert Run("run").steps == [60]
    assert mechgrok("import", tiny_run.file(0), "--out", "run", "--overwrite").code == 0
    assert Run("run").steps == [0]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--p", 11), "--task or --p"),
        (("--steps", "1,2"), "2 steps"),
        (("--steps", "one"), "'one'"),
        (("--task", "adding"), "'adding'"),
        (("--act", "sine"), "act = 'sine'"),
    ],
)
def test_mistakes(mechgrok: Any, tiny_run: Run, options: tuple, complaint: str) -> None:
    ended = mechgrok("import", tiny_run.file(60), "--out", "run", *options)
    assert ended.code == 2
    assert complaint in ended.err
    assert not Path("run").exists()


def test_an_import_that_is_complete_is_left_and_another_run_is_not_taken_for_it(
    mechgrok: Any, tiny_run: Run
) -> None:
    files = [tiny_run.file(0), tiny_run.file(60)]
    first = mechgrok("import", *files, "--out", "run", "--resume")
    assert first.code == 0
    before = {file.name: file.stat().st_mtime_ns for file in Path("run").iterdir()}
    again = mechgrok("import", *files, "--out", "run", "--resume")
    assert (again.code, again.out) == (0, first.out)
    assert {file.name: file.stat().st_mtime_ns for file in Path("run").iterdir()} == before
    other = mechgrok("import", tiny_run.file(0), "--out", "run", "--resume")
    assert other.code == 2
    assert "--overwrite" in other.err


def test_export_writes_a_folder_that_import_reads(mechgrok: Any, tiny_run: Run) -> None:
    ended = mechgrok("export", tiny_run.path, "--step", 20, "--out", "hub")
    assert ended.code == 0, ended.err
    assert ended.out == "hub: README.md, config.json, model.safetensors\n"
    assert mechgrok("import", "hub/model.safetensors", "--out", "back").code == 0
    inputs = tiny_run.task.examples.inputs
    assert torch.equal(Run("back").model(20)(inputs), tiny_run.model(20)(inputs))
    again = mechgrok("export", tiny_run.path, "--out", "hub")
    assert again.code == 2
    assert "choose another folder" in again.err


def test_without_a_network_the_command_says_so_in_a_sentence(
    mechgrok: Any, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    ended = mechgrok("push", tiny_run.path, "somebody/grokked")
    assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
    assert "hf auth login" in ended.err
    refused = mechgrok("push", tiny_run.path, "somebody/grokked", "--license", "a\nb")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_an_import_of_a_folder_that_is_complete_is_left(mechgrok: Any, tiny_run: Run) -> None:
    assert mechgrok("export", tiny_run.path, "--out", "all", "--hub-layout").code == 0
    first = mechgrok("import", "all", "--out", "run", "--resume")
    assert first.code == 0, first.err
    again = mechgrok("import", "all", "--out", "run", "--resume")
    assert (again.code, again.out) == (0, first.out)


def test_an_import_says_what_it_was_compared_with(mechgrok: Any, tiny_run: Run) -> None:
    ours = mechgrok("import", tiny_run.file(60), "--out", "ours")
    assert "not compared" in ours.out
    torch.save(dict(tiny_run.checkpoint(60).weights), "w.pth")
    theirs = mechgrok("import", "w.pth", "--out", "theirs")
    assert "not compared" not in theirs.out


def test_an_import_is_not_resumed_with_other_steps_either(mechgrok: Any, tiny_run: Run) -> None:
    assert mechgrok("import", tiny_run.file(60), "--out", "imported").code == 0
    for further in ((), ("--steps", 80)):
        ended = mechgrok("train", "--resume", "--out", "imported", *further)
        assert ended.code == 2
        assert "imported" in ended.err
