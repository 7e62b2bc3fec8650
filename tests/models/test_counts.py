"""Counts of tokens multiply a table, and hand gradients back, as the dense matrix would."""

import torch

from mechgrok.models.counts import TokenCounts

TOKENS = torch.tensor([[0, 1], [1, 1], [3, 0]])
DENSE = torch.tensor([[1.0, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 1]])


def test_the_product_and_its_gradient_are_those_of_the_dense_matrix() -> None:
    table = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    counts = TokenCounts(TOKENS, 4)
    torch.testing.assert_close(counts @ table, DENSE.double() @ table)
    assert torch.autograd.gradcheck(lambda table: counts @ table, (table,))
    assert torch.autograd.gradgradcheck(lambda table: counts @ table, (table,))


def test_a_batch_of_examples_is_taken_by_their_index() -> None:
    table = torch.randn(4, 5)
    chosen = torch.tensor([2, 0])
    batch = TokenCounts(TOKENS, 4)[chosen]
    assert len(batch) == 2
    torch.testing.assert_close(batch @ table, DENSE[chosen] @ table)
