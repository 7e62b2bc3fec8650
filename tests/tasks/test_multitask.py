"""Several modular operations in one table, told apart by a token."""

import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.tasks import make_task


def test_every_row_is_an_equation_that_holds() -> None:
    task = make_task("multitask", p=7, operations=("add", "sub", "mul", "div"))
    inputs, labels = task.examples
    words = task.vocabulary
    rules = {
        "add": lambda a, b: (a + b) % 7,
        "sub": lambda a, b: (a - b) % 7,
        "mul": lambda a, b: a * b % 7,
        "div": lambda a, b: a * pow(b, -1, 7) % 7,
    }
    for (a, operation, b, equals), label in zip(inputs.tolist(), labels.tolist(), strict=True):
        assert words[equals] == "="
        assert label == rules[words[operation]](a, b)
    assert len(labels) == 3 * 49 + 7 * 6
    assert (task.d_vocab, task.n_ctx, task.d_output) == (7 + 4 + 1, 4, 7)
    assert torch.equal(task.operation.bincount(), torch.tensor([49, 49, 49, 42]))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"operations": ("add", "random")}, "--task random"),
        ({"operations": ("add", "add")}, "once"),
        ({"operations": ()}, "operations"),
        ({"operations": ("add", "div"), "p": 8}, "prime"),
    ],
)
def test_impossible_settings_are_refused(fields: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        make_task("multitask", **fields)
