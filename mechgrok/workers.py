"""Calls answered by processes of their own, of which none outlives the one that asked.

A worker's death is that of its call alone.
"""

import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from mechgrok import processes
from mechgrok.errors import in_a_sentence

#: How often a call is made whose worker dies.
_TRIES = 2
#: How often it is looked whether the workers work, in seconds.
_LOOK_EVERY = 1.0


@dataclass(frozen=True)
class Failure:
    """Why a call has no answer, in a sentence."""

    reason: str


@dataclass
class _Call:
    """A call under the key that its answer will bear."""

    key: Any
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tries: int = 0


@dataclass
class _Busy:
    """A process, the call that it works at, and whether it does."""

    process: "subprocess.Popen[bytes]"
    call: _Call
    activity: processes.Activity
    was_stuck: bool = False


class Workers:
    """Up to ``n`` processes that answer calls, as a context that ends with all of them ended."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._calls: deque[_Call] = deque()
        self._idle: list[tuple[subprocess.Popen[bytes], Connection]] = []
        self._busy: dict[Connection, _Busy] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        ours = [process for process, _ in self._idle]
        ours += [busy.process for busy in self._busy.values()]
        for process in ours:
            process.kill()
        for process in ours:
            processes.end(process)

    def submit(self, key: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a module's ``function(*arguments)`` called; all must be picklable."""
        self._calls.append(_Call(key, function, arguments))

    def answers(self) -> Iterator[tuple[Any, Any]]:
        """Every call's key and answer, as they come; calls may be submitted meanwhile.

        The answer is a `Failure` where the call raised, or where its worker died or got stuck each
        time.
        """
        while self._calls or self._busy:
            self._hand_out()
            self._kill_stuck()
            for connection in wait(list(self._busy), _LOOK_EVERY):
                assert isinstance(connection, Connection)
                busy = self._busy.pop(connection)
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    connection.close()
                    answer = self._after_death(busy)
                    if answer is None:
                        continue
                else:
                    self._idle.append((busy.process, connection))
                yield busy.call.key, answer

    def _kill_stuck(self) -> None:
        for busy in self._busy.values():
            if busy.activity.is_stuck():
                busy.was_stuck = True
                busy.process.kill()

    def _after_death(self, busy: _Busy) -> Failure | None:
        """Make the call once more, or say that it cannot be answered."""
        code = processes.end(busy.process)
        if busy.call.tries < _TRIES:
            self._calls.appendleft(busy.call)
            return None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if busy.was_stuck:
            how = f"was stuck for {processes.STUCK_AFTER:g} seconds"
        return Failure(f"its process {how}, {_TRIES} times (out of memory, perhaps).")

    def _hand_out(self) -> None:
        while self._calls and len(self._busy) < self.n:
            process, connection = self._idle.pop() if self._idle else processes.start(_serve)
            call = self._calls.popleft()
            call.tries += 1
            self._busy[connection] = _Busy(process, call, processes.Activity(process))
            # One that has died meanwhile is found by `answers`.
            with suppress(OSError):
                connection.send((call.function, call.arguments))


def _serve(connection: Connection) -> None:
    """In a worker: answer calls until there are no more."""
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send(function(*arguments))
        except (Exception, SystemExit) as error:
            connection.send(Failure(in_a_sentence(error)))
