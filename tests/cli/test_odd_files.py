"""What is no file stands where a run has one: no command waits for it or reads it to its end."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

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


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


#: What may stand there.
ODD = (pipe, endless, full, unix_socket, sparse, dangling, Path.mkdir)
#: All of it against everything is for ``-m torture``; two kinds are always tried.
TRIED = [
    put if put in (pipe, endless) else pytest.param(put, marks=pytest.mark.torture) for put in ODD
]

FILES = (
    "config.json",
    "metrics.csv",
    "step_00000020.safetensors",
    "step_00000060.safetensors",
    "resume.safetensors",
    "resume-before.safetensors",
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
    "export": ("export", "run", "--out", "exported"),
    "compare": ("compare", "run", "other"),
    "ticket": ("ticket", "run", "--steps", 1, "--quiet"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("put", TRIED)
def test_what_is_no_file_is_neither_waited_for_nor_read(
    put: Callable[[Path], None], file: str, command: str, tiny_run: Run, mechgrok: Command,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    Analysis.load("norms")(Run(folder))
    (tmp_path / "interventions.toml").write_text("[[do]]\nkind = 'Ablate'\nneurons = [0]\n")
    shutil.copytree(folder, tmp_path / "other")
    odd = tmp_path / file if file == "interventions.toml" else folder / file
    odd.unlink(missing_ok=True)
    put(odd)
    ended = mechgrok(*COMMANDS[command])
    assert ended.code in (0, 1, 2), ended.err
    assert "Traceback" not in ended.err
    if ended.code:
        assert ended.err.splitlines()[-1].startswith("mechgrok: "), ended.err


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "words",
    [
        ("import", "odd.pth", "--out", "out", "--task", "add", "--p", 7),
        ("import", "odd.safetensors", "--out", "out", "--task", "add", "--p", 7),
        ("import", "odd.npz", "--out", "out", "--task", "add", "--p", 7),
        ("import", "odd.json", "--out", "out", "--task", "add", "--p", 7),
        ("import", "weights.pth", "--split", "odd.json", "--out", "out", "--task", "add", "--p", 7),
        ("sweep", "out", "odd.toml"),
        ("train", "--task", "group", "--group", "odd.csv", "--out", "out"),
        ("train", "--task", "mnist", "--folder", "odd-images", "--out", "out"),
        ("train", "--task", "odd.py:task", "--out", "out"),
        ("analyze", "odd.py", "run"),
        ("analyze", "similarity", "run", "--reference", "odd.safetensors"),
        ("intervene", "run", "odd.toml"),
        ("explore", "odd"),
        ("report", "run", "--only", "norms", "--out", "odd.html"),
    ],
)
@pytest.mark.parametrize("put", [each for each in ODD if each is not sparse])
def test_what_is_no_file_is_refused_as_an_argument(
    put: Callable[[Path], None], words: tuple[object, ...], tiny_run: Run,
    mechgrok: Command, tmp_path: Path,
) -> None:  # fmt: skip
    shutil.copytree(tiny_run.path, tmp_path / "run")
    torch.save(tiny_run.checkpoint(60).weights, tmp_path / "weights.pth")
    odd = tmp_path / next(str(word).partition(":")[0] for word in words if "odd" in str(word))
    if odd.name == "odd-images":
        odd.mkdir()
        odd /= "train-images-idx3-ubyte"
    put(odd)
    before = odd.lstat().st_ino, odd.lstat().st_mtime_ns
    ended = mechgrok(*words)
    assert "Traceback" not in ended.err
    if not (words[0] == "report" and put in (pipe, unix_socket, dangling)):
        assert ended.code == 2, ended.err
        assert ended.err.splitlines()[-1].startswith("mechgrok: "), ended.err
        assert (odd.lstat().st_ino, odd.lstat().st_mtime_ns) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("put", ODD)
def test_a_configuration_beside_foreign_weights_is_no_pipe(
    put: Callable[[Path], None], tiny_run: Run, mechgrok: Command, tmp_path: Path
) -> None:
    torch.save(tiny_run.checkpoint(60).weights, tmp_path / "model_x.pt")
    put(tmp_path / "cfg.json")
    put(tmp_path / "config_x.json")
    ended = mechgrok("import", "model_x.pt", "--out", "out", "--task", "add", "--p", 7)
    assert ended.code in (0, 2), ended.err
