"""Labels for several runs, and names for the files about them."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from mechgrok.errors import UserError

if TYPE_CHECKING:
    from mechgrok.runs import Run

#: Bytes; file systems allow 255, including the extension.
_LONGEST = 100


def labelled(runs: "Iterable[Run]") -> "dict[str, Run]":
    """The runs by the names of their folders; the parent folder's name distinguishes duplicates.

    Raises:
        UserError: a run is given twice.
    """
    runs = list(runs)
    names = [run.name for run in runs]
    labels = [
        run.name if names.count(run.name) == 1 else f"{run.path.resolve().parent.name}-{run.name}"
        for run in runs
    ]
    if len(set(labels)) < len(labels):
        raise UserError("The same run is given twice: give each folder once.")
    return dict(zip(labels, runs, strict=True))


def file_stem(name: str, labels: Sequence[str]) -> str:
    """The stem of a file about several runs, in the folder of the first.

    It contains the labels of the others, or their number and a digest if those are too long.

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
    """A label for a file name; a long one is cut and ends in a digest."""
    if len(label.encode()) <= _LONGEST:
        return label
    digest = blake2b(label.encode(), digest_size=4).hexdigest()
    return f"{label.encode()[:_LONGEST].decode(errors='ignore')}-{digest}"
