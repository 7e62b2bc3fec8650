"""A report comes out whatever fails in it, and leaves no process behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mechgrok
from mechgrok import processes
from mechgrok.registry import Entry, entries
from mechgrok.runs import Run
from mechgrok.workers import Failure, Workers

#: Analyses of somebody else's, each wrong in its own way.
BROKEN = {
    "breaks_import": "import a_package_that_is_gone",
    "breaks_measure": "def measure(run, *, steps=None):\n    raise KeyError('PC 2')",
    "breaks_draw": "def draw(datasets):\n    raise RuntimeError('no colours left')",
    "breaks_finding": "def finding(dataset):\n    return 1 / 0",
    "dies": "def measure(run, *, steps=None):\n    import os\n    os.kill(os.getpid(), 9)",
    "exits": "def measure(run, *, steps=None):\n    raise SystemExit(3)",
}
SOUND = '''"""What does this ask"""
import xarray as xr
import plotly.graph_objects as go
def measure(run, *, steps=None):
    return xr.Dataset({"x": ("step", [1.0])}, coords={"step": [0]})
def draw(datasets):
    return go.Figure(go.Scatter(y=[1, 2]))
def finding(dataset):
    return "seen"
'''


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The broken analyses, announced by an installed package; and one whose package is gone."""
    package = tmp_path / "site" / "broken_plugins"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, code in BROKEN.items():
        (package / f"{name}.py").write_text(f"{SOUND}\n{code}\n")
    announced = tmp_path / "site" / "broken_plugins-1.dist-info"
    announced.mkdir()
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugins\nVersion: 1\n")
    (announced / "entry_points.txt").write_text(
        "[mechgrok.analyses]\nbroken = broken_plugins\nstale = a_package_that_is_gone:x\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    entries.cache_clear()
    yield
    entries.cache_clear()


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis"))
    return Run(tmp_path / "run")


def test_every_failure_is_told_and_the_rest_comes_out(plugins: None, run: Run) -> None:
    names = [*(name.replace("_", "-") for name in BROKEN), "stale", "accuracy"]
    heard: list[str] = []
    made = mechgrok.report(
        run, only=names, workers=2, progress=lambda done, total, words: heard.append(words)
    )
    told = {section.name: section for section in made.sections}
    assert made.shown == ["breaks-finding", "accuracy"]
    assert "a_package_that_is_gone" in told["breaks-import"].failed["run"]
    assert told["breaks-measure"].failed["run"].startswith("KeyError: 'PC 2' (breaks_measure.py")
    assert "no colours left" in told["breaks-draw"].failed["all runs"]
    assert told["breaks-draw"].findings == {"run": "seen"}
    assert "ZeroDivisionError" in told["breaks-finding"].failed["run"]
    assert "killed by signal 9" in told["dies"].failed["run"]
    assert "SystemExit: 3" in told["exits"].failed["run"]
    assert "a_package_that_is_gone" in told["stale"].failed["run"]
    page = made.path.read_text(encoding="utf-8")
    assert "Failed on all runs: no figure: RuntimeError: no colours left" in page
    assert "accuracy measured on run" in heard
    assert len(made.failures) == 7


def test_a_run_of_one_checkpoint_is_reported_on(run: Run) -> None:
    for step in run.steps[:-1]:
        run.file(step).unlink()
    made = mechgrok.report(run.path, only=["trajectory", "similarity", "norms"], workers=2)
    assert "norms" in made.shown
    assert made.path.is_file()


def test_a_report_needs_no_main_guard(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import mechgrok\nprint(mechgrok.report({str(run.path)!r}, "
        "only=['accuracy'], workers=2).shown)\n"
    )
    command = [sys.executable, str(script)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert ended.stdout == "['accuracy']\n", ended.stderr


def _die_once(flag: Path) -> str:
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "answered"


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


def _process() -> int:
    return os.getpid()


def test_what_a_person_has_named_here_may_be_loaded_by_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mechgrok import user_code

    monkeypatch.setattr(user_code, "_allowed", {"somebodys.module:question"})
    with Workers(1) as workers:
        workers.submit("a", user_code.allowed)
        assert dict(workers.answers()) == {"a": ["somebodys.module:question"]}


def test_a_call_whose_worker_was_killed_is_made_again(tmp_path: Path) -> None:
    with Workers(1) as workers:
        workers.submit("a", _die_once, tmp_path / "flag")
        workers.submit("b", os.getcwd)
        assert dict(workers.answers()) == {"a": "answered", "b": os.getcwd()}


def _stop(flag: Path | None = None) -> str:
    """Stand still, as a process does that waits for ever; where a flag is there, do not."""
    if flag is None or not flag.exists():
        if flag is not None:
            flag.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return "answered"


def test_a_worker_that_is_stuck_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STUCK_AFTER", 1.0)
    with Workers(2) as workers:
        workers.submit("once", _stop, tmp_path / "flag")
        workers.submit("ever", _stop)
        answers = dict(workers.answers())
    assert answers["once"] == "answered"
    assert "its process was stuck for 1 seconds, 2 times" in answers["ever"].reason


def test_a_worker_that_computes_for_long_is_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STUCK_AFTER", 0.5)
    with Workers(1) as workers:
        workers.submit("long", _compute, 3.0)
        assert dict(workers.answers()) == {"long": 3.0}


def _compute(seconds: float) -> float:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return seconds


def test_an_answer_that_cannot_be_sent_is_a_failure() -> None:
    with Workers(1) as workers:
        workers.submit("a", eval, "lambda: 1")
        ((_, answer),) = workers.answers()
    assert isinstance(answer, Failure)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_the_one_that_asked(how: signal.Signals, tmp_path: Path) -> None:
    """Not even one that is in a long call."""
    program = (
        # A shell that starts the tests in the background has them ignore Ctrl-C.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from mechgrok.workers import Workers\n"
        "import tests.results.test_report as here\n"
        "with Workers(2) as workers:\n"
        "    workers.submit(0, here._process)\n"
        "    print(next(workers.answers())[1], flush=True)\n"
        "    workers.submit(1, here._sleep, 600)\n"
        "    list(workers.answers())\n"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert _alive(worker)
    time.sleep(0.3)
    parent.send_signal(how)
    parent.wait(60)
    parent.stdout.close()
    until = time.monotonic() + 10
    while _alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(worker)


def test_a_stale_entry_breaks_no_list(plugins: None) -> None:
    assert entries("mechgrok.analyses")["stale"].description == ""
    assert Entry("x", "a_package_that_is_gone.y").description == ""


def test_a_report_begins_with_its_story_in_short(
    tiny_run: Run, masked_run: Run, tmp_path: Path
) -> None:
    """When each run learned, and what the others changed."""
    names = ["norms", "accuracy"]
    runs = [tiny_run, masked_run]
    made = mechgrok.report(runs, tmp_path / "r.html", workers=1, only=names)
    page = made.path.read_text(encoding="utf-8")
    short = page.partition('<section id="summary">')[2].partition("</section>")[0]
    assert short.count("<h3>") == 2
    assert short.count("t_gen") >= 2
    kept = f"{masked_run.density:.0%}"
    assert f"keeps {kept} of its masked weights" in short
    assert [section.name for section in made.sections] == names  # as they were asked for


def test_analyses_that_no_story_knows_come_last(plugins: None) -> None:
    from mechgrok.reports.report import _analysis_names

    order = _analysis_names(None)
    assert order[0] == "accuracy"
    assert order.index("fourier") < order.index("norms") < order.index("trajectory")
    assert set(order[-len(BROKEN) :]) >= {"dies", "exits"}
