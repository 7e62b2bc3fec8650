"""The store of answers: what an answer was made from, and when one on disk may be loaded.

Every answer is saved with its `Key`: the version of the code that measured it, the options, and the
state of its inputs. It may be loaded while its key is that of a measurement made now. Otherwise, or
where its file is damaged, it is measured anew. Files are written whole or not at all, so that
several processes may write the same answer.

Datasets are Parquet tables (`save_dataset`), everything else is JSON (`save_entries`).
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from mechgrok.errors import UserError
from mechgrok.files import make_folder, read_text, write_text
from mechgrok.runs.metrics import whole_lines

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.runs import Run

#: Size in bytes and time of the last change in nanoseconds; None for a file that is not there.
Stamp = tuple[int, int] | None


class Key(BaseModel, frozen=True, extra="forbid"):
    """What an answer was made from.

    Attributes:
        version: of the code; its author raises it where the code gives other answers.
        options: as JSON holds them.
        inputs: stamps of the files that went in, and digests.
        metrics: size and digest of the run's metrics.
        checkpoints: the stamp of every checkpoint, by step.
    """

    version: int | str
    options: dict[str, Any]
    inputs: dict[str, Stamp | str] = {}
    metrics: tuple[int, str] = (0, "")
    checkpoints: dict[int, Stamp] = {}

    @classmethod
    def of_run(cls, run: "Run", version: int | str, options: Mapping[str, Any]) -> Self:
        """The key of a measurement of ``run``, made now."""
        config = run.config.model_dump_json(include={"task", "model", "seed"})
        metrics = _metrics(run)
        return cls(
            version=version,
            options=json.loads(json.dumps(dict(options), default=str, sort_keys=True)),
            inputs={"config": digest(config.encode()), **_named_files(options.values())},
            metrics=(len(metrics), digest(metrics)),
            checkpoints={step: stamp(run.file(step)) for step in run.steps},
        )

    @classmethod
    def of_files(
        cls, folder: Path, names: Iterable[str], version: int, options: Mapping[str, Any]
    ) -> Self:
        """The key of what is read from these files in a folder, now."""
        inputs: dict[str, Stamp | str] = {name: stamp(folder / name) for name in names}
        return cls(version=version, options=dict(options), inputs=inputs)

    def unchanged_steps(self, before: Self, run: "Run") -> set[int]:
        """The steps whose checkpoints are what they were under an earlier key.

        There are none where anything else has changed. A run that has only grown begins with the
        metrics that it had.
        """
        size, earlier = before.metrics
        then = before.model_copy(update={"metrics": self.metrics, "checkpoints": self.checkpoints})
        if then != self or digest(_metrics(run)[:size]) != earlier:
            return set()
        return {step for step, at in self.checkpoints.items() if before.checkpoints.get(step) == at}


def stamp(path: Path) -> Stamp:
    """Size and time of the last change, by which a file is recognized, as ``make`` does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def digest(content: bytes) -> str:
    """16 bytes of BLAKE2b, in hexadecimal."""
    return blake2b(content, digest_size=16).hexdigest()


def _metrics(run: "Run") -> bytes:
    try:
        return whole_lines(run.path)
    except UserError:
        return b""


def _named_files(values: Iterable[Any]) -> dict[str, Stamp]:
    """The files that option values name: a file itself, a run by its weights."""
    named = [Path(value) for value in values if isinstance(value, str | Path) and str(value)]
    return {
        str(file): stamp(file)
        for path in named
        if path.exists()
        for file in (sorted(path.glob("step_*.safetensors")) if path.is_dir() else [path])
    }


def load_dataset(path: Path) -> "tuple[Key, xr.Dataset] | None":
    """An answer and its key; None where there is none, or the file is damaged or foreign."""
    from mechgrok.runs.parquet import read_with_origin

    try:
        answer, made_from = read_with_origin(path)
        return Key.model_validate(made_from), answer
    except (UserError, ValueError):
        return None


def save_dataset(path: Path, key: Key, answer: "xr.Dataset") -> "xr.Dataset":
    """Save an answer where the folder can be written.

    Returns:
        The answer as it will be loaded from ``path``; as it is where it could not be saved, or
        another process has saved another since.
    """
    from mechgrok.runs.parquet import write_parquet

    try:
        make_folder(path.parent)
        write_parquet(answer, path, key.model_dump(mode="json"))
    except (OSError, UserError):
        return answer
    saved = load_dataset(path)
    return saved[1] if saved and saved[0] == key else answer


#: Values of any kind that JSON has, each with its key, by name.
Entries = dict[str, tuple[Key, Any]]


def load_entries(path: Path) -> Entries:
    """What `save_entries` saved; nothing where the file is missing, damaged or foreign."""
    try:
        saved = json.loads(read_text(path))
        if saved["blake2b"] != _digest_of(saved["entries"]):
            return {}
        return {n: (Key.model_validate(key), value) for n, (key, value) in saved["entries"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def save_entries(path: Path, entries: Entries) -> None:
    """Save values with their keys in one file.

    Raises:
        UserError: it cannot be written.
    """
    plain = {name: [key.model_dump(mode="json"), value] for name, (key, value) in entries.items()}
    content = {"blake2b": _digest_of(plain), "entries": plain}
    write_text(path, json.dumps(content, ensure_ascii=False))


def _digest_of(entries: Any) -> str:
    return digest(json.dumps(entries, sort_keys=True).encode())
