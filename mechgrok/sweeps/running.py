"""Training a sweep: creating its folder and plan, and training its missing runs."""

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
from mechgrok.sweeps.executor import Display, Executor, Outcome
from mechgrok.sweeps.folder import PLAN, Sweep
from mechgrok.sweeps.local import run_members
from mechgrok.sweeps.order import in_order
from mechgrok.sweeps.plan import Member, Plan
from mechgrok.sweeps.progress import show_sweep
from mechgrok.sweeps.shards import Shard
from mechgrok.training.machine import find_device

#: Whether to train runs of one shape together in one loop.
Together = Literal["auto", "on", "off"]


class SweepFailed(RuntimeError):
    """Some runs of a sweep failed; ``outcomes`` lists the outcomes of all."""

    def __init__(self, path: Path, outcomes: Sequence[Outcome]) -> None:
        failed = [outcome for outcome in outcomes if outcome.how == "failed"]
        super().__init__(
            f"{len(failed)} of {len(outcomes)} runs of {path} failed: "
            + "; ".join(f"{outcome.member.name}: {outcome.words}" for outcome in failed[:5])
        )
        self.path, self.outcomes = path, list(outcomes)


class SweepInterrupted(KeyboardInterrupt):
    """A sweep was interrupted; every run is saved, and calling `sweep` again resumes them."""


