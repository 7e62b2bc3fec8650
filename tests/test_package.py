"""What is installed: pinned versions, one import name, and nothing but the package."""

import re
import shutil
import subprocess
import sys
import tomllib
from email import message_from_string
from itertools import pairwise
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PINS = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
#: The folders of the package; the last two stand in it as links.
FOLDERS = ("mechgrok", "analyses", "cli")


def installed_by_make() -> list[str]:
    """What pyproject.toml asks for, of the project itself and of the extras in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = ",".join(re.findall(r"-c constraints\.txt -e '\.\[(.+)\]'", makefile))
    extras = PROJECT["optional-dependencies"]
    return PROJECT["dependencies"] + [line for name in named.split(",") for line in extras[name]]


@pytest.mark.parametrize("line", sorted({*installed_by_make()}))
def test_what_set_up_installs_is_pinned_within_its_range(line: str) -> None:
    wanted = Requirement(line)
    versions = dict(pin.split("==") for pin in PINS)
    assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)])


def test_pins_are_names_and_versions_and_nothing_else() -> None:
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in PINS)
    assert not re.search(r"://|@|/(home|root|tmp|Users)/", CONSTRAINTS)


def test_torch_comes_first_and_the_rest_by_name() -> None:
    torch, *others = [pin.split("==")[0] for pin in PINS]
    assert torch == "torch"
    assert all(name < after for name, after in pairwise(others))


def copy_tree(tree: Path) -> Path:
    """A copy of this tree, so that nothing of an older build is left in it."""
    unneeded = shutil.ignore_patterns("__pycache__", "_build", "*.png", "cache")
    for folder in ("src", *FOLDERS, "tests", "docs", "data"):
        shutil.copytree(ROOT / folder, tree / folder, symlinks=True, ignore=unneeded)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    return tree


def install(environment: Path, *what: object) -> Path:
    """The Python of a new environment that has what this one has, and this project installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (site / "shared.pth").write_text("\n".join(shared))
    pip = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", *what], check=True)
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree, out = tmp_path_factory.mktemp("tree") / "mechgrok", tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", out, copy_tree(tree)], check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module", params=["wheel", "editable"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the project installed, from a wheel or from a clone named mechgrok."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "wheel":
        return install(folder / "venv", request.getfixturevalue("wheel"))
    return install(folder / "venv", "-e", copy_tree(folder / "mechgrok"))


#: What a scientist's own project holds beside a notebook.
PROJECTS = {
    "nothing": [],
    "a folder analyses": ["analyses/mine.py"],
    "a package analyses": ["analyses/__init__.py", "analyses/mine.py"],
    "a module cli": ["cli.py"],
    "tests and data": ["tests/__init__.py", "data/__init__.py", "src/mine.py"],
    "a clone below": ["mechgrok/pyproject.toml", "mechgrok/mechgrok/link"],
}


@pytest.mark.parametrize("files", PROJECTS.values(), ids=PROJECTS)
def test_a_project_s_own_folders_and_the_package_do_not_hide_one_another(
    python: Path, files: list[str], tmp_path: Path
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("whose = 'mine'\n")
    program = (
        "import mechgrok; from mechgrok.results import Analysis; print(mechgrok.__version__)\n"
    )
    program += "assert Analysis.load('accuracy').module == 'mechgrok.analyses.accuracy'\n"
    if any(file.startswith("analyses") for file in files):
        program += "import analyses.mine; assert analyses.mine.whose == 'mine'\n"
    if "cli.py" in files:
        program += "import cli; assert cli.whose == 'mine'\n"
    done = subprocess.run(
        [python, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, PROJECT["version"]), done.stderr


def test_the_package_runs_as_a_module(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [python, "-m", "mechgrok", "presets"], cwd=tmp_path, capture_output=True, timeout=120
    )
    assert done.returncode == 0
    assert b"paper-mlp" in done.stdout


def test_an_installed_package_has_the_zoo(python: Path, tmp_path: Path) -> None:
    for command in (["zoo", "parity"], ["verify", "parity"]):
        done = subprocess.run(
            [python, "-m", "mechgrok", *command], cwd=tmp_path, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done.stderr


def test_only_one_name_is_installed(wheel: Path) -> None:
    """Each file of the three folders, and each run of data/, lies below ``mechgrok``."""
    kinds = {".py", ".pyi", ".toml", ".html", ".js", ".css", ".md", ".json"}
    files = {
        file.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*")
        if file.suffix in kinds or file.name == "py.typed"
    }
    files |= {f"data/{file.parent.name}/{file.name}" for file in (ROOT / "data").glob("*/*.*")}
    ours = {file if file.startswith("mechgrok/") else f"mechgrok/{file}" for file in files}
    shipped = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == ours
    assert "mechgrok/py.typed" in shipped


def test_the_wheel_carries_the_licence_and_its_metadata(wheel: Path) -> None:
    opened = ZipFile(wheel)
    info = f"mechgrok-{PROJECT['version']}.dist-info"
    assert opened.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    metadata = message_from_string(opened.read(f"{info}/METADATA").decode())
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    plain = {line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert {str(Requirement(line)) for line in plain} == {
        str(Requirement(line)) for line in PROJECT["dependencies"]
    }
