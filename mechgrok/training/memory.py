"""The memory that training takes, so that what cannot fit is refused before anything is made.

It is a lower bound, in bytes, that catches mistyped sizes.
"""

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
#: Numbers that training holds for a weight: value, gradient and two moments of an optimizer.
_OF_A_WEIGHT = 4
#: Outputs in float64 that an evaluation computes at once (`mechgrok.training.evaluate`).
OUTPUTS_AT_ONCE = 2**26


def check_memory(config: "RunConfig", device: str = "cpu") -> None:
    """Refuse to train what takes more memory than there is.

    Args:
        config: what is to be trained.
        device: "cpu" or "cuda", where everything must fit; the examples are made on the CPU first.

    Raises:
        UserError: it does not fit; the message says what would take how much.
    """
    parts = memory_of(config)
    places = [("machine", machine_memory(), parts)]
    if device == "cuda":
        on_the_machine = {"examples": parts["examples"]}
        places = [("machine", machine_memory(), on_the_machine), ("GPU", gpu_memory(), parts)]
    for place, there, taken in places:
        needed = sum(taken.values())
        if needed <= there:
            continue
        large = {name: size for name, size in taken.items() if size > needed / 100}
        shown = ", ".join(f"{n_bytes(size)} for the {name}" for name, size in large.items())
        raise UserError(
            f"Training on {config.task} would take {n_bytes(needed)} of memory ({shown}), and this "
            f"{place} has {n_bytes(there)}: choose a smaller task or network, or a --batch-size."
        )


def memory_of(config: "RunConfig") -> dict[str, int]:
    """Bytes that training takes at least: for examples, for weights, for a step."""
    from mechgrok.models import wiring_of

    task, shape = config.task, config.model
    width = task.n_ctx if task.input_kind == "tokens" else task.d_vocab
    of_an_input = _INTEGER if task.input_kind == "tokens" else _FLOAT
    n_train, n_test = task.n_sides
    batch = min(n_train, (config.training and config.training.batch_size) or n_train)
    evaluated = min(max(n_train, n_test), max(1, OUTPUTS_AT_ONCE // task.d_output))
    neurons = shape.d_mlp * shape.n_layers
    # A neuron's activation and its gradient; an output, its gradient, and the loss's own tensor.
    step = batch * (2 * neurons + 3 * task.d_output) * _FLOAT
    evaluation = evaluated * (neurons * _FLOAT + task.d_output * 3 * _FLOAT)
    return {
        "examples": (n_train + n_test) * (width * of_an_input + _INTEGER),
        "weights": wiring_of(shape, task).n_parameters * _FLOAT * _OF_A_WEIGHT,
        "activations": max(step, evaluation),
    }


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or what it is limited to."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        path = Path("/sys/fs/cgroup") / file
        if sys.platform == "linux" and path.is_file():
            text = path.read_text().strip()
            limits += [int(text)] if text.isdigit() else []
    return min(limits)


def gpu_memory() -> int:
    """Bytes of memory of the GPU, in use or not: this process can reuse what it holds."""
    import torch

    return torch.cuda.mem_get_info()[1]
