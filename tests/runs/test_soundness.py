"""What was written can be told from what has changed since."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechgrok.errors import UserError
from mechgrok.runs import Run, soundness, verify
from mechgrok.runs.soundness import undigested
from mechgrok.tensors import header
from mechgrok.training import recorder, train

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> Path:
    shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis"))
    return tmp_path / "run"


def test_a_run_as_it_was_written_is_sound(tiny_run: Run, masked_run: Run) -> None:
    assert verify(tiny_run) == verify(masked_run.path) == []


@pytest.mark.parametrize("name", ["step_00000040.safetensors", "resume.safetensors"])
def test_every_flipped_bit_is_found(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    places = random.Random(1)
    for _ in range(60):
        flipped = bytearray(content)
        flipped[places.randrange(len(content))] ^= 1 << places.randrange(8)
        (copy / name).write_bytes(flipped)
        (problem, *_) = verify(copy)
        assert name in problem
    (copy / name).write_bytes(content)
    assert verify(copy) == []


def test_checkpoints_of_another_step_or_network_are_found(
    copy: Path, tiny_transformer_run: Run
) -> None:
    shutil.copy(Run(copy).file(20), Run(copy).file(40))
    assert "names" not in verify(copy)[0]
    assert "step 20 instead of 40" in verify(copy)[0]
    shutil.copy(tiny_transformer_run.file(40), Run(copy).file(40))
    assert verify(copy) == [
        f"{Run(copy).file(40)} holds other weights than the checkpoints before it."
    ]


def test_a_checkpoint_without_its_row_is_found(copy: Path) -> None:
    lines = (copy / "metrics.csv").read_text().splitlines(keepends=True)
    (copy / "metrics.csv").write_text("".join(line for line in lines if line[:3] != "40,"))
    assert verify(copy) == [
        f"{copy / 'metrics.csv'} has no row for step 40, which has a checkpoint."
    ]


def test_runs_of_version_0_1_carry_no_digest_and_open_as_before(undigested_run: Run) -> None:
    assert undigested(undigested_run) == undigested_run.steps
    assert verify(undigested_run) == verify(DATA / "base") == []


@pytest.mark.parametrize("shape", [[[1], 12], [-7, 12], ["7", 12], [7.5, 12], None, [True, 12]])
def test_a_header_whose_shapes_are_no_numbers_is_refused(copy: Path, shape: object) -> None:
    file = Run(copy).file(0)
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    described = json.loads(content[8 : 8 + size])
    described["W_E"]["shape"] = shape
    text = json.dumps(described).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    with pytest.raises(UserError, match=r"step_00000000\.safetensors"):
        header(file)


@pytest.mark.parametrize("settings", [{}, {"keep": 3}, {"probes": {"norms": 5}}])
def test_a_run_is_sound_at_every_moment_of_its_training(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def then_verify(write: Callable[..., Any]) -> Callable[..., Any]:
        def both(*arguments: Any, **options: Any) -> Any:
            written = write(*arguments, **options)
            assert verify(tmp_path / "run") == []
            looked.append(write.__name__)
            return written

        return both

    for name in ("write_checkpoint", "append_metrics", "write_state", "drop_checkpoints_but"):
        monkeypatch.setattr(recorder, name, then_verify(getattr(recorder, name)))

    def watch(model: object, row: object) -> None:
        assert verify(tmp_path / "run") == []

    small = {"p": 7, "d_model": 6, "d_mlp": 5, "steps": 30, "checkpoint_every": 10}
    train(tmp_path / "run", "quick", watch=watch, **small, **settings)
    assert len(looked) >= 12


def test_a_row_that_is_missing_before_the_newest_checkpoint_is_damage(copy: Path) -> None:
    lines = (copy / "metrics.csv").read_text().splitlines(keepends=True)
    for step in (20, 60):
        without = [line for line in lines if not line.startswith(f"{step},")]
        (copy / "metrics.csv").write_text("".join(without))
        (problem,) = verify(copy)
        assert problem.endswith(f"has no row for step {step}, which has a checkpoint.")


def test_what_is_wrong_in_passing_is_looked_at_again(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training writes: a checkpoint is not yet whole when it is first looked at."""
    file = Run(copy).file(40)
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert len(verify(copy)) == 1
    (copy / ".lock").touch()
    assert len(verify(copy)) == 1
    problems = soundness._problems

    def first_look(run: Run) -> list[str]:
        found = problems(run)
        file.write_bytes(whole)
        return found

    monkeypatch.setattr(soundness, "_problems", first_look)
    assert verify(copy) == []
