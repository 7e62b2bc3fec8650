"""A kept answer that is damaged or foreign is measured again, never a traceback."""

import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mechgrok
from mechgrok.errors import UserError
from mechgrok.runs import Run
from mechgrok.runs.parquet import read_parquet, read_with_origin, write_parquet


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis"))
    return Run(tmp_path / "run")


def test_every_flipped_bit_is_noticed(run: Run) -> None:
    whole = mechgrok.analyze(run, "norms")
    path = run.path / "analysis" / "norms.parquet"
    content = path.read_bytes()
    places = random.Random(0)
    for _ in range(150):
        flipped = bytearray(content)
        flipped[places.randrange(len(content))] ^= 1 << places.randrange(8)
        path.write_bytes(flipped)
        try:
            answer = read_parquet(path)
        except UserError:
            continue
        assert answer.identical(whole)
    path.write_bytes(content[: len(content) // 2])
    assert mechgrok.analyze(run, "norms").identical(whole)
    assert path.read_bytes() != content[: len(content) // 2]


@pytest.mark.parametrize("change", ["unknown key", "no key", "a list", "text", "foreign"])
def test_provenance_of_another_kind_is_stale(run: Run, change: str) -> None:
    whole = mechgrok.analyze(run, "norms")
    path = run.path / "analysis" / "norms.parquet"
    made_from = read_with_origin(path)[1]
    assert made_from is not None
    if change == "foreign":
        pq.write_table(pa.table({"x": [1]}), path)
    else:
        other = {
            "unknown key": made_from | {"weather": "fine"},
            "no key": {k: v for k, v in made_from.items() if k != "metrics"},
            "a list": made_from | {"checkpoints": [1, 2]},
            "text": made_from | {"metrics": "many"},
        }[change]
        write_parquet(whole + 1, path, other)
    assert mechgrok.analyze(run, "norms").identical(whole)


def test_steps_that_are_no_numbers_are_measured_again(run: Run) -> None:
    whole = mechgrok.analyze(run, "norms")
    path = run.path / "analysis" / "norms.parquet"
    words = whole.assign_coords(step=[f"step {step}" for step in whole.step.to_numpy()])
    write_parquet(words, path, read_with_origin(path)[1])
    assert mechgrok.analyze(run, "norms").identical(whole)
