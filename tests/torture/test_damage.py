"""Damaged files are answered in a sentence, whatever is wrong with them: never a traceback."""

import os
import random
import shutil
import traceback
from collections import Counter
from pathlib import Path

import pytest

import mechgrok
from mechgrok import Run, UserError
from mechgrok.runs import compare, verify
from mechgrok.runs.facts import facts
from mechgrok.training import resume
from tests.torture.damage import damaged

FILES = (
    "config.json",
    "metrics.csv",
    "step_00000000.safetensors",
    "step_00000060.safetensors",
    "resume.safetensors",
    "resume-before.safetensors",
    "analysis/norms.parquet",
)


@pytest.fixture
def whole(tiny_run: Run, tmp_path: Path) -> Path:
    """A sound run with an answer that is kept."""
    shutil.copytree(tiny_run.path, tmp_path / "whole", ignore=shutil.ignore_patterns("analysis"))
    mechgrok.analyze(tmp_path / "whole", "norms")
    return tmp_path / "whole"


def ask_everything(path: Path) -> None:
    """What a person may do with a run; what is answered in a sentence is well answered."""
    for ask in (
        lambda: facts(Run(path)),
        lambda: compare({"run": Run(path)}),
        lambda: verify(path),
        lambda: mechgrok.analyze(path, "norms"),
        lambda: mechgrok.analyze(path, "accuracy"),
        lambda: resume(path) if Run(path).config.training.steps <= 100 else None,
    ):
        try:
            ask()
        except UserError as error:
            if "\n" in str(error).strip():
                raise AssertionError(f"not one sentence: {error}") from error


def one_damage(whole: Path, draw: random.Random, tally: Counter[str]) -> None:
    path = whole.with_name("damaged")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    name = draw.choice(FILES)
    content = damaged((path / name).read_bytes(), name, draw)
    (path / name).write_bytes(content)
    tally["damaged"] += 1
    try:
        ask_everything(path)
    except Exception as error:
        tally["tracebacks"] += 1
        kept = os.environ.get("TORTURE_KEEP")
        if kept:
            shutil.copytree(path, Path(kept) / str(tally["damaged"]), dirs_exist_ok=True)
        traceback.print_exc()
        raise AssertionError(f"{name}, {content[:300]!r}: {error!r}") from error


@pytest.mark.filterwarnings("ignore")
def test_some_damage(whole: Path, tally: Counter[str], seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(25):
        one_damage(whole, draw, tally)


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(20))
def test_much_damage(whole: Path, tally: Counter[str], seed: int, part: int) -> None:
    draw = random.Random(f"{seed} {part}")
    for _ in range(100):
        one_damage(whole, draw, tally)
