"""What a sweep costs beside its runs, and what it saves beside one command after another."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mechgrok.processes import usable_cores
from mechgrok.sweeps import Display, Member, Outcome, Sweep, sweep
from mechgrok.sweeps.making import attempt
from tests.benchmarks.conftest import report

pytestmark = pytest.mark.benchmark

N_RUNS = 1000


def test_planning_folders_and_table_cost_under_a_twentieth_of_a_second_a_run(
    tmp_path: Path,
) -> None:
    """1,000 runs of one step; the second opening of the table is under two seconds."""
    in_runs = 0.0

    def here(
        folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
    ) -> list[Outcome]:
        nonlocal in_runs
        began = time.perf_counter()
        outcomes = [attempt(folder, member) for member in members]
        in_runs = time.perf_counter() - began
        return outcomes

    small = {"p": 7, "train_fraction": 0.7, "d_model": 8, "d_mlp": 6, "steps": 1}
    began = time.perf_counter()
    made = sweep(tmp_path / "s", "quick", seeds=range(N_RUNS), where=here, **small)
    assert (made.table.status == "finished").all()
    each = (time.perf_counter() - began - in_runs) / N_RUNS
    began = time.perf_counter()
    _ = Sweep(tmp_path / "s").table
    again = time.perf_counter() - began
    report(f"{N_RUNS} runs of one step: {each * 1000:.1f} ms a run beside training; ")
    report(f"  their table opens again in {again:.2f} s")
    assert each < 0.05
    assert again < 2


@pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")
def test_sixteen_quick_runs_take_little_more_than_half_of_the_time_one_by_one(
    tmp_path: Path,
) -> None:
    """On two cores, against ``mechgrok train`` typed sixteen times."""

    def run(*words: object) -> None:
        command = [sys.executable, "-m", "mechgrok.cli.main", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)

    took = {}
    began = time.perf_counter()
    run("sweep", tmp_path / "s", "quick", "--seeds", "0:16", "--jobs", 2)
    took["sweep"] = time.perf_counter() - began
    began = time.perf_counter()
    for seed in range(16):
        seeds = ("--seed", seed, "--split-seed", seed)
        run("train", "quick", *seeds, "--out", tmp_path / f"run-{seed}", "--quiet")
    took["train"] = time.perf_counter() - began
    share = took["sweep"] / took["train"]
    report(
        f"16 quick runs: {took['sweep']:.0f} s as a sweep on two cores, {share:.2f} of one by one"
    )
    assert share <= 0.55