def make_plan(
    preset: str = presets.DEFAULT,
    over: Mapping[str, object] | None = None,
    seeds: object = None,
    tickets: Sequence[Mapping[str, object]] = (),
    popups: Sequence[Mapping[str, object]] = (),
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Make a plan from the arguments of `sweep`, and allow the user code in it.

    Raises:
        UserError: ``preset`` is a plan, and other arguments are given as well.
    """
    shipped = Plan.shipped()
    base: dict[str, Any] = {}
    if presets.is_file(preset) and presets.read_toml(preset).keys() <= {*presets.KEYS}:
        preset, base = Path(preset).stem, presets.read_file(preset)
    elif preset in shipped or presets.is_file(preset):
        if over or seeds is not None or tickets or popups or settings:
            raise UserError(
                f"{preset} is a complete plan: change its runs there, or give a preset instead."
            )
        return Plan.load(shipped.get(preset, Path(preset)))
    stages = [{"make": "ticket", **options} for options in tickets]
    stages += [{"make": "popup", **options} for options in popups]
    fields: dict[str, Any] = {"preset": preset, "set": settings or {}, "over": over or {}}
    fields |= {"base": base} if base else {}
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
    shard: str | None = None,
    extend: bool = False,
    display: Display | Literal["auto"] | None = "auto",
    **settings: Any,
) -> Sweep:
    """Train a grid of runs, and runs made from them, in one folder.

    Every run has a folder in ``out``. Finished runs are kept, unfinished runs resumed, and missing
    runs trained, so that calling it again continues a sweep.

    Args:
        out: the sweep's folder.
        preset: the preset of the base runs, or a TOML file of one; or a complete plan: a `Plan`, a
            file such as ``sweep.toml``, or the name of an included plan ("accelerators").
        over: the values of each swept setting, by name: ``{"weight_decay": [0.3, 1, 3]}``, or as
            text, ``"0.3,1,3"``.
        seeds: seeds of both weights and split: ``range(8)`` or ``"0:8"``.
        tickets: families of tickets made from every base run, each a mapping from options of
            `train_ticket` to their values: ``[{"rate": "0.1:0.9:0.1"}, {"control": "l1,l2"}]``.
        popups: the same for `train_popup`; with ``"of": "ticket"`` they are made from the tickets.
        jobs: the number of simultaneous runs; default: one per core.
        device: "auto", "cpu" or "cuda".
        together: whether to train runs of one shape in one loop: "on", "off", or "auto" for on a
            GPU only. With "off" on a CPU, every run has the same bytes as if trained alone.
        where: the executor; default: processes on this machine.
        shard: train one share of the runs: "3/20". Shards can run at once on one folder.
        extend: add these runs to an existing sweep with another plan.
        display: receives progress events; "auto" shows a bar in notebooks only.
        settings: settings of all base runs, by name.

    Raises:
        UserError: a setting or value is invalid, or the folder holds another sweep or anything
            else.
        SweepFailed: some runs failed; the others are saved.
        SweepInterrupted: Ctrl-C.
    """
    plan = preset
    if not isinstance(plan, Plan):
        plan = make_plan(plan, over, seeds, tickets, popups, settings)
    executor = where or on_this_machine(jobs, device, together)
    share = None if shard is None else Shard.parse(shard)
    prepared = prepare_sweep(Path(out), plan, extend=extend, shard=share)
    with show_sweep(display, prepared) as receiver:
        outcomes = complete(prepared, executor, display=receiver, shard=share)
    trained = Sweep(prepared.path, prepared.members)
    n_failed = sum(outcome.how == "failed" for outcome in outcomes)
    if len(trained.finished) + n_failed < len(trained):  # A run that never began has no outcome.
        raise SweepInterrupted(f"{trained.path} was interrupted")
    if n_failed:
        raise SweepFailed(trained.path, outcomes)
    return Sweep(trained.path)


def on_this_machine(jobs: int | None, device: str, together: str) -> Executor:
    """The executor on this machine: several processes, or one loop for many runs.

    Raises:
        UserError: the device does not exist, or ``together`` is invalid.
    """
    if together not in get_args(Together):
        raise UserError(f"There is no --together {together}: choose {choices(get_args(Together))}.")
    if device != "auto":  # Each process resolves "auto", so that torch is not needed here.
        find_device(device)
    if together == "on" or (together == "auto" and _is_gpu(device)):
        from mechgrok.sweeps.together import run_together

        return partial(run_together, device=device)
    return partial(run_members, jobs=jobs or usable_cores(), device=device)


def _is_gpu(device: str) -> bool:
    if device != "auto":
        return device == "cuda"
    # Importing torch takes seconds, so the driver is checked first.
    return Path("/proc/driver/nvidia").exists() and find_device("auto") == "cuda"


def prepare_sweep(
    out: Path, plan: Plan, *, extend: bool = False, shard: Shard | None = None
) -> Sweep:
    """Create or open the sweep with this plan at ``out``, or a shard of it.

    A plan that contains all runs of the existing plan replaces it.

    Raises:
        UserError: the folder holds another plan (and ``extend`` is off) or anything else, or a
            setting of the plan is invalid; nothing is written.
    """
    check_stages(plan.members())
    occupied = out.exists() and (not out.is_dir() or any(not _is_partial(f) for f in out.iterdir()))
    if Sweep.is_at(out):  # Checked last, because another shard may create it meanwhile.
        plan = _join(out, Plan.load(out / PLAN), plan, extend)
    elif occupied:
        raise UserError(f"{out} holds something other than a sweep: choose another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be created ({error}).") from None
    if not Sweep.is_at(out) or Plan.load(out / PLAN) != plan:
        write_text(out / PLAN, plan.as_toml())
    sweep = Sweep(out)
    return sweep if shard is None else Sweep(out, shard.of(sweep.members))


def _is_partial(file: Path) -> bool:
    """Whether a file is a partial plan of a killed process."""
    return file.name.startswith(f".{PLAN}.") and file.name.endswith(".partial")


def _join(out: Path, existing: Plan, plan: Plan, extend: bool) -> Plan:
    """A plan with the runs of both.

    Raises:
        UserError: neither plan contains the other, and ``extend`` is off.
    """
    if existing == plan or plan in existing.also:
        return existing
    runs, existing_runs = ({(m.name, m.identity) for m in p.members()} for p in (plan, existing))
    if existing_runs <= runs:
        return plan
    if not extend:
        raise UserError(
            f"{out} holds another sweep's plan: resume it (--resume), add these runs to it "
            "(--extend), or choose another folder."
        )
    return existing if runs <= existing_runs else replace(existing, also=(*existing.also, plan))


def check_stages(members: Iterable[Member]) -> None:
    """Check the distinct combinations of options of derived runs.

    Raises:
        UserError: an option is unknown or out of range.
    """
    from mechgrok.sweeps.making import check_options

    root, checked = None, set()
    for member in members:
        root = member.config or root
        combination = (member.make, tuple(member.options.items()))
        if member.make is not None and root is not None and combination not in checked:
            check_options(root, member.make, member.options)
            checked.add(combination)


def complete(
    sweep: Sweep, where: Executor, *, display: Display | None = None, shard: Shard | None = None
) -> list[Outcome]:
    """Train the missing and unfinished runs of a sweep, and return their outcomes.

    Shards lock folders of their own, so that several can run at once.

    Raises:
        UserError: a member's folder holds another run, or another process writes to the sweep.
    """
    from mechgrok.sweeps.making import check_same

    with writing(sweep.path if shard is None else sweep.path / shard.folder):
        done = sweep.finished
        for member in sweep.members:
            if member.name in done:
                check_same(sweep.path, member)
        remaining = in_order(sweep.members, done)
        if not remaining:
            return []
        return where(sweep.path, remaining, done=sorted(done), display=display or Display())
