"""An answer hangs on the code that gave it, by whatever way that code is imported."""

import os
from pathlib import Path

import pytest

from mechgrok.results.provenance import source_digest


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody's own with an analysis and a part that it uses."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "plugin"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "parts" / "__init__.py").write_text(
        "from lazy_loader import attach_stub\n"
        "__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)\n"
    )
    (package / "parts" / "__init__.pyi").write_text(
        "from .used import used as used\nfrom .unused import unused as unused\n"
    )
    (package / "parts" / "used.py").write_text("used = 1\n")
    (package / "parts" / "unused.py").write_text("unused = 1\n")
    (package / "near.py").write_text("near = 1\n")
    return package


IMPORTS = {
    "absolute": ("from plugin.near import near", "near.py"),
    "relative": ("from .near import near", "near.py"),
    "relative module": ("from . import near", "near.py"),
    "of a module": ("import plugin.near", "near.py"),
    "lazy": ("from plugin.parts import used", "parts/used.py"),
    "lazy and relative": ("from .parts import used", "parts/used.py"),
    "everything lazy": ("import plugin.parts", "parts/unused.py"),
    "inside a function": ("def measure():\n    from .near import near", "near.py"),
}


@pytest.mark.parametrize("way", IMPORTS)
def test_what_is_imported_counts(package: Path, way: str) -> None:
    line, file = IMPORTS[way]
    (package / "question.py").write_text(f"{line}\n")
    before = source_digest("plugin.question")
    assert source_digest("plugin.question") == before
    (package / file).write_text("used = near = unused = 22\n")
    assert source_digest("plugin.question") != before


def test_what_a_package_gives_lazily_to_others_does_not(package: Path) -> None:
    (package / "question.py").write_text("from .parts import used\n")
    before = source_digest("plugin.question")
    (package / "parts" / "unused.py").write_text("unused = 22\n")
    assert source_digest("plugin.question") == before


@pytest.mark.parametrize("module", ["plugin.drawing.curves", "plugin.figure"])
def test_what_only_draws_does_not(package: Path, module: str) -> None:
    (package / "drawing").mkdir()
    (package / "question.py").write_text(f"from {module} import curve\n")
    file = package.parent / f"{module.replace('.', '/')}.py"
    file.write_text("from plugin.near import near\n")
    before = source_digest("plugin.question")
    file.write_text("curve = 22\n")
    (package / "near.py").write_text("near = 22\n")
    assert source_digest("plugin.question") == before
    assert source_digest(module) != before


def test_no_analysis_measures_with_what_only_draws() -> None:
    """Names out of modules that draw stand in no function that `measure` calls."""
    import ast
    import inspect

    from mechgrok.registry import entries

    for entry in entries("mechgrok.analyses").values():
        measure = entry.load().measure
        tree = ast.parse(inspect.getsource(inspect.getmodule(measure)))  # type: ignore[arg-type]
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        drawn = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and "drawing" in (node.module or "")
            for alias in node.names
        }
        waiting, seen = ["measure"], set()
        while waiting:
            name = waiting.pop()
            seen.add(name)
            used = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
            assert not used & drawn, f"{entry.name}: {name} takes {used & drawn} from drawing"
            waiting += (used & set(functions)) - seen


def test_mechgroks_own_lazy_names_are_followed(package: Path) -> None:
    import mechgrok.results.provenance as provenance

    (package / "question.py").write_text("from mechgrok.models import HookedMLP\n")
    files: list[Path] = []
    read = provenance._read
    try:
        provenance._read = lambda file, *stamp: files.append(file) or read(file, *stamp)  # type: ignore[assignment, func-returns-value]
        source_digest("plugin.question")
    finally:
        provenance._read = read
    names = {str(file).rpartition("mechgrok/")[2] for file in files}
    assert {"models/mlp.py", "models/hooked.py"} <= names
    assert "results/report.py" not in names


def test_a_file_that_changed_is_read_again(package: Path) -> None:
    """As after an edit and a reload in a notebook; the size is the same."""
    (package / "question.py").write_text("x = 1\n")
    before = source_digest("plugin.question")
    (package / "question.py").write_text("x = 2\n")
    os.utime(package / "question.py", (1, 1))
    assert source_digest("plugin.question") != before


def test_a_file_alone_can_be_asked_about(package: Path) -> None:
    (package / "near.py").write_text("from mechgrok import Run\n")
    assert source_digest(str(package / "near.py")) != source_digest("plugin.parts.used")
