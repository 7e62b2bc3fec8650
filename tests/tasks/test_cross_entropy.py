"""Cross-entropy against torch's in float64, and where torch's rounds to nothing."""

import math

import pytest
import torch
from torch import Tensor

from mechgrok.tasks.cross_entropy import cross_entropy


def reference(outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs.double(), labels)


def drawn(spread: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = spread * torch.randn(50, 7, generator=generator)
    return outputs, torch.randint(7, (50,), generator=generator)


@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
def test_value_and_gradient_are_those_of_the_log_softmax(spread: float) -> None:
    outputs, labels = drawn(spread)
    ours, theirs = (outputs.clone().requires_grad_() for _ in range(2))
    loss, expected = cross_entropy(ours, labels), reference(theirs, labels)
    loss.backward(), expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-9)
    without = cross_entropy(outputs, labels)
    assert without.dtype == torch.float64
    assert without.item() == pytest.approx(expected.item(), rel=1e-13)


@pytest.mark.parametrize("lead", [20.0, 40.0, 80.0])
def test_a_confident_right_answer_keeps_its_loss_and_its_gradient(lead: float) -> None:
    outputs = torch.tensor([[lead, 0.0, 0.0]], requires_grad=True)
    loss = cross_entropy(outputs, torch.tensor([0]))
    loss.backward()
    small = math.exp(-lead)
    assert outputs.grad is not None
    expected = torch.tensor([[-2 * small, small, small]])
    torch.testing.assert_close(outputs.grad, expected, rtol=1e-4, atol=0)
    assert loss.item() == pytest.approx(2 * small, rel=1e-4)
    assert cross_entropy(outputs.detach(), torch.tensor([0])).item() == pytest.approx(2 * small)


def test_it_can_be_differentiated_twice() -> None:
    outputs, labels = drawn(1.0)
    outputs = outputs[:5].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, labels[:5]), (outputs,))
    assert torch.autograd.gradgradcheck(lambda x: cross_entropy(x, labels[:5]), (outputs,))


def test_gradients_add_up_and_scale() -> None:
    outputs, labels = drawn(2.0)
    outputs.requires_grad_()
    loss = cross_entropy(outputs, labels)
    (once,) = torch.autograd.grad(loss, outputs, retain_graph=True)
    once = once.clone()
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        torch.testing.assert_close(outputs.grad, times * once)
    (scaled,) = torch.autograd.grad(0.5 * loss, outputs)
    torch.testing.assert_close(scaled, 0.5 * once)


def test_members_side_by_side_have_a_loss_each() -> None:
    outputs, labels = drawn(2.0)
    members = outputs.view(2, 25, 7).clone().requires_grad_()
    losses = cross_entropy(members, labels.view(2, 25))
    losses.sum().backward()
    for member, loss in enumerate(losses):
        alone = outputs.view(2, 25, 7)[member].clone().requires_grad_()
        cross_entropy(alone, labels.view(2, 25)[member]).backward()
        assert members.grad is not None
        assert alone.grad is not None
        torch.testing.assert_close(members.grad[member], alone.grad, rtol=1e-5, atol=0)
        assert loss.item() == pytest.approx(reference(alone, labels.view(2, 25)[member]).item())


def test_numbers_that_are_none_stay_none() -> None:
    outputs = torch.tensor([[math.nan, 0.0], [1.0, 2.0]], requires_grad=True)
    assert cross_entropy(outputs, torch.tensor([0, 1])).isnan()
