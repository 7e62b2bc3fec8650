"""Likely mistakes on the command line are answered with what to type instead, or just work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mechgrok import Sweep

ABLATION = '[[do]]\nkind = "Ablate"\nhook = "blocks.0.mlp.hook_post"\nneurons = [1]\n'

RUNS = ("run", "same")


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ("fourier demo", "mechgrok analyze fourier demo"),
        ("trian quick", "train?"),
        ("analyze fourier,accuracy demo", "mechgrok report demo --only fourier,accuracy"),
        ("analyze . fourier", "mechgrok analyze fourier ."),
        ("train --seeds 0:3", "mechgrok sweep FOLDER --seeds 0:3"),
        ("train --preset quick", "mechgrok train quick"),
        ("train --seed 0,1", "mechgrok sweep"),
        ("train --epochs 100", "--steps?"),
        ("train --lerning-rate 1", "--learning-rate?"),
        ("train quick --group S4", "--task group"),
        ("train quick --n-heads 2", "--model transformer"),
        ("sweep many quick --weight-decay 1,3", "--over weight_decay=VALUE,VALUE"),
        ("sweep many quick --p 59", "--over p=VALUE,VALUE"),
        ("ticket demo --density 0.4", "--rate"),
        ("train --until-grokked 2000", "--margin 2000"),
        ("sweep norm-held", "mechgrok sweep FOLDER norm-held"),
        ("intervene demo", "interventions.toml"),
        ("intervene a.toml b.toml", "interventions.toml"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(
    typed: str, remedy: str, mechgrok: Callable, tmp_path: Path
) -> None:
    ended = mechgrok(*typed.split())
    assert ended.code == 2
    assert remedy in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_aliases_and_powers_of_ten_are_read(mechgrok: Callable, tmp_path: Path) -> None:
    def typed(line: str) -> int:
        return mechgrok(*line.split()).code

    assert typed("train quick --wd 0.5 --lr 2e-3 --steps 2e1 --out run -q") == 0
    settings = "--set wd=0.5 --set training.lr=2e-3 --set steps=2e1"
    assert typed(f"train quick {settings} --out same -q") == 0
    run, same = (json.loads((tmp_path / name / "config.json").read_text()) for name in RUNS)
    assert run == same
    training = run["training"]
    names = ("steps", "learning_rate", "weight_decay")
    assert [training[name] for name in names] == [20, 2e-3, 0.5]
    assert typed("sweep many quick --over wd=0.5,1 --set steps=5 --jobs 1 -q") == 0
    decays = [run.config.training.weight_decay for run in Sweep(tmp_path / "many").runs.values()]
    assert decays == [0.5, 1]
    assert typed("train quick --steps 1.5e0 --out no") == 2


def test_steps_and_paths_are_taken_as_people_write_them(mechgrok: Callable, tmp_path: Path) -> None:
    mechgrok("train", "quick", "--steps", 20, "--out", "run", "-q")
    assert "step 10" in mechgrok("analyze", "fourier", "run", "--steps", "1e1").out
    (tmp_path / "remove.toml").write_text(ABLATION)
    before, after = ("run", "remove.toml"), ("remove.toml", "run")
    first, second = (mechgrok("intervene", *paths) for paths in (before, after))
    assert (first.code, second.code) == (0, 0)
    assert first.out == second.out
