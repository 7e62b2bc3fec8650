"""The names that the steps of a published sequence have, in folders and in git."""

import os
import subprocess
from pathlib import Path

from mechgrok.errors import ExternalError, UserError

#: The file of a network's weights.
WEIGHTS = "model.safetensors"


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


def git(folder: Path, *words: str) -> bytes:
    """What git answers.

    Raises:
        UserError: it is not installed, or refuses.
        ExternalError: it does not end.
    """
    command = ["git", "-C", str(folder), *_HARMLESS, *words]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=os.environ | _OFFLINE,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise ExternalError(
            f"git {words[0]} did not end within {PATIENCE:g} seconds in {folder}: see whether the "
            "disk answers."
        ) from None
    except FileNotFoundError:
        raise UserError("git is not installed: install it, or leave --git out.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"git {words[0]} failed in {folder}: {said[-1] if said else 'no word'}.")
    return done.stdout


def files_of(folder: Path, into: Path) -> list[Path]:
    """The weights of a sequence in a folder, in the order of the steps.

    Args:
        folder: one with folders ``step{N}``, or a git repository with such branches.
        into: an empty folder, to which the files of branches are taken out.

    Raises:
        UserError: it is neither.
    """
    steps = {step_of(path.name): path / WEIGHTS for path in folder.iterdir() if path.is_dir()}
    found = {step: path for step, path in steps.items() if step is not None and path.is_file()}
    if not found and (folder / ".git").is_dir():
        for name in git(folder, "branch", "--format=%(refname:short)").decode().split():
            if (step := step_of(name)) is not None:
                found[step] = into / f"{name}.safetensors"
                found[step].write_bytes(git(folder, "cat-file", "blob", f"{name}:{WEIGHTS}"))
    if not found:
        raise UserError(
            f"{folder} holds no sequence of checkpoints: no folders step0, step1000, … with a "
            f"{WEIGHTS}, and no branches of such names."
        )
    return [path for _, path in sorted(found.items())]
