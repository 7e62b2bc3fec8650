"""Writes constraints.txt: the versions, in this environment, of all that set-up installs.

Those are pyproject.toml's dependencies, its extras `EXTRAS`, and whatever they need in their turn.
Torch's line stays as it is.
"""

import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
#: What `make test` and `make docs` install.
EXTRAS = ("test", "film", "explore", "docs")
HEADER = """\
# The versions that `make demo`, `make test` and `make docs` install; the tests passed with them.
# `make lock` writes this file, with the newest versions that pyproject.toml allows (.ci/lock.py).
# Torch is pinned by hand, and installed first: its CPU build is enough for everything here.
"""


def main() -> None:
    """Write the file anew."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = project["dependencies"] + [line for extra in EXTRAS for line in extras[extra]]
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    torch = next(line for line in lines if line.startswith("torch=="))
    pins = [f"{name}=={version}" for name, version in closure(needed) if name != "torch"]
    CONSTRAINTS.write_text("\n".join([HEADER + torch, *pins, ""]), encoding="utf-8")


def closure(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Name and version of each package that these requirements install here, by name."""
    waiting = [Requirement(line) for line in lines]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        found = distribution(requirement.name)
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            needed = (Requirement(line) for line in found.requires or ())
            waiting += [n for n in needed if not n.marker or n.marker.evaluate({"extra": extra})]
    return [(name, distribution(name).version) for name in sorted({name for name, _ in seen})]


if __name__ == "__main__":
    main()
