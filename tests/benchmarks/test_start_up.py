"""The command line answers before torch could have been imported."""

import subprocess
import sys

import pytest

from tests.benchmarks.conftest import ratio, report

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["analyze", "--list"]])
def test_help_is_three_times_faster_than_importing_torch(arguments: list[str]) -> None:
    def run(*program: str) -> None:
        subprocess.run([sys.executable, *program], stdout=subprocess.DEVNULL, check=True)

    torch, ours, times = ratio(
        lambda: run("-c", "import torch"),
        lambda: run("-m", "mechgrok.cli.main", *arguments),
        repeats=5,
    )
    report(f"mechgrok {' '.join(arguments)}: {ours:.2f} s ({torch:.2f} s to import torch)")
    assert times > 3
