"""Making one member of a sweep, wherever it runs: train it, or go on with what is there."""

from collections.abc import Callable
from pathlib import Path

from mechgrok.errors import UserError
from mechgrok.runs import Run, train_popup, train_ticket
from mechgrok.sweeps.plan import Member
from mechgrok.training import Progress, resume, train

_MADE_BY: dict[str, Callable[..., Run]] = {"ticket": train_ticket, "popup": train_popup}


def make_member(
    folder: Path, member: Member, *, device: str = "cpu", progress: Progress | None = None
) -> Run:
    """The run of ``member``, trained to its end; one that is there already is left as it is.

    Args:
        folder: the sweep's.
        member: what to make; its parent must be finished.
        device: "cpu", "cuda" or "auto".
        progress: called after every evaluation with its row of the metrics.

    Raises:
        UserError: the member's folder holds another run, or the run cannot be made.
        Interrupted: Ctrl-C; the run is saved.
        Diverged: its loss is not finite; what came before is saved.
    """
    out = folder / member.name
    if (out / "config.json").is_file():
        run = Run(out)
        _check_same(run, member)
        return run if run.finished else resume(out, device=device, progress=progress)
    if member.make is None:
        return train(out, member.config, device=device, progress=progress)
    assert member.parent is not None
    make = _MADE_BY[member.make]
    options = dict(member.options)
    return make(Run(folder / member.parent), out, device=device, progress=progress, **options)


def _check_same(run: Run, member: Member) -> None:
    """Refuse a folder whose run is another than the plan's.

    Raises:
        UserError: it is.
    """
    if member.config is None:
        return
    wanted, found = (
        config.model_dump(mode="json", exclude={"versions"})
        for config in (member.config, run.config)
    )
    if differing := [part for part in wanted if wanted[part] != found.get(part)]:
        raise UserError(
            f"{run.path} holds another run than the plan wants: its {differing[0]} is "
            f"{found.get(differing[0])}; move it away, or sweep into another folder."
        )
