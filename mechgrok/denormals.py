"""Denormal numbers, which are slow on CPUs."""

from collections.abc import Iterator
from contextlib import contextmanager

from mechgrok.global_state import flushes_denormals


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Flush denormal numbers to zero in this thread, within the context or the decorated function.

    A CPU is tens of times slower below about 1e-38, and the gradients of a network that has
    generalized are full of such numbers, from the softmax of large differences. Next to Adam's ε of
    1e-8 they have no effect.
    """
    import torch

    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
