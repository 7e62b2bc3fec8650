"""Many runs in one folder: each trained once, opened together, gone on with."""

import pickle
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.sweeps import Display, Member, Outcome, Plan, Sweep, SweepFailed, sweep
from mechgrok.sweeps.making import attempt
from mechgrok.sweeps.where import Queue
from mechgrok.training import train


def here(
    folder: Path, members: Sequence[Member], *, done: Sequence[str], display: Display
) -> list[Outcome]:
    """The simplest `Where`: this process, one run after another, as a cluster's worker would."""
    queue = Queue(list(members), set(done))
    while (member := queue.next()) is not None:
        queue.note(attempt(folder, pickle.loads(pickle.dumps(member))))
    return queue.outcomes


TINY: dict[str, Any] = {"p": 7, "train_fraction": 0.7, "d_model": 8, "d_mlp": 6, "steps": 20}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Two weight decays, two seeds, and two tickets of each."""
    out = tmp_path_factory.mktemp("sweeps") / "wd"
    over, tickets = {"weight_decay": "0.3,1"}, [{"rate": "0.4,0.6", "steps": 10}]
    return sweep(out, "quick", over=over, seeds="0:2", tickets=tickets, where=here, **TINY)


def test_every_member_is_an_ordinary_run_named_after_its_settings(made: Sweep) -> None:
    assert len(made) == 4 + 8
    run = Run(made.path / "weight_decay=0.3,seed=1")
    assert (run.config.training.weight_decay, run.config.seed) == (0.3, 1)
    assert run.task.split_seed == 1
    ticket = Run(made.path / "weight_decay=0.3,seed=1-ticket-rate=0.6,steps=10")
    assert ticket.mask is not None
    assert ticket.mask.density == pytest.approx(0.4, abs=0.01)


def test_the_table_has_a_row_for_every_run_and_is_kept(made: Sweep) -> None:
    table = made.table
    assert (table.status == "finished").all()
    assert table.groupby("stage").size().to_dict() == {"base": 4, "ticket": 8}
    assert Sweep(made.path).table.equals(table)


def test_runs_are_chosen_by_their_settings(made: Sweep) -> None:
    assert len(made.sel(stage="base", weight_decay=1)) == 2
    assert len(made.sel(rate=0.6, seed="0:1")) == 2
    assert made.sel(stage="base").dims == {"weight_decay": [0.3, 1], "seed": [0, 1]}
    with pytest.raises(UserError, match="varies no 'width'"):
        made.sel(width=3)
    with pytest.raises(UserError, match="no run with seed = 7"):
        made.sel(seed=7)


def test_the_metrics_of_all_runs_are_one_dataset(made: Sweep) -> None:
    metrics = made.sel(stage="base").metrics
    assert metrics.train_loss.dims == ("weight_decay", "seed", "step")
    alone = Run(made.path / "weight_decay=1,seed=0").metrics
    together = metrics.train_loss.sel(weight_decay=1, seed=0).dropna("step")
    assert together.to_numpy().tolist() == alone.train_loss.tolist()


def test_a_member_is_the_run_that_train_makes_alone(made: Sweep, tmp_path: Path) -> None:
    member = next(m for m in made.members if m.name == "weight_decay=1,seed=0")
    alone = train(tmp_path / "alone", member.config)
    assert alone.weights("W_in").equal(made.runs[member.name].weights("W_in"))


def test_what_is_there_is_kept_and_what_is_missing_is_trained(made: Sweep) -> None:
    before = {n: run.file(run.steps[-1]).stat().st_mtime_ns for n, run in made.runs.items()}
    gone = "weight_decay=1,seed=1-ticket-rate=0.4,steps=10"
    shutil.rmtree(made.path / gone)
    again = sweep(made.path, made.plan, where=here)
    after = {n: run.file(run.steps[-1]).stat().st_mtime_ns for n, run in again.runs.items()}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == [gone]


def test_another_plan_and_another_folder_are_refused(made: Sweep, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another sweep's plan"):
        sweep(made.path, "quick", seeds="0:3", **TINY)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="something other than a sweep"):
        sweep(tmp_path, "quick", seeds="0:3", **TINY)


def test_a_plan_is_its_text() -> None:
    stage = {"make": "ticket", "rate": "0.1:0.3:0.1", "control": "none,l1"}
    fields = {"preset": "quick", "seeds": "0:3", "over": {"p": "5,7"}, "stage": [stage]}
    plan = Plan.read(fields | {"also": [{"preset": "mul", "seeds": [4]}]})
    assert Plan.read(tomllib.loads(plan.as_toml())) == plan
    assert len(plan) == 2 * 3 * (1 + 3 * 2) + 1


def test_a_run_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    tickets = [{"rate": "0.5,0.999", "scope": "layer", "steps": 5}]
    with pytest.raises(SweepFailed, match="1 of 3 runs"):
        sweep(tmp_path / "s", "quick", seeds="0:1", tickets=tickets, where=here, **TINY)
    assert (Sweep(tmp_path / "s").table.status == "finished").sum() == 2


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"over": {"weight_decay": "3:1"}}, "holds no value"),
        ({"over": {"wieght_decay": "1,3"}}, "wieght_decay"),
        ({"stage": [{"make": "tickets"}]}, "cannot make 'tickets'"),
        ({"stage": [{"of": "popup"}]}, "no stage before it"),
        ({"jobs": 3}, "no 'jobs'"),
        ({"seeds": "0:2", "over": {"seed": "1,2"}}, "settled twice"),
    ],
)
def test_mistakes_in_a_plan(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Plan.read({"preset": "quick", **fields}).members()
