"""Hostile files, and what is left of them after damage: refused, and nothing in them executed."""

import random
from collections import Counter
from pathlib import Path

import pytest

from mechgrok.errors import UserError
from mechgrok.exchange import import_run
from tests.cli.test_hostile_imports import P, damaged_files, hostile_pickles
from tests.torture.damage import damaged


def _check_sentence(error: UserError) -> None:
    assert "\n" not in str(error).strip()


def one_file(file: Path, proof: Path, tally: Counter[str]) -> None:
    tally["hostile"] += 1
    try:
        import_run([file], Path("run"), task={"name": "add", "p": P})
    except UserError as error:
        _check_sentence(error)
    except Exception as error:
        tally["tracebacks"] += 1
        raise AssertionError(f"{file.name}: {file.read_bytes()[:300]!r}") from error
    else:
        raise AssertionError(f"{file.name} was imported")
    tally["executed"] += proof.exists()
    assert not proof.exists()
    assert not Path("run").exists()


def damage_each(tmp_path: Path, tally: Counter[str], draw: random.Random, n: int) -> None:
    """Every hostile pickle with one thing wrong, ``n`` times; what becomes sound is no matter."""
    proof = tmp_path / "executed"
    for name, file in hostile_pickles(tmp_path, proof):
        content = file.read_bytes()
        for _ in range(n):
            file.write_bytes(damaged(content, name, draw))
            one_file(file, proof, tally)


def test_damaged_pickles_execute_nothing(tmp_path: Path, tally: Counter[str], seed: int) -> None:
    damage_each(tmp_path, tally, random.Random(seed), 1)


@pytest.mark.torture
def test_much_damaged_pickles_execute_nothing(
    tmp_path: Path, tally: Counter[str], seed: int
) -> None:
    damage_each(tmp_path, tally, random.Random(f"{seed} much"), 40)
    for _, file in damaged_files(tmp_path):
        one_file(file, tmp_path / "executed", tally)
