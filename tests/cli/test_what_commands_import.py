"""What looks at runs, and what lists or helps, answers without importing torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from mechgrok.runs import Run

PROGRAM = """
import sys
from mechgrok.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "transformer_lens"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["analyze", "--list"],
        ["presets"],
        ["info", "RUN"],
        ["compare", "RUN", "MASKED", "--out", "OUT"],
    ],
    ids=" ".join,
)
def test_commands_that_compute_nothing_leave_torch_alone(
    arguments: list[str], tiny_run: Run, masked_run: Run, tmp_path: Path
) -> None:
    paths = {"RUN": tiny_run.path, "MASKED": masked_run.path, "OUT": tmp_path / "compare.html"}
    command = [str(paths.get(argument, argument)) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_size_and_density_are_those_of_the_live_model(tiny_run: Run, masked_run: Run) -> None:
    assert tiny_run.n_parameters == tiny_run.model().n_parameters()
    assert tiny_run.density is None
    assert masked_run.mask is not None
    assert masked_run.density == masked_run.mask.density
    for run in (tiny_run, masked_run):
        assert run.task.n_sides == (len(run.task.train_index), len(run.task.test_index))
