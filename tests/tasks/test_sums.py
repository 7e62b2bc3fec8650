"""Sums of more than two numbers."""

import pytest
import torch

from mechgrok.analyses import embedding, entropy, fourier, periodicity
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.tasks import make_task
from mechgrok.training import train
from mechgrok.training.memory import check_memory


@pytest.mark.parametrize(("p", "terms"), [(5, 3), (2, 6), (7, 2)])
def test_labels_are_sums(p: int, terms: int) -> None:
    task = make_task("sum", p=p, terms=terms, equals=True)
    inputs, labels = task.examples
    assert len(labels) == task.n_examples == p**terms
    assert inputs.shape[1] == task.n_ctx == terms + 1
    assert (inputs[:, :-1].sum(1) % p == labels).all()
    assert len({tuple(row) for row in inputs.tolist()}) == p**terms


def test_an_objective_for_two_classes_is_refused() -> None:
    with pytest.raises(UserError, match="cross-entropy"):
        RunConfig.make(task={"name": "sum", "p": 5, "objective": "hinge"})


def test_two_terms_are_addition_of_ordered_pairs() -> None:
    own, add = make_task("sum", p=7, terms=2), make_task("add", p=7, pairs="ordered")
    for one, other in zip(own.train, add.train, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("terms", [6, 32])
def test_more_than_fits_is_refused_before_it_is_made(terms: int) -> None:
    with pytest.raises(UserError, match="memory"):
        check_memory(RunConfig.make(task={"name": "sum", "p": 97, "terms": terms}))


def test_questions_about_frequencies_are_asked(tmp_path) -> None:
    config = RunConfig.make(
        task={"name": "sum", "p": 5},
        model={"kind": "mlp", "d_model": 8, "d_mlp": 6},
        training={"steps": 20, "checkpoint_every": 10},
    )
    run = train(tmp_path / "run", config)
    for analysis in (fourier, entropy, embedding, periodicity):
        assert analysis.applies(run) is None
        assert analysis.finding(analysis.measure(run))
