"""Names for several runs, and for the files about them."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run

#: File systems end at 255 bytes; an ending, and what a viewer shows, need some of them.
_LONGEST = 100


def labelled(runs: "Iterable[Run]") -> "dict[str, Run]":
    """The runs under their folders' names, made distinct by the folder above where they are not.

    Raises:
        UserError: a run is given twice.
    """
    given = list(runs)
    names = [run.name for run in given]
    labels = [
        run.name if names.count(run.name) == 1 else f"{run.path.resolve().parent.name}-{run.name}"
        for run in given
    ]
    if len(set(labels)) < len(labels):
        raise UserError("The same run is given twice: give each folder once.")
    return dict(zip(labels, given, strict=True))


def file_stem(name: str, labels: Sequence[str]) -> str:
    """A file name, without its ending, for results about runs, in the folder of the first.

    It names the others where they are few, else it holds their number and a digest.

    >>> file_stem("norms", ["base"]), file_stem("norms", ["base", "ticket"])
    ('norms', 'norms-vs-ticket')
    >>> file_stem("norms", [f"weight-decay-{n}" for n in range(30)])
    'norms-30-runs-e70b57ce'
    """
    _, *others = labels
    stem = "-vs-".join([name, *others])
    if len(stem.encode()) <= _LONGEST:
        return stem
    digest = blake2b("\n".join(labels).encode(), digest_size=4).hexdigest()
    return f"{name}-{len(labels)}-runs-{digest}"


def truncate(label: str) -> str:
    """A label as a part of a file's name: whole, or cut and ended by a digest where it is long."""
    if len(label.encode()) <= _LONGEST:
        return label
    digest = blake2b(label.encode(), digest_size=4).hexdigest()
    return f"{label.encode()[:_LONGEST].decode(errors='ignore')}-{digest}"
