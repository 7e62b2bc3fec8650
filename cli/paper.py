"""Every figure, table and claim of the paper, made from nothing on one page"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechgrok.cli.options import Jobs, Quiet, RayAddress, RayTimeout, TogetherOrNot, WhereDevice
from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.analyses.papers.item import Item
    from mechgrok.analyses.papers.making import Made
    from mechgrok.analyses.papers.scale import Scale
    from mechgrok.sweeps import Executor, Outcome


def paper(
    items: Annotated[
        list[str] | None, typer.Argument(help="Figures and tables: v3-fig3 v2-table1; all.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder; paper, or paper-quick.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="How many, or which, as in 0:5; 3, or 1 if quick.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small networks, in minutes: to see that all works.")
    ] = False,
    mnist: Annotated[
        Path | None, typer.Option(help="A folder with MNIST's four files; downloaded otherwise.")
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Say what there is and how long it takes here.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Draw and judge again what is there.")
    ] = False,
    jobs: Jobs = None,
    device: WhereDevice = "auto",
    together: TogetherOrNot = "auto",
    ray: RayAddress = None,
    ray_timeout: RayTimeout = 60.0,
    quiet: Quiet = False,
) -> None:
    """Make "Bridging Lottery Ticket and Grokking" again, and say of each claim whether it holds.

    Runs that several items need are trained once. What is there is kept: the same command goes on
    after Ctrl-C or a crash. `index.html` opens without a network; claims are also in `claims.json`
    and `claims.parquet`, figures in `figures/` as HTML, SVG and PNG.
    """
    from mechgrok.analyses.papers.item import find_items
    from mechgrok.analyses.papers.scale import Scale

    scale = Scale(_seeds(seeds or ("1" if quick else "3")), quick, _images(mnist))
    found = find_items(items or ())
    if list_:
        _list(found, scale)
        return
    folder = out or Path("paper-quick" if quick else "paper")
    from mechgrok.analyses.papers.making import check_room
    from mechgrok.cli.sweep import executor_of

    check_room(folder)
    outcomes = _train(
        folder, found, scale, executor_of(jobs, device, together, ray, ray_timeout), quiet
    )
    made = _draw(folder, found, scale, fresh, jobs, quiet)
    _say_how_it_ended(folder, made, outcomes)


def _images(folder: Path | None) -> str | None:
    """The folder as the runs name it.

    Raises:
        UserError: it lacks one of MNIST's files.
    """
    if folder is None:
        return None
    from mechgrok.tasks.images import find_mnist

    find_mnist(folder.expanduser())
    return str(folder.expanduser().resolve())


def _seeds(text: str) -> tuple[int, ...]:
    """``3`` are three seeds from 0 on; anything else is as in a sweep.

    Raises:
        UserError: they are no seeds.
    """
    from mechgrok.grammar import parse_values

    values = list(range(int(text))) if text.isdecimal() else parse_values(text)
    if not values or not all(type(value) is int and value >= 0 for value in values):
        raise UserError(f"--seeds {text} are no seeds: give how many, 3, or which, 0:3.")
    return tuple(int(str(value)) for value in values)


def _list(items: "list[Item]", scale: "Scale") -> None:
    """What there is, how many runs each item takes, and how long they would take here."""
    from mechgrok.cli.progress import waiting
    from mechgrok.processes import usable_cores
    from mechgrok.sweeps.costs import CostModel
    from mechgrok.units import duration, n_bytes

    members = {item.name: item.plan(scale).members() for item in items}
    whole = {member.name: member for each in members.values() for member in each}
    costs, cores = None, usable_cores()
    try:
        with waiting("training a few steps of each kind of run"):
            costs = CostModel(list(whole.values()))
    except UserError as error:  # a data set that is not there
        print(f"mechgrok: How long they take is not known: {error}", file=sys.stderr)
    for item in items:
        runs = members[item.name]
        alone = f", at most {duration(costs.of(runs).seconds / cores)} alone" if costs else ""
        print(f"{item.title}\n  {item.shows}\n  {len(runs)} runs{alone}")
    if costs is None:
        return
    total = costs.of(list(whole.values()))
    print(
        f"All of them share {total.runs} runs: at most {duration(total.seconds / cores)} with "
        f"{cores} at a time, as busy as this machine is now, and {n_bytes(total.bytes)} on the disk"
    )


def _train(
    folder: Path, items: "list[Item]", scale: "Scale", executor: "Executor", quiet: bool
) -> "list[Outcome]":
    """Train what is missing; where it was stopped, say how to go on."""
    from mechgrok.analyses.papers.making import sweep_of, train
    from mechgrok.cli.main import typed
    from mechgrok.cli.sweep import failed_runs
    from mechgrok.sweeps.progress import SweepProgress

    sweep = sweep_of(folder, items, scale)
    with SweepProgress(sweep, quiet=quiet) as progress:
        outcomes = train(sweep, executor, progress)
    return failed_runs(sweep, outcomes, shlex.join(["mechgrok", *typed]))


def _draw(
    folder: Path,
    items: "list[Item]",
    scale: "Scale",
    fresh: bool,
    jobs: int | None,
    quiet: bool,
) -> "list[Made]":
    from mechgrok.analyses.papers.making import make_items, write_paper
    from mechgrok.cli.progress import progress_of_pieces
    from mechgrok.processes import usable_cores

    with progress_of_pieces("drawing", quiet=quiet) as progress:
        made = make_items(
            folder,
            items,
            scale,
            fresh=fresh,
            workers=jobs or usable_cores(),
            progress=progress,
        )
    write_paper(folder, made, scale)
    return made


def _say_how_it_ended(folder: Path, made: "list[Made]", failed: "list[Outcome]") -> None:
    """The verdicts, a line each; what failed, in the exit code too."""
    width = max((len(row["verdict"]) for each in made for row in each.claims), default=0)
    for each in made:
        for row in each.claims:
            print(f"{row['verdict']:{width}}  {each.item.name}: {row['text']}")
    for each in made:
        if each.failed:
            print(f"mechgrok: {each.item.name} was not made: {each.failed}", file=sys.stderr)
    undrawn = [f["undrawn"] for each in made for f in each.figures if "undrawn" in f]
    if undrawn:
        print(
            f"mechgrok: {len(undrawn)} figures were written as HTML alone. {undrawn[0]}",
            file=sys.stderr,
        )
    print(folder / "index.html")
    if failed or any(each.failed for each in made):
        raise typer.Exit(1)
