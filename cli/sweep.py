"""Train a grid of runs, and tickets and searches derived from them"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechgrok.cli.options import (
    EXECUTION,
    AtAccuracy,
    Jobs,
    Quiet,
    RayAddress,
    RayTimeout,
    TogetherOrNot,
    WhereDevice,
)
from mechgrok.errors import UserError
from mechgrok.grammar import parse_assignments

if TYPE_CHECKING:
    from mechgrok.sweeps import Executor, Outcome, Plan, Sweep

GRID, DERIVED = "Grid", "Derived runs"
#: Larger grids need --yes.
_MANY = 10_000

Preset = Annotated[
    str | None,
    typer.Argument(
        help="The preset of the base runs, or a TOML file of settings; or a plan: a file such as "
        "sweep.toml, or the shipped plan accelerators."
    ),
]
Over = Annotated[
    list[str] | None,
    typer.Option(
        help="Values of a setting: weight_decay=0.3,1,3 or d_mlp=24:96:24; repeat for a grid.",
        rich_help_panel=GRID,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(help="Seeds of both weights and split: 0:8 for eight.", rich_help_panel=GRID),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting shared by all base runs: steps=5000; repeatable.",
        rich_help_panel=GRID,
    ),
]
Tickets = Annotated[
    list[str] | None,
    typer.Option(
        help="Tickets of every base run, with options of mechgrok ticket: "
        "rate=0.1:0.9:0.1,scope=layer. name=NAME names this stage, of=NAME selects its parents.",
        rich_help_panel=DERIVED,
    ),
]
Popups = Annotated[
    list[str] | None,
    typer.Option(
        help="Likewise for mechgrok popup: rate=0.5,0.6 or of=ticket,at=0.", rich_help_panel=DERIVED
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Resume the sweep in the folder.", rich_help_panel=EXECUTION),
]
Extend = Annotated[
    bool,
    typer.Option(
        "--extend", help="Add these runs to another sweep's folder.", rich_help_panel=EXECUTION
    ),
]
Status = Annotated[
    bool, typer.Option("--status", help="Show which runs are finished; train nothing.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Estimate runs, time and disk space; train nothing.")
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Train the I-th of N shares of the runs; shares can run at once on one folder.",
        rich_help_panel=EXECUTION,
    ),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Confirm more than 10,000 runs.", rich_help_panel=EXECUTION)
]


def sweep(
    out: Annotated[Path, typer.Argument(help="The sweep's folder.")],
    preset: Preset = None,
    over: Over = None,
    seeds: Seeds = None,
    set_: Set = None,
    ticket: Tickets = None,
    popup: Popups = None,
    resume: Resume = False,
    extend: Extend = False,
    status: Status = False,
    dry_run: DryRun = False,
    jobs: Jobs = None,
    device: WhereDevice = "auto",
    together: TogetherOrNot = "auto",
    ray: RayAddress = None,
    ray_timeout: RayTimeout = 60.0,
    shard: ShardOption = None,
    yes: Yes = False,
    at_accuracy: AtAccuracy = None,
    quiet: Quiet = False,
) -> None:
    """Train a grid of runs in one folder, one run folder each.

    Values are `0.3,1,3`, `0:8` (8 excluded), `0.1:0.9:0.1` or lists, `[0.9,0.98],[0.9,0.999]`.
    Finished runs are kept, unfinished ones resumed. The folder's `sweep.toml` is the plan: edit it
    and `--resume`.
    """
    from mechgrok.sweeps import Sweep

    given = (preset, over, seeds, set_, ticket, popup)
    if given == (None,) * 6 and (resume or status or (dry_run and Sweep.is_at(out))):
        plan = Sweep.plan_of(out)
    else:
        plan = _plan(*given)
    if len(plan) > _MANY and not yes:
        raise UserError(
            f"The plan has {len(plan):,} runs, more than {_MANY:,}: confirm with --yes."
        )
    if dry_run:
        _print_costs(out, plan, jobs)
    elif status:
        print_status(Sweep(out, at_accuracy=at_accuracy))
    else:
        executor = executor_of(jobs, device, together, ray, ray_timeout)
        _make(out, plan, extend, executor, shard, at_accuracy, quiet)


def _plan(
    preset: str | None,
    over: list[str] | None,
    seeds: str | None,
    set_: list[str] | None,
    ticket: list[str] | None,
    popup: list[str] | None,
) -> "Plan":
    """The plan of the command line, whose user code may be loaded, or of a file."""
    from mechgrok.cli.flags import typed_value
    from mechgrok.configuration import presets
    from mechgrok.sweeps.running import make_plan

    axes: dict[str, str] = {}
    for text in over or ():
        axes |= parse_assignments(text, "--over", "weight_decay=0.3,1,3")
    settings: dict[str, Any] = {}
    for assignment in set_ or ():
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UserError(f"--set {assignment} is malformed: write steps=5000.")
        settings[name] = typed_value(text)
    return make_plan(
        preset or presets.DEFAULT,
        over=axes,
        seeds=seeds,
        tickets=[parse_assignments(text, "--ticket", "rate=0.4,0.6") for text in ticket or ()],
        popups=[parse_assignments(text, "--popup", "rate=0.4,0.6") for text in popup or ()],
        settings=settings,
    )


def executor_of(
    jobs: int | None, device: str, together: str, ray: str | None, ray_timeout: float
) -> "Executor":
    """This machine, or a Ray cluster, as the executor of runs.

    Raises:
        UserError: there is no such device or cluster.
    """
    from mechgrok.sweeps.running import on_this_machine

    if ray is None:
        return on_this_machine(jobs, device, together)
    from mechgrok.sweeps.cluster import Cluster

    if jobs is not None:
        raise UserError(
            "--jobs does not apply to a cluster, which trains one run per core: omit it."
        )
    cluster = Cluster(ray, "cuda" if device == "cuda" else "cpu", ray_timeout)
    cluster.check()
    return cluster


def _make(
    out: Path,
    plan: "Plan",
    extend: bool,
    executor: "Executor",
    shard: str | None,
    at_accuracy: float | None,
    quiet: bool,
) -> None:
    from mechgrok.cli.groups import print_groups
    from mechgrok.sweeps.groups import RunGroups
    from mechgrok.sweeps.progress import SweepProgress
    from mechgrok.sweeps.running import complete, prepare_sweep
    from mechgrok.sweeps.shards import Shard

    share = None if shard is None else Shard.parse(shard)
    sweep = prepare_sweep(out, plan, extend=extend, shard=share)
    with SweepProgress(sweep, quiet=quiet) as progress:
        outcomes = complete(sweep, executor, display=progress, shard=share)
    n_done = len(sweep.finished)
    n_failed = sum(outcome.how == "failed" for outcome in outcomes)
    if n_done and n_done + n_failed == len(sweep):
        print_groups(RunGroups.of_sweep(sweep.at(at_accuracy)))
    share_note = "" if share is None else f" of shard {share}"
    print(f"{sweep.path}: {n_done} of {len(sweep)} runs{share_note} are finished")
    same_shard = [] if share is None else ["--shard", str(share)]
    again = shlex.join(["mechgrok", "sweep", str(sweep.path), "--resume", *same_shard])
    if failed_runs(sweep, outcomes, again):
        raise typer.Exit(1)


def failed_runs(sweep: "Sweep", outcomes: "list[Outcome]", again: str) -> "list[Outcome]":
    """Report failed runs on stderr, and return their outcomes.

    Args:
        sweep: the sweep.
        outcomes: how its runs ended, without runs that never started.
        again: the command that resumes the sweep, printed after an interruption.

    Raises:
        typer.Exit: the sweep was interrupted.
    """
    failed = [outcome for outcome in outcomes if outcome.how == "failed"]
    for outcome in failed:
        print(f"mechgrok: {outcome.member.name} failed: {outcome.words}", file=sys.stderr)
    n_done = len(sweep.finished)
    if n_done + len(failed) < len(sweep):
        n_partial = sum(outcome.how == "interrupted" for outcome in outcomes)
        print(
            f"Stopped: {n_done} of {len(sweep)} runs are finished, {n_partial} are partly trained; "
            f"resume with: {again}",
            file=sys.stderr,
        )
        raise typer.Exit(130)
    return failed


def print_status(sweep: "Sweep") -> None:
    """Print the number of runs by status, and the names of the unfinished ones."""
    status = sweep.table["status"]
    counts = status.value_counts()
    kinds = ("finished", "unfinished", "diverged", "missing", "damaged")
    summary = ", ".join(f"{counts[kind]} {kind}" for kind in kinds if kind in counts)
    print(f"{sweep.path}: {len(sweep)} runs: {summary}")
    steps = sweep.table["step"].dropna().to_dict()
    for kind in ("unfinished", "diverged", "damaged"):
        names = list(status.index[status == kind])
        for name in names[:10]:
            print(f"  {kind}: {name}" + (f", step {steps[name]:,}" if name in steps else ""))
        if len(names) > 10:
            print(f"  and {len(names) - 10} more")


def _print_costs(out: Path, plan: "Plan", jobs: int | None) -> None:
    from collections import Counter

    from mechgrok.cli.progress import status
    from mechgrok.formatting import duration, n_bytes
    from mechgrok.processes import usable_cores
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.costs import CostModel
    from mechgrok.sweeps.running import check_stages

    members = plan.members()
    check_stages(members)
    finished = Sweep(out).finished if Sweep.is_at(out) else set()
    missing = [member for member in members if member.name not in finished]
    with status("training a few steps of each kind of run"):
        estimate = CostModel(members, missing).of(missing)
    jobs = min(jobs or usable_cores(), max(1, len(missing)))
    stages = Counter(member.stage for member in members)
    counts = ", ".join(f"{count:,} {stage}" for stage, count in stages.items())
    print(f"{out}: {len(members):,} runs ({counts}), {len(missing):,} of them to train")
    print(
        f"at most about {duration(estimate.seconds / jobs)} with {jobs} at a time "
        f"({duration(estimate.seconds)} of one core) at this machine's current load"
    )
    print(f"about {n_bytes(estimate.bytes)} on disk")
