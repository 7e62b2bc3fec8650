"""A whole sequence of checkpoints for a model hub, a revision ``step{N}`` for each.

That is how Pythia's checkpoints are published (Biderman et al. 2023, arXiv 2304.01373): whoever
loads ``revision="step2000"`` has the network at step 2,000, and ``main`` is the last. Here the
sequence is a folder with a folder for each step, a git repository with a branch for each, or is
sent to a hub; `mechgrok.exchange.importing` reads the first two back.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mechgrok.errors import UserError, in_a_sentence
from mechgrok.exchange.exporting import new_folder, write_network
from mechgrok.exchange.revisions import WEIGHTS, git, revision_of
from mechgrok.global_state import in_neutral_state
from mechgrok.runs import Run

#: What the revision of the last step is called too.
LAST = "main"
FILES = ("README.md", "config.json", WEIGHTS)


@in_neutral_state
def export_sequence(
    run: Run, out: str | Path, steps: Sequence[int] | None = None, *, branches: bool = False
) -> Path:
    """Write the networks of all checkpoints to a new folder.

    Args:
        run: the run.
        out: a folder that is absent or empty.
        steps: the checkpoints; all unless given.
        branches: a git repository with a branch for each step, instead of folders.

    Raises:
        UserError: a step has no checkpoint, or the folder is taken or cannot be written, or git is
            not installed or fails.
    """
    chosen = run.select(steps)
    with new_folder(out) as beside:
        if branches:
            _as_branches(run, chosen, beside)
        else:
            for step in chosen:
                folder = beside / revision_of(step)
                folder.mkdir()
                write_network(run, step, folder)
            shutil.copy(beside / revision_of(chosen[-1]) / "README.md", beside / "README.md")
    return Path(out)


@in_neutral_state
def push(
    run: Run,
    repository: str,
    steps: Sequence[int] | None = None,
    *,
    private: bool = False,
    progress: Callable[[int], object] = lambda step: None,
) -> str:
    """Send the networks of all checkpoints to a model hub, a revision for each; its address.

    Who sends is whom `huggingface_hub` knows (``hf auth login``, or ``HF_TOKEN``). What is there
    already is replaced.

    Args:
        run: the run.
        repository: ``user/name``; made where it is not there.
        steps: the checkpoints; all unless given.
        private: make a repository that only its owner sees.
        progress: called with each step that has been sent.

    Raises:
        UserError: huggingface_hub is not installed, or the hub refuses.
    """
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise UserError("Sending to a hub needs the extra mechgrok[hub]: install it.") from None
    chosen, hub = run.select(steps), HfApi()
    try:
        url = hub.create_repo(repository, private=private, exist_ok=True)
        for step in chosen:
            files = _files(run, step)
            for revision in (revision_of(step), *([LAST] if step == chosen[-1] else [])):
                if revision != LAST:
                    hub.create_branch(repository, branch=revision, exist_ok=True)
                hub.create_commit(
                    repository,
                    [CommitOperationAdd(name, content) for name, content in files.items()],
                    commit_message=f"Step {step}",
                    revision=revision,
                )
            progress(step)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"{repository} could not be sent ({in_a_sentence(error)}): see that you are logged in "
            "(hf auth login), and send it again."
        ) from None
    return str(url)


def _files(run: Run, step: int) -> dict[str, bytes]:
    """The files of one network."""
    with TemporaryDirectory() as folder:
        write_network(run, step, Path(folder))
        return {name: (Path(folder) / name).read_bytes() for name in FILES}


def _as_branches(run: Run, steps: Sequence[int], folder: Path) -> None:
    """A repository whose branches are the steps, written by one ``git fast-import``."""
    git(folder, "init", "--quiet", f"--initial-branch={LAST}")
    loading = subprocess.Popen(
        ["git", "-C", folder, "fast-import", "--quiet"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert loading.stdin is not None
    try:
        for step in steps:
            for part in _commits(run, step, step == steps[-1]):
                loading.stdin.write(part)
    finally:
        _, said = loading.communicate()
    if loading.returncode:
        raise UserError(f"git could not write the steps: {said.decode(errors='replace').strip()}")
    git(folder, "checkout", "--quiet", LAST)


def _commits(run: Run, step: int, last: bool) -> Iterator[bytes]:
    """What ``git fast-import`` reads: the network's files on the step's branch, perhaps on main."""
    files = _files(run, step)
    for branch in (revision_of(step), *([LAST] if last else [])):
        yield f"commit refs/heads/{branch}\n".encode()
        yield b"committer mechgrok <mechgrok> 0 +0000\n"
        yield _data(f"Step {step}\n".encode())
        for name, content in files.items():
            yield f"M 100644 inline {name}\n".encode()
            yield _data(content)


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)
