"""What a training step and a run cost, against the ways one would write them first."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformer_lens import TransformerBridge, TransformerBridgeConfig

from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.schedule import evaluation_steps
from mechgrok.denormals import flushed_denormals
from mechgrok.global_state import threads
from mechgrok.models import HookedModel, make_model
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.tasks import Task, make_task
from mechgrok.training import create_run, evaluate, train
from mechgrok.training.gradients import backpropagate
from mechgrok.training.optimizer import make_optimizer
from tests.benchmarks.conftest import ratio, report

pytestmark = pytest.mark.benchmark


def our_steps(config: RunConfig, count: int, evaluate_at: set[int]) -> None:
    """The training loop's work without the run folder."""
    task, model = config.task, make_model(config.model, config.task)
    optimizer = make_optimizer(model, config)
    train_set, test_set = (
        side._replace(inputs=model.encode(side.inputs)) for side in (task.train, task.test)
    )
    with threads(1), flushed_denormals():
        for step in range(count):
            if step in evaluate_at:
                evaluate(model, task, train_set, test_set)
            optimizer.zero_grad()
            backpropagate(model, task, train_set, config.recipe)
            optimizer.step()


def dense_steps(task: Task, count: int) -> None:
    """The same network, loss and optimizer, every example embedded, test accuracy every step."""
    sizes = [(67, 500), (500, 48), (48, 500), (500, 67)]
    weights = [torch.nn.Parameter(torch.randn(a, b) / a**0.5) for a, b in sizes]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=1.0, betas=(0.9, 0.98))
    W_E, W_in, W_out, W_U = weights

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        one_hot = torch.nn.functional.one_hot(tokens, 67).float()
        return torch.relu((one_hot @ W_E).sum(1) @ W_in) @ W_out @ W_U

    for _ in range(count):
        loss = task.loss(logits(task.train.inputs), task.train.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            task.accuracy(logits(task.test.inputs), task.test.labels).item()


def test_a_default_step_is_nine_times_faster_than_a_plain_dense_loop() -> None:
    count = 50
    # The cadence late in a run, one evaluation in 50 steps, which is where nearly all steps are.
    share = len(evaluation_steps(30_000)) / 30_000
    at = set(range(0, count, round(1 / share)))
    dense, ours, times = ratio(
        lambda: dense_steps(make_task("add"), count), lambda: our_steps(RunConfig(), count, at)
    )
    report(
        f"default step: {1e3 * ours / count:.2f} ms; dense loop {1e3 * dense / count:.1f} ms; "
        f"{times:.1f} times faster"
    )
    assert times >= 9


def native_steps(config: RunConfig, count: int) -> None:
    """The same training on TransformerLens's own native model."""
    task, shape = config.task, config.model
    bridge = TransformerBridge.boot_native(
        TransformerBridgeConfig(
            d_model=shape.d_model,
            d_head=shape.head_width,
            n_heads=shape.n_heads,
            n_layers=1,
            n_ctx=task.n_ctx,
            d_vocab=task.d_vocab,
            d_mlp=shape.d_mlp,
            act_fn="relu",
            normalization_type=None,
            architecture="TransformerLensNative",
        )
    )
    optimizer = torch.optim.AdamW(bridge.parameters(), lr=1e-3, weight_decay=1.0, betas=(0.9, 0.98))
    for _ in range(count):
        logits = bridge(task.train.inputs)[:, -1, : task.d_output]
        optimizer.zero_grad()
        task.loss(logits, task.train.labels).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "fields", "least"),
    [
        ("paper's", {"model": {"kind": "transformer"}, "task": {"name": "add"}}, 3.0),
        (
            "nanda's",
            {
                "model": {"kind": "transformer", "d_model": 128, "n_heads": 4, "d_mlp": 512},
                "task": {
                    "name": "add",
                    "p": 113,
                    "pairs": "ordered",
                    "equals": True,
                    "train_fraction": 0.3,
                },
            },
            1.8,
        ),
    ],
)
def test_a_transformer_step_against_the_native_model(name: str, fields: dict, least: float) -> None:
    config, count = RunConfig.make(**fields), 4
    native, ours, times = ratio(
        lambda: native_steps(config, count), lambda: our_steps(config, count, set()), repeats=5
    )
    report(
        f"{name} transformer step: {1e3 * ours / count:.1f} ms; native model "
        f"{1e3 * native / count:.1f} ms; {times:.1f} times faster"
    )
    assert times >= least


