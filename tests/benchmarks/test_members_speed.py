"""What training members together gains over training them one after another, on a CPU."""

from pathlib import Path
from time import process_time

import pytest
from torch import Tensor

from mechgrok.configuration import presets
from mechgrok.configuration.run_config import RunConfig
from mechgrok.global_state import threads
from mechgrok.optimization.transforms.chain import take_step
from mechgrok.training import create_run
from mechgrok.training.bundle import Bundle
from mechgrok.training.evaluation import on_device
from mechgrok.training.gradients import backpropagate
from mechgrok.training.optimizer import make_optimizers
from mechgrok.training.recorder import load_for_training
from tests.benchmarks.conftest import report

pytestmark = pytest.mark.benchmark


def bundle_of(name: str, count: int, at: Path) -> Bundle:
    members = [
        RunConfig.make(
            **presets.merge(presets.load(name), {"seed": seed, "task": {"split_seed": seed}})
        )
        for seed in range(count)
    ]
    runs = [create_run(at / f"{seed}", config) for seed, config in enumerate(members)]
    models = [load_for_training(run, 0) for run in runs]
    optimizers = make_optimizers(list(zip(models, members, strict=True)))
    return Bundle(models, runs, optimizers[:1], [0] * count)


def seconds_together(bundle: Bundle, steps: int) -> float:
    """Of one step of one member."""
    bundle.step()
    began = process_time()
    for _ in range(steps):
        bundle.step()
    return (process_time() - began) / steps / len(bundle)


def seconds_alone(name: str, at: Path, steps: int) -> float:
    """Of one step as the loop takes it for a run alone."""
    config = RunConfig.make(**presets.load(name))
    run = create_run(at / "alone", config)
    model, task = load_for_training(run, 0), run.task
    [optimizer] = make_optimizers([(model, config)])
    batch = on_device(task.train, model)

    def gradient() -> Tensor:
        optimizer.zero_grad()
        return backpropagate(model, task, batch, config.recipe)

    took = 0.0
    for step in range(steps + 3):
        if step == 3:
            took = process_time()
        take_step([optimizer], gradient)
    return (process_time() - took) / steps


@pytest.mark.parametrize(
    ("name", "least"), [("quick", 0.5), ("paper-mlp", 0.5), ("paper-transformer", 1.0)]
)
def test_members_per_second_over_the_size_of_a_bundle(
    tmp_path: Path, name: str, least: float
) -> None:
    """An MLP alone takes its gradients by hand, so that on a CPU a bundle of them only keeps up."""
    whole = RunConfig.make(**presets.load(name)).recipe.steps
    gains = {}
    with threads(1):
        for count in (1, 2, 4, 8, 16, 32, 64):
            if name == "paper-transformer" and count > 16:
                continue
            bundle = bundle_of(name, count, tmp_path / f"{count}")
            steps = max(3, 300 // count) if name != "paper-transformer" else 3
            took = seconds_together(bundle, steps)
            alone = seconds_alone(name, tmp_path / f"{count}", 2 * steps)
            gains[count] = alone / took
            report(
                f"{name}, {count} together: {1e3 * took:.2f} ms a step and member, "
                f"{1e3 * alone:.2f} ms alone, {gains[count]:.2f} times as fast; "
                f"{3600 / took / whole:,.0f} runs an hour and core"
            )
    assert gains[16] >= least
