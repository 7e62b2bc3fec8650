"""A new paper is one folder: the example of the docs is listed, made and judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mechgrok.analyses import papers
from mechgrok.errors import UserError

DOCS = Path(__file__).parents[3] / "docs" / "your_own.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds the package of a paper."""
    package = tmp_path / "smith2024"
    package.mkdir()
    for block in DOCS.read_text(encoding="utf-8").split("```python\n# smith2024/")[1:]:
        name, _, code = block.partition("```")[0].partition("\n")
        (package / name).write_text(code, encoding="utf-8")
    assert sorted(file.name for file in package.iterdir()) == ["__init__.py", "fig1.py"]
    return tmp_path


def mechgrok(*arguments: object, path: Path) -> str:
    packages = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH", "")]))
    ended = subprocess.run(
        [sys.executable, "-m", "mechgrok", *map(str, arguments)],
        cwd=path,
        env=os.environ | {"PYTHONPATH": packages, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_machinery_knows_no_paper_by_name() -> None:
    for file in Path(papers.__file__).parent.glob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert not [name for name in papers.list_papers() if name in source], file


def test_a_folder_among_the_papers_is_a_paper(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = list(papers.list_papers())
    assert "minegishi2023" in ours
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(folder)])
    assert list(papers.list_papers()) == [*ours, "smith2024"]
    paper = papers.find_paper("smith2024")
    (item,) = paper.find_items()
    assert item.shows == "Test accuracy of narrow and wide networks"
    assert paper.name == "smith2024"
    with pytest.raises(UserError, match="smith2024"):
        papers.find_paper("smith2042")


def test_a_paper_of_another_package_is_listed_made_and_judged(folder: Path) -> None:
    about = folder / "smith-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: smith\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[mechgrok.papers]\nsmith2024 = smith2024:PAPER\n")
    listed = [line.split() for line in mechgrok("papers", path=folder).splitlines()]
    assert ["smith2024", "1", "1", "0", "0", "0", "Wide", "Networks", "Grok", "Early"] in listed

    package = folder / "smith2024"
    (package / "claims.json").write_text("{}")  # cannot be read: the papers are listed all the same
    assert "smith2024" in mechgrok("papers", path=folder)
    (package / "claims.json").unlink()

    out = folder / "made"
    options = ("--quick", "--seeds", 2, "--jobs", 1, "--out", out)
    printed = mechgrok("paper", "smith2024", "fig1", *options, path=folder)
    assert "fig1: A wide network generalizes earlier than a narrow one." in printed
    (row,) = json.loads((out / "claims.json").read_text(encoding="utf-8"))["claims"]
    assert row["verdict"] in ("direction agrees", "direction does not agree", "undecided")
    assert list(row["values"]) == ["0", "1"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Wide Networks Grok Early, a preview" in page
    assert "mechgrok paper smith2024 fig1" in page
