"""A lower bound on the memory that training needs, in bytes, which catches mistyped sizes."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mechgrok.errors import UserError
from mechgrok.formatting import n_bytes

if TYPE_CHECKING:
    from mechgrok.configuration.run_config import RunConfig

#: Bytes of a number in a network, and of a token or a label.
_FLOAT, _INTEGER = 4, 8
#: Numbers that training stores per weight: value, gradient and two moments of an optimizer.
_PER_WEIGHT = 4
#: Outputs in float64 that one part of an evaluation computes (`mechgrok.training.evaluate`).
OUTPUTS_AT_ONCE = 2**26


def check_memory(config: "RunConfig", device: str = "cpu") -> None:
    """Raise an error if training needs more memory than the machine or the GPU has.

    Args:
        config: the configuration of the run.
        device: "cpu" or "cuda"; examples are made on the CPU first in either case.

    Raises:
        UserError: the memory is too small; the message lists the largest parts.
    """
    parts = memory_of(config)
    places = [("machine", machine_memory(), parts)]
    if device == "cuda":
        on_cpu = {"examples": parts["examples"]}
        places = [("machine", machine_memory(), on_cpu), ("GPU", gpu_memory(), parts)]
    for place, available, sizes in places:
        needed = sum(sizes.values())
        if needed <= available:
            continue
        large = {name: size for name, size in sizes.items() if size > needed / 100}
        shown = ", ".join(f"{n_bytes(size)} for the {name}" for name, size in large.items())
        raise UserError(
            f"Training on {config.task} needs {n_bytes(needed)} of memory ({shown}), but this "
            f"{place} has {n_bytes(available)}: choose a smaller task or network, or a "
            "--batch-size."
        )


def memory_of(config: "RunConfig") -> dict[str, int]:
    """A lower bound on the bytes for examples, weights and activations."""
    from mechgrok.models import wiring_of

    task, shape = config.task, config.model
    width = task.n_ctx if task.input_kind == "tokens" else task.d_vocab
    per_entry = _INTEGER if task.input_kind == "tokens" else _FLOAT
    n_train, n_test = task.n_sides
    batch = min(n_train, (config.training and config.training.batch_size) or n_train)
    evaluated = min(max(n_train, n_test), max(1, OUTPUTS_AT_ONCE // task.d_output))
    neurons = shape.d_mlp * shape.n_layers
    # Activations and gradients of neurons; outputs, their gradients, and the loss's own tensor.
    step = batch * (2 * neurons + 3 * task.d_output) * _FLOAT
    evaluation = evaluated * (neurons * _FLOAT + task.d_output * 3 * _FLOAT)
    return {
        "examples": (n_train + n_test) * (width * per_entry + _INTEGER),
        "weights": wiring_of(shape, task).n_parameters * _FLOAT * _PER_WEIGHT,
        "activations": max(step, evaluation),
    }


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its container's limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        path = Path("/sys/fs/cgroup") / file
        if sys.platform == "linux" and path.is_file():
            text = path.read_text().strip()
            limits += [int(text)] if text.isdigit() else []
    return min(limits)


def gpu_memory() -> int:
    """Bytes of memory of the GPU, free or in use."""
    import torch

    return torch.cuda.mem_get_info()[1]
