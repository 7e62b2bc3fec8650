"""The command that reads all of a run."""

import shutil
from pathlib import Path
from typing import Any

from mechgrok.runs import Run


def test_the_command_says_what_is_damaged(
    mechgrok: Any, tiny_run: Run, undigested_run: Run
) -> None:
    copy = Path("run").resolve()
    shutil.copytree(tiny_run.path, copy)
    sound = mechgrok("verify", copy, undigested_run.path)
    assert sound.code == 0
    assert "13 checkpoints" in sound.out
    assert "(13 of them" in sound.out
    Run(copy).file(40).write_bytes(b"")
    damaged = mechgrok("verify", copy)
    assert damaged.code == 1
    assert "step_00000040.safetensors" in damaged.err
