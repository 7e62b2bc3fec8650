"""Train a grid of runs, and tickets and searches made of them, into one folder"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechgrok.cli.options import (
    HOW,
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

RUNS, MADE = "Which runs", "What is made of them"
#: A grid of more runs than this takes --yes.
_MANY = 10_000

Preset = Annotated[
    str | None,
    typer.Argument(
        help="What the base runs start from; or a plan: a file such as sweep.toml, or "
        "accelerators, which comes with mechgrok."
    ),
]
Over = Annotated[
    list[str] | None,
    typer.Option(
        help="Values of a setting: weight_decay=0.3,1,3 or p=59,67 or d_mlp=24:96:24. Several "
        "of these make a grid.",
        rich_help_panel=RUNS,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(help="Seeds of weights and split together: 0:8 are eight.", rich_help_panel=RUNS),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A setting that all base runs share: steps=5000.", rich_help_panel=RUNS
    ),
]
Tickets = Annotated[
    list[str] | None,
    typer.Option(
        help="Tickets of every base run, by the options of mechgrok ticket and their values: "
        "rate=0.1:0.9:0.1,scope=layer. of=NAME makes them of another stage, name=NAME names "
        "this one.",
        rich_help_panel=MADE,
    ),
]
Popups = Annotated[
    list[str] | None,
    typer.Option(
        help="The same for mechgrok popup: rate=0.5,0.6 or of=ticket,at=0.", rich_help_panel=MADE
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume the sweep in the folder.", rich_help_panel=HOW)
]
Extend = Annotated[
    bool,
    typer.Option("--extend", help="Add these runs to another sweep's folder.", rich_help_panel=HOW),
]
Status = Annotated[bool, typer.Option("--status", help="Say what is there, and train nothing.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say how many runs, how long, how many bytes; no more.")
]
Yes = Annotated[
    bool, typer.Option("--yes", help="I mean more than 10,000 runs.", rich_help_panel=HOW)
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
    yes: Yes = False,
    at_accuracy: AtAccuracy = None,
    quiet: Quiet = False,
) -> None:
    """Train a grid of runs into one folder, each a run folder of its own.

    Values are `0.3,1,3`, `0:8` (8 excluded), `0.1:0.9:0.1` or lists, `[0.9,0.98],[0.9,0.999]`.
    What is there is kept, what is unfinished is resumed, what is missing is trained. The plan is
    `sweep.toml` in the folder: edit it, and `--resume`.
    """
    from mechgrok.sweeps import Sweep

    given = (preset, over, seeds, set_, ticket, popup)
    if given == (None,) * 6 and (resume or status or (dry_run and Sweep.is_at(out))):
        plan = Sweep.plan_of(out)
    else:
        plan = _plan(*given)
    if len(plan) > _MANY and not yes:
        raise UserError(
            f"The plan has {len(plan):,} runs, more than {_MANY:,}: type --yes if you mean that."
        )
    if dry_run:
        _print_costs(out, plan, jobs)
    elif status:
        print_status(Sweep(out, at_accuracy=at_accuracy))
    else:
        executor = executor_of(jobs, device, together, ray, ray_timeout)
        _make(out, plan, extend, executor, at_accuracy, quiet)


def _plan(
    preset: str | None,
    over: list[str] | None,
    seeds: str | None,
    set_: list[str] | None,
    ticket: list[str] | None,
    popup: list[str] | None,
) -> "Plan":
    """The plan that was typed, whose code may be loaded; or that of a file."""
    from mechgrok.cli.flags import typed_value
    from mechgrok.configuration import presets
    from mechgrok.sweeps.running import make_plan

    axes: dict[str, str] = {}
    for each in over or ():
        axes |= parse_assignments(each, "--over", "weight_decay=0.3,1,3")
    settings: dict[str, Any] = {}
    for each in set_ or ():
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise UserError(f"--set {each} is not of the form steps=5000.")
        settings[name] = typed_value(text)
    return make_plan(
        preset or presets.DEFAULT,
        over=axes,
        seeds=seeds,
        tickets=[parse_assignments(each, "--ticket", "rate=0.4,0.6") for each in ticket or ()],
        popups=[parse_assignments(each, "--popup", "rate=0.4,0.6") for each in popup or ()],
        settings=settings,
    )


def executor_of(
    jobs: int | None, device: str, together: str, ray: str | None, ray_timeout: float
) -> "Executor":
    """What makes the runs: this machine or a cluster, which must be there.

    Raises:
        UserError: the device or the cluster is not there.
    """
    from mechgrok.sweeps.running import on_this_machine

    if ray is None:
        return on_this_machine(jobs, device, together)
    from mechgrok.sweeps.cluster import Cluster

    if jobs is not None:
        raise UserError("--jobs is for this machine: a cluster makes a run on each of its cores.")
    cluster = Cluster(ray, "cuda" if device == "cuda" else "cpu", ray_timeout)
    cluster.check()
    return cluster


def _make(
    out: Path,
    plan: "Plan",
    extend: bool,
    executor: "Executor",
    at_accuracy: float | None,
    quiet: bool,
) -> None:
    from mechgrok.cli.groups import print_groups
    from mechgrok.sweeps.groups import RunGroups
    from mechgrok.sweeps.progress import SweepProgress
    from mechgrok.sweeps.running import complete, prepare_sweep

    found = prepare_sweep(out, plan, extend=extend)
    with SweepProgress(found, quiet=quiet) as progress:
        outcomes = complete(found, executor, display=progress)
    n_done = len(found.finished)
    n_failed = sum(outcome.how == "failed" for outcome in outcomes)
    if n_done and n_done + n_failed == len(found):
        print_groups(RunGroups.of_sweep(found.at(at_accuracy)))
    print(f"{found.path}: {n_done} of {len(found)} runs are there")
    again = shlex.join(["mechgrok", "sweep", str(found.path), "--resume"])
    if failed_runs(found, outcomes, again):
        raise typer.Exit(1)


def failed_runs(sweep: "Sweep", outcomes: "list[Outcome]", again: str) -> "list[Outcome]":
    """The outcomes of the runs that failed, after each was reported on stderr.

    Args:
        sweep: what was made.
        outcomes: how its runs ended; a run that never began has none.
        again: the command that resumes the sweep, for where it was interrupted; that ends this one.
    """
    failed = [outcome for outcome in outcomes if outcome.how == "failed"]
    for outcome in failed:
        print(f"mechgrok: {outcome.member.name} failed: {outcome.words}", file=sys.stderr)
    n_done = len(sweep.finished)
    if n_done + len(failed) < len(sweep):
        halfway = sum(outcome.how == "interrupted" for outcome in outcomes)
        print(
            f"Stopped: {n_done} of {len(sweep)} runs are finished, {halfway} were saved on the "
            f"way; resume them with: {again}",
            file=sys.stderr,
        )
        raise typer.Exit(130)
    return failed


def print_status(found: "Sweep") -> None:
    """How many runs there are, and which of them are not finished."""
    status = found.table["status"]
    counts = status.value_counts()
    kinds = ("finished", "unfinished", "diverged", "missing", "damaged")
    told = ", ".join(f"{counts[kind]} {kind}" for kind in kinds if kind in counts)
    print(f"{found.path}: {len(found)} runs: {told}")
    steps = found.table["step"].dropna().to_dict()
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
    there = Sweep(out).finished if Sweep.is_at(out) else set()
    missing = [member for member in members if member.name not in there]
    with status("training a few steps of each kind of run"):
        estimate = CostModel(members, missing).of(missing)
    jobs = min(jobs or usable_cores(), max(1, len(missing)))
    stages = Counter(member.stage for member in members)
    counts = ", ".join(f"{count:,} {stage}" for stage, count in stages.items())
    print(f"{out}: {len(members):,} runs ({counts}), of which {len(missing):,} are to be trained")
    print(
        f"at most about {duration(estimate.seconds / jobs)} with {jobs} at a time "
        f"({duration(estimate.seconds)} of one core), as busy as this machine is now"
    )
    print(f"about {n_bytes(estimate.bytes)} on the disk")
