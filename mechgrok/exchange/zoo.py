"""The zoo: small runs that come with mechgrok, each a folder with a card, ``README.md``.

The first line of a card describes the run, and its first block of code is the command that trains
it; ``data/make_zoo.py`` runs these commands. Checkpoints are stored in float16.
"""

from hashlib import blake2b
from importlib.resources import files
from pathlib import Path

from mechgrok.errors import UserError, choices, near
from mechgrok.files import cache_folder, make_folder, new_folder
from mechgrok.runs import Run
from mechgrok.runs.folder import CONFIG

CARD = "README.md"


def zoo(name: str) -> Run:
    """A run that comes with mechgrok, opened from a copy in the user's cache folder.

    The copy keeps the results of analyses, so that nothing is written into the installed package.
    It is made once, in ``MECHGROK_DATA`` if set, and made anew if the shipped run changes.

    Args:
        name: one of `zoo_runs`.

    Raises:
        UserError: there is no such run, or the cache folder cannot be written.

    >>> zoo("transformer").t_gen
    1000
    """
    source = _source(name)
    content = blake2b(digest_size=4)
    for file in _files(source):
        content.update(file.name.encode() + file.read_bytes())
    copy = cache_folder() / "zoo" / content.hexdigest() / name
    if not (copy / CONFIG).exists():
        make_folder(copy.parent)
        try:
            copy_zoo_run(name, copy)
        except UserError:
            if not (copy / CONFIG).exists():  # Another process may just have made it.
                raise
    return Run(copy)


def zoo_runs() -> dict[str, str]:
    """The runs that come with mechgrok: their descriptions, by name."""
    return {card.parent.name: _description(card) for card in sorted(_folder().glob(f"*/{CARD}"))}


def copy_zoo_run(name: str, folder: str | Path) -> Run:
    """Copy a run that comes with mechgrok, with its card, to a new folder.

    Args:
        name: one of `zoo_runs`.
        folder: a folder that is absent or empty; it is written completely or not at all.

    Raises:
        UserError: there is no such run, or the folder is not empty or not writable.
    """
    source = _source(name)
    with new_folder(folder) as partial:
        for file in _files(source):
            (partial / file.name).write_bytes(file.read_bytes())
    return Run(folder)


def _folder() -> Path:
    return Path(str(files("mechgrok"))) / "data"


def _source(name: str) -> Path:
    """The shipped folder of a run.

    Raises:
        UserError: there is no such run, and the message names the nearest.
    """
    if name not in (known := zoo_runs()):
        raise UserError(
            f"There is no run {name!r} in the zoo{near(name, known)}: choose {choices(known)}."
        )
    return _folder() / name


def _files(source: Path) -> list[Path]:
    """The files of a run and its card, without results of analyses, which lie in folders."""
    return sorted(path for path in source.iterdir() if path.is_file())


def _description(card: Path) -> str:
    return card.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
