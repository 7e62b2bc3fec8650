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


class Workers:
    """Up to ``n`` processes that answer calls, as a context that ends with all of them ended."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._calls: deque[_Call] = deque()
        self._idle: list[tuple[subprocess.Popen[bytes], Connection]] = []
        self._busy: dict[Connection, tuple[subprocess.Popen[bytes], _Call]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        processes = [process for process, _ in [*self._idle, *self._busy.values()]]
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()

    def submit(self, key: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Have a module's ``function(*arguments)`` called; all must be picklable."""
        self._calls.append(_Call(key, function, arguments))

    def answers(self) -> Iterator[tuple[Any, Any]]:
        """Every call's key and answer, as they come; calls may be submitted meanwhile.

        The answer is a `Failure` where the call raised, or where its worker died each time.
        """
        while self._calls or self._busy:
            self._hand_out()
            for connection in wait(list(self._busy)):
                assert isinstance(connection, Connection)
                process, call = self._busy.pop(connection)
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    connection.close()
                    answer = self._after_death(call, process.wait())
                    if answer is None:
                        continue
                else:
                    self._idle.append((process, connection))
                yield call.key, answer

    def _after_death(self, call: _Call, code: int) -> Failure | None:
        """Make the call once more, or say that it cannot be answered."""
        if call.tries < _TRIES:
            self._calls.appendleft(call)
            return None
        how = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return Failure(f"its process was {how}, {_TRIES} times (out of memory, perhaps).")

    def _hand_out(self) -> None:
        while self._calls and len(self._busy) < self.n:
            process, connection = self._idle.pop() if self._idle else processes.start(_serve)
            call = self._calls.popleft()
            call.tries += 1
            self._busy[connection] = (process, call)
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
