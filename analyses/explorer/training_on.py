"""Training on from the step on the page: a fork, in a process that ends with the page."""

import math
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mechgrok import processes
from mechgrok.analyses.explorer.tables import numbers
from mechgrok.derived.forking import fork
from mechgrok.errors import ExternalError, UserError, in_a_sentence
from mechgrok.interventions import Intervention, Keep, Remove
from mechgrok.optimization.constraints.frequencies import Frequencies
from mechgrok.runs import Run
from mechgrok.training import Interrupted

#: The most weights of a network that the page trains on.
MOST_WEIGHTS = 2_000_000
#: Seconds in which its process must start.
_START_TIMEOUT = 30.0


class Fork:
    """A fork of a run, trained in the background.

    Attributes:
        out: its folder, beside the parent's.
        step: the parent's step at which it begins.
        steps: the number of steps after that.
        rows: its rows of metrics so far.
        error: why training stopped, as one sentence; "" if it did not fail.
        is_over: whether the process has ended.

    Raises:
        UserError: the network is too large.
    """

    def __init__(self, run: Run, step: int, settings: dict[str, Any]) -> None:
        if run.n_parameters > MOST_WEIGHTS:
            raise UserError(
                f"{run.name} has {run.n_parameters:,} weights, and the page trains networks of up "
                f"to {MOST_WEIGHTS:,}: use mechgrok fork {run.path} --at {step}."
            )
        self.out, self.step, self.steps = _free_folder(run, step), step, settings["steps"]
        self.rows: list[dict[str, float]] = []
        self.error, self.is_over = "", False
        paths = str(run.path.resolve()), str(self.out)
        # The process ends with the thread that starts it: a request's thread would end too soon.
        started = threading.Event()
        arguments = (started, *paths, step, settings)
        threading.Thread(target=self._serve, args=arguments, daemon=True).start()
        if not started.wait(_START_TIMEOUT):
            raise UserError(f"The training of {self.out.name} did not start: try again.")

    @property
    def curve(self) -> dict[str, Any]:
        """The label, the first and the last step, and the learning curves for the browser."""
        columns: dict[str, Any] = {"step": [row["step"] for row in self.rows]}
        for quantity in ("accuracy", "loss"):
            columns[quantity] = {
                side: numbers([row[f"{side}_{quantity}"] for row in self.rows])
                for side in ("train", "test")
            }
        return {"label": self.out.name, "last": self.step + self.steps, "curve": columns}

    def in_words(self) -> str:
        """Its progress, result or error."""
        if self.error or not self.rows:
            return self.error or f"{self.out.name}: training begins at step {self.step:,}."
        last = self.rows[-1]
        words = f"{self.out.name}: step {int(last['step']):,} of {self.step + self.steps:,}"
        if not math.isnan(last["test_accuracy"]):
            words += f", test accuracy {100 * last['test_accuracy']:.1f} %"
        if not self.is_over:
            return words
        origin = Run(self.out).config.origin
        state = "the parent's" if getattr(origin, "optimizer_state", False) else "new"
        return f"{words}. It is in {self.out} and under Runs; its optimizer's state was {state}."

    def stop(self) -> None:
        """Stop training after the current step; the run is saved and can be resumed."""
        if not self.is_over:
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End the process at once; the run can be resumed from its newest checkpoint."""
        self._process.kill()

    def _serve(self, started: threading.Event, *arguments: Any) -> None:
        """Start the process, and receive its rows until it ends."""
        self._process, connection = processes.start(_train, *arguments)
        started.set()
        try:
            while True:
                message = connection.recv()
                if isinstance(message, str):
                    self.error = message
                else:
                    self.rows.append(message)
        except (EOFError, OSError):
            code = processes.end(self._process)
        if code and not self.error:
            self.error = f"Training ended with exit code {code} after {len(self.rows)} evaluations."
        self.is_over = True


def constraints_of(
    run: Run, step: int, interventions: Sequence[Intervention], freeze: Sequence[str] = ()
) -> tuple[list[str], list[Intervention]]:
    """The constraints that hold interventions during training, and interventions without one.

    Args:
        run: the run, whose own constraints at ``step`` come first.
        step: a step.
        interventions: the interventions.
        freeze: weights to freeze.
    """
    constraints = [str(constraint) for constraint in run.config.at(step).recipe.constraints]
    embedding, others = run.wiring.embedding, []
    for intervention in interventions:
        if isinstance(intervention, Remove | Keep) and intervention.of == "embedding" and embedding:
            option = "remove" if isinstance(intervention, Remove) else "keep"
            chosen: dict[str, Any] = {option: "+".join(map(str, intervention.frequencies or ()))}
            constraints.append(str(Frequencies(of=embedding.formula, **chosen)))
        else:
            others.append(intervention)
    if freeze:
        constraints.append(f"freeze:of={'+'.join(freeze)}")
    return constraints, others


def in_words(constraints: Sequence[str], others: Sequence[Intervention]) -> str:
    """One sentence each on the constraints of a fork, and on the interventions that it lacks."""
    held = f"The fork trains with {', '.join(constraints)}. " if constraints else ""
    if not others:
        return held
    listed = ", ".join(map(repr, others))
    return f"{held}The fork trains without {listed}: no constraint holds it during training."


def _free_folder(run: Run, step: int) -> Path:
    """A new folder beside the run's."""
    path = run.path.resolve()
    stem, number = f"{path.name}-fork-{step}", 1
    while (out := path.with_name(stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return out


def _train(
    connection: Connection, parent: str, out: str, step: int, settings: dict[str, Any]
) -> None:
    """In the process: train the fork, and send rows of metrics, or an error as a sentence."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        fork(parent, out, at=step, device="cpu", progress=connection.send, **settings)
    except Interrupted as stopped:
        again = f"mechgrok train --out {out} --resume"
        connection.send(f"Stopped at step {stopped.step:,} and saved: continue it with {again}.")
    except KeyboardInterrupt:
        connection.send("Stopped before the first step.")
    except (UserError, ExternalError) as error:
        connection.send(str(error))
    except Exception as error:
        connection.send(in_a_sentence(error))
