"""Training or resuming one member of a sweep."""

import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mechgrok import processes, user_code
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.settings import flatten
from mechgrok.derived import retrain, train_popup, train_ticket
from mechgrok.derived.edge_popup import popup_options
from mechgrok.derived.retraining import retrain_options
from mechgrok.derived.tickets import ticket_options
from mechgrok.errors import UserError, in_a_sentence
from mechgrok.runs import Run
from mechgrok.sweeps.executor import Outcome
from mechgrok.sweeps.plan import Member
from mechgrok.training import Diverged, Interrupted, Progress, create_run, resume, train

_MADE_BY: dict[str, Callable[..., Run]] = {
    "ticket": train_ticket,
    "popup": train_popup,
    "retrain": retrain,
}
#: The function that splits the options of each into its own and training settings.
_OPTIONS: dict[str, Callable[[dict[str, Any]], tuple[Any, dict[str, Any]]]] = {
    "ticket": ticket_options,
    "popup": popup_options,
    "retrain": retrain_options,
}


def make_member(
    folder: Path, member: Member, *, device: str = "cpu", progress: Progress | None = None
) -> Run:
    """Train or resume the run of ``member``, unless it is finished.

    Args:
        folder: the sweep's folder.
        member: the run to train; its parent must be finished.
        device: "cpu", "cuda" or "auto".
        progress: called after every evaluation with its row of the metrics.

    Raises:
        UserError: the member's folder holds another run, or the run cannot be created.
        Interrupted: Ctrl-C; the run is saved.
        Diverged: the loss is not finite; the steps before are saved.
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
    return _make_from_parent(folder, member, device=device, progress=progress)


def begin_member(folder: Path, member: Member) -> Run:
    """Open the run of ``member``, or create it at its first step.

    Raises:
        UserError: as for `make_member`.
    """
    out = folder / member.name
    if (out / "config.json").is_file():
        check_same(folder, member)
        return Run(out)
    if member.config is not None:
        return create_run(out, member.config)
    return _make_from_parent(folder, member, train=False)


def _make_from_parent(folder: Path, member: Member, **training: Any) -> Run:
    assert member.make is not None
    assert member.parent is not None
    _check_method(member.options)
    make = _MADE_BY[member.make]
    return make(Run(folder / member.parent), folder / member.name, **training, **member.options)


def attempt(
    folder: Path, member: Member, *, device: str = "cpu", progress: Progress | None = None
) -> Outcome:
    """Call `make_member` and return the outcome; Ctrl-C interrupts it at any point."""
    caught: list[warnings.WarningMessage]
    with warnings.catch_warnings(record=True) as caught:
        try:
            with _interruptible():
                run = make_member(folder, member, device=device, progress=progress)
                how, text = "done", milestones_in_words(run)
        except (UserError, Diverged) as error:
            how, text = "failed", str(error)
        except Interrupted as stopped:
            how, text = "interrupted", f"saved at step {stopped.step:,}"
        except KeyboardInterrupt:
            how, text = "interrupted", "stopped before the first step"
        except Exception as error:
            how, text = "failed", in_a_sentence(error)
    return Outcome(member, how, text, tuple(str(warning.message) for warning in caught))  # type: ignore[arg-type]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, at once if the worker has already received it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if processes.interrupts:
            raise KeyboardInterrupt
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def milestones_in_words(run: Run) -> str:
    """Format a run's milestones: ``t_mem 100, t_gen not within 5,000``."""
    last = run.metrics.step.iloc[-1]
    return ", ".join(
        f"{name} {f'not within {last:,}' if step is None else f'{step:,}'}"
        for name, step in (("t_mem", run.t_mem), ("t_gen", run.t_gen))
    )


def check_options(root: RunConfig, make: str, options: Mapping[str, Any]) -> None:
    """Check the options of a derived run before anything is trained.

    Args:
        root: the configuration of its base run.
        make: "ticket", "popup" or "retrain".
        options: the member's options.

    Raises:
        UserError: an option is unknown or out of range.
    """
    _check_method(options)
    _, training = _OPTIONS[make](dict(options))
    inherited = root.model_dump(mode="json", include={"task", "model", "training"})
    RunConfig.make(**inherited | {"training": root.inherited_training() | training})


def _check_method(options: Mapping[str, Any]) -> None:
    """Check that the user has allowed a pruning method that is user code."""
    if user_code.is_own(method := options.get("method")):
        user_code.check(str(method))


def check_same(folder: Path, member: Member) -> None:
    """Check that a member's folder holds the run of the plan.

    Raises:
        UserError: the run has other settings.
    """
    if member.config is None:
        return
    run = Run(folder / member.name)
    expected, actual = (
        flatten(config.model_dump(mode="json", exclude={"versions"}))
        for config in (member.config, run.config)
    )
    for path, value in expected.items():
        if actual.get(path) != value:
            raise UserError(
                f"{run.path} was trained with {path} = {actual.get(path)}, but the plan has "
                f"{value}: move it away, or sweep into another folder."
            )
