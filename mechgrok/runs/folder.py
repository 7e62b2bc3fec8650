"""Creating and replacing run folders atomically.

A new run is written to the hidden folder ``.making`` inside its own. Renaming the complete folder
to ``.made`` commits the replacement: the old run's files are deleted, ``.made`` becomes
``.moving``, and its files move up, ``config.json`` last. If the process is killed, the next writer
finishes the replacement.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mechgrok.configuration.run_config import RunConfig
from mechgrok.errors import UserError
from mechgrok.files import read_text, remove_partials, write_text
from mechgrok.registry import ANALYSES, entries
from mechgrok.runs import metrics, state
from mechgrok.runs.checkpoint import checkpoint_file, checkpoints
from mechgrok.runs.lock import HOLDER, LOCK, writing

CONFIG = "config.json"
MAKING, MADE, MOVING = ".making", ".made", ".moving"

#: Keys that every config.json has had since the first version.
_CONFIG_KEYS = {"format", "task", "model", "training"}
#: Bytes, ten times the size with an explicit split of a million examples.
_LARGEST_CONFIG = 2**28
_RESULT = re.compile(
    r"(?P<name>.+?)(-[0-9a-f]{8})?(-vs-.+|-[0-9]+-runs-[0-9a-f]{8})?"
    r"\.(html|parquet|png|svg)"
)


def write_config(folder: Path, config: RunConfig) -> None:
    """Write ``config.json`` atomically."""
    write_text(folder / CONFIG, config.model_dump_json(indent=2) + "\n")


def read_config(folder: Path) -> RunConfig:
    """The configuration of the run in ``folder``.

    Raises:
        UserError: the folder is not a run, or was made by a newer version.
    """
    path = folder / CONFIG
    if is_unfinished(folder):
        with suppress(UserError):
            finish_replacing(folder)
    if not os.path.lexists(path):
        reason = "is a file" if folder.exists() else "does not exist"
        if folder.is_dir():
            reason = (
                "is incomplete (a process is still creating it, or was interrupted)"
                if is_unfinished(folder)
                else "holds no config.json"
            )
        raise UserError(f"{folder} is not a run: it {reason}; make one with mechgrok train.")
    fields = _fields(path)
    if not isinstance(fields, dict):
        raise UserError(f"{path} is not a run's configuration: it holds no JSON object.")
    return RunConfig.make(**fields)


def _fields(path: Path) -> Any:
    try:
        return json.loads(read_text(path, _LARGEST_CONFIG))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}).") from None


def is_run(folder: Path) -> bool:
    """Whether the folder's ``config.json`` is a run's configuration."""
    try:
        fields = _fields(folder / CONFIG)
    except UserError:
        return False
    return isinstance(fields, dict) and fields.keys() >= _CONFIG_KEYS


def is_unfinished(folder: Path) -> bool:
    """Whether the folder holds an incomplete new run and no configuration."""
    parts = (folder / name for name in (MAKING, MADE, MOVING))
    return not (folder / CONFIG).exists() and any(part.is_dir() for part in parts)


def check_room(folder: Path, *, overwrite: bool) -> None:
    """Check that a run can be created in the folder.

    Raises:
        UserError: the folder holds a run (and ``overwrite`` is off) or anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another folder with --out.")
    if not folder.is_dir() or is_unfinished(folder):
        return
    if all(entry.name in (LOCK, HOLDER) for entry in folder.iterdir()):
        return
    if not is_run(folder):
        raise UserError(
            f"{folder} holds something other than a run: choose another folder with --out."
        )
    if not overwrite:
        raise UserError(
            f"{folder} already holds a run: resume it (--resume), replace it (--overwrite), or "
            "choose another folder with --out."
        )


@contextmanager
def new_run(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Create a run in a temporary folder, and move it to ``folder`` on success.

    Args:
        folder: a new or empty folder, or an existing run.
        overwrite: replace an existing run.

    Raises:
        UserError: the folder holds a run or anything else, another process writes to it, or it
            cannot be created.
    """
    check_room(folder, overwrite=overwrite)
    with writing(folder):
        check_room(folder, overwrite=overwrite)
        if is_unfinished(folder):
            _remove(folder)
        recover(folder)
        making = folder / MAKING
        try:
            making.mkdir()
            yield making
            os.replace(making, folder / MADE)
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error}).") from None
        finally:
            shutil.rmtree(making, ignore_errors=True)
        recover(folder)


def finish_replacing(folder: Path) -> None:
    """Finish replacing a run after the process that did so was killed."""
    if (folder / MADE).is_dir() or (folder / MOVING).is_dir():
        with writing(folder):
            recover(folder)


def recover(folder: Path) -> None:
    """Finish a committed replacement and delete an incomplete run; the caller holds the lock."""
    remove_partials(folder)
    shutil.rmtree(folder / MAKING, ignore_errors=True)
    if (folder / MADE).is_dir():
        _remove_run(folder)
        os.replace(folder / MADE, folder / MOVING)
    if (folder / MOVING).is_dir():
        files = sorted((folder / MOVING).iterdir(), key=lambda file: file.name == CONFIG)
        for file in files:
            os.replace(file, folder / file.name)
        (folder / MOVING).rmdir()


def _remove(folder: Path) -> None:
    """Delete an incomplete run."""
    for name in (MAKING, MADE, MOVING):
        shutil.rmtree(folder / name, ignore_errors=True)
    _remove_run(folder)


def _remove_run(folder: Path) -> None:
    """Delete a run's own files, ``config.json`` first, and nothing else."""
    ours = [folder / name for name in (CONFIG, metrics.NAME, state.NEWEST, state.BEFORE)]
    ours += [checkpoint_file(folder, step) for step in checkpoints(folder)]
    from mechgrok.runs.probes import probe_files

    for file in [*ours, *probe_files(folder), *_results(folder / "analysis")]:
        file.unlink(missing_ok=True)


def _results(analysis: Path) -> Iterator[Path]:
    """The files in ``analysis/`` that mechgrok wrote; a user's own files and links are excluded."""
    if analysis.is_symlink() or not analysis.is_dir():
        return
    ours = {*entries(ANALYSES), "compare", "report"}
    for file in analysis.iterdir():
        match = _RESULT.fullmatch(file.name)
        if file.is_file() and match and match["name"] in ours:
            yield file
