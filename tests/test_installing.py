"""The ways to install mechgrok: an image, a conda environment, workflows."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent


def test_the_citation_and_the_package_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in project["authors"]
    ]
    changelog = (ROOT / "docs/changelog.md").read_text(encoding="utf-8")
    assert re.search(r"^## (.+)$", changelog, re.MULTILINE)[1] == project["version"]  # type: ignore[index]


def test_the_conda_environment_uses_the_pins() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    parts: list[Any] = environment["dependencies"]
    pip = [part["pip"] for part in parts if isinstance(part, dict)]
    assert pip == [["-c constraints.txt", "-e ."]]


def test_workflows_call_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w./-]+):", makefile, re.MULTILINE)) | {"demo", "test", "docs"}
    workflow = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    called = [step["run"].split()[1] for step in steps if step.get("run", "").startswith("make ")]
    assert called
    assert set(called) <= targets


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_lines_of_the_dockerfile_install_a_working_command(tmp_path: Path) -> None:
    source, venv = tmp_path / "mechgrok", tmp_path / "venv"
    ignored = shutil.ignore_patterns(".git", ".venv", "_build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("/opt/venv", str(venv))
    runs = re.findall(r"^RUN (.+)$", text, re.MULTILINE)
    assert len(runs) == 3
    path = f"{venv}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    for line in runs:
        subprocess.run(["sh", "-c", line], cwd=source, env=environment, check=True, timeout=1500)
    command = [f"{venv}/bin/mechgrok", "train", "quick", "--steps", "20", "--out", "base"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=600)
    assert (tmp_path / "base/config.json").exists()
