"""Many runs in one folder: each trained once, opened together, gone on with."""

import json
import shutil
import signal
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mechgrok import processes, user_code
from mechgrok.errors import UserError
from mechgrok.grammar import parse_assignments
from mechgrok.runs import Run
from mechgrok.sweeps import Plan, Sweep, SweepFailed, sweep
from mechgrok.sweeps.executor import Display
from mechgrok.sweeps.plan import Member
from mechgrok.sweeps.running import make_plan, prepare_sweep
from mechgrok.training import train
from tests.sweeps.conftest import TINY, here


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
    with pytest.raises(UserError, match="'width'"):
        made.sel(width=3)
    with pytest.raises(UserError, match="seed = 7"):
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


def test_a_run_killed_after_its_last_checkpoint_is_not_taken_for_finished(made: Sweep) -> None:
    """Its metrics and its optimizer's state were not written yet, and the lock is left."""
    path = next(iter(made.runs.values())).path
    files = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
    rows = files["metrics.csv"].splitlines(keepends=True)
    (path / "metrics.csv").write_bytes(b"".join(rows[:-1]))
    (path / "resume-before.safetensors").rename(path / "resume.safetensors")
    (path / ".lock").touch()
    assert Sweep(made.path).table.status[path.name] == "unfinished"
    sweep(made.path, made.plan, where=here)
    assert Sweep(made.path).table.status[path.name] == "finished"
    again = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
    assert again == files


