"""A training step as one CUDA graph: launched once instead of kernel by kernel.

A step of a small network, or of many, is a hundred kernels of a few microseconds, which a processor
cannot launch as fast as a GPU ends them. A graph replays them all, on the same memory each time: so
everything that a step reads or writes must stay where it is, no number may come back from the
device, and optimizers keep their counts of steps there too.
"""

from collections.abc import Callable, Sequence

import torch

from mechgrok.configuration.training import TrainingConfig
from mechgrok.training.bundle import Bundle, PerMember

#: Steps that are taken as usual first: libraries and optimizers make what they keep in these.
_WARM_UP = 3


def step_of(bundle: Bundle, trainings: Sequence[TrainingConfig]) -> Callable[[], PerMember]:
    """The step of a bundle, captured where it is on a GPU and can be.

    Mini-batches differ in every step, and what is not `TrainingConfig.separable` may count its
    steps in Python: neither is captured.
    """
    separable = all(training.separable for training in trainings)
    if bundle.device.type == "cuda" and bundle.has_fixed_inputs and separable:
        return CapturedStep(bundle.step)
    return bundle.step


class CapturedStep:
    """A step that is captured at its fourth call and replayed from then on.

    Args:
        step: does the same to the same memory at every call.
    """

    def __init__(self, step: Callable[[], PerMember]) -> None:
        self._step = step
        self._taken = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._losses: PerMember

    def __call__(self) -> PerMember:
        """Take a step; the losses before it."""
        if self._taken < _WARM_UP:
            self._taken += 1
            return self._on_the_side()
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._losses = self._step()
        self._graph.replay()
        return self._losses.clone()  # The next replay writes where this one did.

    def _on_the_side(self) -> PerMember:
        # Not on the default stream, where what is made in warming up could not be captured.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            losses = self._step()
        torch.cuda.current_stream().wait_stream(self._stream)
        return losses
