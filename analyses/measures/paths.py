"""Linear paths through a network: what each neuron reads of each residue."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from analyses.measures.fourier import Order, cyclic_order
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.tasks import Task

#: The order of residues that a figure shows; "auto" is the one in which the task is a shift.
OrderOption = Literal["auto", "additive", "multiplicative"]
#: Which way from the tokens to the neurons; "auto" is the one that the answer depends on.
InputPath = Literal["auto", "direct", "attention"]

#: Numbers in memory at once while paths of many checkpoints are multiplied out.
_LARGEST_STACK = 2**26


def not_modular(task: Task) -> str | None:
    """Why frequencies mean nothing for a task; None where inputs and labels are residues.

    >>> from mechgrok.tasks import make_task
    >>> print(not_modular(make_task("add")))
    None
    >>> not_modular(make_task("parity"))
    'parity of 3 out of 40 bits is not modular arithmetic.'
    """
    if not task.modular:
        return f"{task} is not modular arithmetic."
    if task.d_vocab < task.d_output:
        return f"{task} has {task.d_vocab} tokens, too few for residues modulo {task.d_output}."
    return None


def natural_order(task: Task) -> Order:
    """Multiplicative for products and quotients modulo a prime, additive for everything else."""
    return "multiplicative" if task.name in ("mul", "div") and _is_field(task) else "additive"


def _is_field(task: Task) -> bool:
    try:
        cyclic_order(task.d_output, "multiplicative")
    except UserError:
        return False
    return True


def residues(task: Task, order: OrderOption = "auto") -> Integer[Tensor, " n"]:
    """The task's residues in the order asked for (`fourier.cyclic_order`).

    Raises:
        UserError: the order is multiplicative and the modulus is not a prime.
    """
    return cyclic_order(task.d_output, natural_order(task) if order == "auto" else order)


def natural_path(run: Run) -> Literal["direct", "attention"]:
    """The way on which operands reach the neurons of the first layer.

    Direct in an MLP. In a transformer the neurons that matter are those at the last position:
    every operand reaches them through attention, and only an operand that stands last directly.
    """
    return "direct" if run.config.model.kind == "mlp" else "attention"


def input_weights(
    run: Run, steps: Sequence[int] | None = None, *, path: InputPath = "auto"
) -> Float[Tensor, "step d_vocab d_mlp"]:
    """The weight from every token to every neuron of the first hidden layer, per step.

    Direct: W_E W_in. Through attention: Σ_h W_E W_V^h W_O^h W_in, what a neuron reads where every
    head attends to the token; the attention pattern scales each head's part.

    Raises:
        UserError: the run is an MLP, which has no attention.
    """
    steps = run.select(steps)
    if path == "auto":
        path = natural_path(run)
    if path == "direct":
        return run.input_side(steps)
    if run.config.model.kind == "mlp":
        raise UserError(f"{run.path} is an MLP, which has no attention: choose --path direct.")
    return torch.cat([_through_attention(run, chunk) for chunk in _chunks(run, steps)])


def _through_attention(run: Run, steps: Sequence[int]) -> Float[Tensor, "step d_vocab d_mlp"]:
    W_E, W_in = run.weights("W_E", steps), run.weights("blocks.0.mlp.W_in", steps)
    W_V, W_O = (run.weights(f"blocks.0.attn.{name}", steps) for name in ("W_V", "W_O"))
    values = torch.einsum("svm,shmk->shvk", W_E, W_V)
    return torch.einsum("shvk,shkn->svn", values, torch.einsum("shkm,smn->shkn", W_O, W_in))


def _chunks(run: Run, steps: Sequence[int]) -> list[Sequence[int]]:
    """The steps in pieces whose weights fit in memory together."""
    size = max(1, _LARGEST_STACK // sum(w.numel() for w in run.checkpoint(-1).weights.values()))
    return [steps[start : start + size] for start in range(0, len(steps), size)]
