"""Calls with a deadline, for libraries that have none of their own."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any


class Caller:
    """A thread for calls of one library, each with a deadline.

    All calls use the same thread because some libraries have thread-local state. A call that
    exceeds its deadline blocks the thread, which ends with the process.

    Args:
        seconds: the deadline of each call.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function in the thread, and return its result or raise its error.

        Raises:
            TimeoutError: the call takes longer.

        >>> Caller(60)(max, 1, 2)
        2
        """
        self._calls.put(lambda: function(*arguments, **options))
        try:
            answer, error = self._answers.get(timeout=self.seconds)
        except Empty:
            raise TimeoutError(f"no answer within {self.seconds:g} seconds") from None
        if error is not None:
            raise error
        return answer

    def _serve(self) -> None:
        while True:
            try:
                self._answers.put((self._calls.get()(), None))
            except BaseException as error:
                self._answers.put((None, error))
