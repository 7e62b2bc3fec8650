"""A group of one's own: its Cayley table in a text file, checked, and kept in a run's settings."""

from __future__ import annotations

import base64
import binascii
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from mechgrok.errors import UserError
from mechgrok.files import check_plain, read_text
from mechgrok.tasks.groups.group import LARGEST_ORDER, Group, check_group

#: Bytes of a file that are read: a table of the largest order has fewer.
_LARGEST_FILE = LARGEST_ORDER**2 * 6


def read_table(path: Path) -> Integer[np.ndarray, "n n"]:
    """The table in a text file: n lines of n whole numbers, between commas or blanks.

    Line a, column b, both counted from 0, holds the number of a·b. Lines that begin with # say
    something else.

    Raises:
        UserError: the file is missing, is no table of whole numbers, or is no group's.
    """
    try:
        if not path.exists():
            raise UserError(
                f"{path} is not there: name a group such as S5, or a file that holds its table."
            )
        if check_plain(path).st_size > _LARGEST_FILE:
            raise UserError(f"{path} is larger than the table of {LARGEST_ORDER:,} elements.")
        lines = read_text(path, _LARGEST_FILE).splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text: a table is lines of whole numbers.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).") from None
    rows = [
        (at, line.replace(",", " ").split())
        for at, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    n = len(rows)
    if not 0 < n <= LARGEST_ORDER:
        raise UserError(f"{path} has {n:,} lines: a table has one for each of 1 to 5,040 elements.")
    for at, row in rows:
        if len(row) != n:
            raise UserError(
                f"{path}, line {at}, has {len(row):,} numbers, but the table has {n:,} lines: a "
                "group's table is square."
            )
        if wrong := [word for word in row if not (word.isascii() and word.isdigit())]:
            raise UserError(
                f"{path}, line {at}, holds {wrong[0][:20]!r}, which is no whole number from 0 on."
            )
    # Numbers of twenty digits are no elements, and none of NumPy's integers either.
    table = np.array([[min(int(word[:12]), 2**31) for word in row] for _, row in rows])
    check_group(table, str(path))
    return table


def pack_table(table: Integer[np.ndarray, "n n"]) -> str:
    """A table as text: 16 bits a number, row by row, compressed, in base64.

    >>> unpack_table(pack_table(np.array([[0, 1], [1, 0]])), "a table").tolist()
    [[0, 1], [1, 0]]
    """
    return base64.b64encode(zlib.compress(table.astype("<u2").tobytes(), 9)).decode("ascii")


def unpack_table(text: str, what: str) -> Integer[np.ndarray, "n n"]:
    """The table that `pack_table` wrote, checked to be a group's.

    Args:
        text: what it wrote.
        what: the group, in words, for the message.

    Raises:
        UserError: the text is no such table.
    """
    try:
        inflate = zlib.decompressobj()
        packed = inflate.decompress(
            base64.b64decode(text, validate=True), max_length=2 * LARGEST_ORDER**2
        )
        complete = inflate.eof
    except (binascii.Error, zlib.error, ValueError, TypeError):
        packed, complete = b"", False
    n = round((len(packed) / 2) ** 0.5)
    if not complete or not n or len(packed) != 2 * n * n:
        raise UserError(f"The table of {what} is damaged: name its file again with --group.")
    table = np.frombuffer(packed, dtype="<u2").reshape(n, n).astype(np.int64)
    check_group(table, f"The table of {what}")
    return table


def of_table(name: str, table: Integer[np.ndarray, "n n"]) -> Group:
    """The group of a table; its elements are called by their numbers."""
    return Group(name, table, tuple(map(str, range(len(table)))))
