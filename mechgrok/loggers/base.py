"""The base class of loggers, and functions that send metrics to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from mechgrok import user_code
from mechgrok.deadline import Caller
from mechgrok.errors import UserError, in_a_sentence, warn
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import Registry
from mechgrok.runs import Run, RunLike, open_run

#: Timeout in seconds of a call of a logger.
PATIENCE = 120.0

#: Names of the metrics' columns in logs, grouped by prefix.
SERIES = {
    "train_loss": "train/loss",
    "test_loss": "test/loss",
    "train_accuracy": "train/accuracy",
    "test_accuracy": "test/accuracy",
    "l1": "norm/l1",
    "l2": "norm/l2",
}


class Logger(ABC):
    """Receives the metrics of a run, row by row.

    Args:
        run: the run; its name and configuration are logged, too.
        begun: the first step to log: 0, or the step from which the run is resumed, which
            invalidates earlier logs of later steps.
    """

    def __init__(self, run: Run, begun: int) -> None:
        self.run, self.begun = run, begun

    @property
    def folder(self) -> Path:
        """The folder of log files: ``logs/`` in the run's folder."""
        return self.run.path / "logs"

    @property
    def settings(self) -> dict[str, Any]:
        """The run's configuration in the form of ``config.json``."""
        return self.run.config.model_dump(mode="json")

    @abstractmethod
    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Log the finite values of one evaluation, by the names of `SERIES`."""

    @abstractmethod
    def close(self) -> None:
        """Send pending rows and close."""


#: Loggers by name; each requires the extra of the same name.
LOGGERS: Registry[type[Logger]] = Registry(
    "logger",
    "mechgrok.loggers",
    {
        "tensorboard": "mechgrok.loggers.tensorboard:TensorBoard",
        "wandb": "mechgrok.loggers.weights_and_biases:WeightsAndBiases",
        "trackio": "mechgrok.loggers.trackio:Trackio",
    },
)


def find_loggers(names: str | Sequence[str]) -> dict[str, type[Logger]]:
    """The classes of the named loggers.

    Raises:
        UserError: a name is unknown, or its package is not installed.
    """
    loggers = {}
    for name in [names] if isinstance(names, str) else names:
        user_code.allow(name)
        try:
            loggers[name] = LOGGERS.load(name)
        except ImportError as error:
            raise UserError(
                f"{name} is not installed ({error}): pip install 'mechgrok[{name}]'."
            ) from None
    return loggers


@contextmanager
def logged(
    run: Run, names: str | Sequence[str], begun: int, failed: set[str] | None = None
) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A context that yields a function to log a row of a run's metrics.

    A logger that fails (no network, a full disk) or exceeds `PATIENCE` is dropped with a warning;
    training continues.

    Args:
        run: the run to log.
        names: the names of the loggers.
        begun: the first step to log.
        failed: a set to which the names of failed loggers are added.
    """
    failed = set() if failed is None else failed
    loggers: dict[str, tuple[Logger, Caller]] = {}
    for name, kind in find_loggers(names).items():
        with _as_warning(name, "could not start", failed):
            call = Caller(PATIENCE)
            loggers[name] = call(kind, run, begun), call

    def note(row: Mapping[str, float]) -> None:
        values = {
            SERIES.get(name, name): value
            for name, value in row.items()
            if name != "step" and isfinite(value)
        }
        for name, (logger, call) in loggers.items():
            if name not in failed:
                with _as_warning(name, "failed and was stopped", failed):
                    call(logger.note, int(row["step"]), values)

    try:
        yield note
    finally:
        for name, (logger, call) in loggers.items():
            if name not in failed:
                with _as_warning(name, "may lack the last rows", failed):
                    call(logger.close)


@in_neutral_state
def log(run: RunLike, to: str | Sequence[str]) -> list[str]:
    """Send the metrics of an existing run to loggers.

    Args:
        run: a run, or its folder.
        to: loggers: "tensorboard", "wandb", "trackio", or user code (``file.py:Name``).

    Returns:
        The loggers that received every row; each of the others causes a warning.

    Raises:
        UserError: there is no such run or logger, or the run has no metrics yet.
    """
    run = open_run(run)
    rows = [{str(k): v for k, v in row.items()} for row in run.metrics.to_dict("records")]
    if not rows:
        raise UserError(f"{run.path} has no metrics yet: train it first.")
    failed: set[str] = set()
    with logged(run, to, begun=0, failed=failed) as note:
        for row in rows:
            note(row)
    return [name for name in ([to] if isinstance(to, str) else to) if name not in failed]


@contextmanager
def _as_warning(name: str, what: str, failed: set[str]) -> Iterator[None]:
    """Turn a logger's error into a warning, and add its name to ``failed``."""
    try:
        yield
    except Exception as error:
        warn(f"{name} {what}: {in_a_sentence(error)}")
        failed.add(name)
