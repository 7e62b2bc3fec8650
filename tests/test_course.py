"""The chapter with exercises: its notebooks are those of its page, and its checks tell right from
unsolved."""

import importlib.util
import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import plotly.io as pio
import pytest
import torch

from mechgrok.results.analysis import Analysis

ROOT = Path(__file__).parents[1]


def load_generator() -> ModuleType:
    path = ROOT / "docs" / "site_pages" / "notebooks.py"
    spec = importlib.util.spec_from_file_location("notebooks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notebooks = load_generator()


@pytest.mark.parametrize("name", notebooks.COURSES)
def test_the_notebooks_are_those_of_the_page(name: str) -> None:
    for file, text in notebooks.written(name).items():
        assert file.read_text(encoding="utf-8") == text, "run python docs/site_pages/notebooks.py"


def test_a_stub_has_dots_where_the_student_writes() -> None:
    solution = 'base = 2\nx, y = base, 3\n\n\ndef f(a):\n    """A."""\n    return a\n'
    expected = 'x, y = ..., ...\ndef f(a):\n    """A."""\n    return ...'
    assert notebooks.stub(solution, "check([x, y, f(1)], [2, 3, 1])") == expected


def test_the_badge_opens_the_students_notebook_of_the_repository() -> None:
    badge = notebooks.colab_badge("course", "https://github.com/someone/mechgrok")
    place = "/github/someone/mechgrok/blob/main/docs/tutorials/course_student.ipynb)"
    assert badge.endswith(place)
    assert notebooks.colab_badge("course", "https://example.org") == ""


def code_cells(name: str) -> list[dict[str, Any]]:
    notebook = json.loads((notebooks.TUTORIALS / name).read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_every_check_refuses_the_dots_with_a_hint_and_takes_the_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MECHGROK_DATA", str(tmp_path))
    monkeypatch.setattr(pio.templates, "default", pio.templates.default)
    names: dict[str, Any] = {}
    solution, solved = "", 0
    student, teacher = (code_cells(f"course_{who}.ipynb") for who in ("student", "teacher"))
    with torch.enable_grad():  # The notebook switches gradients off.
        for of_student, of_teacher in zip(student, teacher, strict=True):
            code, tags = "".join(of_teacher["source"]), of_teacher["metadata"].get("tags", [])
            if "exercise" in tags:
                solution = code
                exec("".join(of_student["source"]), names)
                continue
            if "check" in tags:
                with pytest.raises(
                    AssertionError, match=r"^Not solved yet: replace the dots\. \w+"
                ):
                    exec(code, names)
                exec(solution, names)
                solved += 1
            exec(code, names)
    assert solved == 12
    assert capsys.readouterr().out.count("Right.") >= solved
    for wrong, reason in (([1.0], "shape"), ([1.0, 3.0], "numbers"), ("x", "Not yet")):
        with pytest.raises(AssertionError, match=reason):
            names["check"](wrong, [1.0, 2.0], "Hint.")


def test_the_lines_of_the_list_of_plots_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHGROK_DATA", str(tmp_path))
    page = (notebooks.TUTORIALS / "chapter.md").read_text(encoding="utf-8")
    setup, table = re.findall(r"```python\n(.*?)```(.*)", page, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(setup, names)
    rows = re.findall(r"^\| [^*].*?\| (`.*`) \|$", table, re.MULTILINE)
    commands = {line.strip("`") for row in rows for line in row.split("`, `")}
    assert len(commands) > 40
    for line in commands:
        if not line.startswith("mechgrok analyze "):
            eval(line, names)
            continue
        _, _, name, folder, *options = line.split()
        assert folder == "ckpts"
        given = {key[2:].replace("-", "_") for key in options if key.startswith("--")}
        assert given <= {*inspect.signature(Analysis.load(name).measure).parameters}, line
