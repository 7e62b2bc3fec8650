"""The store: what is loaded is what was saved for the same inputs, options and version."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from mechgrok.results.store import Key, load_dataset, load_entries, save_dataset, save_entries

KEY = Key(version=1, options={"rate": 0.5}, inputs={"config.json": (3, 7), "gone": None})


def test_what_was_saved_is_loaded_with_its_key(tmp_path: Path) -> None:
    save_entries(tmp_path / "rows.json", {"a": (KEY, {"step": 3, "t_gen": None})})
    assert load_entries(tmp_path / "rows.json") == {"a": (KEY, {"step": 3, "t_gen": None})}
    save_dataset(tmp_path / "a.parquet", KEY, xr.Dataset({"x": 1.0}))
    loaded = load_dataset(tmp_path / "a.parquet")
    assert loaded is not None
    assert loaded[0] == KEY
    assert loaded[1].x == 1


def test_nothing_is_loaded_of_what_is_not_there(tmp_path: Path) -> None:
    assert load_entries(tmp_path / "rows.json") == {}
    assert load_dataset(tmp_path / "a.parquet") is None


def test_damaged_entries_are_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    save_entries(path, {"a": (KEY, {"step": 3}), "b": (KEY, {"step": 4})})
    whole, content, places = load_entries(path), path.read_bytes(), random.Random(0)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[places.randrange(len(content))] ^= 1 << places.randrange(8)
        path.write_bytes(damaged)
        assert load_entries(path) in ({}, whole)
    path.write_bytes(content[: len(content) // 2])
    assert load_entries(path) == {}


def test_files_are_recognized_by_size_and_time_wherever_their_folder_lies(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    file = tmp_path / "one" / "metrics.csv"
    file.write_text("step\n")
    key = Key.of_files(tmp_path / "one", ["metrics.csv", "config.json"], 1, {})
    assert key.inputs["config.json"] is None
    (tmp_path / "one").rename(tmp_path / "two")
    assert Key.of_files(tmp_path / "two", ["metrics.csv", "config.json"], 1, {}) == key
    (tmp_path / "two" / "metrics.csv").write_text("step\n0\n")
    assert Key.of_files(tmp_path / "two", ["metrics.csv", "config.json"], 1, {}) != key


@pytest.mark.parametrize("change", [{"version": 2}, {"options": {"rate": 0.6}}, {"inputs": {}}])
def test_another_version_option_or_input_is_another_key(change: dict[str, object]) -> None:
    assert KEY.model_copy(update=change) != KEY


WRITER = """
import sys
from pathlib import Path
import numpy as np
import xarray as xr
from mechgrok.results.store import Key, save_dataset, save_entries

folder, version = Path(sys.argv[1]), int(sys.argv[2])
key = Key(version=version, options={})
for _ in range(40):
    save_dataset(folder / "a.parquet", key, xr.Dataset({"x": ("step", np.full(999, version))}))
    save_entries(folder / "rows.json", {"row": (key, [version] * 999)})
"""


def test_several_processes_may_write_the_same_answer(tmp_path: Path) -> None:
    """A reader sees the answer of one of them, whole and under its own key."""
    for path in ("a.parquet", "rows.json"):
        assert not (tmp_path / path).exists()
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, f"{version}"]) for version in (1, 2)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "a.parquet").exists():
            loaded = load_dataset(tmp_path / "a.parquet")
            assert loaded is not None
            assert (loaded[1].x == loaded[0].version).all()
            seen.add(loaded[0].version)
        if (tmp_path / "rows.json").exists():
            ((key, row),) = load_entries(tmp_path / "rows.json").values()
            assert set(row) == {key.version}
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen <= {1, 2}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.parquet", "rows.json"]
