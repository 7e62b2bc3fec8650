"""Reading a published sequence: folders, or branches and tags of a git repository."""

import os
import re
import subprocess
from pathlib import Path
from typing import IO

from mechgrok.errors import ExternalError, UserError, warn

#: The file of a network's weights.
WEIGHTS = "model.safetensors"
#: Seconds that git may take for one command.
GIT_TIMEOUT = 600.0
_STEP = re.compile(r"step([0-9]{1,12})", re.ASCII)
#: Branches and tags of a repository, and of those that it was cloned from.
_REFS = re.compile(r"refs/(?:heads|tags|remotes/[^/]+)/step([0-9]{1,12})", re.ASCII)
#: What stands in place of a large file that Git LFS keeps elsewhere.
_POINTER = re.compile(rb"version https://git-lfs[^\n]*\n(?:.*\n)?oid sha256:([0-9a-f]{64})\n")
#: A foreign repository can name programs in its configuration: none is run, nothing is fetched.
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
    """What git prints about the repository in a folder, and in no folder above it.

    Args:
        folder: with the repository.
        arguments: of the command line.
        stdin: a file that git reads.
        on_failure: returned if git fails, instead of raising.

    Raises:
        UserError: git is not installed, or fails.
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
            timeout=GIT_TIMEOUT,
        )
    except FileNotFoundError:
        raise UserError("git is not installed: install it, or leave --git out.") from None
    except subprocess.TimeoutExpired:
        raise ExternalError(
            f"git {arguments[0]} did not end within {GIT_TIMEOUT:g} seconds in {folder}: see "
            "whether the disk answers."
        ) from None
    if done.returncode and on_failure is None:
        reason = done.stderr.decode(errors="replace").strip() or "it gives no reason"
        raise UserError(f"git {arguments[0]} failed in {folder}: {reason.splitlines()[-1]}.")
    return (on_failure or b"") if done.returncode else done.stdout


def files_of(folder: Path, into: Path) -> list[Path]:
    """The weights of a sequence in a folder, in the order of the steps.

    Args:
        folder: one with folders ``step{N}``, or a git repository (a clone, a bare one, a worktree)
            with such branches or tags, its own or those of where it was cloned from.
        into: an empty folder, to which the files of branches are copied.

    Raises:
        UserError: it is neither, or lacks a part of the sequence.
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
            f"{folder} holds no sequence of checkpoints: no folders step0, step1000, … with a "
            f"{WEIGHTS}, and no branches of such names."
        )
    return [path for _, path in sorted(files.items())]


def _blobs(folder: Path) -> dict[int, str]:
    """The git object that holds the weights of each step.

    Warns where the current branch, which has the last step as a rule, has weights of none of them.

    Raises:
        UserError: it is a clone of one branch, which lacks the other steps; or a branch has no
            weights, or two of the same step have different ones.
    """
    fetched = git(folder, "config", "--get-regexp", r"^remote\..*\.fetch$", on_failure=b"")
    if fetched and not any(b"*" in line for line in fetched.splitlines()):
        raise UserError(
            f"{folder} is a clone of a single branch, without the other steps: fetch them with git "
            "remote set-branches origin '*' and git fetch, or import the one file by its name."
        )
    blobs: dict[int, str] = {}
    for ref in git(folder, "for-each-ref", "--format=%(refname)").decode().split():
        if match := _REFS.fullmatch(ref):
            step, blob = int(match[1]), _blob_at(folder, ref)
            if not blob:
                raise UserError(f"{folder} has no {WEIGHTS} in {ref}: delete it, or commit one.")
            if blobs.setdefault(step, blob) != blob:
                raise UserError(
                    f"{folder} has other weights of step {step} in {ref} than in another branch: "
                    "delete one of them."
                )
    if blobs and (current := _blob_at(folder, "HEAD")) and current not in blobs.values():
        warn(
            f"The current branch of {folder} holds weights of none of its steps "
            f"({', '.join(map(str, sorted(blobs)))}): branches may be missing."
        )
    return blobs


def _blob_at(folder: Path, revision: str) -> str:
    """The git object of the weights in a revision; empty where it has none."""
    at = f"{revision}:{WEIGHTS}"
    return git(folder, "rev-parse", "--verify", "--quiet", at, on_failure=b"").decode().strip()


def _read_blob(folder: Path, blob: str, revision: str) -> bytes:
    """What a git object holds, or what Git LFS keeps for it in the repository.

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
