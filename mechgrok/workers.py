"""Calling functions in worker processes, which end with their parent.

A call is repeated once if its worker is killed or gets stuck.
"""

import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from mechgrok import processes
from mechgrok.errors import in_a_sentence

#: Attempts at a call whose worker dies.
_TRIES = 2
#: Seconds between two checks for stuck workers.
_CHECK_EVERY = 1.0
#: In a worker: the connection to its parent.
_to_parent: list[Connection] = []
#: Stands for a pending or cancelled result.
_NONE = object()


@dataclass(frozen=True)
class Failure:
    """The reason why a call has no result, in a sentence."""

    reason: str


@dataclass(frozen=True)
class _Message:
    """A value that a running call sends to the parent."""

    value: Any


@dataclass
class _Call:
    key: Any
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tries: int = 0


class _Worker:
    """A process and its current call."""

    def __init__(self) -> None:
        self.process, self.connection = processes.start(_serve)
        self.call: _Call | None = None
        self.was_stuck = False

    def begin(self, call: _Call) -> None:
        self.call, self.activity = call, processes.Activity(self.process)
        call.tries += 1
        with suppress(OSError):  # The process has died; `Workers.poll` notices.
            self.connection.send((call.function, call.arguments))

    def kill_if_stuck(self) -> None:
        if self.activity.is_stuck():
            self.was_stuck = True
            self.process.kill()

    def cause_of_death(self) -> str:
        code = processes.end(self.process)
        if self.was_stuck:
            return f"was stuck for {processes.STUCK_AFTER:g} seconds"
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


class Workers:
    """A context with up to ``n`` worker processes, which end with the context.

    Args:
        n: the largest number of processes.
        on_start: called with a worker's number and a call's key when the call begins.
        on_message: called with both and each value that the call passes to `send_to_parent`.
    """

    def __init__(
        self,
        n: int,
        *,
        on_start: Callable[[int, Any], object] = lambda number, key: None,
        on_message: Callable[[int, Any, Any], object] = lambda number, key, value: None,
    ) -> None:
        self.n, self._on_start, self._on_message = n, on_start, on_message
        self._calls: deque[_Call] = deque()
        self._workers: dict[int, _Worker] = {}
        self._interrupted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.connection.close()
            processes.end(worker.process)

    @property
    def n_unfinished(self) -> int:
        """The number of queued and running calls."""
        return len(self._calls) + sum(w.call is not None for w in self._workers.values())

    def submit(self, key: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Queue the call ``function(*arguments)``; all must be picklable."""
        self._calls.append(_Call(key, function, arguments))

    def answers(self) -> Iterator[tuple[Any, Any]]:
        """Yield the key and result of every call as it ends; calls may be submitted meanwhile.

        The result is a `Failure` if the call raised an error, or if its worker died or got stuck in
        every attempt.
        """
        while self.n_unfinished:
            for _, key, result in self.poll(_CHECK_EVERY):
                yield key, result

    def poll(self, seconds: float) -> Iterator[tuple[int, Any, Any]]:
        """Yield worker number, key and result of the calls that end within some seconds."""
        self._start_calls()
        busy = {w.connection: (number, w) for number, w in self._workers.items() if w.call}
        for _, worker in busy.values():
            worker.kill_if_stuck()
        for connection in wait(list(busy), seconds):
            number, worker = busy[connection]  # type: ignore[index]
            call = worker.call
            assert call is not None
            try:
                result = worker.connection.recv()
            except (EOFError, OSError):
                del self._workers[number]
                result = self._after_death(worker, call)
            if isinstance(result, _Message):
                self._on_message(number, call.key, result.value)
            elif result is not _NONE:
                worker.call = None
                yield number, call.key, result

    def _after_death(self, worker: _Worker, call: _Call) -> Any:
        """Repeat the call of a dead worker, or return its failure."""
        worker.connection.close()
        cause = worker.cause_of_death()
        if self._interrupted:
            return _NONE
        if call.tries < _TRIES:
            self._calls.appendleft(call)
            return _NONE
        return Failure(f"its process {cause}, {_TRIES} times (out of memory, perhaps).")

    def _start_calls(self) -> None:
        for number in range(self.n):
            if not self._calls:
                return
            if number not in self._workers:
                self._workers[number] = _Worker()
            worker = self._workers[number]
            if worker.call is None:
                worker.begin(call := self._calls.popleft())
                self._on_start(number, call.key)

    def interrupt(self) -> None:
        """Send SIGINT once to every busy worker, and start no further call."""
        if self._interrupted:
            return
        self._interrupted = True
        self._calls.clear()
        for worker in self._workers.values():
            if worker.call is not None:
                worker.process.send_signal(signal.SIGINT)


def send_to_parent(value: Any) -> None:
    """In a worker: send a value to ``on_message`` of the `Workers`."""
    _to_parent[-1].send(_Message(value))


def _serve(connection: Connection) -> None:
    """In a worker: make calls until the parent closes the connection."""
    _to_parent.append(connection)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send(function(*arguments))
        except (Exception, SystemExit) as error:
            connection.send(Failure(in_a_sentence(error)))
