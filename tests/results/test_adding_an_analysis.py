"""Another package adds an analysis by one file and one entry point."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mechgrok.runs import Run

DOCS = Path(__file__).parents[2] / "docs" / "your_own.md"


def code_of(page: str, name: str) -> str:
    """The code block of a page that begins with a comment naming a file."""
    blocks = page.split("```")[1::2]
    found = [block for block in blocks if block.partition("\n")[2].startswith(f"# {name}\n")]
    assert len(found) == 1
    return found[0].partition("\n")[2]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the distribution that the docs describe, as pip would have installed it."""
    page = DOCS.read_text(encoding="utf-8")
    (tmp_path / "sharpness.py").write_text(code_of(page, "sharpness.py"), encoding="utf-8")
    about = tmp_path / "grok_sharpness-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: grok-sharpness\nVersion: 1.0\n")
    entry = code_of(page, "pyproject.toml").partition('[project.entry-points."mechgrok.analyses"]')
    points = entry[2].strip().replace('"', "")
    (about / "entry_points.txt").write_text(f"[mechgrok.analyses]\n{points}\n")
    return tmp_path


def mechgrok(*arguments: object, path: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "mechgrok.cli.main", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_an_analysis_from_outside_is_listed_asked_and_reported(
    installed: Path, tiny_run: Run
) -> None:
    assert "How sharp are the outputs?" in mechgrok("analyze", "--list", path=installed)
    out = installed / "results"
    answer = mechgrok(
        "analyze", "sharpness", tiny_run.path, "--out", out, "--quantile", 0.9, path=installed
    )
    assert "largest output" in answer
    assert len(list(out.glob("sharpness-*.html"))) == 1
    page = installed / "report.html"
    only = ("--only", "accuracy,sharpness", "--out", page)
    mechgrok("report", tiny_run.path, *only, path=installed)
    assert '<section id="sharpness">' in page.read_text(encoding="utf-8")


def test_a_file_is_an_analysis_too(installed: Path, tiny_run: Run) -> None:
    """Named on the command line or in Python, without a package around it."""
    import importlib.util

    from mechgrok import user_code
    from mechgrok.errors import UserError
    from mechgrok.measuring import analyze
    from mechgrok.results.analysis import Analysis

    file, out = installed / "sharpness.py", installed / "by-file"
    elsewhere = installed / "empty"
    elsewhere.mkdir()
    answer = mechgrok(
        "analyze", file, tiny_run.path, "--quantile", 0.9, "--out", out, path=elsewhere
    )
    assert "largest output" in answer
    assert len(list(out.glob("sharpness-*.html"))) == 1
    by_name = analyze(tiny_run, str(file), quantile=0.9)
    spec = importlib.util.spec_from_file_location("sharpness", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert by_name.identical(analyze(tiny_run, module, quantile=0.9, fresh=True))
    user_code._allowed.clear()
    with pytest.raises(UserError, match="trusted_tasks"):
        Analysis.load(str(file))
