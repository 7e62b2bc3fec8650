"""Publishing a sequence of checkpoints, with one revision ``step{N}`` per step.

Pythia's checkpoints are published in this layout (Biderman et al. 2023, arXiv 2304.01373):
``revision="step2000"`` is the network at step 2,000, ``main`` the last. The sequence becomes one
folder per step, a git repository with one branch per step, or an upload to a hub;
`mechgrok.exchange.importing` reads the first two.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from mechgrok.deadline import Caller
from mechgrok.errors import ExternalError, UserError, in_a_sentence
from mechgrok.exchange.exporting import UNKNOWN_LICENSE, check_license, write_network
from mechgrok.exchange.revisions import git, revision_of
from mechgrok.files import new_folder
from mechgrok.global_state import in_neutral_state
from mechgrok.runs import Run

#: A second revision of the last step.
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
        steps: the checkpoints; default: all.
        branches: write a git repository with one branch per step instead of folders.
        license: license of the weights, by its name on model hubs, for the model cards.

    Raises:
        UserError: a step has no checkpoint, the folder is not empty or not writable, or git is not
            installed or fails.
    """
    selected = run.select(steps)
    check_license(license)
    with new_folder(out) as folder:
        if branches:
            _write_branches(run, selected, folder, license)
        else:
            for step in selected:
                (folder / revision_of(step)).mkdir()
                write_network(run, step, folder / revision_of(step), license)
            shutil.copy(folder / revision_of(selected[-1]) / "README.md", folder / "README.md")
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
    """Upload the networks of all checkpoints to a model hub; returns the repository's URL.

    Uses the account of `huggingface_hub` (``hf auth login``, or ``HF_TOKEN``) and replaces existing
    revisions.

    Args:
        run: the run.
        repository: ``user/name``; created if missing.
        steps: the checkpoints; default: all.
        private: create a private repository.
        license: license of the weights, by its name on model hubs, for the model cards.
        timeout: seconds allowed to create the repository and for each revision.
        progress: called with each uploaded step.

    Raises:
        UserError: huggingface_hub is not installed.
        ExternalError: the hub is unreachable, refuses, or does not answer in time.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError(
            "Uploading to a hub needs huggingface_hub: pip install 'mechgrok[hub]'."
        ) from None
    selected, hub = run.select(steps), HfApi()
    check_license(license)

    def upload(folder: Path, step: int, revision: str) -> None:
        if revision != LAST:
            hub.create_branch(repository, branch=revision, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"Step {step}",
            revision=revision,
        )

    call = Caller(timeout)

    def request(function: Callable[..., object], *arguments: object, **options: object) -> object:
        try:
            return call(function, *arguments, **options)
        # The exceptions of a missing network depend on the version of huggingface_hub.
        except Exception as error:
            raise ExternalError(
                f"The upload to {repository} failed ({in_a_sentence(error)}): check the network "
                "and your login (hf auth login), and try again."
            ) from None

    url = request(hub.create_repo, repository, private=private, exist_ok=True)
    for step in selected:
        with _network_files(run, step, license) as folder:
            for revision in _revisions(step, selected):
                request(upload, folder, step, revision)
        progress(step)
    return str(url)


def _revisions(step: int, steps: Sequence[int]) -> list[str]:
    """The revisions of a step."""
    return [revision_of(step)] + [LAST] * (step == steps[-1])


@contextmanager
def _network_files(run: Run, step: int, license: str) -> Iterator[Path]:
    """A temporary folder with the files of one network."""
    with TemporaryDirectory() as folder:
        write_network(run, step, Path(folder), license)
        yield Path(folder)


def _write_branches(run: Run, steps: Sequence[int], repository: Path, license: str) -> None:
    """Write a git repository with one branch per step, by one ``git fast-import``."""
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
    """A data command of ``git fast-import``."""
    return b"data %d\n%b\n" % (len(content), content)
