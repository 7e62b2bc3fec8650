"""Every analysis over a run of 300 checkpoints: processor time, memory, and the whole report."""

import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time

import pytest

from mechgrok.configuration.run_config import RunConfig
from mechgrok.results.analysis import Analysis, analyses
from mechgrok.runs import Run
from mechgrok.training import train
from tests.benchmarks.conftest import report

pytestmark = pytest.mark.benchmark

#: Seconds of processor time after imports, which do not depend on who else uses the machine.
LIMIT, LIMITS = 10, {"graph": 180}
#: Linux's high-water mark of this program alone; ru_maxrss would begin at that of its parent.
MEMORY = """
import re, sys
import torch, plotly.graph_objects
from mechgrok.results.analysis import Analysis
from mechgrok.runs import Run
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
torch.set_num_threads(1)
run, analysis = Run(sys.argv[2]), Analysis.load(sys.argv[1])
before = peak()
analysis.draw({"run": analysis.measure(run)})
print(peak() - before)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The default network with 301 checkpoints."""
    training = {"steps": 300, "checkpoint_every": 1}
    return train(tmp_path_factory.mktemp("run") / "run", RunConfig.make(training=training))


@pytest.mark.parametrize("name", list(analyses()))
def test_an_analysis_is_measured_and_drawn_in_seconds(run: Run, name: str) -> None:
    analysis = Analysis.load(name)
    began = process_time()
    measured = analysis.measure(run)
    took = process_time() - began
    analysis.draw({"run": measured})
    drawn = process_time() - began - took
    report(f"{name}: measured in {took:.2f} s, drawn in {drawn:.2f} s of processor time")
    assert took + drawn < LIMITS.get(name, LIMIT)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("name", list(analyses()))
def test_an_analysis_needs_little_memory(run: Run, name: str) -> None:
    arguments = [sys.executable, "-c", MEMORY, name, str(run.path)]
    needed = int(subprocess.run(arguments, capture_output=True, check=True).stdout) / 2**20
    report(f"{name}: {needed:.2f} GiB over what imports take")
    assert needed < 2


@pytest.mark.parametrize("name", list(analyses()))
def test_a_kept_answer_is_read_faster_than_it_is_measured(run: Run, name: str) -> None:
    analysis = Analysis.load(name)
    analysis(run)
    began = process_time()
    analysis(run, fresh=True)
    measured = process_time() - began
    began = process_time()
    analysis(run)
    read = process_time() - began
    report(f"{name}: {measured:.2f} s measured and kept, {read:.2f} s read")
    assert read < 1


def test_a_whole_report(run: Run, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = perf_counter()
    page = tmp_path / "report.html"
    arguments = ["report", str(run.path), "--fresh", "--out", str(page)]
    subprocess.run(
        [sys.executable, "-m", "mechgrok.cli.main", *arguments], check=True, capture_output=True
    )
    took = perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report(
        f"report: {took:.0f} s, {processor:.0f} s of processor time, "
        f"{page.stat().st_size / 1e6:.1f} MB"
    )
    assert processor < 2 * 180
