"""Where there is too little memory, a command says so in a sentence."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mechgrok.runs import Run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS limits no address space")


def ended(limit: int, *words: object) -> "subprocess.CompletedProcess[str]":
    """A command that ran with so many bytes of address space."""
    return subprocess.run(
        [sys.executable, "-m", "mechgrok.cli.main", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )


@pytest.mark.parametrize("megabytes", [250, 500, 1000])
@pytest.mark.parametrize(
    "words",
    [
        ("info", "{run}"),
        ("verify", "{run}"),
        ("analyze", "graph", "{run}", "--fresh"),
        ("report", "{run}", "--out", "{out}/page.html"),
        ("train", "quick", "--p", 7, "--steps", 1, "--out", "{out}/new"),
        ("sweep", "{out}/sweep", "quick", "--seeds", 0),
    ],
)
def test_a_low_limit_is_a_sentence(
    words: tuple[object, ...], megabytes: int, tiny_run: Run, tmp_path: Path
) -> None:
    filled = [str(word).format(run=tiny_run.path, out=tmp_path) for word in words]
    done = ended(megabytes * 10**6, *filled)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.returncode == 1
        assert done.stderr.startswith("mechgrok: There is too little memory for this command")
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*/step_*"))


def test_a_report_whose_workers_lack_memory_ends(tiny_run: Run, tmp_path: Path) -> None:
    page, some = tmp_path / "page.html", "fourier,graph,kernel,landscape,llc,readout"
    done = ended(1_600 * 10**6, "report", tiny_run.path, "--fresh", "--only", some, "--out", page)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)
