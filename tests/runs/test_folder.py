"""A run folder is made whole or not at all, has one writer, and loses nothing that is not its."""

import json
import multiprocessing
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mechgrok import RunConfig, UserError
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import write_checkpoint
from mechgrok.runs.folder import MADE, MAKING, MOVING, is_unfinished, new_run
from mechgrok.runs.lock import writing
from mechgrok.runs.metrics import append_metrics
from mechgrok.training import create_run, resume, train

OTHER = RunConfig.make(
    task={"name": "add", "p": 5},
    model={"kind": "mlp", "d_model": 4, "d_mlp": 4},
    training={"steps": 3},
    seed=9,
)


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of the tiny run that a test may change."""
    shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis"))
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


class TestMaking:
    def test_a_new_run_that_cannot_be_made_costs_nothing(self, copy: Path) -> None:
        before = contents(copy)

        def interrupted() -> None:
            with new_run(copy, overwrite=True) as making:
                (making / "config.json").write_text("{}")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert contents(copy) == before

    def test_a_folder_that_was_not_there_is_not_there_after_a_failure(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), new_run(tmp_path / "run"):
            raise RuntimeError
        assert not (tmp_path / "run").exists()

    def test_what_a_kill_left_before_anything_was_whole_is_begun_anew(self, tmp_path: Path) -> None:
        path = tmp_path / "run"
        (path / MAKING).mkdir(parents=True)
        (path / MAKING / "metrics.csv").write_text("step")
        assert is_unfinished(path)
        with pytest.raises(UserError, match="mechgrok train"):
            Run(path)
        assert create_run(path, OTHER).config.seed == 9
        assert not list(path.glob(".*"))

    @pytest.mark.parametrize("moved", range(4))
    def test_a_new_run_that_was_whole_takes_its_place(
        self, copy: Path, tmp_path: Path, moved: int
    ) -> None:
        """Killed between the old run's first deleted file and the new one's last moved one."""
        new = create_run(tmp_path / "new", OTHER).path
        files = sorted(new.iterdir(), key=lambda file: file.name == "config.json")
        if moved == 0:
            os.rename(new, copy / MADE)
            (copy / "config.json").unlink()
        else:
            shutil.rmtree(copy)
            copy.mkdir()
            (copy / MOVING).mkdir()
            for place, file in enumerate(files):
                where = copy if place < moved else copy / MOVING
                os.rename(file, where / file.name)
        if moved < 3:
            assert Run(copy).config.seed == 9
        assert resume(copy).config.seed == 9
        assert Run(copy).steps[-1] == 3
        assert not [f for f in copy.iterdir() if f.name.startswith(".")]

    def test_half_written_files_are_swept_at_the_next_start(self, copy: Path) -> None:
        left = copy / ".step_00000080.safetensors.1.partial"
        left.write_bytes(b"half")
        resume(copy, steps=61)
        assert not left.exists()


class TestReplacing:
    def test_only_what_analyses_wrote_is_deleted_in_analysis(self, copy: Path) -> None:
        analysis = copy / "analysis"
        analysis.mkdir(exist_ok=True)
        ours = ["fourier.parquet", "dead-neurons-0a1b2c3d.parquet", "norms.html", "report.html"]
        ours += ["compare-vs-other.html", "graph.png", "norms-30-runs-0a1b2c3d.html"]
        theirs = ["notes.md", "fourier-paper.pdf", "my_fourier.html", "thesis.parquet"]
        for name in [*ours, *theirs]:
            (analysis / name).write_text(name)
        create_run(copy, OTHER, overwrite=True)
        assert sorted(file.name for file in analysis.iterdir()) == sorted(theirs)

    def test_a_link_is_not_followed(self, copy: Path, tmp_path: Path) -> None:
        shutil.rmtree(copy / "analysis", ignore_errors=True)
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "fourier.html").write_text("another run's")
        (copy / "analysis").symlink_to(tmp_path / "elsewhere")
        create_run(copy, OTHER, overwrite=True)
        assert (tmp_path / "elsewhere" / "fourier.html").read_text() == "another run's"

    def test_a_folder_with_somebody_elses_config_is_no_run(self, tmp_path: Path) -> None:
        hub = tmp_path / "hub"
        hub.mkdir()
        (hub / "config.json").write_text(json.dumps({"architectures": ["GPT2"], "d_model": 4}))
        (hub / "metrics.csv").write_text("mine")
        before = contents(hub)
        with pytest.raises(UserError, match=r"--out|another folder"):
            create_run(hub, OTHER, overwrite=True)
        assert contents(hub) == before


def _hold(folder: Path, ready: Any, done: Any) -> None:
    with writing(folder):
        ready.set()
        done.wait(60)


class TestOneWriter:
    def test_the_second_is_refused_and_told_who_writes(self, copy: Path) -> None:
        context = multiprocessing.get_context("fork")
        ready, done = context.Event(), context.Event()
        first = context.Process(target=_hold, args=(copy, ready, done))
        first.start()
        try:
            assert ready.wait(60)
            before = Run(copy).config
            for second in (
                lambda: train(copy, OTHER, overwrite=True),
                lambda: resume(copy, steps=90),
            ):
                with pytest.raises(UserError, match=rf"\({first.pid} "):
                    second()
            assert Run(copy).config == before
        finally:
            done.set()
            first.join()
        assert resume(copy, steps=70).steps[-1] == 70

    def test_a_lock_dies_with_its_process(self, copy: Path) -> None:
        context = multiprocessing.get_context("fork")
        ready, done = context.Event(), context.Event()
        first = context.Process(target=_hold, args=(copy, ready, done))
        first.start()
        assert ready.wait(60)
        first.kill()
        first.join()
        assert resume(copy, steps=70).steps[-1] == 70

    def test_the_holder_may_take_it_again(self, tmp_path: Path) -> None:
        with writing(tmp_path / "run"), writing(tmp_path / "run"):
            pass
        assert not (tmp_path / "run").exists()


class TestGoingOn:
    def test_a_run_without_its_state_is_not_begun_anew(self, copy: Path) -> None:
        for file in copy.glob("resume*"):
            file.unlink()
        before = contents(copy)
        assert resume(copy).finished
        with pytest.raises(UserError, match="resume"):
            resume(copy, steps=90)
        assert contents(copy) == before

    def test_step_0_alone_needs_no_state(self, copy: Path) -> None:
        for file in [*copy.glob("resume*"), *copy.glob("step_*")]:
            if not file.name.startswith("step_00000000"):
                file.unlink()
        assert resume(copy).steps[-1] == 60

    @pytest.mark.parametrize("damage", ["truncated", "deleted", "flipped", "state truncated"])
    def test_a_damaged_newest_checkpoint_is_made_again(self, copy: Path, damage: str) -> None:
        before = contents(copy)
        newest = Run(copy).file(60) if damage != "state truncated" else copy / "resume.safetensors"
        content = bytearray(newest.read_bytes())
        if damage == "deleted":
            newest.unlink()
        elif damage == "flipped":
            content[-5] ^= 4
            newest.write_bytes(content)
        else:
            newest.write_bytes(content[:100])
        resume(copy)
        assert contents(copy) == before

    def test_a_state_of_another_network_is_refused(self, copy: Path) -> None:
        state = load_file(copy / "resume.safetensors")
        state["W_in/exp_avg"] = torch.zeros(2, 2)
        save_file(state, copy / "resume.safetensors", metadata={"step": "60"})
        with pytest.raises(UserError, match=r"W_in/exp_avg \[2, 2\]"):
            resume(copy, steps=70)

    def test_a_torn_last_line_of_the_metrics_is_passed_over_and_mended(
        self, copy: Path, tiny_run: Run
    ) -> None:
        with open(copy / "metrics.csv", "a") as file:
            file.write("70,0.25,0.3")
        assert Run(copy).metrics.equals(tiny_run.metrics)
        grown = resume(copy, steps=80).metrics
        assert grown.step.is_unique
        assert grown.step.tolist()[-3:] == [70, 75, 80]

    @pytest.mark.parametrize("last", ["70,a,b,c,d,e,f", "70.5,1,1,1,1,1,1", "3,1,1,1,1,1,1"])
    def test_metrics_that_are_no_numbers_are_named(self, copy: Path, last: str) -> None:
        with open(copy / "metrics.csv", "a") as file:
            file.write(f"{last}\n")
        with pytest.raises(UserError, match=r"metrics\.csv"):
            _ = Run(copy).metrics


def test_files_are_as_readable_as_the_umask_says(tmp_path: Path, tiny_run: Run) -> None:
    before = os.umask(0o027)
    try:
        write_checkpoint(tmp_path, tiny_run.checkpoint(0))
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_appending_to_a_full_disk_leaves_the_metrics_as_they_were(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copy / "metrics.csv").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    row = Run(copy).metrics.iloc[-1].to_dict()
    with pytest.raises(UserError, match="No space left"):
        append_metrics(copy, [row])
    assert (copy / "metrics.csv").read_bytes() == before
