"""A whole sequence of checkpoints for a model hub, a revision ``step{N}`` for each.

That is how Pythia's checkpoints are published (Biderman et al. 2023, arXiv 2304.01373): whoever
loads ``revision="step2000"`` has the network at step 2,000, and ``main`` is the last. Here the
sequence is a folder with a folder for each step, a git repository with a branch for each, or is
sent to a hub; `mechgrok.exchange.importing` reads the first two back.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Thread
from typing import Any, TypeVar

from mechgrok.errors import ExternalError, UserError, in_a_sentence
from mechgrok.exchange.exporting import UNKNOWN_LICENSE, check_license, new_folder, write_network
from mechgrok.exchange.revisions import WEIGHTS, git, revision_of
from mechgrok.global_state import in_neutral_state
from mechgrok.runs import Run

T = TypeVar("T")
#: What the revision of the last step is called too.
LAST = "main"
FILES = ("README.md", "config.json", WEIGHTS)


@in_neutral_state
def export_sequence(
    run: Run,
    out: str | Path,
    steps: Sequence[int] | None = None,
    *,
    branches: bool = False,
    license: str = UNKNOWN_LICENSE,
) -> Path:
    """Write the networks of all checkpoints to a new folder.

    Args:
        run: the run.
        out: a folder that is absent or empty.
        steps: the checkpoints; all unless given.
        branches: a git repository with a branch for each step, instead of folders.
        license: of the weights, as model hubs call it, for the model cards.

    Raises:
        UserError: a step has no checkpoint, or the folder is taken or cannot be written, or git is
            not installed or fails.
    """
    chosen = run.select(steps)
    check_license(license)
    with new_folder(out) as beside:
        if branches:
            _as_branches(run, chosen, beside, license)
        else:
            for step in chosen:
                folder = beside / revision_of(step)
                folder.mkdir()
                write_network(run, step, folder, license)
            shutil.copy(beside / revision_of(chosen[-1]) / "README.md", beside / "README.md")
    return Path(out)


@in_neutral_state
def push(
    run: Run,
    repository: str,
    steps: Sequence[int] | None = None,
    *,
    private: bool = False,
    license: str = UNKNOWN_LICENSE,
    timeout: float = 300,
    progress: Callable[[int], object] = lambda step: None,
) -> str:
    """Send the networks of all checkpoints to a model hub, a revision for each; its address.

    The sender is whom `huggingface_hub` knows (``hf auth login``, or ``HF_TOKEN``). What is there
    already is replaced.

    Args:
        run: the run.
        repository: ``user/name``; made where it is not there.
        steps: the checkpoints; all unless given.
        private: make a repository that only its owner sees.
        license: of the weights, as model hubs call it, for the model cards.
        timeout: seconds that the hub may take to make the repository, and over each checkpoint.
        progress: called with each step that has been sent.

    Raises:
        UserError: huggingface_hub is not installed.
        ExternalError: the hub cannot be reached, refuses, or does not answer in time.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError("Sending to a hub needs the extra mechgrok[hub]: install it.") from None
    chosen, hub = run.select(steps), HfApi()
    check_license(license)

    def ask(call: Callable[[], T]) -> T:
        try:
            return _within(timeout, call)
        # Which exceptions a missing network raises depends on the version of huggingface_hub.
        except Exception as error:
            raise ExternalError(
                f"{repository} could not be sent ({in_a_sentence(error)}): check that the network "
                "reaches the hub and that you are logged in (hf auth login), and send it again."
            ) from None

    url = ask(lambda: hub.create_repo(repository, private=private, exist_ok=True))
    for step in chosen:
        files = _files(run, step, license)
        for revision in (revision_of(step), *([LAST] if step == chosen[-1] else [])):
            ask(partial(_commit, hub, repository, step, files, revision))
        progress(step)
    return str(url)


def _commit(
    hub: Any, repository: str, step: int, files: Mapping[str, bytes], revision: str
) -> None:
    """Send the files of one step as a revision."""
    from huggingface_hub import CommitOperationAdd

    if revision != LAST:
        hub.create_branch(repository, branch=revision, exist_ok=True)
    hub.create_commit(
        repository,
        [CommitOperationAdd(name, content) for name, content in files.items()],
        commit_message=f"Step {step}",
        revision=revision,
    )


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What a call returns or raises; huggingface_hub itself would wait for ever.

    Raises:
        TimeoutError: it took longer. Its thread ends with the process.
    """
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=work, daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} s") from None


def _files(run: Run, step: int, license: str) -> dict[str, bytes]:
    """The files of one network."""
    with TemporaryDirectory() as folder:
        write_network(run, step, Path(folder), license)
        return {name: (Path(folder) / name).read_bytes() for name in FILES}


def _as_branches(run: Run, steps: Sequence[int], folder: Path, license: str) -> None:
    """A repository whose branches are the steps, written by one ``git fast-import``."""
    git(folder, "init", "--quiet", f"--initial-branch={LAST}")
    with TemporaryFile() as commits:
        for step in steps:
            files = _files(run, step, license)
            for branch in (revision_of(step), *([LAST] if step == steps[-1] else [])):
                commits.write(_commit_of(branch, step, files))
        commits.seek(0)
        git(folder, "fast-import", "--quiet", stdin=commits)
    git(folder, "checkout", "--quiet", LAST)


def _commit_of(branch: str, step: int, files: Mapping[str, bytes]) -> bytes:
    """What ``git fast-import`` reads: a commit of one network's files on a branch."""
    parts = [f"commit refs/heads/{branch}\ncommitter mechgrok <mechgrok> 0 +0000\n".encode()]
    parts.append(_data(f"Step {step}\n".encode()))
    for name, content in files.items():
        parts += [f"M 100644 inline {name}\n".encode(), _data(content)]
    return b"".join(parts)


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)
