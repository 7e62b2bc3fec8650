"""The machine that trains: its device, and Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mechgrok.errors import UserError


def find_device(name: str) -> str:
    """Resolve ``auto``, ``cpu`` or ``cuda`` to a device of this machine.

    Raises:
        UserError: the name is unknown, or CUDA is unavailable.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"There is no device {name!r}: choose auto, cpu or cuda.")
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device on this machine: choose --device cpu.")
    return name


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C, so that a loop can stop between steps.

    A second Ctrl-C raises. Only the main thread can catch signals; elsewhere the list stays empty.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def catch(number: int, frame: object) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, catch)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)
