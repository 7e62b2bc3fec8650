"""Whatever bytes a file of ours holds, its reader answers or refuses in a sentence."""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.damage import damaged
from tests.torture.readers import READERS, read_bytes, scratch

#: How long all readers together are fuzzed.
SECONDS = int(os.environ.get("TORTURE_FUZZ_SECONDS", "60"))


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    with scratch() as path:
        yield path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_few_inputs(name: str, files: Path, tally: Counter[str], seed: int) -> None:
    draw = random.Random(f"{seed} {name}")
    whole = (files / name).read_bytes()
    try:
        for _ in range(40):
            content = whole
            for _ in range(draw.choice([1, 1, 2, 5])):
                content = damaged(content, name, draw)
            tally["inputs"] += 1
            try:
                read_bytes(files, name, content)
            except Exception as error:
                tally["tracebacks"] += 1
                raise AssertionError(f"{name}: {content[:500]!r}") from error
    finally:
        (files / name).write_bytes(whole)


@pytest.mark.torture
@pytest.mark.parametrize("name", READERS)
def test_inputs_that_reach_new_lines(name: str, tally: Counter[str], seed: int) -> None:
    pytest.importorskip("atheris", reason="pip install atheris, where it has wheels")
    seconds = max(1, SECONDS // len(READERS))
    options = [f"-max_total_time={seconds}", f"-seed={seed + 1}", "-rss_limit_mb=4096"]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.torture.fuzz", name, *options],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    done = re.findall(r"^(?:Done |#)(\d+)", ended.stdout, re.MULTILINE)
    tally["inputs"] += int(done[-1]) if done else 0
    tally["tracebacks"] += ended.returncode != 0
    assert ended.returncode == 0, ended.stdout[-5000:]
