"""Making a sweep: its folder, its plan, and what is still missing of its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mechgrok import presets
from mechgrok.errors import UserError
from mechgrok.files import write_text
from mechgrok.grammar import as_values
from mechgrok.processes import usable_cores
from mechgrok.sweeps.folder import PLAN, Sweep
from mechgrok.sweeps.local import Display, Outcome, run_members
from mechgrok.sweeps.plan import Member, Plan


class SweepFailed(RuntimeError):
    """Some runs of a sweep failed; the others are there. ``outcomes`` says how each ended."""

    def __init__(self, path: Path, outcomes: Sequence[Outcome]) -> None:
        failed = [outcome for outcome in outcomes if outcome.how == "failed"]
        super().__init__(
            f"{len(failed)} of {len(outcomes)} runs of {path} failed: "
            + "; ".join(f"{o.member.name}: {o.why.strip().splitlines()[-1]}" for o in failed[:5])
        )
        self.path, self.outcomes = path, list(outcomes)


class SweepInterrupted(KeyboardInterrupt):
    """A sweep was interrupted; every run is saved, and making it again goes on."""


class Silent:
    """A display that shows nothing."""

    def began(self, worker: int, member: Member) -> None: ...
    def row(self, worker: int, member: Member, row: Mapping[str, float]) -> None: ...
    def ended(self, worker: int, outcome: Outcome) -> None: ...


def make_plan(
    preset: str = presets.DEFAULT,
    *,
    over: Mapping[str, object] | None = None,
    seeds: object = None,
    tickets: Sequence[Mapping[str, object]] = (),
    popups: Sequence[Mapping[str, object]] = (),
    **settings: Any,
) -> Plan:
    """A plan from Python's values; see `sweep`."""
    stages = [{"make": "ticket", **options} for options in tickets]
    stages += [{"make": "popup", **options} for options in popups]
    fields: dict[str, Any] = {"preset": preset, "set": settings, "over": over or {}}
    if seeds is not None:
        fields["seeds"] = as_values(seeds)
    return Plan.read(fields | {"stage": stages})


def sweep(
    out: str | Path,
    preset: str | Plan = presets.DEFAULT,
    *,
    over: Mapping[str, object] | None = None,
    seeds: object = None,
    tickets: Sequence[Mapping[str, object]] = (),
    popups: Sequence[Mapping[str, object]] = (),
    jobs: int | None = None,
    extend: bool = False,
    display: Display | None = None,
    **settings: Any,
) -> Sweep:
    """Train a grid of runs, and runs made from them, into one folder.

    Every run is a folder of its own in ``out``. What is there already is kept, what is unfinished
    goes on, what is missing is trained: calling it again continues a sweep.

    Args:
        out: the sweep's folder.
        preset: what the base runs start from, or a whole `Plan`.
        over: the values of each setting that is swept, by name: ``{"weight_decay": [0.3, 1, 3]}``,
            or as text, ``"0.3,1,3"``.
        seeds: each sets the weights' seed and the split's together: ``range(8)`` or ``"0:8"``.
        tickets: families of tickets made from every base run, each a mapping from options of
            `train_ticket` to their values: ``[{"rate": "0.1:0.9:0.1"}, {"control": "l1,l2"}]``.
        popups: the same for `train_popup`; ``"of": "ticket"`` makes them of the tickets.
        jobs: runs at a time; as many as there are cores unless given.
        extend: add these runs to a sweep that is there, instead of refusing another plan.
        display: is told what happens.
        settings: settings that all base runs share, by name.

    Raises:
        UserError: a setting or value is none, or the folder holds another sweep, or anything else.
        SweepFailed: some runs failed; the others are there.
        SweepInterrupted: Ctrl-C.
    """
    out = Path(out)
    if isinstance(preset, Plan):
        plan = preset
    else:
        plan = make_plan(preset, over=over, seeds=seeds, tickets=tickets, popups=popups, **settings)
    found = settle(out, plan, extend=extend)
    outcomes = complete(found, jobs=jobs, display=display or Silent())
    if any(outcome.how == "interrupted" for outcome in outcomes):
        raise SweepInterrupted(f"{found.path} was interrupted")
    if any(outcome.how == "failed" for outcome in outcomes):
        raise SweepFailed(found.path, outcomes)
    return Sweep(out)


def settle(out: Path, plan: Plan, *, extend: bool = False) -> Sweep:
    """The sweep with this plan at ``out``, its folder made where it is new.

    Raises:
        UserError: the folder holds another plan (unless ``extend``), or something else.
    """
    plan.members()  # A mistake in the plan must not leave a folder.
    if Sweep.is_at(out):
        there = Plan.load(out / PLAN)
        if there == plan or plan in there.also:
            return Sweep(out)
        if not extend:
            raise UserError(
                f"{out} holds another sweep's plan: go on with it (--resume), add these runs to it "
                "(--extend), or choose another folder."
            )
        plan = replace(there, also=(*there.also, plan))
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds something other than a sweep: choose another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be made ({error}).") from None
    write_text(out / PLAN, plan.as_toml())
    return Sweep(out)


def complete(
    found: Sweep, *, jobs: int | None = None, display: Display | None = None
) -> list[Outcome]:
    """Train what is missing or unfinished of a sweep; the runs that were there are no outcomes."""
    status = found.table["status"]
    done = [name for name in status.index if status[name] == "finished"]
    left = sorted(
        (member for member in found.members if member.name not in done), key=_work, reverse=True
    )
    if not left:
        return []
    return run_members(
        found.path, left, jobs=jobs or usable_cores(), display=display or Silent(), done=done
    )


def _work(member: Member) -> float:
    """How much there is to do for a run, roughly: steps times the width of its layers."""
    if member.config is None:
        return float(member.options.get("steps") or 0)
    shape, training = member.config.model, member.config.training
    steps = 0 if training is None else training.steps
    return float(steps * (shape.d_model or 1) * shape.d_mlp)
