"""Train a grid of runs, and tickets and searches made of them, as one thing"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mechgrok.cli.options import HOW, Jobs, RayAddress, RayTimeout, TogetherOrNot, WhereDevice
from mechgrok.errors import UserError
from mechgrok.grammar import parse_assignments

if TYPE_CHECKING:
    from mechgrok.sweeps import Outcome, Plan, Sweep, Where
    from mechgrok.sweeps.running import Together

RUNS, MADE = "Which runs", "What is made of them"
#: A grid of more runs than this is asked for twice.
_MANY = 10_000


def sweep(
    out: Annotated[Path, typer.Argument(help="The sweep's folder.")],
    preset: Annotated[
        str | None,
        typer.Argument(
            help="What the base runs start from; or a plan: a file such as sweep.toml, or "
            "accelerators, which comes with mechgrok."
        ),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            help="Values of a setting: weight_decay=0.3,1,3 or p=59,67 or d_mlp=24:96:24. Several "
            "of these make a grid.",
            rich_help_panel=RUNS,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds of weights and split together: 0:8 are eight.", rich_help_panel=RUNS
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting that all base runs share: steps=5000.", rich_help_panel=RUNS
        ),
    ] = None,
    ticket: Annotated[
        list[str] | None,
        typer.Option(
            help="Tickets of every base run, by the options of mechgrok ticket and their values: "
            "rate=0.1:0.9:0.1,scope=layer. of=NAME makes them of another stage, name=NAME names "
            "this one.",
            rich_help_panel=MADE,
        ),
    ] = None,
    popup: Annotated[
        list[str] | None,
        typer.Option(
            help="The same for mechgrok popup: rate=0.5,0.6 or of=ticket,at=0.",
            rich_help_panel=MADE,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the sweep in the folder.", rich_help_panel=HOW),
    ] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend", help="Add these runs to another sweep's folder.", rich_help_panel=HOW
        ),
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Say what is there, and train nothing.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say how many runs, how long, how many bytes; no more."),
    ] = False,
    jobs: Jobs = None,
    device: WhereDevice = "auto",
    together: TogetherOrNot = "auto",
    ray: RayAddress = None,
    ray_timeout: RayTimeout = 60.0,
    yes: Annotated[
        bool, typer.Option("--yes", help="I mean more than 10,000 runs.", rich_help_panel=HOW)
    ] = False,
    at_accuracy: Annotated[
        float | None,
        typer.Option(
            help="t_mem and t_gen at this accuracy, 0.9 say; the task's own unless given."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a grid of runs into one folder, each a run folder of its own.

    Values are `0.3,1,3`, `0:8` (8 excluded), `0.1:0.9:0.1` or lists, `[0.9,0.98],[0.9,0.999]`.
    What is there is kept, what
    is unfinished goes on, what is missing is trained. The plan is `sweep.toml` in the folder: edit
    it, and `--resume`.
    """
    from mechgrok.sweeps import Sweep

    named = any(given is not None for given in (preset, over, seeds, ticket, popup, set_))
    if (resume or status or (dry_run and Sweep.is_at(out))) and not named:
        plan = Sweep.plan_of(out)
    else:
        plan = _plan(preset, over, seeds, set_, ticket, popup)
    if len(plan) > _MANY and not yes:
        raise UserError(
            f"The plan has {len(plan):,} runs, more than {_MANY:,}: type --yes if you mean that."
        )
    if dry_run:
        _say_what_it_costs(out, plan, jobs)
    elif status:
        say_status(Sweep(out, at_accuracy=at_accuracy))
    else:
        _make(
            out, plan, extend, place(jobs, device, together, ray, ray_timeout), at_accuracy, quiet
        )


