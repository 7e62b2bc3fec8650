"""Optimizers, objectives, operations and pruning methods: one entry each, with its own options."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok import registry
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.training import TrainingConfig
from mechgrok.derived import train_ticket
from mechgrok.errors import UserError
from mechgrok.masks import prune
from mechgrok.masks.methods import SCORES, score
from mechgrok.optimization.optimizers import OPTIMIZERS, SGD, AdamW, Optimizer
from mechgrok.runs import Run
from mechgrok.tasks import Objective, Task, make_task, operation
from mechgrok.tasks.objectives import OBJECTIVES
from mechgrok.tasks.operations import OPERATIONS
from mechgrok.training import train

TINY: dict[str, Any] = {
    "task": {"name": "add", "p": 5, "train_fraction": 0.6},
    "model": {"kind": "mlp", "d_model": 6, "d_mlp": 4},
    "training": {"steps": 4, "checkpoint_every": 2},
}


@pytest.fixture
def restored() -> Iterator[None]:
    """Registries as they were, after a test added to them."""
    kept = [(each.own, dict(each.own)) for each in (OPTIMIZERS, OBJECTIVES, OPERATIONS, SCORES)]
    yield
    for own, before in kept:
        own.clear()
        own.update(before)


def test_an_optimizer_s_options_stand_beside_the_training_s() -> None:
    assert TrainingConfig(optimizer="sgd", momentum=0.9).optimizer == SGD(momentum=0.9)  # type: ignore
    assert TrainingConfig(betas=(0.5, 0.6)).optimizer == AdamW(betas=(0.5, 0.6))  # type: ignore


@pytest.mark.parametrize(
    ("training", "complaint"),
    [
        ({"momentum": 0.9}, "adamw .*'momentum'"),
        ({"optimizer": "sgd", "betas": (0.9, 0.99)}, "sgd .*'betas'"),
        ({"optimizer": "adamv"}, "'adamv'.*adamw"),
        ({"optimizer": 5}, "5"),
        ({"wieght_decay": 5}, r"wieght_decay' .*weight_decay\?"),
        ({"learning_rate": float("inf")}, "learning_rate = inf"),
        ({"batch_seed": 2**64}, "batch_seed"),
    ],
)
def test_an_option_that_means_nothing_is_refused(training: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        RunConfig.make(training=training)


def test_the_configurations_of_version_0_1_open(tmp_path: Path) -> None:
    """They held every optimizer's options, whether it had them or not."""
    run = train(tmp_path / "run", RunConfig.make(**TINY))
    saved = json.loads((run.path / "config.json").read_text())
    for optimizer in ("adamw", "sgd", "adam"):
        saved["training"] |= {"optimizer": optimizer, "betas": [0.8, 0.9], "momentum": 0.5}
        (run.path / "config.json").write_text(json.dumps(saved))
        read = Run(run.path).config.training.optimizer
        assert str(read) == optimizer
        assert getattr(read, "momentum", 0.5) == 0.5
        assert getattr(read, "betas", (0.8, 0.9)) == (0.8, 0.9)


@pytest.mark.parametrize("name", ["base", "ticket"])
def test_the_shipped_runs_have_the_configurations_that_version_0_1_gave_them(name: str) -> None:
    """The files of version 0.1 mean what those of today mean."""
    tests = Path(__file__).parent
    saved = json.loads((tests / "runs" / "version_0_1" / f"{name}.json").read_text())
    assert saved["versions"]["mechgrok"] == "0.1.0"
    today = Run(tests.parent / "data" / name).config
    read = RunConfig.make(**saved).model_copy(update={"versions": today.versions})
    assert read == today


def test_a_new_optimizer_is_one_class(tmp_path: Path, restored: None) -> None:
    @OPTIMIZERS.register("signs")
    class Signs(Optimizer):
        name: str = "signs"
        scale: float = 1.0

        def make(self, groups: list, learning_rate: float) -> torch.optim.Optimizer:
            class TorchOptimizer(torch.optim.SGD):
                def step(self, closure: Any = None) -> None:
                    for group in self.param_groups:
                        for weight in group["params"]:
                            weight.data -= group["lr"] * weight.grad.sign()

            return TorchOptimizer(groups, lr=learning_rate * self.scale)

    config = RunConfig.make(**TINY | {"training": {"steps": 1, "optimizer": "signs", "scale": 2}})
    run = train(tmp_path / "run", config)
    moved = run.weights("W_in")[-1] - run.weights("W_in")[0]
    assert moved.abs().max().item() == pytest.approx(2e-3, rel=1e-3)
    assert Run(run.path).config.training.optimizer == Signs(scale=2)


def test_a_new_operation_is_one_function(restored: None) -> None:
    @operation("a³ − b", "x3-y", commutative=False)
    def cube_less(a: torch.Tensor, b: torch.Tensor, p: int) -> torch.Tensor:
        return a**3 - b

    task = make_task("x3-y", p=7)
    assert str(task) == "a³ − b mod 7, ordered pairs"
    assert all(c == (a**3 - b) % 7 for (a, b), c in zip(*(s.tolist() for s in task.examples)))  # noqa: B905
    with pytest.raises(UserError, match=r"a³ − b .*--pairs ordered"):
        make_task("x3-y", p=7, pairs="unordered")
    assert make_task("multitask", operations=["add", "x3-y"], p=7).n_examples == 98


@pytest.mark.parametrize("pairs", ["unordered", "ordered", "descending"])
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_the_number_of_pairs_is_known_without_them(name: str, pairs: str) -> None:
    if pairs == "unordered" and not OPERATIONS.load(name).commutative:
        return
    task = make_task(name, p=7, pairs=pairs)
    counted = task.n_examples
    assert counted == len(task.examples.labels)


