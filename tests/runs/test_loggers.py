"""Metrics in other people's formats, read back by their own readers."""

import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import mechgrok
from mechgrok import UserError, resume, train
from mechgrok.loggers import Logger, base
from mechgrok.runs import Run

SMALL: dict[str, Any] = {"p": 7, "d_model": 6, "d_mlp": 5, "steps": 30, "checkpoint_every": 10}


def scalars(run: Run) -> dict[str, dict[int, float]]:
    """The series in the event files of a run, as TensorBoard reads them."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = reader.EventAccumulator(str(run.path / "logs" / "tensorboard"))
    accumulator.Reload()
    return {
        name: {event.step: event.value for event in accumulator.Scalars(name)}
        for name in accumulator.Tags()["scalars"]
    }


def same_as_metrics(found: Mapping[str, Mapping[int, float]], run: Run) -> bool:
    expected = run.metrics.set_index("step").test_accuracy.to_dict()
    return found["test/accuracy"] == pytest.approx(expected, rel=1e-6)


def test_tensorboard_has_every_evaluation(tmp_path: Path) -> None:
    run = train(tmp_path / "run", "quick", log="tensorboard", **SMALL)
    assert same_as_metrics(scalars(run), run)
    assert set(scalars(run)) >= {"train/loss", "test/loss", "norm/l2"}


def test_a_run_that_goes_on_goes_on_in_its_log(tmp_path: Path) -> None:
    run = train(tmp_path / "run", "quick", log=["tensorboard"], **SMALL)
    run = resume(run.path, steps=50, log=["tensorboard"])
    assert same_as_metrics(scalars(run), run)


def test_a_past_run_is_sent_whole_and_twice_is_once(tiny_run: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(tiny_run.path, tmp_path / "run"))
    for _ in range(2):
        mechgrok.log(run, "tensorboard")
    assert same_as_metrics(scalars(run), run)


def test_wandb_offline_holds_the_run(tiny_run: Run, tmp_path: Path) -> None:
    """In a process of its own, as wandb starts a service."""
    pytest.importorskip("wandb")
    copy = shutil.copytree(tiny_run.path, tmp_path / "run")
    words = [sys.executable, "-m", "mechgrok.cli.main", "log", str(copy), "--to", "wandb"]
    environment = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=_environment(environment)
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(tiny_run.metrics)} evaluations sent to wandb" in done.stdout
    assert "warning" not in done.stderr
    (file,) = (copy / "logs").rglob("*.wandb")
    from wandb.proto import wandb_internal_pb2

    found = {}
    for content in records(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            items = {
                (item.key or "/".join(item.nested_key)): json.loads(item.value_json)
                for item in record.history.item
            }
            found[items["_step"]] = items["test/accuracy"]
    assert found == pytest.approx(tiny_run.metrics.set_index("step").test_accuracy.to_dict())


def records(content: bytes) -> Iterator[bytes]:
    """What a file of wandb's holds: LevelDB's log format behind seven bytes of its own."""
    block, at, record = 32768, 7, b""
    while at + 7 <= len(content):
        if block - at % block < 7:  # No header fits: the rest of the block is empty.
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            yield record
            record = b""


def test_trackio_holds_the_run(tiny_run: Run, tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    copy = shutil.copytree(tiny_run.path, tmp_path / "run")
    words = [sys.executable, "-m", "mechgrok.cli.main", "log", str(copy), "--to", "trackio"]
    environment = _environment({"TRACKIO_DIR": str(tmp_path / "kept"), "HOME": str(tmp_path)})
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / "kept").rglob("mechgrok.db")
    with closing(sqlite3.connect(kept)) as base:
        rows = base.execute("select run_name, step, metrics from metrics").fetchall()
    assert {name for name, _, _ in rows} == {"run"}
    found = {step: json.loads(values)["test/accuracy"] for _, step, values in rows}
    assert found == pytest.approx(tiny_run.metrics.set_index("step").test_accuracy.to_dict())


def test_wandb_on_a_terminal_without_a_login_asks_nothing(tiny_run: Run, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    copy = shutil.copytree(tiny_run.path, tmp_path / "run")
    words = [sys.executable, "-m", "mechgrok.cli.main", "log", str(copy), "--to", "wandb"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            timeout=100,
            env=clean | {"HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"},
        )
        said = " ".join(os.read(ours, 100_000).decode().split())
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1, said
    assert "was not sent to wandb" in said
    assert "evaluations sent" not in said
    assert "wandb login first" in said


class Deaf(Logger):
    """One whose service never answers."""

    def note(self, step: int, values: Mapping[str, float]) -> None:
        threading.Event().wait()

    def close(self) -> None: ...


def test_a_logger_that_never_answers_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "PATIENCE", 0.2)
    monkeypatch.setitem(sys.modules, "deaf", sys.modules[__name__])
    with pytest.warns(UserWarning, match="no answer within 0.2 seconds"):
        run = train(tmp_path / "run", "quick", log="deaf:Deaf", **SMALL)
    assert run.finished


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **more}


class Failing(Logger):
    """One whose network goes away."""

    def note(self, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError("the network went away")

    def close(self) -> None:
        pass


def test_a_logger_that_fails_is_told_of_once_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechgrok.loggers import LOGGERS

    monkeypatch.setitem(LOGGERS.own, "failing", Failing)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = train(tmp_path / "run", "quick", log="failing", **SMALL)
    assert run.finished
    assert ["the network went away" in str(each.message) for each in told] == [True]


def test_what_was_sent_is_what_a_logger_took(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from mechgrok.cli.main import main
    from mechgrok.loggers import LOGGERS

    taken: list[int] = []

    class Taking(Failing):
        def note(self, step: int, values: Mapping[str, float]) -> None:
            taken.append(step)

    for name, kind in (("failing", Failing), ("taking", Taking)):
        monkeypatch.setitem(LOGGERS.own, name, kind)
    with pytest.raises(SystemExit) as ended:
        main(["log", str(tiny_run.path), "--to", "failing", "--to", "taking"])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert taken == list(tiny_run.metrics.step)
    assert f"{len(taken)} evaluations sent to taking\n" in said.out
    assert "failing" in said.err
    assert "the network went away" in said.err


def test_an_unknown_logger_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'tensorbord'.*tensorboard"):
        train(tmp_path / "run", "quick", log="tensorbord", **SMALL)
    assert not (tmp_path / "run").exists()
