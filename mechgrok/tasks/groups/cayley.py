"""User groups: a Cayley table from a text file, checked and stored in a run's settings."""

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

#: Limit on the bytes of a file; a table of the largest order has fewer.
_LARGEST_FILE = LARGEST_ORDER**2 * 6


def read_table(path: Path) -> Integer[np.ndarray, "n n"]:
    """Read a table from a text file: n lines of n whole numbers, separated by commas or blanks.

    Line a, column b, both counted from 0, has the number of a·b. Lines that begin with # are
    comments.

    Raises:
        UserError: the file is missing, or is not the table of a group.
    """
    try:
        if not path.exists():
            raise UserError(
                f"{path} does not exist: choose a group such as S5, or a file with its table."
            )
        if check_plain(path).st_size > _LARGEST_FILE:
            raise UserError(f"{path} is larger than the table of {LARGEST_ORDER:,} elements.")
        lines = read_text(path, _LARGEST_FILE).splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text: a table is lines of whole numbers.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}).") from None
    rows = [
        (number, line.replace(",", " ").split())
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    n = len(rows)
    if not 0 < n <= LARGEST_ORDER:
        raise UserError(f"{path} has {n:,} lines: a table has one for each of 1 to 5,040 elements.")
    for number, row in rows:
        if len(row) != n:
            raise UserError(
                f"{path}, line {number}, has {len(row):,} numbers, but the table has {n:,} lines: "
                "a group's table is square."
            )
        if wrong := [entry for entry in row if not (entry.isascii() and entry.isdigit())]:
            raise UserError(
                f"{path}, line {number}, has {wrong[0][:20]!r}, but entries are whole numbers from "
                "0 on."
            )
    # Truncate long numbers, which are not elements and would overflow NumPy's integers.
    table = np.array([[min(int(entry[:12]), 2**31) for entry in row] for _, row in rows])
    check_group(table, str(path))
    return table


def pack_table(table: Integer[np.ndarray, "n n"]) -> str:
    """A table as text: 16-bit numbers, row by row, compressed, in base64.

    >>> unpack_table(pack_table(np.array([[0, 1], [1, 0]])), "a table").tolist()
    [[0, 1], [1, 0]]
    """
    return base64.b64encode(zlib.compress(table.astype("<u2").tobytes(), 9)).decode("ascii")


def unpack_table(text: str, name: str) -> Integer[np.ndarray, "n n"]:
    """Read and check the table in a text of `pack_table`.

    Args:
        text: the text.
        name: the group's name in messages.

    Raises:
        UserError: the text is not the table of a group.
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
        raise UserError(f"The table of {name} is damaged: choose its file again with --group.")
    table = np.frombuffer(packed, dtype="<u2").reshape(n, n).astype(np.int64)
    check_group(table, f"The table of {name}")
    return table


def of_table(name: str, table: Integer[np.ndarray, "n n"]) -> Group:
    """The group of a table, with numbers as names of its elements."""
    return Group(name, table, tuple(map(str, range(len(table)))))
