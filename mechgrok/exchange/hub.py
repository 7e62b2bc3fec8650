"""A whole sequence of checkpoints for a model hub, a revision ``step{N}`` for each.

That is how Pythia's checkpoints are published (Biderman et al. 2023, arXiv 2304.01373): whoever
loads ``revision="step2000"`` has the network at step 2,000, and ``main`` is the last. Here the
sequence is a folder with a folder for each step, a git repository with a branch for each, or is
sent to a hub; `mechgrok.exchange.importing` reads the first two back.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Thread
from typing import TypeVar

from mechgrok.errors import ExternalError, UserError, in_a_sentence
from mechgrok.exchange.exporting import UNKNOWN_LICENSE, check_license, new_folder, write_network
from mechgrok.exchange.revisions import git, revision_of
from mechgrok.global_state import in_neutral_state
from mechgrok.runs import Run

T = TypeVar("T")
#: The revision of the last step, beside its own.
LAST = "main"


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
        branches: make a git repository with a branch for each step, instead of folders.
        license: of the weights, as model hubs call it, for the model cards.

    Raises:
        UserError: a step has no checkpoint, or the folder is taken or cannot be written, or git is
            not installed or fails.
    """
    chosen = run.select(steps)
    check_license(license)
    with new_folder(out) as folder:
        if branches:
            _write_branches(run, chosen, folder, license)
        else:
            for step in chosen:
                (folder / revision_of(step)).mkdir()
                write_network(run, step, folder / revision_of(step), license)
            shutil.copy(folder / revision_of(chosen[-1]) / "README.md", folder / "README.md")
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

    The sender is the account that `huggingface_hub` knows (``hf auth login``, or ``HF_TOKEN``).
    What is there already is replaced.

    Args:
        run: the run.
        repository: ``user/name``; made where it is not there.
        steps: the checkpoints; all unless given.
        private: make a repository that only its owner sees.
        license: of the weights, as model hubs call it, for the model cards.
        timeout: seconds that the hub may take to make the repository, and for each revision.
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

    def send(folder: Path, step: int, revision: str) -> None:
        if revision != LAST:
            hub.create_branch(repository, branch=revision, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"Step {step}",
            revision=revision,
        )

    def ask(call: Callable[..., T], *arguments: object, **options: object) -> T:
        try:
            return _within(timeout, lambda: call(*arguments, **options))
        # Which exceptions a missing network raises depends on the version of huggingface_hub.
        except Exception as error:
            raise ExternalError(
                f"{repository} could not be sent ({in_a_sentence(error)}): check that the network "
                "reaches the hub and that you are logged in (hf auth login), and send it again."
            ) from None

    url = ask(hub.create_repo, repository, private=private, exist_ok=True)
    for step in chosen:
        with _network_files(run, step, license) as folder:
            for revision in _revisions(step, chosen):
                ask(send, folder, step, revision)
        progress(step)
    return str(url)


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


def _revisions(step: int, steps: Sequence[int]) -> list[str]:
    """The revisions that hold a step of a sequence."""
    return [revision_of(step)] + [LAST] * (step == steps[-1])


@contextmanager
def _network_files(run: Run, step: int, license: str) -> Iterator[Path]:
    """A temporary folder with the files of one network."""
    with TemporaryDirectory() as folder:
        write_network(run, step, Path(folder), license)
        yield Path(folder)


def _write_branches(run: Run, steps: Sequence[int], repository: Path, license: str) -> None:
    """A repository whose branches are the steps, written by one ``git fast-import``."""
    git(repository, "init", "--quiet", f"--initial-branch={LAST}")
    with TemporaryFile() as commits:
        for step in steps:
            with _network_files(run, step, license) as folder:
                content = b"".join(
                    b"M 100644 inline %b\n%b" % (file.name.encode(), _data(file.read_bytes()))
                    for file in sorted(folder.iterdir())
                )
            for branch in _revisions(step, steps):
                head = f"commit refs/heads/{branch}\ncommitter mechgrok <mechgrok> 0 +0000\n"
                commits.write(head.encode() + _data(f"Step {step}\n".encode()) + content)
        commits.seek(0)
        git(repository, "fast-import", "--quiet", stdin=commits)
    git(repository, "checkout", "--quiet", LAST)


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)
