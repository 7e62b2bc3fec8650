"""Notebooks with exercises for students and teachers, generated from a page of the documentation.

In the page, a code cell with the tag ``exercise`` holds a solution, and the next one with the tag
``check`` checks it; a hint in a dropdown may stand between them. From this one source come

* the page: the exercise as a stub, the hint, the solution in a cell that opens, the check;
* the teacher's notebook: all cells, solutions filled in;
* the student's notebook: stubs, and each solution in a fold below its check.

A stub has the names that the check uses, set to dots, and functions with a docstring that return
dots. ``python docs/site_pages/notebooks.py`` writes the notebooks.
"""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
#: Pages with exercises.
COURSES = ("course",)
VERSIONS = {"student": False, "teacher": True}

_CELL = re.compile(
    r"^```\{code-cell\} ipython3\n(?::tags: \[(?P<tags>[^\]]*)\]\n\n?)?(?P<code>.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)
_DROPDOWN = re.compile(r"^:::\{dropdown\} (.*?)\n(.*?)^:::$", re.MULTILINE | re.DOTALL)
_RELATIVE_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")
_SOLUTION = """```{code-cell} ipython3
---
tags: [hide-input]
mystnb:
  code_prompt_show: Show a solution
  code_prompt_hide: Hide the solution
---
"""


class Cell(NamedTuple):
    """A part of a page.

    Attributes:
        text: Markdown, or code.
        tags: the tags of a code cell; None for Markdown.
    """

    text: str
    tags: tuple[str, ...] | None = None


def cells(page: str) -> list[Cell]:
    """Split a page without its header into Markdown and code cells."""
    page = re.sub(r"\A---\n.*?^---\n", "", page, flags=re.MULTILINE | re.DOTALL)
    found, start = [], 0
    for match in _CELL.finditer(page):
        found.append(Cell(page[start : match.start()].strip()))
        tags = tuple(re.findall(r"[\w-]+", match["tags"] or ""))
        found.append(Cell(match["code"].strip(), tags))
        start = match.end()
    found.append(Cell(page[start:].strip()))
    return [cell for cell in found if cell.text]


def exercises(page: str) -> Iterator[tuple[Cell, Cell]]:
    """Each exercise of a page, with its check."""
    tagged = [cell for cell in cells(page) if {*(cell.tags or ())} & {"exercise", "check"}]
    return zip(tagged[::2], tagged[1::2], strict=True)


def stub(solution: str, check: str) -> str:
    """A solution with dots in place of what the student has to write.

    >>> print(stub("x = 1\\ny, z = 2 * x, 3", "check([y, z], [2, 3])"))
    y, z = ..., ...
    >>> print(stub("def double(x):\\n    '''Twice x.'''\\n    return 2 * x", "double(1)"))
    def double(x):
        '''Twice x.'''
        return ...
    """
    used = {node.id for node in ast.walk(ast.parse(check)) if isinstance(node, ast.Name)}
    lines, kept = solution.splitlines(), []
    for node in ast.parse(solution).body:
        if isinstance(node, ast.FunctionDef):
            docstring = node.body[0]
            kept += [*lines[node.lineno - 1 : docstring.end_lineno], "    return ..."]
        elif isinstance(node, ast.Assign):
            (target,) = node.targets
            names = [name.id for name in ast.walk(target) if isinstance(name, ast.Name)]
            if used & {*names}:
                kept.append(f"{', '.join(names)} = {', '.join('...' for _ in names)}")
    return "\n".join(kept)


def as_page(page: str, name: str) -> str:
    """The page for Sphinx: stubs in place of exercises, and solutions that open above checks."""
    checks = iter([*exercises(page)])
    solution = ""

    def replace(match: re.Match[str]) -> str:
        nonlocal solution
        tags = match["tags"] or ""
        if "exercise" in tags:
            exercise, check = next(checks)
            solution = exercise.text
            return f"```python\n{stub(solution, check.text)}\n```\n"
        if "check" in tags:
            return f"{_SOLUTION}{solution}\n```\n\n```{{code-cell}} ipython3\n{match['code']}```\n"
        return match[0]

    page = _CELL.sub(replace, page)
    links = " · ".join(
        f"{{download}}`the {version}'s notebook <{name}_{version}.ipynb>`" for version in VERSIONS
    )
    badge = "".join(f"{badge}\n" for badge in [colab_badge(name, repository())] if badge)
    return re.sub(r"^(# .*\n)", rf"\1\n{badge}Download {links}.\n", page, count=1, flags=re.M)


def as_notebook(page: str, name: str, *, solved: bool) -> dict[str, Any]:
    """The teacher's notebook if ``solved``, else the student's, in the format of Jupyter."""
    checks = {exercise.text: check.text for exercise, check in exercises(page)}
    first, *rest = cells(page)
    made = [
        _markdown("\n\n".join(filter(None, [colab_badge(name, repository()), first.text]))),
        _code("# On Colab, remove the # from the next line and run it.\n# %pip install mechgrok"),
    ]
    solution = ""
    for cell in rest:
        if cell.tags is None:
            made.append(_markdown(cell.text))
        elif "exercise" in cell.tags:
            solution = cell.text
            made.append(_code(solution if solved else stub(solution, checks[solution]), cell.tags))
        else:
            made.append(_code(cell.text, cell.tags))
            if "check" in cell.tags and not solved:
                fold = f":::{{dropdown}} Solution\n```python\n{solution}\n```\n:::"
                made.append(_markdown(fold))
    for number, each in enumerate(made):
        each["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def repository() -> str:
    """The project's repository, the URL of that name in pyproject.toml; empty without one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"].get("Repository", "")


def colab_badge(name: str, url: str) -> str:
    """A badge that opens the student's notebook in Colab; empty without a repository on GitHub.

    >>> colab_badge("course", "")
    ''
    """
    owned = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)/?", url)
    if owned is None:
        return ""
    place = f"github/{owned[1]}/blob/main/docs/tutorials/{name}_student.ipynb"
    colab = "https://colab.research.google.com"
    return f"[![Open in Colab]({colab}/assets/colab-badge.svg)]({colab}/{place})"


def _markdown(text: str) -> dict[str, Any]:
    """A Markdown cell; folds in HTML, and no links to other pages."""
    text = _DROPDOWN.sub(r"<details><summary>\1</summary>\n\n\2\n</details>", text)
    text = _RELATIVE_LINK.sub(r"\1", text)
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(code: str, tags: tuple[str, ...] = ()) -> dict[str, Any]:
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    if "hide-input" in tags:
        metadata["jupyter"] = {"source_hidden": True}
    lines = code.splitlines(keepends=True)
    empty = {"execution_count": None, "outputs": []}
    return {"cell_type": "code", "metadata": metadata, "source": lines, **empty}


def written(name: str) -> dict[Path, str]:
    """The text of each notebook of a page, by its file."""
    page = (TUTORIALS / f"{name}.md").read_text(encoding="utf-8")
    return {
        TUTORIALS / f"{name}_{version}.ipynb": json.dumps(
            as_notebook(page, name, solved=solved), indent=1, ensure_ascii=False
        )
        + "\n"
        for version, solved in VERSIONS.items()
    }


def write() -> None:
    """Write the notebooks of all pages with exercises beside them."""
    for name in COURSES:
        for file, text in written(name).items():
            file.write_text(text, encoding="utf-8")


def show_exercises(app: Any, docname: str, source: list[str]) -> None:
    """Sphinx event: put stubs and hidden solutions into a page with exercises."""
    folder, _, name = docname.rpartition("/")
    if folder == "tutorials" and name in COURSES:
        source[0] = as_page(source[0], name)


if __name__ == "__main__":
    write()
