"""Damaged files are answered in a sentence, whatever is wrong with them: never a traceback."""

import json
import os
import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mechgrok
from mechgrok import Run, UserError
from mechgrok.runs import compare, verify
from mechgrok.runs.facts import facts
from mechgrok.training import resume

FILES = (
    "config.json",
    "metrics.csv",
    "step_00000000.safetensors",
    "step_00000060.safetensors",
    "resume.safetensors",
    "resume-before.safetensors",
    "analysis/norms.parquet",
)
#: What a value in a configuration may have become.
VALUES: tuple[Any, ...] = (None, -1, 0, 10**30, 0.5, "", "x", "1e9", [], [1], {}, {"a": 1}, True)


@pytest.fixture
def whole(tiny_run: Run, tmp_path: Path) -> Path:
    """A sound run with an answer that is kept."""
    shutil.copytree(tiny_run.path, tmp_path / "whole", ignore=shutil.ignore_patterns("analysis"))
    mechgrok.analyze(tmp_path / "whole", "norms")
    return tmp_path / "whole"


def damaged(content: bytes, name: str, draw: random.Random) -> bytes:
    """The content with one thing wrong."""
    ways: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: content[: draw.randrange(len(content))],
        lambda: flip(content, draw),
        lambda: draw.randbytes(draw.randrange(200)),
        lambda: content + draw.randbytes(20),
        lambda: content[: (at := draw.randrange(len(content)))] + content[at + 3 :],
    ]
    if name.endswith(".json"):
        ways += [lambda: another_value(content, draw)] * 10
    if name.endswith(".csv"):
        ways += [lambda: another_cell(content, draw)] * 5
    if name.endswith(".safetensors"):
        ways += [lambda: another_header(content, draw)] * 5
    return draw.choice(ways)()


def flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def change_somewhere(value: Any, draw: random.Random) -> Any:
    """The value with one of its parts, or itself, replaced or removed."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        return rest if draw.random() < 0.1 else rest | {key: change_somewhere(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        place = draw.randrange(len(value))
        return [*value[:place], change_somewhere(value[place], draw), *value[place + 1 :]]
    return draw.choice(VALUES)


def another_value(content: bytes, draw: random.Random) -> bytes:
    return json.dumps(change_somewhere(json.loads(content), draw)).encode()


def another_header(content: bytes, draw: random.Random) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(change_somewhere(json.loads(content[8 : 8 + size]), draw)).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def another_cell(content: bytes, draw: random.Random) -> bytes:
    lines = content.decode().splitlines()
    place = draw.randrange(len(lines))
    cells = lines[place].split(",")
    cells[draw.randrange(len(cells))] = draw.choice(["", "x", "nan", "inf", "-1", "1e400", "1,2"])
    return "\n".join([*lines[:place], ",".join(cells), *lines[place + 1 :], ""]).encode()


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
    tally["inputs"] += 1
    try:
        ask_everything(path)
    except Exception as error:
        tally["tracebacks"] += 1
        kept = os.environ.get("TORTURE_KEEP")
        if kept:
            shutil.copytree(path, Path(kept) / str(tally["inputs"]), dirs_exist_ok=True)
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
