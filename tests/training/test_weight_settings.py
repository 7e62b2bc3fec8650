"""Settings of single weights: a name overrides a kind, and a kind overrides a side."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from mechgrok import Run, RunConfig, UserError, sweep, train
from mechgrok.models import make_model, raw_weights, wiring_of
from mechgrok.optimization.weight_settings import by_weight
from mechgrok.sweeps.plan import Plan
from mechgrok.training import resume, train_together
from mechgrok.training.optimizer import make_optimizer

SHORT: dict[str, Any] = {"p": 7, "d_model": 8, "d_mlp": 8, "steps": 40, "checkpoint_every": 10}
BIASED = {"bias": True, "n_layers": 2}


def short(out: Path, **settings: Any) -> Run:
    return train(out, "quick", progress=None, **SHORT | settings)


def settings_of(config: RunConfig) -> dict[str, tuple[float, float]]:
    """The learning rate and the weight decay of each weight in the optimizer."""
    model = make_model(config.model, config.task)
    groups = make_optimizer(model, config).param_groups  # type: ignore[attr-defined]
    by_parameter = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    return {name: by_parameter[id(weight)] for name, weight in raw_weights(model).items()}


def test_a_name_overrides_a_kind_and_a_kind_a_side() -> None:
    weights = {
        "W_out": {"learning_rate": 1},
        "matrices": {"learning_rate": 2, "weight_decay": 5},
        "biases": {"weight_decay": 0},
        "output": {"learning_rate": 3, "weight_decay": 6},
    }
    config = RunConfig.preset("quick", weights=weights, **SHORT, **BIASED)
    assert config.training is not None
    found = by_weight(config.training.weights, wiring_of(config.model, config.task))
    assert found["W_out"] == {"learning_rate": 1, "weight_decay": 5}
    assert found["W_U"] == {"learning_rate": 2, "weight_decay": 5}
    assert found["b_in"] == {"weight_decay": 0}


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd:momentum=0.9", "muon"])
def test_every_optimizer_takes_them(tmp_path: Path, optimizer: str) -> None:
    rates = {"W_E": 1e-9, "W_in": 1e-9}
    weights = {name: {"learning_rate": rate, "weight_decay": 0} for name, rate in rates.items()}
    run = short(tmp_path / "run", optimizer=optimizer, weights=weights, transforms="warmup")
    for name in run.weight_names:
        first, *_, last = run.weights(name)
        assert torch.allclose(first, last, atol=1e-5) == (name in rates)


def test_muons_three_groups_can_be_set() -> None:
    config = RunConfig.preset(
        "quick",
        **SHORT,
        optimizer="muon:muon_learning_rate=0.03",
        learning_rate=1e-3,
        weight_decay=1,
        weights={"W_in+W_out": {"weight_decay": 0.1}, "W_U": {"learning_rate": 2.5e-4}},
    )
    assert settings_of(config) == {
        "W_E": (1e-3, 1),
        "W_in": (0.03, 0.1),
        "W_out": (0.03, 0.1),
        "W_U": (2.5e-4, 1),
    }
    own = RunConfig.preset("quick", **SHORT, optimizer="muon", weights="W_in:learning_rate=0.5")
    assert settings_of(own)["W_in"][0] == 0.5


def test_a_weight_with_the_rate_of_all_trains_as_always(tmp_path: Path) -> None:
    usual = short(tmp_path / "usual", learning_rate=2e-3, weight_decay=0.5)
    same = short(
        tmp_path / "same",
        learning_rate=1e-3,
        weight_decay=1,
        weights="matrices:learning_rate=2e-3:weight_decay=0.5",
    )
    for name in usual.weight_names:
        assert torch.equal(usual.weights(name), same.weights(name))
    assert "weights" not in json.loads((usual.path / "config.json").read_text())["training"]


def test_the_paths_of_a_transformers_weights_are_settings(tmp_path: Path) -> None:
    many = sweep(
        tmp_path / "many",
        "quick",
        over={"weights.blocks.0.mlp.W_in.learning_rate": [1e-9, 1e-3]},
        jobs=1,
        model="transformer",
        **{"training.weights.W_in.weight_decay": 0},
        **SHORT,
    )
    moved = []
    for run in many.runs.values():
        first, *_, last = run.weights("blocks.0.mlp.W_in")
        moved.append(not torch.allclose(first, last, atol=1e-6))
    assert moved == [False, True]


def test_members_have_their_own_settings_and_resume(tmp_path: Path) -> None:
    choices: dict[str, Any] = {
        "usual": {},
        "slow": {"W_E": {"learning_rate": 1e-5}},
        "decayed": {"output": {"weight_decay": 9}},
    }
    configs = {
        tmp_path / name: RunConfig.preset("quick", weights=weights, **SHORT)
        for name, weights in choices.items()
    }
    train_together(configs)
    for name, weights in choices.items():
        together = Run(tmp_path / name)
        alone = short(tmp_path / f"{name}-alone", weights=weights)
        for weight in alone.weight_names:
            torch.testing.assert_close(
                together.weights(weight), alone.weights(weight), rtol=1e-3, atol=1e-5
            )
    longer = resume(tmp_path / "slow-alone", steps=50, progress=None)
    whole = short(tmp_path / "whole", weights=choices["slow"], steps=50)
    assert longer.file(50).read_bytes() == whole.file(50).read_bytes()


def test_a_plan_sets_some_weights_and_sweeps_another() -> None:
    text = """
        preset = "quick"
        [set.weights."W_E+W_U"]
        weight_decay = 0
        [over]
        "weights.W_in.learning_rate" = "1,2"
    """
    plan = Plan.read(tomllib.loads(text))
    found = [settings_of(member.config) for member in plan.members() if member.config]
    assert [settings["W_in"][0] for settings in found] == [1, 2]
    assert all(settings["W_E"][1] == settings["W_U"][1] == 0 for settings in found)
    assert Plan.read(tomllib.loads(plan.as_toml())) == plan
    assert dict(plan.set["weights"]) == {"W_E+W_U": {"weight_decay": 0}}


@pytest.mark.parametrize(
    ("weights", "remedy"),
    [
        ("W_X:learning_rate=1", "W_E, W_in, W_out or W_U"),
        ("biases:weight_decay=0", "name a weight"),
        ("W_E", "W_E:learning_rate=1e-4"),
        ("W_E:learning_rate=0", "greater than 0"),
        ("W_E:momentum=1", "training.weights.W_E.momentum"),
        ({"W_E": 3}, "W_E"),
    ],
)
def test_settings_of_unknown_weights_are_refused_before_anything_is_written(
    tmp_path: Path, weights: Any, remedy: str
) -> None:
    with pytest.raises(UserError) as error:
        short(tmp_path / "run", weights=weights)
    assert remedy in str(error.value)
    assert not list(tmp_path.iterdir())
