"""A run folder opens whole, says what is wrong with it, and is never written over unasked."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mechgrok
from mechgrok.configuration.run_config import FORMAT, RunConfig
from mechgrok.errors import UserError
from mechgrok.models import effective_weights
from mechgrok.runs import Run
from mechgrok.training import create_run, resume, train


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of a run that a test may damage."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "copy"))


def test_everything_comes_back_from_the_folder(tiny_run: Run) -> None:
    run = Run(tiny_run.path)
    assert (run.task.name, run.task.p) == ("add", 7)
    assert torch.equal(run.task.train_index, tiny_run.task.train_index)
    assert run.config == tiny_run.config
    assert {"python", "torch", "mechgrok", "transformer-lens"} <= set(run.config.versions)
    assert run.steps == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60] or run.steps[-1] == 60


def test_weights_are_stacked_over_steps(tiny_run: Run) -> None:
    stack = tiny_run.weights("W_in")
    assert stack.shape == (len(tiny_run.steps), 12, 8)
    for step, weight in zip(tiny_run.steps, stack, strict=True):
        assert torch.equal(weight, tiny_run.checkpoint(step).weights["W_in"])
    assert torch.equal(tiny_run.weights("W_in", [0, 60]), stack[[0, -1]])


def test_a_transformers_weights_are_found_by_the_end_of_their_name(
    tiny_transformer_run: Run,
) -> None:
    run = tiny_transformer_run
    assert torch.equal(run.weights("W_Q"), run.weights("blocks.0.attn.W_Q"))
    with pytest.raises(UserError, match="'W_X'"):
        run.weights("W_X")


def test_masked_weights_are_those_the_model_computes_with(masked_run: Run) -> None:
    model = masked_run.model(20)
    for name, weight in effective_weights(model).items():
        assert torch.equal(masked_run.weights(name, [20])[0], weight)


def test_sides_are_the_products_of_the_weights(tiny_run: Run, tiny_transformer_run: Run) -> None:
    for run in (tiny_run, tiny_transformer_run):
        model = run.model()
        torch.testing.assert_close(run.input_side([run.steps[-1]])[0], model.input_side())
        torch.testing.assert_close(run.output_side([run.steps[-1]])[0], model.output_side())


def test_t_mem_and_t_gen_are_first_steps(copy: Path) -> None:
    table = Run(copy).metrics.copy()
    table.loc[:, ["train_accuracy", "test_accuracy"]] = 0.0
    table.loc[2:, "train_accuracy"] = 0.95
    table.loc[4, "test_accuracy"] = 0.96
    table.to_csv(copy / "metrics.csv", index=False)
    run = Run(copy)
    assert run.t_mem == table.step[2]
    assert run.t_gen == table.step[4]
    assert run.tau_grok == table.step[4] / table.step[2]


def test_never_reached_is_none(copy: Path) -> None:
    table = Run(copy).metrics.copy()
    table.loc[:, "test_accuracy"] = 0.5
    table.to_csv(copy / "metrics.csv", index=False)
    assert Run(copy).t_gen is None
    assert Run(copy).tau_grok is None


def test_a_missing_step_names_the_nearest(tiny_run: Run) -> None:
    with pytest.raises(UserError, match=r"step 42.* 40"):
        tiny_run.model(42)


def test_a_truncated_checkpoint_is_named(copy: Path) -> None:
    path = Run(copy).file(40)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"step_00000040\.safetensors"):
        Run(copy).model(40)
    assert Run(copy).model(60) is not None


def test_a_foreign_checkpoint_is_named(copy: Path) -> None:
    save_file({"W": torch.zeros(2)}, Run(copy).file(40))
    with pytest.raises(UserError, match=r"step_00000040\.safetensors"):
        Run(copy).model(40)


def test_another_models_checkpoint_is_named(copy: Path) -> None:
    save_file({"W_E": torch.zeros(2, 2)}, Run(copy).file(40), metadata={"step": "40"})
    with pytest.raises(UserError, match=r"step_00000040\.safetensors"):
        Run(copy).model(40)


@pytest.mark.parametrize("what", ["missing", "file", "empty", "not json", "list"])
def test_no_run(tmp_path: Path, what: str) -> None:
    path = tmp_path / "folder"
    if what == "file":
        path.write_text("")
    elif what != "missing":
        path.mkdir()
    if what == "not json":
        (path / "config.json").write_text("{")
    if what == "list":
        (path / "config.json").write_text("[]")
    with pytest.raises(UserError, match="folder"):
        Run(path)


@pytest.mark.parametrize("part", ["task", "model", "training", "origin", "seed"])
@pytest.mark.parametrize("value", [[], [1], "x", -1, {"a": 1}])
def test_a_configuration_of_other_types_is_one_sentence(
    copy: Path, part: str, value: object
) -> None:
    fields = json.loads((copy / "config.json").read_text()) | {part: value}
    (copy / "config.json").write_text(json.dumps(fields))
    with pytest.raises(UserError):
        Run(copy)


def test_a_newer_layout_is_refused(copy: Path) -> None:
    fields = json.loads((copy / "config.json").read_text())
    fields |= {"format": FORMAT + 1, "new_setting": True}
    fields["versions"]["mechgrok"] = "9.9"
    (copy / "config.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match=r"mechgrok 9\.9 .* update mechgrok"):
        Run(copy)


@pytest.mark.parametrize("versions", ["9.9", [], {}, {"mechgrok": None}])
def test_a_newer_layout_need_not_say_who_made_it(copy: Path, versions: object) -> None:
    fields = json.loads((copy / "config.json").read_text())
    fields |= {"format": FORMAT + 1, "versions": versions}
    (copy / "config.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match="update mechgrok"):
        Run(copy)


def test_nothing_is_overwritten_unasked(copy: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    with pytest.raises(UserError, match="--overwrite"):
        create_run(copy, RunConfig())
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="thesis"):
            create_run(other, RunConfig(), overwrite=overwrite)
    assert {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()} == before
    assert (other / "chapter1.tex").read_text() == "x"


def test_overwriting_removes_the_old_run_and_nothing_else(copy: Path) -> None:
    (copy / "notes.txt").write_text("keep")
    run = create_run(copy, RunConfig.make(task={"name": "add", "p": 5}), overwrite=True)
    assert run.steps == [0]
    assert run.metrics.empty
    assert (copy / "notes.txt").read_text() == "keep"


def test_a_full_disk_leaves_the_run_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_run: Run
) -> None:
    import safetensors.torch

    save, room = safetensors.torch.save_file, [9]

    def save_until_full(tensors: dict, path: Path, metadata: dict) -> None:
        room[0] -= 1
        if room[0] < 0:
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        save(tensors, path, metadata=metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", save_until_full)
    with pytest.raises(UserError, match="No space left"):
        train(tmp_path / "run", tiny_run.config)
    broken = Run(tmp_path / "run")
    assert not list(broken.path.glob("*.partial")) + list(broken.path.glob(".*.partial"))
    assert broken.steps
    assert all(broken.checkpoint(step) for step in broken.steps)
    assert len(broken.metrics) > 0
    room[0] = 10**6
    whole = resume(broken.path)
    ours, theirs = whole.checkpoint(-1).weights, tiny_run.checkpoint(-1).weights
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_names_of_weights_need_no_model_and_the_mask_is_read_once(
    masked_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read = Run(masked_run.path), []
    real = Run.checkpoint
    monkeypatch.setattr("mechgrok.models.make_model", None)
    monkeypatch.setattr(Run, "checkpoint", lambda run, step: read.append(step) or real(run, step))
    assert run.mask is run.mask
    assert len(read) == 1
    assert set(run.weight_names) == set(real(run, -1).weights)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {k.replace("W_in", "W_ix"): v for k, v in w.items()}, "W_in"),
        (lambda w: w | {"W_in": w["W_in"][:, :2].clone()}, r"W_in .*, 2\)"),
        (lambda w: w | {"b_in": torch.zeros(3)}, r"b_in .*\(3,\)"),
    ],
    ids=["another name", "another shape", "one more"],
)
def test_a_checkpoint_of_another_network_is_refused_by_all_that_read_it(
    tiny_run: Run, tmp_path: Path, change: Callable[..., dict[str, torch.Tensor]], words: str
) -> None:
    path = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    file = path / tiny_run.file(0).name
    save_file(change(load_file(file)), file, metadata={"step": "0"})
    with pytest.raises(UserError, match=words):
        Run(path).checkpoint(0)
    with pytest.raises(UserError, match=r"W_in|b_in|shape"):
        mechgrok.analyze(path, "norms", fresh=True)


@pytest.mark.parametrize(
    "steps",
    [[60, 0, 60], (0, -1), range(0, 61, 60), np.array([60, 0]), torch.tensor([0, 60]), "last,0"],
)
def test_steps_are_selected_in_order_and_once(tiny_run: Run, steps: Any) -> None:
    assert tiny_run.select(steps) == [0, 60]
    assert tiny_run.select(60) == tiny_run.select(np.int64(-1)) == [60]


@pytest.mark.parametrize("steps", [[], range(0), 0.5, [0.5], ["last"], object()])
def test_what_names_no_step_is_refused(tiny_run: Run, steps: Any) -> None:
    with pytest.raises(UserError, match="step"):
        tiny_run.select(steps)
    with pytest.raises(UserError, match="step"):
        tiny_run.weights("W_in", steps)
