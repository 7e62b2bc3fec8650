"""Names of runs that are looked at together, and of files about them, fit into a file system."""

from pathlib import Path

import pytest

from mechgrok import Run, UserError
from mechgrok.runs.labels import file_stem, labelled, truncate


def test_many_runs_make_a_short_and_stable_name() -> None:
    labels = [f"wd-{n}-" + "x" * 200 for n in range(30)]
    stem = file_stem("norms", labels)
    assert len(stem) < 40
    assert stem == file_stem("norms", list(labels))
    assert stem != file_stem("norms", labels[::-1])
    assert len(truncate(labels[0])) < 120
    assert truncate(labels[0]) != truncate(labels[1])


def test_runs_of_one_name_are_told_apart_by_the_folder_above(tiny_run: Run, tmp_path: Path) -> None:
    import shutil

    for seed in ("seed-0", "seed-1"):
        shutil.copytree(tiny_run.path, tmp_path / seed / "run")
    runs = [Run(tmp_path / seed / "run") for seed in ("seed-0", "seed-1")]
    assert list(labelled(runs)) == ["seed-0-run", "seed-1-run"]
    with pytest.raises(UserError, match="twice"):
        labelled([tiny_run, tiny_run])


def test_steps_can_be_said_in_words(tiny_run: Run) -> None:
    assert tiny_run.select("0:40:20, last") == [0, 20, 40, 60]
    assert tiny_run.select("20") == [20]
    with pytest.raises(UserError, match=r"step 42.* 40"):
        tiny_run.select("42")
    for nonsense in ("a", "1:2:x", "41:42", ""):
        with pytest.raises(UserError, match=f"--steps {nonsense}"):
            tiny_run.select(nonsense)
