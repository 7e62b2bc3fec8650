"""Two who write one folder, one who is stopped in that, and processes that outlive nobody."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import torch

from mechgrok.errors import UserError
from mechgrok.runs import Run, verify
from mechgrok.training import train
from tests.torture.test_kills import config, contents, torn

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")


def forked(work: Callable[[], object]) -> int:
    """A child that does it: exit code 0 where it was done, 2 where it was refused."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(120)
        torch.set_num_threads(1)
        work()
        code = 0
    except UserError:
        code = 2
    finally:
        os._exit(code)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def long(seed: int) -> object:
    return config(seed, steps=150, checkpoint_every=1)


def rivals(path: Path, draw: random.Random, stopped: bool) -> list[int]:
    """A training, and at some moment another of the same folder: how they ended."""
    first = forked(lambda: train(path, long(0)))
    n = draw.randrange(60)
    until = time.monotonic() + 60
    while len(list(path.glob("step_*"))) < n and time.monotonic() < until:
        time.sleep(0.001)
    if stopped:
        os.kill(first, signal.SIGSTOP)
    second = forked(lambda: train(path, long(1), overwrite=True))
    codes = [ended(second)]
    if stopped:
        os.kill(first, signal.SIGCONT)
    return [ended(first), *codes]


@pytest.mark.parametrize(
    "n", [1, pytest.param(10, marks=pytest.mark.torture)], ids=["once", "often"]
)
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_of_two_writers_one_is_refused(
    stopped: bool, n: int, tmp_path: Path, tally: Counter[str], seed: int
) -> None:
    whole = {s: contents(train(tmp_path / f"whole-{s}", long(s)).path) for s in (0, 1)}
    draw = random.Random(f"{seed} {stopped}")
    for k in range(n):
        path = tmp_path / f"{k}"
        codes = rivals(path, draw, stopped)
        tally["rivals"] += 1
        # Where the first had ended already, the second replaced it, as it was told to.
        assert codes in ([0, 2], [0, 0])
        tally["lost"] += contents(path) != whole[Run(path).config.seed or 0]
        assert contents(path) == whole[Run(path).config.seed or 0]
        assert verify(path) == []


def marked(mark: str) -> list[int]:
    """The live processes that were started with a mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(entry.name)] * (state != "Z")
        except OSError:
            continue
    return found


#: A shell that starts the tests in the background has them ignore Ctrl-C.
_BEGIN = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"


def killed_midway(
    program: str, how: signal.Signals, whom: str, wait: float, tally: Counter[str]
) -> None:
    """Start it in a session of its own, wait for its workers, kill, and look who is left."""
    mark = uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-c", f"{_BEGIN}{program}"],
        env=os.environ | {"TORTURE_MARK": mark, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 120
    while len(marked(mark)) < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(wait)
    workers = [pid for pid in marked(mark) if pid != process.pid]
    tally["kills"] += 1
    try:
        if whom == "worker" and workers:
            os.kill(workers[0], how)
        elif whom == "group":
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
    except ProcessLookupError:
        pass
    _, said = process.communicate(timeout=300)
    until = time.monotonic() + 10
    while (left := marked(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    tally["orphans"] += len(left)
    assert not left
    if whom == "worker":
        assert process.returncode == 0, said
    tally["tracebacks"] += "Traceback" in said
    assert "Traceback" not in said, said


REPORT = (
    "from mechgrok.cli.main import main; "
    "main(['report', RUN, '--only', 'norms,accuracy', '--fresh'])"
)
SWEEP = (
    "from mechgrok.cli.main import main; from mechgrok.sweeps import sweep; "
    "sweep(OUT, 'quick', seeds='0:4', jobs=2, p=7, d_model=6, d_mlp=5, steps=400, "
    "checkpoint_every=20)"
)
HOW = [
    (signal.SIGKILL, "itself"),
    (signal.SIGTERM, "itself"),
    (signal.SIGINT, "group"),
    (signal.SIGHUP, "group"),
    (signal.SIGKILL, "worker"),
]


@pytest.mark.torture
@pytest.mark.parametrize(("how", "whom"), HOW)
def test_nothing_of_a_report_outlives_it(
    how: signal.Signals, whom: str, tmp_path: Path, tally: Counter[str], seed: int
) -> None:
    run = train(tmp_path / "run", config(steps=200, checkpoint_every=1)).path
    wait = random.Random(f"{seed} {how} {whom}").uniform(0, 2)
    killed_midway(f"RUN = {str(run)!r}\n{REPORT}", how, whom, wait, tally)
    tally["torn"] += len(torn(run))
    assert not torn(run)
    for page in run.glob("analysis/*.html"):
        assert page.read_text().rstrip().endswith("</html>")


@pytest.mark.torture
@pytest.mark.parametrize(("how", "whom"), [HOW[0], HOW[1], HOW[4]])
def test_nothing_of_a_sweep_outlives_it(
    how: signal.Signals, whom: str, tmp_path: Path, tally: Counter[str], seed: int
) -> None:
    from mechgrok.sweeps import Sweep, sweep

    wait = random.Random(f"{seed} {how} {whom}").uniform(0, 4)
    program = f"OUT = {str(tmp_path / 'sweep')!r}\n{SWEEP}"
    killed_midway(program, how, whom, wait, tally)
    if not Sweep.is_at(tmp_path / "sweep"):
        return
    plan = Sweep(tmp_path / "sweep").plan
    again = sweep(tmp_path / "sweep", plan, jobs=1)
    whole = sweep(tmp_path / "whole", plan, jobs=1)
    for name, run in whole.runs.items():
        tally["lost"] += contents(run.path) != contents(again.runs[name].path)
        assert contents(run.path) == contents(again.runs[name].path)
