"""``mechgrok sweep``, and what other commands make of a sweep."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mechgrok as package
from mechgrok.errors import UserError
from mechgrok.formatting import duration, n_bytes
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep
from mechgrok.training import train

SMALL = [
    "quick",
    "--set",
    "p=7",
    "--set",
    "train_fraction=0.7",
    "--set",
    "d_model=8",
    "--set",
    "d_mlp=6",
]


@pytest.fixture(scope="module")
def wd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep made on the command line, with its processes."""
    out = tmp_path_factory.mktemp("cli") / "wd"
    words = [*SMALL, *["--over", "weight_decay=0.3,1", "--seeds", "0:2", "--set", "steps=20"]]
    words += ["--ticket", "rate=0.4,steps=10", "--jobs", "2"]
    done = run("sweep", out, *words)
    assert done.returncode == 0, done.stderr
    assert "8 of 8 runs" in done.stdout
    assert re.search(r"8/8 weight_decay=\S+: t_mem ", done.stderr)
    return out


def run(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mechgrok.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sweep_of_the_command_line_is_a_sweep(wd: Path) -> None:
    assert Sweep(wd).dims == {"stage": ["base", "ticket"], "weight_decay": [0.3, 1], "seed": [0, 1]}
    alone = train(wd.parent / "alone", Run(wd / "weight_decay=1,seed=1").config)
    member = Run(wd / "weight_decay=1,seed=1")
    assert alone.file(20).read_bytes() == member.file(20).read_bytes()


def test_transforms_are_values_of_a_sweep(tmp_path: Path) -> None:
    values = "transform=none,clip,warmup+sam:rho=0.1"
    done = run("sweep", tmp_path / "t", *SMALL, "--set", "steps=10", "--over", values)
    assert done.returncode == 0, done.stderr
    assert Sweep(tmp_path / "t").dims == {"transform": [None, "clip", "warmup+sam:rho=0.1"]}
    kinds = [len(each.config.recipe.transforms) for each in Sweep(tmp_path / "t")]
    assert kinds == [0, 1, 2]
    assert "warmup+sam:rho=0.1" in run("info", tmp_path / "t").stdout


def test_a_plan_that_comes_with_the_project_is_named(mechgrok: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="accelerators"):
        package.sweep(tmp_path, "accelerators", seeds="0:2")
    shown = " ".join(mechgrok("sweep", "--help").out.split())
    for name, file in Plan.shipped().items():
        assert name in shown
        assert len(Plan.load(file).members()) > 1


def test_going_on_with_what_is_whole_trains_nothing(wd: Path, mechgrok: Any) -> None:
    before = {file: file.stat().st_mtime_ns for file in wd.glob("*/step_*")}
    ended = mechgrok("sweep", wd, "--resume", "--quiet")
    assert ended.code == 0, ended.err
    assert {file: file.stat().st_mtime_ns for file in wd.glob("*/step_*")} == before
    assert "8 runs: 8 finished" in mechgrok("sweep", wd, "--status").out


def test_together_is_another_way_to_the_same_folders(mechgrok: Any, tmp_path: Path) -> None:
    words = [*SMALL, *["--set", "steps=20", "--seeds", "0:2", "--together", "on"]]
    ended = mechgrok("sweep", tmp_path / "s", *words)
    assert ended.code == 0, ended.err
    assert "2 of 2 runs" in ended.out
    assert "2/2 seed=" in ended.err


def test_what_is_said_of_a_sweep(wd: Path, mechgrok: Any) -> None:
    told = mechgrok("info", wd, "--by", "weight_decay", "--at-accuracy", "0.2")
    assert told.code == 0, told.err
    assert re.search(r"weight_decay\s+runs\s+generalized\s+t_mem", told.out)
    assert re.search(r"^\s+0\.3\s+4\s", told.out, re.MULTILINE)
    compared = mechgrok("compare", wd, "--by", "weight_decay,rate")
    assert (wd / "analysis" / "compare-by-weight_decay-rate.html").is_file(), compared.err
    analyzed = mechgrok("analyze", "accuracy", wd, "--by", "weight_decay")
    assert (wd / "analysis" / "accuracy-by-weight_decay.html").is_file(), analyzed.err
    plain = mechgrok("compare", *wd.glob("weight_decay=*,seed=?"), "--by", "weight_decay")
    assert plain.code == 0, plain.err


def test_a_plan_is_given_edited_and_run_again(wd: Path, mechgrok: Any, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text((wd / "sweep.toml").read_text().replace('"0,1"', '"0,1,2"'))
    ended = mechgrok("sweep", wd, plan, "--dry-run")
    assert ended.code == 0, ended.err
    assert "12 runs (6 base, 6 ticket), 4 " in ended.out
    assert len(Sweep(wd)) == 8


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--over wieght_decay=1,3", "did you mean weight_decay?"),
        ("--over weight_decay=3:1", "3:1"),
        ("--over weight_decay=", "weight_decay=0.3,1,3"),
        ("--over weight_decay=-1,2", "weight_decay"),
        ("--seeds 0:20000", "--yes"),
        ("--seeds 0:3 --over seed=1,2", "seed"),
        ("--ticket rat=0.5", "'rat'"),
        ("--ticket rate=1.5", "1.5"),
        ("--ticket rate=0.5,of=nothing", "nothing"),
        ("--popup sore=1", "'sore'"),
        ("--set steps", "steps=5000"),
        ("--device cuda", "CUDA"),
        ("--device gpu", "'gpu'"),
        ("--together perhaps", "--together perhaps"),
        ("--resume", "out"),
        ("nothing.toml", "nothing.toml"),
        ("qick", "'qick'"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_folder(
    words: str, complaint: str, mechgrok: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ended = mechgrok("sweep", tmp_path / "out", *shlex.split(words))
    assert ended.code == 2
    assert complaint in ended.err
    assert ended.err.startswith("mechgrok: ")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_sweep_s_folder_is_refused(wd: Path, mechgrok: Any) -> None:
    ended = mechgrok("sweep", wd, "quick", "--seeds", "0:3")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "--extend" in ended.err


def test_times_and_sizes_are_told_in_units_that_suit_them() -> None:
    assert [duration(s) for s in (5, 90, 4000, 3e5)] == ["5 s", "2 min", "1 h 7 min", "3 days 11 h"]
    assert [n_bytes(n) for n in (2e3, 3e6, 4.2e9)] == ["2 kB", "3 MB", "4.2 GB"]
