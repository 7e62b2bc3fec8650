"""Shards of a sweep: several processes train one plan in one folder."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep, sweep
from mechgrok.sweeps.shards import Shard
from tests.sweeps.conftest import TINY, here

PLAN = {
    "preset": "quick",
    "seeds": "0:3",
    "set": TINY,
    "over": {"weight_decay": "0.3,1"},
    "stage": [{"make": "ticket", "rate": "0.4,0.6", "steps": 10}],
}


def test_shards_share_out_all_runs_and_keep_children_with_their_parents() -> None:
    members = Plan.read(PLAN).members()
    shards = [Shard(index, 4).of(list(members)) for index in range(1, 5)]
    names = [member.name for shard in shards for member in shard]
    assert sorted(names) == sorted(member.name for member in members)
    assert [len(shard) for shard in shards] == [6, 6, 3, 3]
    for shard in shards:
        own = {member.name for member in shard}
        assert all(member.parent in {None, *own} for member in shard)


def test_more_shards_than_runs_leave_some_empty(tmp_path: Path) -> None:
    plan = Plan.read(PLAN)
    sweep(tmp_path / "wd", plan, where=here, shard="7/9")
    assert not Sweep(tmp_path / "wd").finished


def test_one_shard_trains_its_runs_and_the_table_shows_all(tmp_path: Path) -> None:
    made = sweep(tmp_path / "wd", Plan.read(PLAN), where=here, shard="2/3")
    assert len(made) == 18
    assert made.finished == {member.name for member in Shard(2, 3).of(made.members)}
    sweep(tmp_path / "wd", Plan.read(PLAN), where=here)
    assert len(made.finished) == 18


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/3", "1/0", "1/2/3"])
def test_a_malformed_shard_says_how_to_write_one(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3/20"):
        sweep(tmp_path / "wd", Plan.read(PLAN), shard=text)
    assert not (tmp_path / "wd").exists()


def test_five_processes_fill_one_folder_although_one_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "wd"
    plan = tmp_path / "plan.toml"
    plan.write_text(Plan.read(PLAN | {"set": TINY | {"steps": 400}}).as_toml())
    command = [sys.executable, "-m", "mechgrok", "sweep", str(folder), str(plan), "--jobs", "1"]

    def start(index: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*command, "--shard", f"{index}/5"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    processes = [start(index) for index in range(1, 6)]
    first = Shard(1, 5).of(list(Plan.load(plan).members()))[0].name
    deadline = time.monotonic() + 120
    while not (folder / first / "config.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    processes[0].send_signal(signal.SIGKILL)
    for process in processes:
        process.communicate(timeout=240)
    assert [process.returncode for process in processes[1:]] == [0, 0, 0, 0]
    again = start(1)
    again.communicate(timeout=240)
    assert again.returncode == 0
    table = Sweep(folder).table
    assert (table.status == "finished").all()
    alone = sweep(tmp_path / "alone", Plan.load(plan), where=here)
    for name, run in alone.runs.items():
        end = run.steps[-1]
        weights, others = run.checkpoint(end).weights, Run(folder / name).checkpoint(end).weights
        assert all(weights[key].equal(others[key]) for key in weights)
