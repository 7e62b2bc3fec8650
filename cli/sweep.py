"""Train a grid of runs, and tickets and searches derived from them"""

import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechgrok.cli.options import AtAccuracy, Execution, Quiet, execution_option, with_option_groups
from mechgrok.cli.suggestions import Suggestion
from mechgrok.errors import UserError
from mechgrok.grammar import parse_assignments

if TYPE_CHECKING:
    from mechgrok.sweeps import Executor, Outcome, Plan, Sweep

_grid_option = partial(typer.Option, rich_help_panel="Grid")
_derived_option = partial(typer.Option, rich_help_panel="Derived runs")
#: Larger grids need --yes.
_MANY = 10_000

Preset = Annotated[
    str | None,
    typer.Argument(
        help="The preset of the base runs, or a TOML file of settings; or a plan: a file such as "
        "sweep.toml, or a shipped one: accelerators, decay-off, fewer-pairs, frozen-weights, "
        "layer-norm, norm-held, precursors, waves."
    ),
]
Resume = Annotated[bool, execution_option("--resume", help="Resume the sweep in the folder.")]
Extend = Annotated[
    bool, execution_option("--extend", help="Add these runs to another sweep's folder.")
]
Status = Annotated[
    bool, typer.Option("--status", help="Show which runs are finished; train nothing.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Estimate runs, time and disk space; train nothing.")
]
ShardOption = Annotated[
    str | None,
    execution_option(
        "--shard",
        metavar="I/N",
        help="Train the I-th of N shares of the runs; shares can run at once on one folder.",
    ),
]
Yes = Annotated[bool, execution_option("--yes", help="Confirm more than 10,000 runs.")]


@dataclass(frozen=True)
class Grid:
    """The options of which runs to train."""

    over: Annotated[
        list[str] | None,
        _grid_option(
            help="Values of a setting: weight_decay=0.3,1,3 or d_mlp=24:96:24; repeat for a grid."
        ),
    ] = None
    seeds: Annotated[
        str | None, _grid_option(help="Seeds of both weights and split: 0:8 for eight.")
    ] = None
    set_: Annotated[
        list[str] | None,
        _grid_option("--set", help="A setting shared by all base runs: steps=5000; repeatable."),
    ] = None
    ticket: Annotated[
        list[str] | None,
        _derived_option(
            help="Tickets of every base run, with options of mechgrok ticket: "
            "rate=0.1:0.9:0.1,scope=layer. name=NAME names this stage, of=NAME selects its parents."
        ),
    ] = None
    popup: Annotated[
        list[str] | None,
        _derived_option(help="Likewise for mechgrok popup: rate=0.5,0.6 or of=ticket,at=0."),
    ] = None

    def plan(self, preset: str | None) -> "Plan":
        """The plan of these runs, whose user code may be loaded, or of a file."""
        from mechgrok.cli.flags import typed_value
        from mechgrok.configuration import presets
        from mechgrok.sweeps.running import make_plan

        axes: dict[str, str] = {}
        for text in self.over or ():
            axes |= parse_assignments(text, "--over", "weight_decay=0.3,1,3")
        settings: dict[str, Any] = {}
        for assignment in self.set_ or ():
            name, equals, text = assignment.partition("=")
            if not equals or not name:
                raise UserError(f"--set {assignment} is malformed: write steps=5000.")
            settings[name] = typed_value(text)
        return make_plan(
            preset or presets.DEFAULT,
            over=axes,
            seeds=self.seeds,
            tickets=[parse_assignments(t, "--ticket", "rate=0.4,0.6") for t in self.ticket or ()],
            popups=[parse_assignments(t, "--popup", "rate=0.4,0.6") for t in self.popup or ()],
            settings=settings,
        )


@with_option_groups
def sweep(
    *,
    out: Annotated[Path, typer.Argument(help="The sweep's folder.")],
    preset: Preset = None,
    grid: Grid,
    resume: Resume = False,
    extend: Extend = False,
    status: Status = False,
    dry_run: DryRun = False,
    execution: Execution,
    shard: ShardOption = None,
    yes: Yes = False,
    at_accuracy: AtAccuracy = None,
    quiet: Quiet = False,
) -> Suggestion:
    """Train a grid of runs in one folder, one run folder each.

    Values are `0.3,1,3`, `0:8` (8 excluded), `0.1:0.9:0.1` or lists, `[0.9,0.98],[0.9,0.999]`.
    Finished runs are kept, unfinished ones resumed. The folder's `sweep.toml` is the plan: edit it
    and `--resume`.
    """
    from mechgrok.sweeps import Plan, Sweep

    is_given = preset is not None or grid != Grid()
    if not is_given and out.name in Plan.shipped() and not Sweep.is_at(out):
        raise UserError(
            f"{out} is a plan: give the sweep's folder, too, as in mechgrok sweep FOLDER {out}."
        )
    if not is_given and (resume or status or (dry_run and Sweep.is_at(out))):
        plan = Sweep.plan_of(out)
    else:
        plan = grid.plan(preset)
    if len(plan) > _MANY and not yes:
        raise UserError(
            f"The plan has {len(plan):,} runs, more than {_MANY:,}: confirm with --yes."
        )
    if dry_run:
        _print_costs(out, plan, execution.jobs)
    elif status:
        print_status(Sweep(out, at_accuracy=at_accuracy))
    else:
        _make(out, plan, extend, execution.executor(), shard, at_accuracy, quiet)
        return ("compare", out)
    return None


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
