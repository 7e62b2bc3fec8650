"""A training step as one CUDA graph: launched once instead of kernel by kernel.

A step of small networks is about a hundred kernels of a few microseconds; a GPU finishes them
faster than a CPU can launch them. A graph replays them all on the same memory. So the tensors that
a step reads or writes must stay in place, no number may return to the CPU, and optimizers count
their steps on the GPU.
"""

from collections.abc import Callable

import torch

from mechgrok.training.bundle import Bundle, PerMember

#: Steps before the capture, in which libraries and optimizers allocate their state.
_WARM_UP = 3


def make_step(bundle: Bundle) -> Callable[[], PerMember]:
    """The step function of a bundle, captured if it runs on a GPU and supports it.

    Two kinds of steps are not captured: those with mini-batches, which differ at every step, and
    those that are not `TrainingConfig.separable`, whose step count may live in Python.
    """
    separable = all(config.recipe.separable for config in bundle.configs)
    if bundle.device.type == "cuda" and bundle.has_fixed_inputs and separable:
        return CapturedStep(bundle.step)
    return bundle.step


class CapturedStep:
    """A step function that is captured at its fourth call and replayed from then on.

    Args:
        step: runs the same operations on the same memory at every call.
    """

    def __init__(self, step: Callable[[], PerMember]) -> None:
        self._step = step
        self._taken = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._losses: PerMember

    def __call__(self) -> PerMember:
        """Take a step and return the losses before it."""
        if self._taken < _WARM_UP:
            self._taken += 1
            return self._warm_up()
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._losses = self._step()
        self._graph.replay()
        return self._losses.clone()  # The next replay overwrites this memory.

    def _warm_up(self) -> PerMember:
        # State allocated on the default stream could not be captured.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            losses = self._step()
        torch.cuda.current_stream().wait_stream(self._stream)
        return losses
