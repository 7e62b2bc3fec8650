"""The command to type next, which a command returns and `mechgrok.cli.main` prints.

A suggestion is a tuple of words after ``mechgrok``. It goes to stderr, so that tables, CSV and JSON
on stdout stay as they are, and ``--quiet`` omits it.
"""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechgrok.runs import Run

#: Words of a command; None where nothing follows naturally.
Suggestion = tuple[object, ...] | None


def first_look(run: "Run", *others: object) -> Suggestion:
    """Spectra of a task on residues or a group, learning curves of another.

    Args:
        run: the run.
        others: folders of runs to overlay.
    """
    from mechgrok.tasks.binary import BinaryOperation

    analysis = "fourier" if isinstance(run.task, BinaryOperation) else "accuracy"
    return ("analyze", analysis, run.path, *others)


def print_suggestion(words: Sequence[object]) -> None:
    """Print a suggestion as a command line."""
    print(f"next: {shlex.join(['mechgrok', *map(str, words)])}", file=sys.stderr)
