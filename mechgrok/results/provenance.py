"""What a result was made from, so that one that is kept can be told fresh from stale.

A result depends on the code that measured it, the options it was measured with, the run's
checkpoints and metrics, and its task and model. Checkpoints and other files are recognized by size
and time of change, as ``make`` does; code, metrics and configuration by a digest.
"""

import ast
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mechgrok.errors import UserError
from mechgrok.runs.metrics import whole_lines

if TYPE_CHECKING:
    from mechgrok.runs import Run

#: Modules that draw what was measured, by any part of their names: no answer hangs on them.
_DRAWING = {"drawing", "figure"}

#: Size in bytes and time of the last change in nanoseconds.
Stamp = list[int]


@dataclass(frozen=True)
class Provenance:
    """What one result was made from.

    Attributes:
        options: the options of the measurement, as JSON holds them.
        files: stamps of the files that options name.
        code: digest of the source of the analysis and of what it imports from its own package and
            from this one, drawing left out.
        setting: digest of the run's task, model and seed.
        metrics: size and digest of the run's metrics.
        checkpoints: the stamp of every checkpoint that went in, by step.
    """

    options: dict[str, Any]
    files: dict[str, Stamp]
    code: str
    setting: str
    metrics: tuple[int, str]
    checkpoints: dict[int, Stamp]

    @classmethod
    def now(cls, run: "Run", module: str, options: Mapping[str, Any]) -> Self:
        """What a measurement of ``run`` by ``module`` would be made from at this moment."""
        metrics = _metrics(run)
        config = run.config.model_dump_json(include={"task", "model", "seed"})
        return cls(
            json.loads(json.dumps(dict(options), default=str, sort_keys=True)),
            dict(_named_files(options.values())),
            source_digest(module),
            _digest(config.encode()),
            (len(metrics), _digest(metrics)),
            {step: _stamp(run.file(step)) for step in run.steps},
        )

    def as_json(self) -> dict[str, Any]:
        """As `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """From what `as_json` gave, by way of a file.

        Raises:
            ValueError: they are not what `as_json` gives.
        """
        try:
            checkpoints = {int(step): stamp for step, stamp in fields["checkpoints"].items()}
            size, digest = fields["metrics"]
            rest = {key: fields[key] for key in ("options", "files", "code", "setting")}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"no provenance: {error}") from None
        if len(fields) > 6 or not isinstance(size, int):
            raise ValueError("no provenance of this version")
        return cls(metrics=(size, digest), checkpoints=checkpoints, **rest)

    def shared_steps(self, now: Self, run: "Run") -> set[int]:
        """The steps whose checkpoints are still what they were when this result was made.

        None are where anything but the checkpoints has changed; a run that has only grown keeps
        its metrics as the beginning of the new ones.
        """
        same = all(
            getattr(self, part) == getattr(now, part)
            for part in ("options", "files", "code", "setting")
        )
        size, digest = self.metrics
        if not same or _digest(_metrics(run)[:size]) != digest:
            return set()
        return {
            step for step, stamp in self.checkpoints.items() if now.checkpoints.get(step) == stamp
        }


def _metrics(run: "Run") -> bytes:
    try:
        return whole_lines(run.path)
    except UserError:
        return b""


def _stamp(path: Path) -> Stamp:
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).") from None
    return [stat.st_size, stat.st_mtime_ns]


def _named_files(values: Iterable[Any]) -> Iterator[tuple[str, Stamp]]:
    """The files that option values name: a file itself, a run by its configuration and weights."""
    for value in values:
        if not isinstance(value, str | Path) or not str(value) or not Path(value).exists():
            continue
        path = Path(value)
        inside = sorted(path.glob("step_*.safetensors")) if path.is_dir() else [path]
        for file in inside:
            yield str(file), _stamp(file)


def _digest(*parts: bytes) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def source_digest(module: str) -> str:
    """Digest of the source of ``module`` and of all it imports from its own package and this one.

    Imports inside functions count too, relative ones, and names that a package gives lazily, by
    the stub beside it. Modules in a package ``drawing``, or called ``figure``, do not: an answer
    stays fresh when its figure is drawn in another way.

    Args:
        module: its name, or the path of a file of Python.
    """
    packages = {module.partition(".")[0], __name__.partition(".")[0]}
    digests: dict[str, str] = {}
    waiting: list[_Import] = [(module, frozenset())]
    seen = set(waiting)
    while waiting:
        name, taken = waiting.pop()
        parts = name.split(".")
        if name != module and (parts[0] not in packages or _DRAWING & set(parts)):
            continue
        if (file := _source_file(name)) is None:
            continue
        source = _read(file, *_stamp(file))
        digests[name] = source.digest
        is_package = file.name == "__init__.py"
        found = [*source.imports(name, is_package), *_given_lazily(name, file, taken)]
        waiting += (each for each in found if each not in seen)
        seen.update(found)
    return _digest(*(f"{name} {digests[name]}".encode() for name in sorted(digests)))


#: A module's absolute name, and the names that are taken from it; none for the module itself.
_Import = tuple[str, frozenset[str]]


def _given_lazily(package: str, file: Path, taken: frozenset[str]) -> Iterator[_Import]:
    """What a package's stub imports for the names that are taken from it; all of it for none.

    A package that gives its names lazily (``lazy_loader.attach_stub``) imports nothing itself: what
    a name is, the stub beside its ``__init__.py`` says.
    """
    stub = file.with_suffix(".pyi")
    if file.name != "__init__.py" or not stub.is_file():
        return
    for full, inside in _read(stub, *_stamp(stub)).imports(package, is_package=True):
        if not taken or "*" in taken or taken & inside:
            yield full, inside


@dataclass(frozen=True)
class _Source:
    """What there is to know of one source file: its digest, and what it imports.

    Attributes:
        digest: of its bytes.
        imported: for every import, how many dots it begins with, the module, and the names that
            are taken from it; none where the module itself is imported.
    """

    digest: str
    imported: tuple[tuple[int, str, frozenset[str]], ...]

    def imports(self, module: str, is_package: bool) -> Iterator[_Import]:
        """The absolute name of every module that is imported, and the names taken from it; each of
        these names may be a module itself, and is given too."""
        for level, name, inside in self.imported:
            above = module.split(".")
            if level:
                above = above[: len(above) - level + is_package]
                name = ".".join([*above, *([name] if name else [])])
            yield name, inside
            yield from ((f"{name}.{each}", frozenset()) for each in inside)


@lru_cache(maxsize=4096)
def _read(file: Path, size: int, changed: int) -> _Source:
    """The source file as it is: another size or time of change is another file."""
    content = file.read_bytes()
    found: list[tuple[int, str, frozenset[str]]] = []
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            found += ((0, alias.name, frozenset()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = frozenset(alias.name for alias in node.names)
            found.append((node.level, node.module or "", names))
    return _Source(_digest(content), tuple(found))


def _source_file(module: str) -> Path | None:
    """The Python file of a module; None for a name that is no module (a function in one, say).

    Found by where it lies, because asking Python would import the packages above it.
    """
    if module.endswith(".py"):
        return Path(module)
    top, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    file = Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for part in parts:
        files = (f / n for f in folders for n in (f"{part}/__init__.py", f"{part}.py"))
        file = next((found for found in files if found.is_file()), None)
        folders = [folder / part for folder in folders]
    return file
