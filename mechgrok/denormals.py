"""Numbers below the smallest normal float, which processors are slow with."""

from collections.abc import Iterator
from contextlib import contextmanager

from mechgrok.global_state import flushes_denormals


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers too small for a normal float are zero while it lasts, in this thread.

    Below about 1e-38 a processor computes tens of times slower, and the gradients of a network that
    has generalized are full of such numbers: they come from the softmax of large differences. Next
    to all else, such as Adam's ε of 1e-8, they have no effect. It decorates a function too.
    """
    import torch

    before = flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
