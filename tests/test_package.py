"""What is installed: set-up is pinned, and the wheel holds the three packages and nothing else."""

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
PACKAGES = ("mechgrok", "analyses", "cli")


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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel of this tree, built from a copy of it so that nothing of an older one is left."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for folder in (*PACKAGES, "tests", "docs", "data"):
        unneeded = shutil.ignore_patterns(
            "__pycache__", "_build", "*.png", "*.safetensors", "cache"
        )
        shutil.copytree(ROOT / folder, tree / folder, ignore=unneeded)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", out, tree], check=True)
    return ZipFile(next(out.glob("*.whl")))


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel: ZipFile) -> None:
    kinds = {".py", ".pyi", ".toml", ".html", ".js", ".css"}
    files = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.suffix in kinds or file.name == "py.typed"
    }
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == files
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


def test_the_wheel_carries_the_licence_and_its_metadata(wheel: ZipFile) -> None:
    info = f"mechgrok-{PROJECT['version']}.dist-info"
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    metadata = message_from_string(wheel.read(f"{info}/METADATA").decode())
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    plain = {line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert {str(Requirement(line)) for line in plain} == {
        str(Requirement(line)) for line in PROJECT["dependencies"]
    }
