"""A share of the training labels is another's, and all else is as it was."""

from pathlib import Path

import pytest
import torch

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.runs.facts import facts
from mechgrok.tasks import Task, make_task
from mechgrok.training import train


@pytest.mark.parametrize(
    "name", ["add", "multitask", "parity", "digits", "polynomial"], ids=lambda name: name
)
def test_exactly_a_share_of_the_training_labels_is_another_s(name: str) -> None:
    clean, noisy = (make_task(name, label_noise=share) for share in (0.0, 0.1))
    replaced = noisy.train.labels != clean.train.labels
    assert int(replaced.sum()) == round(0.1 * len(clean.train.labels))
    assert torch.equal(noisy.train.inputs, clean.train.inputs)
    assert torch.equal(noisy.test.labels, clean.test.labels)
    assert torch.equal(noisy.examples.labels, clean.examples.labels)
    assert torch.isin(noisy.train.labels, clean.examples.labels).all()


def test_the_seed_of_the_noise_settles_it_alone() -> None:
    def labels(**options: int) -> torch.Tensor:
        return make_task("add", label_noise=0.2, **options).train.labels

    assert torch.equal(labels(), labels(noise_seed=0))
    assert not torch.equal(labels(), labels(noise_seed=1))


def test_every_other_label_is_as_likely() -> None:
    counts = torch.zeros(5, 5)
    for seed in range(300):
        task = make_task("add", p=5, pairs="ordered", label_noise=0.9, noise_seed=seed)
        of = task.examples.labels[task.train_index]
        counts.index_put_((of, task.train.labels), torch.ones(()), accumulate=True)
    other = counts[~torch.eye(5, dtype=torch.bool)].reshape(5, 4)
    share = other / other.sum(1, keepdim=True)
    deviation = (0.25 * 0.75 / other.sum(1, keepdim=True)).sqrt()
    assert (share - 0.25).abs().max() < 4 * deviation.max()


def test_a_task_of_one_s_own_has_noise_too_unless_its_labels_are_all_the_same() -> None:
    class Constant(Task):
        name: str = "constant"

        @property
        def examples(self):  # type: ignore[no-untyped-def, override]
            from mechgrok.tasks import Examples

            return Examples(torch.arange(10)[:, None], torch.zeros(10, dtype=torch.long))

    with pytest.raises(UserError, match="label noise"):
        _ = Constant(label_noise=0.5).train
    assert not Constant().train.labels.any()


def test_metrics_are_against_the_labels_that_are_trained_on(tmp_path: Path) -> None:
    config = RunConfig.make(
        task={"name": "add", "p": 7, "label_noise": 0.5, "train_fraction": 0.7},
        model={"kind": "mlp", "d_model": 12, "d_mlp": 8},
        training={"steps": 300, "learning_rate": 1e-2, "weight_decay": 0.0},
    )
    run = train(tmp_path / "run", config, device="cpu")
    assert run.metrics.train_accuracy.iloc[-1] == 1, "the noise is memorized"
    inputs, labels = run.task.train
    true = run.task.examples.labels[run.task.train_index]
    outputs = run.model()(inputs)
    assert float(run.task.accuracy(outputs, labels)) == 1
    assert float(run.task.accuracy(outputs, true)) == pytest.approx(0.5, abs=0.05)
    assert "0.5 of the train labels replaced" in facts(run)["split"]


def test_without_noise_a_configuration_says_nothing_of_it() -> None:
    saved = RunConfig.make(task={"name": "add"}).model_dump(mode="json")
    assert not {"label_noise", "noise_seed", "objective"} & saved["task"].keys()
    assert not {"dropout", "dropout_seed", "transforms"} & saved["training"].keys()
