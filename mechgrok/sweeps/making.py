"""Making one member of a sweep, wherever it runs: train it, or resume it."""

import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mechgrok import processes, user_code
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.settings import flatten
from mechgrok.derived import train_popup, train_ticket
from mechgrok.derived.edge_popup import popup_options
from mechgrok.derived.tickets import ticket_options
from mechgrok.errors import UserError, in_a_sentence
from mechgrok.runs import Run
from mechgrok.sweeps.executor import Outcome
from mechgrok.sweeps.plan import Member
from mechgrok.training import Diverged, Interrupted, Progress, create_run, resume, train

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
        check_same(folder, member)
        run = Run(out)
        if run.finished and run.is_unlocked:
            return run
        return resume(out, device=device, progress=progress)
    if member.make is None:
        return train(out, member.config, device=device, progress=progress)
    return _make_of_parent(folder, member, device=device, progress=progress)


def begin_member(folder: Path, member: Member) -> Run:
    """The run of ``member`` as far as it is there, at its first step where it was not.

    Raises:
        UserError: as of `make_member`.
    """
    out = folder / member.name
    if (out / "config.json").is_file():
        check_same(folder, member)
        return Run(out)
    if member.config is not None:
        return create_run(out, member.config)
    return _make_of_parent(folder, member, train=False)


def _make_of_parent(folder: Path, member: Member, **how: Any) -> Run:
    assert member.make is not None
    assert member.parent is not None
    _check_method(member.options)
    make = _MADE_BY[member.make]
    return make(Run(folder / member.parent), folder / member.name, **how, **member.options)


def attempt(
    folder: Path, member: Member, *, device: str = "cpu", progress: Progress | None = None
) -> Outcome:
    """`make_member`, and how it ended as a value; Ctrl-C interrupts it at any point."""
    caught: list[warnings.WarningMessage]
    with warnings.catch_warnings(record=True) as caught:
        try:
            with _interruptible():
                run = make_member(folder, member, device=device, progress=progress)
                how, words = "done", milestones_in_words(run)
        except (UserError, Diverged) as error:
            how, words = "failed", str(error)
        except Interrupted as stopped:
            how, words = "interrupted", f"saved at step {stopped.step:,}"
        except KeyboardInterrupt:
            how, words = "interrupted", "stopped before a step was taken"
        except Exception as error:
            how, words = "failed", in_a_sentence(error)
    return Outcome(member, how, words, tuple(str(warning.message) for warning in caught))  # type: ignore[arg-type]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise while it lasts, and one that a worker has noted before it at once."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if processes.interrupts:
            raise KeyboardInterrupt
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def milestones_in_words(run: Run) -> str:
    """``t_mem 100, t_gen not within 5,000``."""
    last = run.metrics.step.iloc[-1]
    return ", ".join(
        f"{name} {f'not within {last:,}' if step is None else f'{step:,}'}"
        for name, step in (("t_mem", run.t_mem), ("t_gen", run.t_gen))
    )


def check_options(root: RunConfig, make: str, options: Mapping[str, Any]) -> None:
    """Refuse what `make_member` would refuse of a ticket or a search, before anything is trained.

    Args:
        root: the configuration of the base run that it goes back to.
        make: "ticket" or "popup".
        options: the member's.

    Raises:
        UserError: an option is unknown or out of range.
    """
    _check_method(options)
    read = ticket_options if make == "ticket" else popup_options
    _, training = read(dict(options))
    inherited = root.model_dump(mode="json", include={"task", "model", "training"})
    RunConfig.make(**inherited | {"training": root.inherited_training() | training})


def _check_method(options: Mapping[str, Any]) -> None:
    """Refuse a pruning method that only a plan names: code of a person's own must be typed."""
    if user_code.is_own(method := options.get("method")):
        user_code.check(str(method))


def check_same(folder: Path, member: Member) -> None:
    """Refuse a folder whose run is another than the plan's.

    Raises:
        UserError: it is.
    """
    if member.config is None:
        return
    run = Run(folder / member.name)
    wanted, actual = (
        flatten(config.model_dump(mode="json", exclude={"versions"}))
        for config in (member.config, run.config)
    )
    for path, value in wanted.items():
        if actual.get(path) != value:
            raise UserError(
                f"{run.path} was trained with {path} = {actual.get(path)}, but the plan wants "
                f"{value}: move it away, or sweep into another folder."
            )