def test_a_new_objective_is_one_value(restored: None) -> None:
    OBJECTIVES.register("absolute")(
        Objective(
            "absolute",
            lambda outputs, labels: (outputs[:, 0] - labels).abs().mean(),
            lambda outputs, labels: (outputs[:, 0].round() == labels).double().mean(),
            "absolute deviation",
            by_sign=True,
        )
    )
    task = make_task("parity", objective="absolute", n=5, samples=9)
    assert task.loss(torch.zeros(4, 1), torch.ones(4)).item() == 1
    assert (task.d_output, task.loss_units) == (1, "absolute deviation")


def test_a_new_pruning_method_is_one_function(tiny_run: Run, restored: None) -> None:
    @score
    def smallest(model: Any, rate: float, sharpness: float = 1.0) -> dict[str, torch.Tensor]:
        return {name: -w.detach().abs() * sharpness for name, w in model.named_parameters()}

    model = tiny_run.model()
    mask = prune(model, tiny_run.task, 0.5, "smallest", sharpness=3)
    usual = prune(model, tiny_run.task, 0.5, "magnitude")
    assert not (mask & usual).n_kept
    with pytest.raises(UserError, match=r"smallest .*'rounds'.*sharpness"):
        prune(model, tiny_run.task, 0.5, "smallest", rounds=3)


def test_a_score_says_that_it_scores_trained_weights(
    tiny_run: Run, tmp_path: Path, restored: None
) -> None:
    @score(scores="trained")
    def smallest(model: Any) -> dict[str, torch.Tensor]:
        return {name: -w.detach().abs() for name, w in model.named_parameters()}

    @score
    def earliest(model: Any) -> dict[str, torch.Tensor]:
        return smallest(model)

    last, first = tiny_run.steps[-1], tiny_run.steps[0]
    for method, step in (("smallest", last), ("earliest", first), ("magnitude", last)):
        ticket = train_ticket(tiny_run, tmp_path / method, method=method, steps=0)
        assert ticket.config.origin.step == step  # type: ignore[union-attr]
        assert ticket.mask == prune(tiny_run.model(step), tiny_run.task, 0.6, method)


def test_a_default_in_a_score_holds_in_tickets_too(
    tiny_run: Run, tmp_path: Path, restored: None
) -> None:
    """The mask follows from rounds and seed, as `prune` and `train_ticket` pass them."""
    received: list[tuple[int, int]] = []

    @score
    def repeated(model: Any, rounds: int = 50, seed: int = 7) -> dict[str, torch.Tensor]:
        received.append((rounds, seed))
        return SCORES.load("random")(model, seed=rounds + seed)

    masks = {
        "as it stands": prune(tiny_run.model(0), tiny_run.task, 0.6, "repeated"),
        "behind": prune(tiny_run.model(0), tiny_run.task, 0.6, "repeated:rounds=3"),
    }
    assert received == [(50, 7), (3, 7)]
    cases: dict[str, dict[str, Any]] = {
        "as it stands": {"method": "repeated"},
        "behind": {"method": "repeated:rounds=3"},
    }
    for name, options in cases.items():
        ticket = train_ticket(tiny_run, tmp_path / name, steps=0, **options)
        assert ticket.mask == masks[name]
        again = train_ticket(tiny_run, tmp_path / name, steps=0, resume=True, **options)
        assert again.mask == masks[name]
    assert received[2:] == [(50, 7)] * 2 + [(3, 7)] * 2
    other = train_ticket(tiny_run, tmp_path / "o", method="repeated", seed=0, rounds=2, steps=0)
    assert received[-1] == (2, 0)
    assert (other.config.origin.rounds, other.config.origin.seed) == (2, 0)  # type: ignore[union-attr]


def test_equal_tasks_of_ones_own_are_equal(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import mechgrok\n@mechgrok.task\ndef t(n: int = 3):\n    return [[0]]*n, [0]*n"
    )
    assert make_task(f"{file}:t") == make_task(f"{file}:t") != make_task(f"{file}:t", n=4)


def test_listing_tasks_imports_no_torch() -> None:
    program = """
import sys
from mechgrok.tasks.making import TASKS
assert "sub" in list(TASKS)
for name in TASKS: TASKS.load(name)
import mechgrok.tasks.making, mechgrok.optimization.optimizers
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_package_that_is_gone_breaks_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry points may be left behind, of every form."""
    points = [
        EntryPoint("stale", "no_such_package.module:thing", "mechgrok.tasks"),
        EntryPoint("stale2", "no_such_package", "mechgrok.tasks"),
        EntryPoint("stale3", "", "mechgrok.tasks"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    registry.entries.cache_clear()
    found = registry.entries("mechgrok.tasks")
    assert [entry.description for entry in found.values()] == ["", "", ""]
    with pytest.raises(UserError, match="uninstall"):
        make_task("stale")
    registry.entries.cache_clear()


def test_a_package_is_one_analysis_where_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a long analysis can be measured in one file and drawn in another."""
    for name, text in {
        "more/__init__.py": "",
        "more/plain.py": "",
        "more/large/__init__.py": "from more.large.numbers import measure",
        "more/measures/__init__.py": '"""Mathematics."""',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("more", "more", "mechgrok.analyses")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    registry.entries.cache_clear()
    assert list(registry.entries("mechgrok.analyses")) == ["large", "plain"]
    registry.entries.cache_clear()


def test_tasks_differ_by_their_fields() -> None:
    tasks: list[Task] = [make_task("add"), make_task("add", p=5), make_task("sub")]
    assert len({*tasks, make_task("add")}) == 3