def test_another_plan_and_another_folder_are_refused(made: Sweep, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--extend"):
        sweep(made.path, "quick", seeds="0:3", **TINY)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="another folder"):
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
        ({"over": {"weight_decay": "3:1"}}, "3:1"),
        ({"over": {"wieght_decay": "1,3"}}, "wieght_decay"),
        ({"stage": [{"make": "tickets"}]}, "'tickets'"),
        ({"stage": [{"of": "popup"}]}, "popup"),
        ({"jobs": 3}, "'jobs'"),
        ({"seeds": "0:2", "over": {"seed": "1,2"}}, "seed"),
        ({"over": {"weight_decay": "1,3"}, "set": {"training.weight_decay": 1}}, "weight_decay"),
        ({"over": {"task.": "1,3"}}, "'task.'"),
        ({"over": {"momentum": "0.5,0.9"}}, "momentum"),
    ],
)
def test_mistakes_in_a_plan(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        Plan.read({"preset": "quick", **fields}).members()


def test_an_option_of_a_ticket_does_not_hide_the_setting_of_its_parent() -> None:
    """The seed of a random mask is not the seed of the run."""
    tickets = [{"method": "random", "seed": "5:7"}]
    plan = make_plan("quick", seeds="0:2", tickets=tickets)
    made = [member.settings for member in plan.members() if member.stage == "ticket"]
    assert [(each["seed"], each["ticket.seed"]) for each in made] == [
        (0, 5),
        (0, 6),
        (1, 5),
        (1, 6),
    ]


def test_stages_follow_the_stage_that_they_are_made_of_in_whatever_order_they_are_given() -> None:
    stages = [{"make": "popup", "of": "ticket"}, {"make": "ticket"}]
    assert [stage.make for stage in Plan.read({"stage": stages}).stages] == ["ticket", "popup"]


def test_runs_that_differ_never_share_a_folder() -> None:
    """Two plans in one folder, with the same grid and another setting for all of it."""
    seeds: dict[str, Any] = {"preset": "quick", "seeds": "0:2"}
    plan = Plan.read(seeds | {"also": [seeds | {"set": {"d_mlp": 8}}]})
    names = [member.name for member in plan.members()]
    assert names == ["seed=0", "seed=1", "d_mlp=8,seed=0", "d_mlp=8,seed=1"]


def test_a_larger_plan_takes_the_place_of_a_smaller_one_but_not_of_another(tmp_path: Path) -> None:
    prepare_sweep(tmp_path / "s", make_plan("quick", seeds="0:2"))
    assert len(prepare_sweep(tmp_path / "s", make_plan("quick", seeds="0:4"))) == 4
    with pytest.raises(UserError, match="--extend"):
        prepare_sweep(tmp_path / "s", make_plan("quick", seeds="0:3"))
    other = make_plan("quick", over={"d_mlp": "8,9"})
    assert len(prepare_sweep(tmp_path / "s", other, extend=True)) == 6
    assert len(prepare_sweep(tmp_path / "s", make_plan("quick", seeds="0:3"), extend=True)) == 6


def test_a_run_that_the_plan_wants_otherwise_is_not_taken_for_it(
    made: Sweep, tmp_path: Path
) -> None:
    shutil.copytree(made.path, tmp_path / "wd")
    text = (tmp_path / "wd" / "sweep.toml").read_text()
    (tmp_path / "wd" / "sweep.toml").write_text(text.replace("d_mlp = 6", "d_mlp = 7"))
    with pytest.raises(UserError, match=r"model\.d_mlp = 6.* 7"):
        sweep(tmp_path / "wd", Plan.load(tmp_path / "wd" / "sweep.toml"), where=here)


@pytest.mark.parametrize(
    "fields",
    [{"set": {"task": "FILE:Own"}}, {"stage": [{"make": "ticket", "method": "FILE:score"}]}],
)
def test_code_that_only_a_plan_names_is_not_run(fields: dict[str, Any], tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text("raise SystemExit('this was run')\n")
    plan = Plan.read(json.loads(json.dumps(fields).replace("FILE", str(code))))
    with pytest.raises(UserError, match="trusted_tasks"):
        prepare_sweep(tmp_path / "s", plan)
    assert not (tmp_path / "s").exists()


def test_code_that_a_person_names_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_code, "trust_list", lambda: tmp_path / "trusted.txt")
    (tmp_path / "own.py").write_text(
        "def score(model, task):\n    return {n: w.abs() for n, w in model.named_parameters()}\n"
    )
    monkeypatch.chdir(tmp_path)
    tickets = [{"method": "own.py:score", "steps": 5}]
    made = sweep(tmp_path / "s", "quick", seeds="0:1", tickets=tickets, where=here, **TINY)
    assert made.runs[made.members[1].name].config.origin.method == f"{tmp_path / 'own.py'}:score"


def test_a_damaged_run_is_told_of_and_stops_no_other(made: Sweep, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "wd")
    hurt, gone = "weight_decay=1,seed=1", "weight_decay=0.3,seed=0-ticket-rate=0.4,steps=10"
    (tmp_path / "wd" / hurt / "config.json").write_text("{")
    shutil.rmtree(tmp_path / "wd" / gone)
    assert Sweep(tmp_path / "wd").table.status[hurt] == "damaged"
    with pytest.raises(SweepFailed, match=r"config\.json"):
        sweep(tmp_path / "wd", made.plan, where=here)
    assert Sweep(tmp_path / "wd").table.status[gone] == "finished"


def test_milestones_at_another_accuracy(made: Sweep) -> None:
    low, usual = made.at(0.2).table, made.table
    assert (low.t_mem.fillna(10**9) <= usual.t_mem.fillna(10**9)).all()
    assert low.t_mem.notna().sum() > usual.t_mem.notna().sum()
    with pytest.raises(UserError, match="accuracy"):
        _ = Run(made.path / "weight_decay=1,seed=0").milestones_at(95)


def test_a_stage_without_a_setting_has_nan_for_it(made: Sweep) -> None:
    metrics = made.metrics
    del (sizes := dict(metrics.sizes))["step"]
    assert sizes == {"stage": 2, "weight_decay": 2, "seed": 2, "rate": 3}
    assert metrics.rate[:2].to_numpy().tolist() == [0.4, 0.6]
    ticket = metrics.train_loss.sel(stage="ticket", rate=0.4)
    assert ticket.sel(step=10).notnull().all()


def test_plans_with_names_call_their_runs_by_them_in_whatever_order() -> None:
    one = {"name": "one", "preset": "quick", "seeds": "0:2", "stage": [{"make": "ticket"}]}
    two = {"name": "two", "preset": "mul", "seeds": "0:2"}
    ways = [Plan.read(one | {"also": [two]}), Plan.read(two | {"also": [one]}), Plan.read(one)]
    first, second, alone = ({m.name: m.settings["plan"] for m in w.members()} for w in ways)
    assert first == second
    assert first.items() >= alone.items()
    assert set(first) == {f"{plan}-seed={s}" for plan in ("one", "two") for s in (0, 1)} | {
        f"one-seed={s}-ticket" for s in (0, 1)
    }
    assert Plan.read(tomllib.loads(ways[0].as_toml())) == ways[0]


def test_a_worker_that_stands_still_is_ended_and_its_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    start = processes.start

    def noted(*arguments: Any) -> Any:
        started.append(start(*arguments))
        return started[-1]

    class StopsOne(Display):
        def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None:
            if len(started) == 1:
                started[0][0].send_signal(signal.SIGSTOP)

    monkeypatch.setattr(processes, "start", noted)
    monkeypatch.setattr(processes, "STUCK_AFTER", 1.5)
    settings: dict[str, Any] = {"p": 7, "d_model": 8, "d_mlp": 6, "steps": 3_000}
    made = sweep(tmp_path / "sweep", "quick", seeds="0", jobs=1, display=StopsOne(), **settings)
    assert len(started) == 2
    assert (made.table.status == "finished").all()


@pytest.mark.parametrize(
    ("over", "values"),
    [
        ("betas=[0.9,0.98],[0.9,0.999]", [(0.9, 0.98), (0.9, 0.999)]),
        ({"betas": [(0.9, 0.98), [0.9, 0.999]]}, [(0.9, 0.98), (0.9, 0.999)]),
        ("checkpoint_at=3,[5,7]", [(3,), (5, 7)]),
        ("operations=[add,sub],[add,x2+y2]", [("add", "sub"), ("add", "x2+y2")]),
    ],
)
def test_settings_that_take_several_values_are_swept(
    over: str | dict[str, Any], values: list[tuple]
) -> None:
    """Each list is one value of the axis, and the plan's text says the same."""
    axes = parse_assignments(over, "--over", "p=5") if isinstance(over, str) else over
    preset = "multitask" if "operations" in axes else "quick"
    plan = make_plan(preset, over=axes, settings={"p": 7})
    assert Plan.read(tomllib.loads(plan.as_toml())) == plan
    (name,) = axes
    chosen = [
        getattr(part, name)
        for member in plan.members()
        if member.config is not None
        for part in (
            member.config.recipe.optimizer,
            member.config.recipe,
            member.config.task,
        )
        if hasattr(part, name)
    ]
    assert chosen == values


def test_one_number_where_two_are_needed_is_refused() -> None:
    with pytest.raises(UserError, match=r"betas .*\[0.9,0.98\]"):
        make_plan("quick", over={"betas": "0.9,0.98"}).members()


def test_a_run_with_swept_checkpoints_keeps_them(tmp_path: Path) -> None:
    settings = {"p": 7, "d_model": 8, "d_mlp": 8, "steps": 20, "checkpoint_every": 20}
    made = sweep(tmp_path / "s", "quick", over={"checkpoint_at": "3,[6,7]"}, where=here, **settings)
    kept = {name: set(run.steps) & {3, 6, 7} for name, run in made.runs.items()}
    assert kept == {"checkpoint_at=3": {3}, "checkpoint_at=6+7": {6, 7}}
    assert len(made.sel(checkpoint_at="[6,7]")) == 1


def test_the_old_name_of_an_executor_works_and_warns() -> None:
    import mechgrok.sweeps

    with pytest.warns(DeprecationWarning, match="Executor"):
        assert mechgrok.sweeps.Where is mechgrok.sweeps.Executor
