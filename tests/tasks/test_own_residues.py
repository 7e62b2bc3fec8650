"""Tasks of a person's own whose tokens and labels are residues."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mechgrok.analyses import accuracy, fourier
from mechgrok.configuration.run_config import RunConfig
from mechgrok.runs import Run
from mechgrok.tasks import make_task
from mechgrok.training import train

SOURCE = '''
from functools import cached_property

import torch

import mechgrok
from mechgrok.tasks import Examples


class Triangle(mechgrok.Task):
    """(a + b)(a + b + 1) / 2 mod 5, which does not say how many tokens it has."""

    modular = True

    @cached_property
    def examples(self):
        pair = torch.cartesian_prod(torch.arange(5), torch.arange(5))
        total = pair.sum(1)
        return Examples(pair, (total * (total + 1) // 2) % 5)

    @property
    def d_vocab(self):
        return 5

    @property
    def d_output(self):
        return 5


class Gambler(Triangle):
    def loss(self, outputs, labels):
        return outputs.double().square().mean()


class FewTokens(Triangle):
    @property
    def d_output(self):
        return 6


@mechgrok.task(modular=True)
def double_sum(p: int = 5):
    pair = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    return pair, 2 * pair.sum(1) % p


@mechgrok.task
def silent(p: int = 5):
    return double_sum.function(p)


@mechgrok.task
def norm():
    x = torch.linspace(0, 1, 10)[:, None]
    return x, x.norm(dim=1)
'''
TINY_MLP = {"kind": "mlp", "d_model": 4, "d_mlp": 3}
TINY_TRANSFORMER = {"kind": "transformer", "d_model": 4, "d_mlp": 3, "n_heads": 1}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Trains on a task of the file for two steps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "own_residues.py"
    file.write_text(SOURCE)

    def trained(name: str, **model: object) -> Run:
        task = make_task(f"{file}:{name}")
        config = RunConfig(task=task, model=model or TINY_MLP, training={"steps": 2})
        return train(tmp_path / name, config)

    return trained


def test_the_number_of_tokens_is_read_off_the_examples(own: Callable[..., Run]) -> None:
    run = own("Triangle", **TINY_TRANSFORMER)
    assert run.task.n_ctx == 2
    assert run.weights("W_pos").shape[1:] == (2, 4)


@pytest.mark.parametrize("name", ["Triangle", "double_sum"])
def test_a_modular_task_of_ones_own_is_asked_for_frequencies(
    name: str, own: Callable[..., Run]
) -> None:
    run = own(name)
    assert fourier.applies(run) is None
    assert fourier.measure(run).sizes["frequency"] == 3


def test_others_say_why_they_are_not(own: Callable[..., Run]) -> None:
    assert "is not modular" in str(fourier.applies(own("silent")))
    assert "too few for residues modulo 6" in str(fourier.applies(own("FewTokens")))


def test_a_loss_is_counted_in_nats_only_if_it_is_cross_entropy(own: Callable[..., Run]) -> None:
    for name, units in (
        ("Triangle", "nats"),
        ("silent", "nats"),
        ("Gambler", "the task's own loss"),
        ("norm", "share of the labels' variance"),
    ):
        assert accuracy.measure(own(name, **TINY_MLP)).test_loss.attrs["units"] == units
    for options, units in (
        ({"name": "parity", "objective": "cross-entropy"}, "nats"),
        ({"name": "parity", "objective": "hinge"}, "mean hinge loss"),
        ({"name": "digits"}, "mean squared error"),
    ):
        assert make_task(**options).loss_units == units
