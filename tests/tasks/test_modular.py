"""Modular arithmetic means what it says."""

import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.tasks import make_task

FORMULAS = {
    "add": lambda a, b, p: (a + b) % p,
    "sub": lambda a, b, p: (a - b) % p,
    "mul": lambda a, b, p: a * b % p,
    "x2+y2": lambda a, b, p: (a**2 + b**2) % p,
    "x2+xy+y2": lambda a, b, p: (a**2 + a * b + b**2) % p,
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("p", [2, 6, 7])
def test_labels_follow_the_formula(name: str, p: int) -> None:
    examples = make_task(name, p=p, pairs="ordered").examples
    assert len(examples.labels) == p * p
    for (a, b), c in zip(examples.inputs.tolist(), examples.labels.tolist(), strict=True):
        assert c == FORMULAS[name](a, b, p)


def test_division_undoes_multiplication() -> None:
    examples = make_task("div", p=11).examples
    assert len(examples.labels) == 11 * 10
    for (a, b), c in zip(examples.inputs.tolist(), examples.labels.tolist(), strict=True):
        assert b > 0
        assert c * b % 11 == a


def test_numbers_of_pairs() -> None:
    assert len(make_task("add").examples.labels) == 67 * 68 // 2
    assert len(make_task("add", pairs="ordered").examples.labels) == 67**2
    assert len(make_task("sub").examples.labels) == 66 * 65 // 2  # 0 < b < a < p


def test_split_covers_everything_once_and_follows_its_seed() -> None:
    task = make_task("add", p=13, split_seed=3)
    rows = torch.cat([task.train_index, task.test_index])
    assert sorted(rows.tolist()) == list(range(13 * 14 // 2))
    assert len(task.train_index) == int(0.4 * 91)
    again = make_task("add", p=13, split_seed=3)
    assert torch.equal(task.train_index, again.train_index)
    other = make_task("add", p=13, split_seed=4)
    assert not torch.equal(task.train_index, other.train_index)


def test_random_labels_are_a_fixed_draw() -> None:
    labels = make_task("random", p=23).examples.labels
    assert torch.equal(labels, make_task("random", p=23).examples.labels)
    assert not torch.equal(labels, make_task("random", p=23, label_seed=1).examples.labels)
    with pytest.raises(UserError, match="formula"):
        make_task("random").answer(torch.tensor([1]), torch.tensor([2]))


def test_equals_token_is_appended() -> None:
    task = make_task("add", p=5, equals=True)
    assert task.examples.inputs[:, 2].eq(5).all()
    assert (task.d_vocab, task.n_ctx, task.d_output) == (6, 3, 5)
    assert task.vocabulary == ["0", "1", "2", "3", "4", "="]


def test_loss_keeps_a_gradient_where_float32_has_none() -> None:
    task = make_task("add", p=5)
    logits = torch.zeros(1, 5)
    logits[0, 2] = 40.0  # 1 − p(2) is about 4 e⁻⁴⁰, far below float32's resolution at 1
    logits.requires_grad_()
    label = torch.tensor([2])
    task.loss(logits, label).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0
    expected = torch.exp(torch.tensor(-40.0, dtype=torch.float64))
    assert torch.isclose(logits.grad[0, 0].double(), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "names_it"),
    [
        ("plus", {}, "plus"),
        ("add", {"p": 1}, "p = 1"),
        ("sub", {"pairs": "unordered"}, "--pairs ordered"),
        ("div", {"pairs": "unordered"}, "--pairs ordered"),
        ("div", {"p": 6}, "prime"),
        ("add", {"pairs": "sorted"}, "sorted"),
        ("add", {"modulus": 5}, "modulus"),
        ("add", {"train_fraction": 1.5}, "train_fraction = 1.5"),
    ],
)
def test_mistakes_are_named(name: str, options: dict, names_it: str) -> None:
    with pytest.raises(UserError, match=names_it):
        make_task(name, **options)


@pytest.mark.parametrize("fraction", [0.001, 0.9999])
def test_a_side_must_not_be_empty(fraction: float) -> None:
    task = make_task("add", p=5, train_fraction=fraction)
    if fraction < 0.5:
        with pytest.raises(UserError, match="train"):
            _ = task.n_train
    else:
        assert task.n_train == 14  # rounded down: one example is left to test on
