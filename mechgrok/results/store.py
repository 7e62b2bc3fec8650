"""The store of answers: saving an answer with a key of its inputs, and loading it.

The `Key` of an answer contains the version of the analysis, the options, and the state of the
inputs. An answer is reused while its key equals that of a new measurement; otherwise, or if its
file is damaged, it is measured again. Files are written atomically, so several processes may write
the same answer.

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

#: Size in bytes and modification time in nanoseconds; None for a missing file.
Stamp = tuple[int, int] | None


class Key(BaseModel, frozen=True, extra="forbid"):
    """The code version, options and inputs of an answer.

    Attributes:
        version: the version of the code; its author raises it when answers change.
        options: the options as JSON values.
        inputs: stamps or digests of other inputs.
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
        """The key of a measurement of ``run`` in its current state."""
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
        """The key of values read from files in a folder, in their current state."""
        inputs: dict[str, Stamp | str] = {name: stamp(folder / name) for name in names}
        return cls(version=version, options=dict(options), inputs=inputs)

    def unchanged_steps(self, before: Self, run: "Run") -> set[int]:
        """The steps whose checkpoints are the same as under an earlier key.

        None are, if another input has changed. Metrics may only have grown.
        """
        size, metrics_before = before.metrics
        grown = before.model_copy(update={"metrics": self.metrics, "checkpoints": self.checkpoints})
        if grown != self or digest(_metrics(run)[:size]) != metrics_before:
            return set()
        return {step for step, at in self.checkpoints.items() if before.checkpoints.get(step) == at}


def stamp(path: Path) -> Stamp:
    """Size and modification time of a file, which identify its content as in ``make``."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def digest(content: bytes) -> str:
    """16 bytes of BLAKE2b, in hexadecimal."""
    return blake2b(content, digest_size=16).hexdigest()


def _metrics(run: "Run") -> bytes:
    try:
        return whole_lines(run.path)
    except UserError:
        return b""


def _named_files(values: Iterable[Any]) -> dict[str, Stamp]:
    """Stamps of the files among option values: a file itself, or a run's checkpoints."""
    paths = [Path(value) for value in values if isinstance(value, str | Path) and str(value)]
    return {
        str(file): stamp(file)
        for path in paths
        if path.exists()
        for file in (sorted(path.glob("step_*.safetensors")) if path.is_dir() else [path])
    }


def load_dataset(path: Path) -> "tuple[Key, xr.Dataset] | None":
    """An answer and its key; None if the file is missing, damaged or foreign."""
    from mechgrok.runs.parquet import read_with_origin

    try:
        answer, made_from = read_with_origin(path)
        return Key.model_validate(made_from), answer
    except (UserError, ValueError):
        return None


def save_dataset(path: Path, key: Key, answer: "xr.Dataset") -> "xr.Dataset":
    """Save an answer if the folder can be written.

    Returns:
        The answer as loaded from ``path``; or ``answer`` itself if it could not be saved, or
        another process has since replaced the file.
    """
    from mechgrok.runs.parquet import write_parquet

    try:
        make_folder(path.parent)
        write_parquet(answer, path, key.model_dump(mode="json"))
    except (OSError, UserError):
        return answer
    saved = load_dataset(path)
    return saved[1] if saved and saved[0] == key else answer


#: JSON values with their keys, by name.
Entries = dict[str, tuple[Key, Any]]


def load_entries(path: Path) -> Entries:
    """The entries in a file; empty if it is missing, damaged or foreign."""
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
        UserError: the file cannot be written.
    """
    plain = {name: [key.model_dump(mode="json"), value] for name, (key, value) in entries.items()}
    content = {"blake2b": _digest_of(plain), "entries": plain}
    write_text(path, json.dumps(content, ensure_ascii=False))


def _digest_of(entries: Any) -> str:
    return digest(json.dumps(entries, sort_keys=True).encode())
