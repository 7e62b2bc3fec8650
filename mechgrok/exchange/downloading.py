"""Downloading checkpoints from a model hub, for `mechgrok.exchange.importing`.

An address is ``hf://OWNER/REPOSITORY``, or ``hf://OWNER/REPOSITORY/FOLDER``, or that of a file. A
sequence is stored as `mechgrok.exchange.hub` publishes it: revisions (branches or tags)
``step{N}``, or folders ``step{N}`` of the main revision. Only weights are downloaded; they are read
as any imported file is, so that nothing in them is executed.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mechgrok.deadline import Caller
from mechgrok.errors import UserError, in_a_sentence
from mechgrok.exchange.revisions import WEIGHTS, revision_of

#: As typed, or as a path, which has no double slash.
_ADDRESS = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)((?:/(?!\.\.?(?:/|$))[^/]+)*)/?")
_STEP = re.compile(r"step([0-9]{1,12})", re.ASCII)


def address_of(source: str | Path) -> str | None:
    """The address of a source on a hub; None for a file.

    Raises:
        UserError: it begins like an address, but names no repository.

    >>> address_of(Path("hf://somebody/grokked/run")), address_of("0.pth")
    ('hf://somebody/grokked/run', None)
    """
    text = str(source)
    if not text.startswith("hf:/"):
        return None
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise UserError(f"{text} names no repository: write hf://OWNER/REPOSITORY.")
    return f"hf://{match[1]}{match[2]}"


def download(address: str, into: Path, timeout: float) -> Path:
    """Download the weights at an address.

    Args:
        address: the address.
        into: an empty folder.
        timeout: seconds allowed for each request to the hub, including a whole file.

    Returns:
        A folder with folders ``step{N}``, or one file.

    Raises:
        UserError: huggingface_hub is not installed; the hub is unreachable, refuses, or does not
            answer in time; or the repository holds no weights there.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError(
            "Importing from a hub needs huggingface_hub: pip install 'mechgrok[hub]'."
        ) from None
    match = _ADDRESS.fullmatch(address)
    assert match is not None
    repository, inside = match[1], match[2].strip("/")
    hub, call = HfApi(), Caller(timeout)

    def request(function: Callable[..., Any], *arguments: object, **options: object) -> Any:
        try:
            return call(function, *arguments, **options)
        # The exceptions of a missing network depend on the version of huggingface_hub.
        except Exception as error:
            raise UserError(
                f"{address} cannot be downloaded ({in_a_sentence(error)}): check its name, the "
                "network and, for a private repository, your login (hf auth login)."
            ) from None

    def fetch(name: str, revision: str | None, to: str) -> Path:
        """Download a file of a revision to ``into / to``."""
        got = request(
            hub.hf_hub_download, repository, name, revision=revision, local_dir=into / "parts"
        )
        (into / to).parent.mkdir(exist_ok=True)
        os.replace(got, into / to)
        return into / to

    names = request(hub.list_repo_files, repository)
    if inside in names:
        return fetch(inside, None, Path(inside).name)
    weights = f"{inside}/{WEIGHTS}".lstrip("/")
    refs = request(hub.list_repo_refs, repository)
    revisions = dict.fromkeys(ref.name for ref in [*refs.branches, *refs.tags])
    steps: dict[str, tuple[str, str | None]]
    steps = {name: (weights, name) for name in revisions if _STEP.fullmatch(name)}
    if not steps:
        folder = re.compile(re.escape(f"{inside}/".lstrip("/")) + rf"({_STEP.pattern})/{WEIGHTS}")
        steps = {found[1]: (name, None) for name in names if (found := folder.fullmatch(name))}
    for step, (name, revision) in steps.items():
        fetch(name, revision, f"{revision_of(int(step[4:]))}/{WEIGHTS}")
    if steps:
        return into
    if weights in names:
        return fetch(weights, None, WEIGHTS)
    raise UserError(
        f"{address} holds neither a {WEIGHTS} nor steps step0, step1000, … with one: name a file "
        f"in it, hf://{repository}/FILE."
    )