def _plan(
    preset: str | None,
    over: list[str] | None,
    seeds: str | None,
    set_: list[str] | None,
    ticket: list[str] | None,
    popup: list[str] | None,
) -> "Plan":
    """The plan that was typed, whose code may be loaded; or that of a file, with what was typed."""
    from mechgrok.cli.flags import typed_value
    from mechgrok.configuration import presets
    from mechgrok.sweeps import Plan
    from mechgrok.sweeps.running import make_plan

    if preset is not None and (preset.endswith(".toml") or preset in Plan.shipped()):
        if any(given is not None for given in (over, seeds, ticket, popup, set_)):
            raise UserError(
                f"{preset} says which runs there are: change it there, or name a preset instead."
            )
        return Plan.load(Plan.shipped().get(preset, Path(preset)))
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


def place(
    jobs: int | None, device: str, together: str, ray: str | None, ray_timeout: float
) -> "Where":
    """Where the runs are trained; a device or a cluster that is not there is refused at once."""
    if ray is None:
        from mechgrok.sweeps.local import checked_device
        from mechgrok.sweeps.running import on_this_machine

        if together not in ("auto", "on", "off"):
            raise UserError(f"There is no --together {together}: choose auto, on or off.")
        return on_this_machine(jobs, checked_device(device), cast("Together", together))
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
    where: "Where",
    at_accuracy: float | None,
    quiet: bool,
) -> None:
    from mechgrok.cli.sweep_progress import SweepProgress
    from mechgrok.sweeps.running import complete, settle

    found = settle(out, plan, extend=extend)
    with SweepProgress(found, quiet=quiet) as progress:
        outcomes = complete(found, where, display=progress)
    _say_how_it_ended(found.at(at_accuracy), outcomes)


def _say_how_it_ended(found: "Sweep", outcomes: "list[Outcome]") -> None:
    """What is there, what failed and why, and how to go on; the exit code says it too."""
    from mechgrok.cli.groups import print_groups
    from mechgrok.sweeps.family import Family

    n_done, n = len(found.finished), len(found)
    failed = [outcome for outcome in outcomes if outcome.how == "failed"]
    # What was stopped before it began has no outcome.
    interrupted = n_done + len(failed) < n
    if n_done and not interrupted:
        print_groups(Family.of_sweep(found))
    print(f"{found.path}: {n_done} of {n} runs are there")
    for outcome in failed:
        print(f"mechgrok: {outcome.member.name} failed: {outcome.words}", file=sys.stderr)
    if interrupted:
        halfway = sum(outcome.how == "interrupted" for outcome in outcomes)
        import shlex

        again = shlex.join(["mechgrok", "sweep", str(found.path), "--resume"])
        print(
            f"Stopped: {n_done} runs are there and {halfway} were under way and can go on; go on "
            f"with: {again}",
            file=sys.stderr,
        )
        raise typer.Exit(130)
    if failed:
        raise typer.Exit(1)


def say_status(found: "Sweep") -> None:
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


def _say_what_it_costs(out: Path, plan: "Plan", jobs: int | None) -> None:
    from collections import Counter

    from mechgrok.cli.progress import waiting
    from mechgrok.cli.words import duration, n_bytes
    from mechgrok.processes import usable_cores
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.estimate import estimate
    from mechgrok.sweeps.running import check_stages

    members = plan.members()
    check_stages(members)
    there = Sweep(out).finished if Sweep.is_at(out) else set()
    missing = [member for member in members if member.name not in there]
    with waiting("training a few steps of each kind"):
        found = estimate(members, missing)
    jobs = min(jobs or usable_cores(), max(1, len(missing)))
    stages = Counter(member.stage for member in members)
    told = ", ".join(f"{count:,} {stage}" for stage, count in stages.items())
    print(f"{out}: {len(members):,} runs ({told}), of which {len(missing):,} are to be trained")
    most = "at most, as some end when they have generalized, " if found.at_most else ""
    print(
        f"{most}about {duration(found.seconds / jobs)} with {jobs} at a time "
        f"({duration(found.seconds)} of one core), as busy as this machine is now"
    )
    print(f"about {n_bytes(found.bytes)} on the disk")
