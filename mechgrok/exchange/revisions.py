"""The revisions of a published sequence: folders, or branches and tags of a git repository."""

import os
import re
import subprocess
import warnings
from pathlib import Path
from typing import IO

from mechgrok.errors import ExternalError, UserError

#: The file of a network's weights.
WEIGHTS = "model.safetensors"
#: Where a repository has branches and tags: its own, and those of where it was cloned from.
_REFS = re.compile(r"refs/(?:heads|tags|remotes/[^/]+)/(step[0-9]{1,12})")
#: What stands in place of a large file where Git LFS keeps it elsewhere.
_POINTER = re.compile(rb"version https://git-lfs[^\n]*\n(?:.*\n)?oid sha256:([0-9a-f]{64})\n")


def revision_of(step: int) -> str:
    """The folder, or the branch, of a step.

    >>> revision_of(2000), step_of("step2000"), step_of("main")
    ('step2000', 2000, None)
    """
    return f"step{step}"


def step_of(name: str) -> int | None:
    """The step that a folder or a branch is named after."""
    number = name.removeprefix("step")
    return int(number) if number != name and number.isascii() and number.isdigit() else None


#: Seconds that git may take over one thing.
PATIENCE = 600.0

#: A repository of somebody else's can name programs in its configuration: none of them is run, and
#: nothing is fetched.
_HARMLESS = ["--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false"]
_HARMLESS += ["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"]
_OFFLINE = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}


def git(folder: Path, *arguments: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> bytes:
    """What git prints about the repository in a folder, and in no folder above it.

    Raises:
        UserError: it is not installed, or fails.
        ExternalError: it does not end.
    """
    # GIT_DIR and the like, as hooks have them, name another repository.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    above = {"GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *_HARMLESS, *arguments],
            capture_output=True,
            check=False,
            stdin=stdin,
            env=inherited | _OFFLINE | above,
            timeout=PATIENCE,
        )
    except FileNotFoundError:
        raise UserError("git is not installed: install it, or leave --git out.") from None
    except subprocess.TimeoutExpired:
        raise ExternalError(
            f"git {arguments[0]} did not end within {PATIENCE:g} seconds in {folder}: see whether "
            "the disk answers."
        ) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "it gives no reason"
        raise UserError(f"git {arguments[0]} failed in {folder}: {reason}.")
    return done.stdout


def files_of(folder: Path, into: Path) -> list[Path]:
    """The weights of a sequence in a folder, in the order of the steps.

    Args:
        folder: one with folders ``step{N}``, or a git repository (a clone, a bare one, a worktree)
            with such branches or tags, its own or those of where it was cloned from.
        into: an empty folder, to which the files of branches are taken out.

    Raises:
        UserError: it is neither, or lacks a part of the sequence.
    """
    steps = {step_of(path.name): path / WEIGHTS for path in folder.iterdir() if path.is_dir()}
    files = {step: path for step, path in steps.items() if step is not None and path.is_file()}
    if not files and _is_repository(folder):
        _refuse_single_branch(folder)
        blobs = _blobs(folder)
        _warn_of_missing_steps(folder, blobs)
        for step, blob in blobs.items():
            files[step] = into / f"{revision_of(step)}.safetensors"
            files[step].write_bytes(_content(folder, blob, revision_of(step)))
    if not files:
        raise UserError(
            f"{folder} holds no sequence of checkpoints: no folders step0, step1000, … with a "
            f"{WEIGHTS}, and no branches of such names."
        )
    return [path for _, path in sorted(files.items())]


def _is_repository(folder: Path) -> bool:
    bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    return bare or (folder / ".git").exists()  # a file in a worktree


def _refuse_single_branch(folder: Path) -> None:
    """Refuse a clone of one branch, which holds one step of a sequence."""
    try:
        told = git(folder, "config", "--get-regexp", r"^remote\..*\.fetch$").decode()
    except UserError:  # there is no remote
        return
    if told and not any("*" in line for line in told.splitlines()):
        raise UserError(
            f"{folder} is a clone of a single branch, without the other steps: fetch them with git "
            "remote set-branches origin '*' and git fetch, or import the one file by its name."
        )


def _blobs(folder: Path) -> dict[int, str]:
    """The object that holds the weights of each step.

    Raises:
        UserError: a branch lacks the file, or two of the same name hold different ones.
    """
    blobs: dict[int, tuple[str, str]] = {}
    for name in git(folder, "for-each-ref", "--format=%(refname)").decode().split():
        step = step_of(match[1]) if (match := _REFS.fullmatch(name)) else None
        if step is None:
            continue
        listed = git(folder, "ls-tree", name, WEIGHTS).decode().split()
        if len(listed) < 3 or listed[1] != "blob":
            raise UserError(f"{folder} has no {WEIGHTS} in {name}: delete it, or commit the file.")
        other, blob = blobs.setdefault(step, (name, listed[2]))
        if blob != listed[2]:
            raise UserError(
                f"{folder} has different weights of step {step} in {other} and {name}: delete one."
            )
    return {step: blob for step, (_, blob) in blobs.items()}


def _warn_of_missing_steps(folder: Path, blobs: dict[int, str]) -> None:
    """Warn where what is checked out, the last step as a rule, is no step that has a branch."""
    try:
        current = git(folder, "rev-parse", "--verify", "--quiet", f"HEAD:{WEIGHTS}")
    except UserError:  # it holds something else
        return
    if blobs and current.decode().strip() not in blobs.values():
        warnings.warn(
            f"The current branch of {folder} holds weights of none of its steps "
            f"({', '.join(map(str, sorted(blobs)))}): branches may be missing.",
            stacklevel=2,
        )


def _content(folder: Path, blob: str, revision: str) -> bytes:
    """What an object holds, or what Git LFS keeps for it in the repository.

    Raises:
        UserError: it is not there.
    """
    content = git(folder, "cat-file", "blob", blob)
    pointer = _POINTER.match(content)
    if pointer is None:
        return content
    key = pointer[1].decode()
    at = folder / git(folder, "rev-parse", "--git-common-dir").decode().strip()
    try:
        return (at / "lfs" / "objects" / key[:2] / key[2:4] / key).read_bytes()
    except OSError:
        raise UserError(
            f"{folder} holds a Git LFS pointer in place of the weights of {revision}: get them "
            "with git lfs fetch --all."
        ) from None
