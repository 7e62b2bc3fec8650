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
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from mechgrok.runs import Run

#: Size in bytes and time of the last change in nanoseconds.
Stamp = list[int]


@dataclass(frozen=True)
class Provenance:
    """What one result was made from.

    Attributes:
        options: the options of the measurement, as JSON holds them.
        files: stamps of the files that options name.
        code: digest of the source of the analysis and of what it imports from its own package and
            from this one.
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
        """From what `as_json` gave, by way of a file."""
        checkpoints = {int(step): stamp for step, stamp in fields.pop("checkpoints").items()}
        return cls(metrics=tuple(fields.pop("metrics")), checkpoints=checkpoints, **fields)

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
    path = run.path / "metrics.csv"
    return path.read_bytes() if path.is_file() else b""


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
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


@cache
def source_digest(module: str) -> str:
    """Digest of the source of ``module`` and of all it imports from its own package and this one.

    Imports inside functions count too.
    """
    packages = {module.partition(".")[0], __name__.partition(".")[0]}
    sources: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or name.partition(".")[0] not in packages:
            continue
        if (file := _source_file(name)) is None:
            continue
        sources[name] = file.read_bytes()
        waiting += _imports(sources[name])
    return _digest(*(name.encode() + sources[name] for name in sorted(sources)))


def _source_file(module: str) -> Path | None:
    """The Python file of a module; None for a name that is no module (a function in one, say)."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _imports(source: bytes) -> Iterator[str]:
    """Every absolute name that a module's source imports, and the names inside those."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
