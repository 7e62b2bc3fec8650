"""No process that is started for somebody outlives them, whoever stands between the two."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mechgrok import processes
from mechgrok.processes import exit_with_parent, start


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tell_and_sleep(pipe: Connection, parent: int) -> None:
    exit_with_parent(parent)
    pipe.send(os.getpid())
    time.sleep(600)


def ask(method: str) -> None:
    """Start a process by one of multiprocessing's methods, say its number, and wait for it."""
    context = get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=tell_and_sleep, args=(theirs, os.getpid()))
    process.start()
    print(ours.recv(), flush=True)
    process.join()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_killed_parent_takes_its_process_along(method: str) -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import tests.test_processes as here; here.ask({method!r})"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        cwd=Path(__file__).parents[1],
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _alive(child)
    parent.kill()
    parent.wait(60)
    parent.stdout.close()
    until = time.monotonic() + 10
    while _alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(child)


def tell_of_interrupts(pipe: Connection) -> None:
    """As soon as this is called, say so; then say how many interrupts there were in all."""
    pipe.send("here")
    while not processes.interrupts:
        time.sleep(0.01)
    pipe.send(len(processes.interrupts))


def test_an_interrupt_before_there_is_anything_to_interrupt_is_noted(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """While a process imports what it needs, which takes seconds, and right after."""
    process, pipe = start(tell_of_interrupts)
    assert pipe.recv() == "here"
    process.send_signal(signal.SIGINT)
    assert pipe.recv() == 1
    for moments in range(8):
        process, pipe = start(tell_of_interrupts)
        time.sleep(0.05 * moments)
        process.send_signal(signal.SIGINT)
        assert [pipe.recv(), pipe.recv()] == ["here", 1]
        assert process.wait(60) == 0
    assert not capfd.readouterr().err
