"""A disk that is full or read-only: one sentence, what was there untouched, and room mends it."""

import os
import shutil
import subprocess
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mechgrok
from mechgrok import Run, UserError
from mechgrok.derived.edge_popup import train_popup
from mechgrok.derived.tickets import train_ticket
from mechgrok.exchange import export, import_run
from mechgrok.runs import compare, verify
from mechgrok.runs.facts import facts
from mechgrok.runs.folder import is_run
from mechgrok.training import resume, train
from tests.torture.test_kills import config, contents


@contextmanager
def mounted(at: Path, *options: str) -> Iterator[Path]:
    """A file system of its own, while it lasts."""
    at.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no command mount")
    made = subprocess.run(["mount", *options, str(at)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"mounting needs root: {made.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def remount(at: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(at)], check=True)


def _check_sentence(error: UserError) -> None:
    assert "\n" not in str(error).strip()


def one_sentence(work: Callable[[], object], tally: Counter[str]) -> bool:
    """Whether it was done; if not, it was refused in a sentence."""
    tally["inputs"] += 1
    try:
        work()
    except UserError as error:
        _check_sentence(error)
        return False
    except Exception as error:
        tally["tracebacks"] += 1
        traceback.print_exc()
        raise AssertionError(repr(error)) from error
    return True


MORE = ["4k", "40k", "64k"]


@pytest.mark.parametrize(
    "size", ["16k", *(pytest.param(size, marks=pytest.mark.torture) for size in MORE)]
)
def test_a_full_disk(size: str, tmp_path: Path, tally: Counter[str]) -> None:
    whole = train(tmp_path / "whole", config(steps=20, checkpoint_every=1)).path
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={size}", "none") as disk:
        run = disk / "run"
        assert not one_sentence(lambda: train(run, config(steps=20, checkpoint_every=1)), tally)
        if is_run(run):
            assert not [each for each in verify(run) if "no row for" not in each]
            one_sentence(lambda: facts(Run(run)), tally)
            for work in (
                lambda: resume(run),
                lambda: mechgrok.analyze(run, "norms"),
                lambda: export(Run(run), disk / "exported"),
                lambda: train_ticket(Run(run), disk / "ticket", at=0, steps=3),
                lambda: train_popup(Run(run), disk / "popup", at=0, steps=3),
                lambda: import_run([whole / "step_00000000.safetensors"], disk / "imported"),
            ):
                one_sentence(work, tally)
            assert not list(disk.rglob("*.partial"))
        remount(disk, "size=60m")
        if is_run(run):
            resume(run)
        else:
            train(run, config(steps=20, checkpoint_every=1))
        kept = {n: c for n, c in contents(run).items() if not n.startswith("analysis")}
        tally["lost"] += kept != contents(whole)
        assert kept == contents(whole)


def test_a_run_that_has_no_room_replaces_nothing(tmp_path: Path, tally: Counter[str]) -> None:
    large = mechgrok.RunConfig.make(
        task={"name": "add", "p": 31},
        model={"kind": "mlp", "d_model": 64, "d_mlp": 200},
        training={"steps": 2},
    )
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=100k", "none") as disk:
        train(disk / "run", config())
        before = contents(disk / "run")
        assert not one_sentence(lambda: train(disk / "run", large, overwrite=True), tally)
        assert contents(disk / "run") == before
        assert resume(disk / "run", steps=6).steps[-1] == 6


def test_a_read_only_disk(tmp_path: Path, tally: Counter[str]) -> None:
    train(tmp_path / "source" / "run", config())
    before = contents(tmp_path / "source")
    with mounted(tmp_path / "disk", "--bind", str(tmp_path / "source")) as disk:
        remount(disk, "ro,bind")
        run = disk / "run"
        for writes in (
            lambda: train(run, config(seed=5), overwrite=True),
            lambda: train(disk / "new", config()),
            lambda: resume(run, steps=9),
            lambda: export(Run(run), disk / "exported"),
            lambda: train_ticket(Run(run), disk / "ticket", steps=2),
            lambda: train_popup(Run(run), disk / "popup", at=0, steps=2),
            lambda: mechgrok.report(run, only=["norms"], workers=1),
            lambda: import_run([run / "step_00000000.safetensors"], disk / "imported"),
        ):
            assert not one_sentence(writes, tally)
        for reads in (
            lambda: facts(Run(run)),
            lambda: verify(run),
            lambda: compare({"run": Run(run)}),
            lambda: mechgrok.analyze(run, "norms"),
            lambda: export(Run(run), tmp_path / "exported"),
            lambda: train_ticket(Run(run), tmp_path / "ticket", steps=2, rate=0.3),
        ):
            assert one_sentence(reads, tally)
    assert contents(tmp_path / "source") == before
    assert os.listdir(tmp_path / "source") == ["run"]
