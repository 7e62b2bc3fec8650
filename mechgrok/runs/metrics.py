"""The metrics on disk: ``metrics.csv``, a row per evaluation, appended to as training goes on."""

import io
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mechgrok.errors import UserError
from mechgrok.files import LARGEST_TEXT, append_text, read_bytes, write_text, write_whole

if TYPE_CHECKING:
    import pandas as pd

#: The columns that every run has; those of further metrics (`mechgrok.metrics`) come after them.
METRICS = ("step", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "l1", "l2")
NAME = "metrics.csv"


def write_metrics(
    folder: Path, rows: Iterable[dict[str, float]], further: Iterable[str] = ()
) -> None:
    """Write ``metrics.csv``, whole or not at all; numbers keep every digit.

    Args:
        folder: the run's.
        rows: of numbers by column; what one lacks is not a number.
        further: columns besides `METRICS`.
    """
    columns = (*METRICS, *further)
    write_text(folder / NAME, ",".join(columns) + "\n" + _lines(rows, columns))


def append_metrics(folder: Path, rows: Iterable[dict[str, float]]) -> None:
    """Append rows to ``metrics.csv``, in the columns with which `write_metrics` has made it."""
    header = whole_lines(folder).partition(b"\n")[0].decode("utf-8", "replace").strip()
    append_text(folder / NAME, _lines(rows, header.split(",")))


def drop_metrics_from(folder: Path, step: int) -> None:
    """Delete the rows at ``step`` and after it, and a torn last line; they will be made again.

    Raises:
        UserError: they are no metrics.
    """
    table = read_metrics(folder)
    header, *rows = whole_lines(folder).splitlines(keepends=True)
    if len(rows) != len(table):  # Somebody's editor has left empty lines, say.
        records = ({str(k): v for k, v in row.items()} for row in table.to_dict("records"))
        columns = header.decode().strip().split(",")
        rows = [_lines([row], columns).encode() for row in records]
    kept = b"".join([header, *(row for row, at in zip(rows, table.step, strict=True) if at < step)])
    if kept != read_bytes(folder / NAME):
        write_whole(folder / NAME, lambda beside: beside.write_bytes(kept))


def whole_lines(folder: Path) -> bytes:
    """What ``metrics.csv`` holds, without a last line that is still being written or was torn.

    Raises:
        UserError: it cannot be read.
    """
    try:
        content = read_bytes(folder / NAME, LARGEST_TEXT)
    except OSError as error:
        raise UserError(f"{folder / NAME} cannot be read as a table ({error}).") from None
    return content[: content.rfind(b"\n") + 1]


def read_metrics(folder: Path) -> "pd.DataFrame":
    """The metrics as a table.

    Where a loss is not a number, neither is the accuracy: version 0.1 went on after such a loss,
    and counted NaN as an answer.

    Raises:
        UserError: they cannot be read, have other columns, or hold something else than numbers.
    """
    path = folder / NAME
    try:
        table = _every_digit(whole_lines(folder))
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        what = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} cannot be read as a table ({what}).") from None
    if "step" not in table or not table.columns.isin(METRICS).any():
        raise UserError(f"{path} has columns {list(table)} instead of {list(METRICS)}.")
    for lacking in (name for name in METRICS if name not in table):  # of another version
        table[lacking] = math.nan
    if table.empty:
        return table
    for column, kind in table.dtypes.items():
        if kind.kind not in "if" or (column == "step" and kind.kind != "i"):
            raise UserError(f"{path} holds something else than numbers in its column {column}.")
    if not table.step.is_monotonic_increasing:
        raise UserError(f"{path} has steps that are out of order.")
    for side in ("train", "test"):
        accuracy = table[f"{side}_accuracy"]
        table[f"{side}_accuracy"] = accuracy.where(table[f"{side}_loss"].notna())
    return table


def _every_digit(content: bytes) -> "pd.DataFrame":
    """A table as pandas reads it, its numbers the very ones that were written."""
    import pandas as pd

    with warnings.catch_warnings():
        # Before its fourth version pandas is off by a last digit unless told, and warns when told.
        warnings.simplefilter("ignore")
        if int(pd.__version__.partition(".")[0]) < 4:
            return pd.read_csv(io.BytesIO(content), float_precision="round_trip")
        return pd.read_csv(io.BytesIO(content))


def _lines(rows: Iterable[dict[str, float]], columns: Sequence[str]) -> str:
    def cells(row: dict[str, float]) -> Iterator[str]:
        values = (row.get(column, math.nan) for column in columns)
        return ("" if math.isnan(value) else repr(value) for value in values)

    return "".join(",".join(cells(row)) + "\n" for row in rows)
