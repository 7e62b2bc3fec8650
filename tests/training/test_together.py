"""Members trained together are the runs that each would be alone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mechgrok
from mechgrok.configuration import presets
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.masks import Mask
from mechgrok.masks.popup import apply_popup
from mechgrok.models import make_model, raw_weights
from mechgrok.optimization.transforms.chain import states_of
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint
from mechgrok.runs.soundness import verify
from mechgrok.training import (
    Diverged,
    Interrupted,
    create_run,
    resume,
    resume_together,
    train,
    train_together,
)
from mechgrok.training.bundle import Bundle
from mechgrok.training.optimizer import make_optimizers
from mechgrok.training.recorder import load_for_training, snapshot
from mechgrok.training.together import bundles

Start = Callable[[RunConfig], Checkpoint]

ADD = {"name": "add", "p": 11, "train_fraction": 0.6}
ORDERED = {"name": "sub", "p": 7, "pairs": "ordered", "train_fraction": 0.6}
# Smooth activations, and few steps where Adam is near the edge of its stability: there a difference
# in the last digit of float32 grows, as it does where a ReLU is crossed one step earlier.
MLP = {"kind": "mlp", "d_model": 12, "d_mlp": 8, "act": "gelu"}
TRANSFORMER = {"kind": "transformer", "d_model": 12, "n_heads": 2, "d_mlp": 10, "act": "gelu"}
POSITIONAL = {"kind": "positional-mlp", "d_model": 6, "d_mlp": 8, "act": "gelu"}

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"task": ADD, "model": MLP},
    "mlp with biases": {"task": ADD, "model": MLP | {"bias": True, "n_layers": 2}},
    "transformer": {"task": ADD, "model": TRANSFORMER},
    "deep transformer": {
        "task": ADD,
        "model": TRANSFORMER | {"n_layers": 2},
        "training": {"steps": 100},
    },
    "mlp with layer norm": {
        "task": ADD,
        "model": MLP | {"norm": "layer"},
        "training": {"steps": 100},
    },
    "transformer with rms norm": {
        "task": ADD,
        "model": TRANSFORMER | {"norm": "rms"},
        "training": {"steps": 100},
    },
    "positional": {"task": ORDERED, "model": POSITIONAL},
    "positional side by side": {"task": ORDERED, "model": POSITIONAL | {"join": "concat"}},
    "vectors with mse": {
        "task": {"name": "digits", "train_fraction": 0.05, "objective": "mse"},
        "model": {"kind": "mlp", "d_model": None, "d_mlp": 8, "act": "tanh", "bias": True},
        "training": {"steps": 100},
    },
    "sgd in mini-batches": {
        "task": ADD,
        "model": MLP,
        "training": {"optimizer": "sgd", "momentum": 0.9, "batch_size": 16},
    },
    "penalties": {"task": ADD, "model": MLP, "training": {"l2": 1e-4}},
}


def configs(network: dict[str, Any], **training: Any) -> list[RunConfig]:
    """Three networks of one shape, each with its own seeds, learning rate and weight decay."""
    return [
        RunConfig.make(
            **network
            | {
                "task": network["task"] | {"split_seed": seed},
                "training": {"steps": 500, "checkpoint_every": 250}
                | network.get("training", {})
                | {"learning_rate": rate, "weight_decay": decay}
                | training,
                "seed": seed,
            }
        )
        for seed, (rate, decay) in enumerate([(1e-3, 1.0), (2e-3, 0.3), (1e-3, 0.0)])
    ]


def folders(at: Path, count: int) -> list[Path]:
    return [at / f"member-{index}" for index in range(count)]


def together(
    at: Path, members: Sequence[RunConfig], starts: Sequence[Checkpoint] = (), **options: Any
) -> list[Run]:
    """The runs, which must all have become runs."""
    paths = folders(at, len(members))
    fates = train_together(
        dict(zip(paths, members, strict=True)),
        starts=dict(zip(paths, starts, strict=False)),
        device="cpu",
        **options,
    )
    assert list(fates) == paths
    assert all(isinstance(fate, Run) for fate in fates.values())
    return [Run(path) for path in paths]


def contents(run: Run) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.path.iterdir() if file.is_file()}


def distance(one: Run, other: Run) -> float:
    """The largest ‖w − w'‖ / ‖w'‖ of a weight at the last step."""
    theirs = other.checkpoint(-1)
    return max(
        float((weight - saved[name]).norm() / saved[name].norm())
        for ours, saved in (
            (one.checkpoint(-1).weights, theirs.weights),
            (one.checkpoint(-1).scores, theirs.scores),
        )
        for name, weight in ours.items()
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_together_are_those_alone(tmp_path: Path, name: str) -> None:
    members = configs(NETWORKS[name])
    for index, run in enumerate(together(tmp_path, members)):
        alone = train(tmp_path / f"alone-{index}", members[index], device="cpu")
        assert distance(run, alone) <= 1e-4
        assert run.steps == alone.steps
        assert list(run.metrics.step) == list(alone.metrics.step)
        # Atol for what starts exact: 0 accuracy, a loss of next to nothing.
        torch.testing.assert_close(
            torch.tensor(run.metrics.to_numpy()),
            torch.tensor(alone.metrics.to_numpy()),
            rtol=1e-3,
            atol=1e-6,
        )
        assert run.config.model_dump(exclude={"versions"}) == alone.config.model_dump(
            exclude={"versions"}
        )
        assert verify(run) == []


@pytest.mark.parametrize("model", [MLP, TRANSFORMER], ids=["mlp", "transformer"])
def test_a_hundred_steps_with_relu_are_those_alone(tmp_path: Path, model: dict) -> None:
    members = configs({"task": ADD, "model": model | {"act": "relu"}}, steps=100)
    for index, run in enumerate(together(tmp_path, members)):
        alone = train(tmp_path / f"alone-{index}", members[index], device="cpu")
        assert distance(run, alone) <= 1e-5


def masked(config: RunConfig) -> Checkpoint:
    """θ₀ under a random mask of half of each matrix."""
    theta = raw_weights(make_model(config.model, config.task, config.seed or 0))
    draw = torch.Generator().manual_seed(config.seed or 0)
    mask = Mask({name: torch.rand(w.shape, generator=draw) < 0.5 for name, w in theta.items()})
    return Checkpoint(0, {name: w.detach() * mask[name] for name, w in theta.items()}, mask)


def searched(config: RunConfig) -> Checkpoint:
    model = make_model(config.model, config.task, config.seed or 0)
    assert config.popup is not None
    apply_popup(model, config.popup)
    return snapshot(model, 0)


@pytest.mark.parametrize("model", [MLP, TRANSFORMER], ids=["mlp", "transformer"])
@pytest.mark.parametrize(
    ("start", "popup"),
    [
        (masked, None),
        (searched, {"rate": 0.5}),
        (searched, {"rate": 0.5, "train_weights": True, "score_weight_decay": 0.1}),
    ],
    ids=["masks of their own", "edge-popup", "edge-popup and weights"],
)
def test_masks_and_searches_together_are_those_alone(
    tmp_path: Path, model: dict, start: Start, popup: dict | None
) -> None:
    # Which edges are on is a matter of rounding where two scores are close: fewer steps there.
    steps = 200 if popup is None else 100
    members = configs({"task": ADD, "model": model, "popup": popup}, steps=steps)
    starts = [start(config) for config in members]
    for index, run in enumerate(together(tmp_path, members, starts)):
        alone = train(
            tmp_path / f"alone-{index}", members[index], start=starts[index], device="cpu"
        )
        assert distance(run, alone) <= 1e-4
        assert run.mask == alone.mask
        assert verify(run) == []
        if popup is None:
            for name, kept in (run.mask or {}).items():
                assert not run.checkpoint(-1).weights[name][~kept].any()


def test_members_never_meet(tmp_path: Path) -> None:
    """What one member is trained on changes no bit of the others."""
    members = configs(NETWORKS["mlp"], steps=50)
    first = together(tmp_path / "first", members)
    other = members[1].model_copy(
        update={"task": members[1].task.model_copy(update={"split_seed": 77}), "seed": 78}
    )
    second = together(tmp_path / "second", [members[0], other, members[2]])
    for index in (0, 2):
        ours, theirs = (runs[index].checkpoint(-1).weights for runs in (first, second))
        assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    assert distance(first[1], second[1]) > 0.1


def test_only_one_shape_is_in_a_bundle(tmp_path: Path) -> None:
    fields = [
        {"task": ADD, "model": MLP},
        {"task": ADD | {"split_seed": 3}, "model": MLP | {"init_scale": 2.0}, "seed": 5},
        {"task": ADD | {"train_fraction": 0.5}, "model": MLP},
        {"task": ADD, "model": MLP | {"d_mlp": 9}},
        {"task": ADD | {"name": "mul"}, "model": MLP},
        {"task": ADD, "model": MLP, "training": {"threads": 2}},
        {"task": ADD, "model": MLP, "training": {"steps": 7, "weight_decay": 3.0}},
    ]
    runs = [
        create_run(tmp_path / str(index), RunConfig.make(**each))
        for index, each in enumerate(fields)
    ]
    names = [[run.name for run in group] for group in bundles(runs, size=2)]
    assert names == [["0", "1"], ["6"], ["2"], ["3"], ["4"], ["5"]]


def test_members_leave_when_they_have_ended(tmp_path: Path) -> None:
    """By their steps, or after they grokked; the last one goes on alone."""
    easy = {
        "task": {"name": "add", "p": 13, "pairs": "ordered", "train_fraction": 0.8},
        "model": {"kind": "mlp", "d_model": 128, "d_mlp": 64},
    }
    members = [
        RunConfig.make(
            **easy,
            training={"steps": steps, "learning_rate": 1e-2, "until_grokked": 30},
            seed=seed,
        )
        for seed, steps in enumerate([20, 5000, 5000])
    ]
    ended: list[str] = []
    runs = together(tmp_path, members, ended=lambda path, fate: ended.append(path.name))
    assert ended[0] == "member-0"
    assert runs[0].steps[-1] == 20
    for run in runs[1:]:
        assert run.finished
        assert run.t_gen is not None
        assert run.t_gen + 30 <= run.steps[-1] < run.t_gen + 80


@pytest.mark.slow
def test_quick_runs_generalize_when_they_do_alone(tmp_path: Path) -> None:
    members = [
        RunConfig.make(
            **presets.merge(
                presets.load("quick"),
                {"seed": seed, "task": {"split_seed": seed}, "training": {"until_grokked": 0}},
            )
        )
        for seed in range(4)
    ]
    for index, run in enumerate(together(tmp_path, members)):
        alone = train(tmp_path / f"alone-{index}", members[index], device="cpu")
        assert run.t_mem == alone.t_mem
        assert (run.t_gen is None) == (alone.t_gen is None)
        if alone.t_gen is not None:
            # A last digit moves it: by up to 4 % between two processors, for these four alone, and
            # by up to 2 % between together and alone.
            assert run.t_gen == pytest.approx(alone.t_gen, rel=0.05)


@pytest.mark.parametrize("name", ["mlp", "sgd in mini-batches"])
def test_an_interrupted_bundle_ends_in_the_same_bytes(tmp_path: Path, name: str) -> None:
    members = configs(NETWORKS[name], steps=60, checkpoint_every=20)
    whole = together(tmp_path / "whole", members)

    def interrupt(path: Path, row: dict[str, float]) -> None:
        if row["step"] == 30 and path.name == "member-2":
            os.kill(os.getpid(), signal.SIGINT)

    paths = folders(tmp_path / "parts", 3)
    ended: dict[str, Any] = {}
    with pytest.raises(Interrupted):
        train_together(
            dict(zip(paths, members, strict=True)),
            device="cpu",
            progress=interrupt,
            ended=lambda path, fate: ended.update({path.name: fate}),
        )
    assert all(isinstance(fate, Interrupted) for fate in ended.values())
    assert len(ended) == 3
    assert all(Run(path).steps[-1] == ended[path.name].step < 60 for path in paths)
    fates = resume_together(paths, device="cpu")
    for path, run in zip(paths, whole, strict=True):
        assert isinstance(fates[path], Run)
        assert contents(Run(path))["resume.safetensors"] == contents(run)["resume.safetensors"]
        assert Run(path).file(60).read_bytes() == run.file(60).read_bytes()
        assert contents(Run(path))["metrics.csv"] == contents(run)["metrics.csv"]


def test_a_killed_bundle_loses_nothing(tmp_path: Path) -> None:
    members = configs(NETWORKS["mlp"], steps=600, checkpoint_every=10)
    whole = together(tmp_path / "whole", members)
    paths = folders(tmp_path / "killed", 3)
    for path, config in zip(paths, members, strict=True):
        create_run(path, config)
    program = (
        "import sys; from mechgrok.training import resume_together\n"
        "resume_together(sys.argv[1:], device='cpu')"
    )
    child = subprocess.Popen([sys.executable, "-c", program, *map(str, paths)])
    while len(list(paths[2].glob("step_*"))) < 30:
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert 0 < Run(paths[1]).steps[-1] < 600
    assert all(verify(path) == [] for path in paths)
    shutil.copytree(paths[0], tmp_path / "alone")
    resume_together(paths, device="cpu")
    for path, run in zip(paths, whole, strict=True):
        # Killed between two members' checkpoints, they are a few steps apart from then on.
        assert Run(path).steps == run.steps
        assert verify(path) == []
        assert distance(Run(path), run) <= 1e-4
    assert distance(resume(tmp_path / "alone", device="cpu"), whole[0]) <= 1e-4


def test_a_member_that_diverges_leaves_and_the_others_go_on(tmp_path: Path) -> None:
    members = configs(NETWORKS["mlp"], steps=100, optimizer="sgd")
    wild = members[1].model_copy(
        update={"training": members[1].recipe.model_copy(update={"learning_rate": 1e6})}
    )
    paths = folders(tmp_path, 3)
    fates = train_together(
        dict(zip(paths, [members[0], wild, members[2]], strict=True)), device="cpu"
    )
    assert isinstance(fates[paths[1]], Diverged)
    assert "not" in str(fates[paths[1]])
    with pytest.raises(Diverged) as alone:
        train(tmp_path / "alone", wild, device="cpu")
    assert fates[paths[1]].step == alone.value.step  # type: ignore[union-attr]
    for index in (0, 2):
        assert isinstance(fates[paths[index]], Run)
        expected = train(tmp_path / f"alone-{index}", members[index], device="cpu")
        assert distance(Run(paths[index]), expected) <= 1e-4


def test_a_damaged_member_is_told_of_and_the_others_go_on(tmp_path: Path) -> None:
    paths = folders(tmp_path, 3)
    for path, config in zip(paths, configs(NETWORKS["mlp"], steps=20), strict=True):
        create_run(path, config)
    Run(paths[1]).file(0).write_bytes(b"")
    fates = resume_together(paths, device="cpu")
    assert isinstance(fates[paths[1]], UserError)
    assert str(paths[1]) in str(fates[paths[1]])
    assert all(isinstance(fates[paths[index]], Run) for index in (0, 2))


def test_a_taken_folder_is_refused_before_any_is_written(tmp_path: Path, tiny_run: Run) -> None:
    first, *_ = configs(NETWORKS["mlp"])
    with pytest.raises(UserError, match="--overwrite"):
        train_together({tmp_path / "new": first, tiny_run.path: first}, device="cpu")
    assert not (tmp_path / "new").exists()


def test_an_optimizer_that_mixes_parameters_serves_one_member_each(tmp_path: Path) -> None:
    """Steps of the length of the whole gradient: over all members at once they would be shorter."""
    (tmp_path / "unit.py").write_text(
        "import torch\n"
        "import mechgrok\n"
        "class Unit(mechgrok.Optimizer):\n"
        "    name: str = 'unit'\n"
        "    def make(self, groups, learning_rate):\n"
        "        class Step(torch.optim.SGD):\n"
        "            def step(self):\n"
        "                weights = [w for g in self.param_groups for w in g['params']]\n"
        "                torch.nn.utils.clip_grad_norm_(weights, 1.0)\n"
        "                super().step()\n"
        "        return Step(groups, lr=learning_rate)\n"
    )
    mechgrok.user_code.allow(f"{tmp_path / 'unit.py'}:Unit")
    members = configs(NETWORKS["mlp"], steps=30, optimizer=f"{tmp_path / 'unit.py'}:Unit")
    for index, run in enumerate(together(tmp_path, members)):
        alone = train(tmp_path / f"alone-{index}", members[index], device="cpu")
        assert distance(run, alone) <= 1e-4


def test_a_network_with_numbers_that_are_no_parameters_is_trained_alone(tmp_path: Path) -> None:
    (tmp_path / "scaled.py").write_text(
        "import torch\n"
        "from mechgrok.models import HookedMLP, MLPConfig\n"
        "class ScaledConfig(MLPConfig):\n"
        "    kind: str = 'scaled'\n"
        "class Scaled(HookedMLP):\n"
        "    Config = ScaledConfig\n"
        "    def __init__(self, config, *, seed=0, **sizes):\n"
        "        super().__init__(config, seed=seed, **sizes)\n"
        "        self.factor = float(config.init_scale)\n"
        "    def forward(self, inputs, way='auto'):\n"
        "        return self.factor * super().forward(inputs, way)\n"
    )
    kind = f"{tmp_path / 'scaled.py'}:Scaled"
    mechgrok.user_code.allow(kind)
    members = [
        RunConfig.make(
            task=ADD, model=MLP | {"kind": kind, "init_scale": scale}, training={"steps": 30}
        )
        for scale in (1.0, 1.5)
    ]
    with pytest.warns(UserWarning, match="Scaled"):
        runs = together(tmp_path, members)
    for index, run in enumerate(runs):
        alone = train(tmp_path / f"alone-{index}", members[index], device="cpu")
        assert run.file(30).read_bytes() == alone.file(30).read_bytes()


class _NothingComesBack(TorchDispatchMode):
    """Refuses what makes a processor wait for a number from its device."""

    WAITING: ClassVar = {
        "_local_scalar_dense",
        "nonzero",
        "bincount",
        "masked_select",
        "is_nonzero",
    }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        assert func._schema.name.removeprefix("aten::") not in self.WAITING, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, {}) for name in ("mlp", "transformer", "positional", "vectors with mse")),
        ("mlp", {"transforms": "grokfast-ema,grokfast-ma:window_size=2,orthograd"}),
        ("mlp", {"optimizer": "muon"}),
        ("mlp", {"temperature": 2, "weights": "W_E:learning_rate=1e-4"}),
    ],
)
def test_a_step_could_be_captured_in_a_graph(tmp_path: Path, name: str, method: dict) -> None:
    """After the first, a step waits for no number, and what it reads and writes stays in place."""
    members = configs(NETWORKS[name], **method)
    runs = [create_run(tmp_path / str(i), config) for i, config in enumerate(members)]
    models = [load_for_training(run, 0) for run in runs]
    optimizers = make_optimizers(list(zip(models, members, strict=True)))
    shared = list({id(optimizer): optimizer for optimizer in optimizers}.values())
    assert len(shared) == 2, "one for each learning rate"
    bundle = Bundle(models, runs, shared, [0, 0, 0])

    def places() -> list[int]:
        kept: list[Tensor] = [weight.data for weight in bundle.weights.values()]
        kept += [weight.data for model in models for weight in raw_weights(model).values()]
        kept += [
            value
            for optimizer in shared
            for states in states_of(optimizer).values()
            for state in states.values()
            for value in state.values()
        ]
        return [tensor.data_ptr() for tensor in kept]

    bundle.step()
    before = places()
    first = bundle.weights[next(iter(bundle.weights))].detach().clone()
    with _NothingComesBack():
        bundle.step()
    assert places() == before
    assert not torch.equal(first, bundle.weights[next(iter(bundle.weights))])


def test_folders_are_paths_or_text_and_runs_are_configurations_presets_or_tasks(
    tmp_path: Path,
) -> None:
    config = configs(NETWORKS["mlp"], steps=5)[0]
    runs: dict[str | Path, Any] = {str(tmp_path / "text"): config, tmp_path / "path": config}
    weights = raw_weights(make_model(config.model, config.task, config.seed or 0))
    start = Checkpoint(0, {name: weight.detach() / 2 for name, weight in weights.items()})
    outcomes = train_together(runs, starts={str(tmp_path / "text"): start}, device="cpu")
    assert list(outcomes) == [tmp_path / "text", tmp_path / "path"]
    halves, whole = (Run(path).checkpoint(0).weights["W_in"] for path in outcomes)
    assert halves.norm() < whole.norm()
    with pytest.raises(UserError, match="'qick'"):
        train_together({"other": "qick"})


def test_a_task_is_trained_with_the_default_network(tmp_path: Path) -> None:
    task = mechgrok.make_task("add", p=5)

    def interrupt(path: Path, row: dict[str, float]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train_together({tmp_path / "task": task}, progress=interrupt, device="cpu")
    assert Run(tmp_path / "task").config == RunConfig.make(task=task)


def test_what_became_of_each_is_told_in_the_order_of_the_folders(tmp_path: Path) -> None:
    """Not in that in which they end."""
    paths = folders(tmp_path, 3)
    lengths = dict(zip(paths, (60, 40, 20), strict=True))
    for path, steps in lengths.items():
        create_run(path, configs(NETWORKS["mlp"], steps=steps, checkpoint_every=20)[0])
    ended: list[Path] = []
    fates = resume_together(paths, device="cpu", ended=lambda path, fate: ended.append(path))
    assert (list(fates), ended) == (paths, paths[::-1])
