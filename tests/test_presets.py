"""Presets are data that make whole configurations, and any option overrides them."""

from pathlib import Path
from typing import Any

import pytest

from mechgrok import user_code
from mechgrok.configuration import presets
from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.sweeps import Plan
from mechgrok.sweeps.running import make_plan

OWN_TASKS = """
import mechgrok, torch

@mechgrok.operation("2a + b", commutative=False)
def double(a, b, p):
    return (2 * a + b) % p

@mechgrok.task(modular=True)
def product(p: int = 11):
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    return torch.stack([a.flatten(), b.flatten()], dim=1), (a * b).flatten() % p
"""


def test_the_first_preset_is_the_default() -> None:
    assert next(iter(presets.names())) == presets.DEFAULT == "paper-mlp"


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_makes_a_configuration_with_every_value_it_names(name: str) -> None:
    preset = presets.load(name)
    made = RunConfig.make(**presets.merge(preset, {})).model_dump(mode="json")
    assert presets.names()[name]
    for part in ("task", "model", "training"):
        for key, value in preset[part].items():
            settled = made[part] | made["training"]["optimizer"] | made[part]
            settled["optimizer"] = made["training"]["optimizer"]["name"]
            assert settled[key] == value, f"{part}.{key}"


def test_the_default_preset_is_the_default_configuration() -> None:
    preset = RunConfig.make(**presets.merge(presets.load("paper-mlp"), {}))
    assert preset.model_dump() == RunConfig().model_dump()


def test_a_preset_can_be_changed_without_changing_the_next_ones() -> None:
    presets.load("nanda")["task"]["p"] = 7
    assert presets.load("nanda")["task"]["p"] == 113


@pytest.mark.parametrize(
    ("preset", "given", "part", "expected"),
    [
        # One operation after another: the rest of the task still means the same.
        ("nanda", {"task": {"name": "mul"}}, "task", {"p": 113, "equals": True}),
        ("paper-mlp", {"task": {"name": "sub"}}, "task", {"pairs": "descending", "p": 67}),
        # Another kind of task: what the preset says of the first means nothing.
        ("paper-mlp", {"task": {"name": "parity"}}, "task", {"n": 40, "train_fraction": 0.5}),
        # Another model keeps the sizes that mean something for it.
        ("quick", {"model": {"kind": "transformer"}}, "model", {"d_model": 128, "d_mlp": 48}),
        ("mnist", {"model": {"kind": "transformer"}}, "model", {"d_model": 500, "n_layers": 2}),
        ("quick", {"model": {"d_mlp": 9}}, "model", {"d_model": 128, "d_mlp": 9}),
        ("quick", {"training": {"steps": 9}}, "training", {"steps": 9, "weight_decay": 1.0}),
    ],
)
def test_options_over_presets(
    preset: str, given: dict[str, Any], part: str, expected: dict[str, Any]
) -> None:
    made = RunConfig.make(**presets.merge(presets.load(preset), given)).model_dump()[part]
    assert {key: made[key] for key in expected} == expected


def test_what_a_preset_loses_beside_an_option_is_known() -> None:
    quick, mnist = presets.load("quick"), presets.load("mnist")
    assert presets.left_out(quick, {"training": {"optimizer": "sgd"}}) == ["training.betas"]
    assert presets.left_out(quick, {"task": {"name": "mul"}}) == []
    lost = presets.left_out(mnist, {"model": {"kind": "transformer"}})
    assert lost == ["model.d_model", "model.init"]


def test_a_task_of_ones_own_takes_the_settings_of_the_preset_that_it_has(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN_TASKS)
    quick = presets.load("quick")
    for name, lost in (("double", []), ("product", ["task.pairs"])):
        given = {"task": {"name": f"{file}:{name}"}}
        user_code.allow(given["task"]["name"])
        assert presets.left_out(quick, given) == lost
        assert RunConfig.make(**presets.merge(quick, given)).task.p == 43  # type: ignore[attr-defined]
        default = RunConfig.make(**presets.merge(presets.load(presets.DEFAULT), given)).task
        assert default.p == {"double": 67, "product": 11}[name]  # type: ignore[attr-defined]


OWN_PRESET = """
description = "small"
seed = 3

[task]
name = "mul"
p = 11

[model]
d_model = "none"

[set]
weight_decay = 2.0
d_mlp = 9
"""


def test_a_file_is_a_preset(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(OWN_PRESET)
    made = RunConfig.preset(str(tmp_path / "small.toml"), p=13)
    assert (made.task.name, made.task.p, made.seed) == ("mul", 13, 3)  # type: ignore[attr-defined]
    assert (made.model.d_model, made.model.d_mlp) == (None, 9)  # type: ignore[attr-defined]
    assert made.recipe.weight_decay == 2


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (None, "does not exist"),
        ("[over]\nseed = 1", "task"),
        ("task = 3", r"\[task\]"),
        ("[task", "TOML"),
        ("[set]\nnonsense = 1", "nonsense"),
    ],
)
def test_a_file_that_is_no_preset_is_refused(
    content: str | None, remedy: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=remedy):
        presets.load(str(file))


def test_a_sweep_holds_the_settings_of_a_preset_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(OWN_PRESET)
    plan = make_plan(str(file), over={"weight_decay": [1, 3]}, seeds=[0, 1])
    file.unlink()
    (tmp_path / "sweep.toml").write_text(plan.as_toml())
    members = Plan.load(tmp_path / "sweep.toml").members()
    assert [member.config.recipe.weight_decay for member in members if member.config] == [
        1,
        1,
        3,
        3,
    ]
    assert {member.config.task.p for member in members if member.config} == {11}  # type: ignore[attr-defined]


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"did you mean quick\?") as refused:
        presets.load("qick")
    assert all(name in str(refused.value) for name in presets.names())
