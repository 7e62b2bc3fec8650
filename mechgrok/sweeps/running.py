"""Making a sweep: its folder, its plan, and the runs that are missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from mechgrok.configuration import presets
from mechgrok.errors import UserError, choices
from mechgrok.files import write_text
from mechgrok.global_state import in_neutral_state
from mechgrok.grammar import as_values
from mechgrok.processes import usable_cores
from mechgrok.runs.lock import writing
from mechgrok.sweeps.executor import Display, Executor, NullDisplay, Outcome
from mechgrok.sweeps.folder import PLAN, Sweep
from mechgrok.sweeps.local import run_members
from mechgrok.sweeps.order import in_order
from mechgrok.sweeps.plan import Member, Plan
from mechgrok.sweeps.progress import show_sweep
from mechgrok.training.machine import find_device

#: Whether runs of one shape are trained in one loop.
Together = Literal["auto", "on", "off"]


class SweepFailed(RuntimeError):
    """Some runs of a sweep failed; the others are there. ``outcomes`` says how each ended."""

    def __init__(self, path: Path, outcomes: Sequence[Outcome]) -> None:
        failed = [outcome for outcome in outcomes if outcome.how == "failed"]
        super().__init__(
            f"{len(failed)} of {len(outcomes)} runs of {path} failed: "
            + "; ".join(f"{outcome.member.name}: {outcome.words}" for outcome in failed[:5])
        )
        self.path, self.outcomes = path, list(outcomes)


class SweepInterrupted(KeyboardInterrupt):
    """A sweep was interrupted; every run is saved, and making the sweep again resumes them."""


def make_plan(
    preset: str = presets.DEFAULT,
    over: Mapping[str, object] | None = None,
    seeds: object = None,
    tickets: Sequence[Mapping[str, object]] = (),
    popups: Sequence[Mapping[str, object]] = (),
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """A plan from the values that a person gives, whose code is theirs; see `sweep`.

    Raises:
        UserError: ``preset`` is a whole plan, and other runs are given beside it.
    """
    shipped = Plan.shipped()
    if preset in shipped or preset.endswith(".toml"):
        if over or seeds is not None or tickets or popups or settings:
            raise UserError(
                f"{preset} says which runs there are: change it there, or name a preset instead."
            )
        return Plan.load(shipped.get(preset, Path(preset)))
    stages = [{"make": "ticket", **options} for options in tickets]
    stages += [{"make": "popup", **options} for options in popups]
    fields: dict[str, Any] = {"preset": preset, "set": settings or {}, "over": over or {}}
    if seeds is not None:
        fields["seeds"] = as_values(seeds)
    return Plan.read(fields | {"stage": stages}).trusted()


@in_neutral_state
def sweep(
    out: str | Path,
    preset: str | Plan = presets.DEFAULT,
    *,
    over: Mapping[str, object] | None = None,
    seeds: object = None,
    tickets: Sequence[Mapping[str, object]] = (),
    popups: Sequence[Mapping[str, object]] = (),
    jobs: int | None = None,
    device: str = "auto",
    together: Together = "auto",
    where: Executor | None = None,
    extend: bool = False,
    display: Display | Literal["auto"] | None = "auto",
    **settings: Any,
) -> Sweep:
    """Train a grid of runs, and runs made from them, into one folder.

    Every run is a folder of its own in ``out``. Finished runs are kept, unfinished ones resumed,
    missing ones trained: calling it again continues a sweep.

    Args:
        out: the sweep's folder.
        preset: what the base runs start from; or a whole plan, which says by itself which runs
            there are: a `Plan`, a file such as ``sweep.toml``, or one that comes with the project
            ("accelerators").
        over: the values of each setting that is swept, by name: ``{"weight_decay": [0.3, 1, 3]}``,
            or as text, ``"0.3,1,3"``.
        seeds: each sets the weights' seed and the split's together: ``range(8)`` or ``"0:8"``.
        tickets: families of tickets made from every base run, each a mapping from options of
            `train_ticket` to their values: ``[{"rate": "0.1:0.9:0.1"}, {"control": "l1,l2"}]``.
        popups: the same for `train_popup`; ``"of": "ticket"`` makes them of the tickets.
        jobs: runs at a time; as many as there are cores unless given.
        device: "auto", "cpu" or "cuda".
        together: whether runs of one shape are trained in one loop: "on", "off", or "auto", on a
            GPU alone. On a CPU every run has the bytes that it has alone if they are not.
        where: what makes the runs; processes on this machine unless given.
        extend: add these runs to a sweep that is there, instead of refusing another plan.
        display: receives progress events; "auto" is a bar in a notebook, and nothing elsewhere.
        settings: settings that all base runs share, by name.

    Raises:
        UserError: a setting or value is none, or the folder holds another sweep, or anything else.
        SweepFailed: some runs failed; the others are there.
        SweepInterrupted: Ctrl-C.
    """
    plan = preset
    if not isinstance(plan, Plan):
        plan = make_plan(plan, over, seeds, tickets, popups, settings)
    where = where or on_this_machine(jobs, device, together)
    found = prepare_sweep(Path(out), plan, extend=extend)
    with show_sweep(display, found) as shown:
        outcomes = complete(found, where, display=shown)
    made = Sweep(found.path)
    n_failed = sum(outcome.how == "failed" for outcome in outcomes)
    if len(made.finished) + n_failed < len(made):  # A run that never began has no outcome.
        raise SweepInterrupted(f"{found.path} was interrupted")
    if n_failed:
        raise SweepFailed(found.path, outcomes)
    return made


def on_this_machine(jobs: int | None, device: str, together: str) -> Executor:
    """What makes a sweep's runs here: processes that are fed runs, or one loop for many.

    Raises:
        UserError: the device is not there, or ``together`` is not one of its values.
    """
    if together not in get_args(Together):
        raise UserError(f"There is no --together {together}: choose {choices(get_args(Together))}.")
    if device != "auto":  # That is resolved by each process, so that torch is not needed here.
        find_device(device)
    if together == "on" or (together == "auto" and _is_gpu(device)):
        from mechgrok.sweeps.together import run_together

        return partial(run_together, device=device)
    return partial(run_members, jobs=jobs or usable_cores(), device=device)


def _is_gpu(device: str) -> bool:
    if device != "auto":
        return device == "cuda"
    # torch takes seconds to import, and without a driver there is nothing to ask it.
    return Path("/proc/driver/nvidia").exists() and find_device("auto") == "cuda"


def prepare_sweep(out: Path, plan: Plan, *, extend: bool = False) -> Sweep:
    """The sweep with this plan at ``out``, whose folder is made where it is new.

    A plan with all the runs of the existing one, and more, replaces it.

    Raises:
        UserError: the folder holds another plan (unless ``extend``), or something else; or a
            setting of the plan does not fit. Nothing is written then.
    """
    check_stages(plan.members())
    if Sweep.is_at(out):
        plan = _joined(out, Plan.load(out / PLAN), plan, extend)
    elif out.exists() and (not out.is_dir() or any(not _is_partial(f) for f in out.iterdir())):
        raise UserError(f"{out} holds something other than a sweep: choose another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be made ({error}).") from None
    if not Sweep.is_at(out) or Plan.load(out / PLAN) != plan:
        write_text(out / PLAN, plan.as_toml())
    return Sweep(out)


def _is_partial(file: Path) -> bool:
    """Whether it is what a process that was killed while writing the plan has left."""
    return file.name.startswith(f".{PLAN}.") and file.name.endswith(".partial")


def _joined(out: Path, there: Plan, plan: Plan, extend: bool) -> Plan:
    """The plan with the runs of both.

    Raises:
        UserError: neither plan includes the other, and ``extend`` is off.
    """
    if there == plan or plan in there.also:
        return there
    ours, theirs = ({(m.name, m.identity) for m in each.members()} for each in (plan, there))
    if theirs <= ours:
        return plan
    if not extend:
        raise UserError(
            f"{out} holds another sweep's plan: resume it (--resume), add these runs to it "
            "(--extend), or choose another folder."
        )
    return there if ours <= theirs else replace(there, also=(*there.also, plan))


def check_stages(members: Iterable[Member]) -> None:
    """Check the options of tickets and searches, each combination once.

    Raises:
        UserError: one is unknown or out of range.
    """
    from mechgrok.sweeps.making import check_options

    root, seen = None, set()
    for member in members:
        root = member.config or root
        combination = (member.make, tuple(member.options.items()))
        if member.make is not None and root is not None and combination not in seen:
            check_options(root, member.make, member.options)
            seen.add(combination)


def complete(sweep: Sweep, where: Executor, *, display: Display | None = None) -> list[Outcome]:
    """Train the missing and unfinished runs of a sweep; the outcomes of these.

    Raises:
        UserError: a folder holds another run than the plan's, or another process writes it.
    """
    from mechgrok.sweeps.making import check_same

    with writing(sweep.path):
        done = sweep.finished
        for member in sweep.members:
            if member.name in done:
                check_same(sweep.path, member)
        left = in_order(sweep.members, done)
        if not left:
            return []
        return where(sweep.path, left, done=sorted(done), display=display or NullDisplay())