def test_a_step_is_as_quick_when_the_network_is_sure_of_itself() -> None:
    """Logits hundreds apart, as after grokking, have probabilities below the normal floats."""
    config = RunConfig.preset("nanda")
    task = config.task
    models = [make_model(config.model, task) for _ in range(2)]
    dict(models[0].named_parameters())["unembed.W_U"].data *= 160

    def steps(model: HookedModel) -> None:
        inputs = task.train._replace(inputs=model.encode(task.train.inputs))
        with threads(1), flushed_denormals():
            for _ in range(3):
                model.zero_grad()
                backpropagate(model, task, inputs, config.recipe)

    sure, unsure, times = ratio(lambda: steps(models[0]), lambda: steps(models[1]), repeats=5)
    report(f"nanda's step: {sure / 3:.3f} s when sure, {unsure / 3:.3f} s before: {times:.2f}")
    assert times <= 1.5


def test_checkpoints_and_metrics_cost_at_most_fifteen_percent(tmp_path: Path) -> None:
    steps = 30_000
    config = RunConfig.make(task={"name": "add"}, training={"steps": steps})
    run, bare, times = ratio(
        lambda: train(tmp_path / "run", config, device="cpu", overwrite=True),
        lambda: our_steps(config, steps, set()),
        repeats=1,
        warm_up=False,
    )
    report(
        f"default run: {run:.1f} s, its bare steps {bare:.1f} s; saving and evaluating cost "
        f"{times - 1:.1%}"
    )
    assert times <= 1.15


def test_peak_memory_is_under_a_gibibyte_over_torch(tmp_path: Path) -> None:
    # Not ru_maxrss, which a child process inherits from the one that started it.
    probe = "print(next(l for l in open('/proc/self/status') if 'VmHWM' in l).split()[1])"
    programs = {
        "torch": f"import torch; {probe}",
        "run": "from mechgrok import RunConfig, train; "
        f"train(r'{tmp_path / 'run'}', RunConfig.make(task={{'name': 'add'}}, "
        f"training={{'steps': 1000}})); {probe}",
    }
    peak = {
        name: int(subprocess.check_output([sys.executable, "-c", program]).split()[-1]) / 2**20
        for name, program in programs.items()
    }
    report(f"peak memory: torch alone {peak['torch']:.2f} GiB, a default run {peak['run']:.2f} GiB")
    assert peak["run"] - peak["torch"] < 1


def test_fourier_on_three_hundred_checkpoints_takes_under_five_seconds(tmp_path: Path) -> None:
    from time import perf_counter

    from mechgrok.analyses import fourier
    from mechgrok.analyses.drawing import write_html
    from mechgrok.runs.parquet import write_parquet

    config = RunConfig.make(task={"name": "add"}, training={"steps": 300, "checkpoint_every": 100})
    run = create_run(tmp_path / "run", config)
    weights = run.checkpoint(0).weights
    for step in range(1, 300):
        write_checkpoint(run.path, Checkpoint(step, weights))
    run = type(run)(run.path)
    began = perf_counter()
    measured = fourier.measure(run)
    write_parquet(measured, tmp_path / "fourier.parquet")
    write_html(fourier.draw({"run": measured}), tmp_path / "fourier.html")
    took = perf_counter() - began
    report(f"analyze fourier on {len(run.steps)} checkpoints: {took:.1f} s after imports")
    assert took < 5
