"""What is no file stands where a run has one: no command waits for it or reads it to its end."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechgrok.results import Analysis
from mechgrok.runs import Run

Command = Callable[..., Any]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def full(path: Path) -> None:
    path.symlink_to("/dev/full")


def unix_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # A socket's path is short.
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(2**40)


FILES = (
    "config.json",
    "metrics.csv",
    "step_00000020.safetensors",
    "step_00000060.safetensors",
    "resume.safetensors",
    "analysis/norms.parquet",
    ".writer.json",
    "interventions.toml",
)
COMMANDS: dict[str, tuple[object, ...]] = {
    "info": ("info", "run"),
    "verify": ("verify", "run"),
    "analyze": ("analyze", "norms", "run"),
    "resume": ("train", "--resume", "--out", "run", "--steps", 80, "--quiet"),
    "intervene": ("intervene", "run", "interventions.toml"),
    "ticket": ("ticket", "run", "--steps", 1, "--quiet"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("put", [pipe, endless, full, unix_socket, sparse, Path.mkdir])
def test_what_is_no_file_is_neither_waited_for_nor_read(
    put: Callable[[Path], None], file: str, command: str, tiny_run: Run, mechgrok: Command,
    tmp_path: Path,
) -> None:  # fmt: skip
    if put is sparse and file in ("metrics.csv", "interventions.toml"):
        pytest.skip("a table may be long; interventions are tried below")
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    Analysis.load("norms")(Run(folder))
    (tmp_path / "interventions.toml").write_text(
        "[[intervention]]\nkind = 'Ablate'\nneurons = [0]\n"
    )
    odd = tmp_path / file if file == "interventions.toml" else folder / file
    odd.unlink(missing_ok=True)
    put(odd)
    ended = mechgrok(*COMMANDS[command])
    assert ended.code in (0, 1, 2), ended.err
    assert "Traceback" not in ended.err
    if ended.code:
        assert ended.err.startswith(("mechgrok: ", "Error: ")) or ended.out, ended.err
