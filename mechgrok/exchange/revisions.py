"""Reading a published sequence: folders, or branches and tags of a git repository."""

import os
import re
import subprocess
from pathlib import Path
from typing import IO

from mechgrok.errors import ExternalError, UserError, warn

#: The file of a network's weights.
WEIGHTS = "model.safetensors"
#: Timeout of a git command, in seconds.
GIT_TIMEOUT = 600.0
_STEP = re.compile(r"step([0-9]{1,12})", re.ASCII)
#: Branches and tags of a repository and of its remotes.
_REFS = re.compile(r"refs/(?:heads|tags|remotes/[^/]+)/step([0-9]{1,12})", re.ASCII)
#: A Git LFS pointer, in place of a large file.
_POINTER = re.compile(rb"version https://git-lfs[^\n]*\n(?:.*\n)?oid sha256:([0-9a-f]{64})\n")
#: Options that keep git from running a foreign repository's configured programs, and from fetching.
_HARMLESS = ["--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false"]
_HARMLESS += ["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"]
_OFFLINE = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}


def revision_of(step: int) -> str:
    """The folder, or the branch, of a step.

    >>> revision_of(2000)
    'step2000'
    """
    return f"step{step}"


def git(
    folder: Path,
    *arguments: str,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    on_failure: bytes | None = None,
) -> bytes:
    """Run git in the repository of a folder, never of a parent folder; returns its output.

    Args:
        folder: the repository's folder.
        arguments: git's arguments.
        stdin: a file for git's standard input.
        on_failure: returned if git fails, instead of raising.

    Raises:
        UserError: git is not installed, or fails.
        ExternalError: git does not finish in time.
    """
    # GIT_DIR and the like, set in hooks, name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ceiling = {"GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *_HARMLESS, *arguments],
            capture_output=True,
            check=False,
            stdin=stdin,
            env=environment | _OFFLINE | ceiling,
            timeout=GIT_TIMEOUT,
        )
    except FileNotFoundError:
        raise UserError("git is not installed: install it, or omit --git.") from None
    except subprocess.TimeoutExpired:
        raise ExternalError(
            f"git {arguments[0]} did not finish within {GIT_TIMEOUT:g} seconds in {folder}: check "
            "the disk."
        ) from None
    if result.returncode and on_failure is None:
        reason = result.stderr.decode(errors="replace").strip() or "no reason given"
        raise UserError(f"git {arguments[0]} failed in {folder}: {reason.splitlines()[-1]}.")
    return (on_failure or b"") if result.returncode else result.stdout


def files_of(folder: Path, into: Path) -> list[Path]:
    """The weight files of a sequence of checkpoints, in the order of the steps.

    Args:
        folder: contains folders ``step{N}``, or is a git repository (clone, bare or worktree) with
            such local or remote branches or tags.
        into: an empty folder for copies of the files in branches.

    Raises:
        UserError: it is neither, or part of the sequence is missing.
    """
    paths = {_STEP.fullmatch(path.parent.name): path for path in folder.glob(f"step*/{WEIGHTS}")}
    files = {int(match[1]): path for match, path in paths.items() if match and path.is_file()}
    is_bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    if not files and (is_bare or (folder / ".git").exists()):  # a file in a worktree
        for step, blob in _blobs(folder).items():
            files[step] = into / f"{revision_of(step)}.safetensors"
            files[step].write_bytes(_read_blob(folder, blob, revision_of(step)))
    if not files:
        raise UserError(
            f"{folder} holds no sequence of checkpoints: it needs folders step0, step1000, … with "
            f"a {WEIGHTS}, or branches with these names."
        )
    return [path for _, path in sorted(files.items())]


def _blobs(folder: Path) -> dict[int, str]:
    """The git object of the weights of each step.

    Warns if the weights of the current branch, usually the last step, are of no step.

    Raises:
        UserError: the clone has a single branch, a branch has no weights, or branches of one step
            have different weights.
    """
    fetched = git(folder, "config", "--get-regexp", r"^remote\..*\.fetch$", on_failure=b"")
    if fetched and not any(b"*" in line for line in fetched.splitlines()):
        raise UserError(
            f"{folder} is a single-branch clone without the other steps: fetch them with git "
            "remote set-branches origin '*' and git fetch, or import its one file by name."
        )
    blobs: dict[int, str] = {}
    for ref in git(folder, "for-each-ref", "--format=%(refname)").decode().split():
        if match := _REFS.fullmatch(ref):
            step, blob = int(match[1]), _blob_at(folder, ref)
            if not blob:
                raise UserError(
                    f"{folder} has no {WEIGHTS} in {ref}: delete the branch, or commit the file."
                )
            if blobs.setdefault(step, blob) != blob:
                raise UserError(
                    f"{folder} has different weights of step {step} in {ref} and in another "
                    "branch: delete one of them."
                )
    if blobs and (current := _blob_at(folder, "HEAD")) and current not in blobs.values():
        warn(
            f"The weights in the current branch of {folder} belong to none of its steps "
            f"({', '.join(map(str, sorted(blobs)))}): branches may be missing."
        )
    return blobs


def _blob_at(folder: Path, revision: str) -> str:
    """The git object of the weights in a revision, or ""."""
    name = f"{revision}:{WEIGHTS}"
    return git(folder, "rev-parse", "--verify", "--quiet", name, on_failure=b"").decode().strip()


def _read_blob(folder: Path, blob: str, revision: str) -> bytes:
    """The content of a git object, read from Git LFS storage if it is a pointer.

    Raises:
        UserError: the LFS file is missing.
    """
    content = git(folder, "cat-file", "blob", blob)
    pointer = _POINTER.match(content)
    if pointer is None:
        return content
    key = pointer[1].decode()
    git_dir = folder / git(folder, "rev-parse", "--git-common-dir").decode().strip()
    try:
        return (git_dir / "lfs" / "objects" / key[:2] / key[2:4] / key).read_bytes()
    except OSError:
        raise UserError(
            f"{folder} holds a Git LFS pointer instead of the weights of {revision}: fetch them "
            "with git lfs fetch --all."
        ) from None
