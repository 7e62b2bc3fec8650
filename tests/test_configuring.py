"""A run is asked for in Python as on the command line: a preset, and settings by their names."""

from inspect import signature
from pathlib import Path

import pytest

from mechgrok import RunConfig, UserError, train
from mechgrok.configuration import presets

SMALL = {"p": 7, "d_model": 6, "d_mlp": 5, "steps": 3, "train_fraction": 0.5}


def test_a_preset_takes_settings_by_the_names_that_flags_have() -> None:
    config = RunConfig.preset("quick", weight_decay=3, lr=0.01, p=23, model="transformer")
    assert config.recipe.weight_decay == 3
    assert config.recipe.learning_rate == 0.01
    assert config.task.p == 23
    assert config.model.kind == "transformer"


def test_a_preset_alone_is_what_the_command_trains() -> None:
    assert RunConfig.preset("nanda") == RunConfig.make(**presets.load("nanda"))
    assert RunConfig.preset() == RunConfig.make(**presets.load(presets.DEFAULT))


def test_help_on_settings_shows_names_and_defaults_without_annotations() -> None:
    assert str(signature(RunConfig)).startswith("(*, format=1, task=<factory>, model=MLPConfig(")
    assert "Annotated" not in str(signature(RunConfig))


def test_train_takes_a_preset_and_settings(tmp_path: Path) -> None:
    run = train(tmp_path / "a", "quick", seed=4, **SMALL)
    assert run.config == RunConfig.preset("quick", seed=4, **SMALL)
    again = train(tmp_path / "b", run.config, weight_decay=0.25)
    assert again.config.recipe.weight_decay == 0.25
    assert again.config.task == run.config.task


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("quikc", {}, "'quikc'"),
        ("quick", {"weigth_decay": 3}, "weight_decay"),
        ("quick", {"weight_decay": -3}, "weight_decay = -3"),
        ("quick", {"task": "file-that-is-not-there.py:f"}, "file-that-is-not-there.py"),
    ],
)
def test_mistakes_are_told_and_make_no_folder(
    tmp_path: Path, name: str, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        train(tmp_path / "x", name, **settings)
    assert not (tmp_path / "x").exists()
