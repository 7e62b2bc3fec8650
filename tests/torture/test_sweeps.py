"""A sweep that is interrupted and killed with all its processes goes on to the same bytes."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mechgrok.runs import Run
from mechgrok.training import train

pytestmark = pytest.mark.torture

SMALL = shlex.split("quick --set p=7 --set train_fraction=0.7 --set d_model=8 --set d_mlp=6")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")
def test_ctrl_c_and_kill_lose_nothing(tmp_path: Path) -> None:
    """Interrupted, gone on with, killed, gone on with: the same bytes as never interrupted."""
    words = [*SMALL, *["--set", "steps=3000", "--seeds", "0:3", "--ticket", "rate=0.4,steps=1500"]]
    out = tmp_path / "s"
    _begin_and_end(["sweep", out, *words, "--jobs", "2"], out / "seed=0", signal.SIGINT)
    again: list[object] = ["sweep", out, "--resume", "--jobs", "2"]
    _begin_and_end(again, out / "seed=2", signal.SIGKILL)
    subprocess.run([sys.executable, "-m", "mechgrok.cli.main", *map(str, again)], check=True)
    for member in ("seed=0", "seed=1", "seed=2"):
        alone = train(tmp_path / member, Run(out / member).config)
        for step in alone.steps:
            assert alone.file(step).read_bytes() == Run(out / member).file(step).read_bytes()
        assert (alone.path / "metrics.csv").read_bytes() == (
            out / member / "metrics.csv"
        ).read_bytes()
        assert Run(out / f"{member}-ticket-rate=0.4,steps=1500").finished


def _begin_and_end(words: list[object], when: Path, how: signal.Signals) -> None:
    """Run a command until a run has checkpoints, send it a signal, and see that all has ended."""
    command = [sys.executable, "-m", "mechgrok.cli.main", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not list(when.glob("step_*[1-9]0*")) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it was to be interrupted"
    process.send_signal(how)
    _, said = process.communicate(timeout=300)
    if how == signal.SIGINT:
        assert process.returncode == 130, said
        assert "--resume" in said
        assert "Traceback" not in said
    while _at_work(when.parent):
        assert time.monotonic() < until
        time.sleep(0.05)


def _at_work(folder: Path) -> list[str]:
    """The processes that still have the sweep's folder among their arguments."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in each.read_bytes() and int(each.parent.name) != os.getpid():
                found.append(each.parent.name)
        except OSError:
            continue
    return found
