"""Functions called in processes of their own, none of which outlives the process that started it.

A worker that is killed or gets stuck costs its call alone, which is made once more.
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

#: How often a call is made whose worker dies.
_TRIES = 2
#: Seconds between two checks whether the workers work.
_CHECK_EVERY = 1.0
#: In a worker: where its results go.
_to_parent: list[Connection] = []
#: In place of a result that is still to come, or never comes.
_NONE = object()


@dataclass(frozen=True)
class Failure:
    """Why a call has no result, in a sentence."""

    reason: str


@dataclass(frozen=True)
class _Message:
    """What a call that still runs sends to the parent."""

    value: Any


@dataclass
class _Call:
    key: Any
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tries: int = 0


class _Worker:
    """A process, and the call that it makes."""

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
    """Up to ``n`` processes that make calls, as a context that ends with all of them ended.

    Args:
        n: the largest number of processes.
        on_start: called with a worker's number and a call's key when the worker begins the call.
        on_message: called with both and a value that the call has passed to `send_to_parent`.
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
        """The number of calls that wait or run."""
        return len(self._calls) + sum(w.call is not None for w in self._workers.values())

    def submit(self, key: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a module's ``function(*arguments)`` called; all must be picklable."""
        self._calls.append(_Call(key, function, arguments))

    def answers(self) -> Iterator[tuple[Any, Any]]:
        """Every call's key and result, as they come; calls may be submitted meanwhile.

        The result is a `Failure` where the call raised, or where its worker died or got stuck each
        time.
        """
        while self.n_unfinished:
            for _, key, result in self.poll(_CHECK_EVERY):
                yield key, result

    def poll(self, seconds: float) -> Iterator[tuple[int, Any, Any]]:
        """The results that there are within so many seconds: worker's number, key and result."""
        self._hand_out()
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
        """Make a call again whose worker has died, or say why it fails."""
        worker.connection.close()
        cause = worker.cause_of_death()
        if self._interrupted:
            return _NONE
        if call.tries < _TRIES:
            self._calls.appendleft(call)
            return _NONE
        return Failure(f"its process {cause}, {_TRIES} times (out of memory, perhaps).")

    def _hand_out(self) -> None:
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
        """Send Ctrl-C to the workers that work, once, and begin no further call."""
        if self._interrupted:
            return
        self._interrupted = True
        self._calls.clear()
        for worker in self._workers.values():
            if worker.call is not None:
                worker.process.send_signal(signal.SIGINT)


def send_to_parent(value: Any) -> None:
    """In a call that a worker makes: send a value to ``on_message`` of the `Workers`."""
    _to_parent[-1].send(_Message(value))


def _serve(connection: Connection) -> None:
    """In a worker: make calls until there are no more."""
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
