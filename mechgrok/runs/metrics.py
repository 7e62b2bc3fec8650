"""Reading and writing ``metrics.csv``, which has a row per evaluation."""

import io
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mechgrok.errors import UserError
from mechgrok.files import LARGEST_TEXT, append_text, read_bytes, write_text, write_whole
from mechgrok.metrics import USUAL as METRICS

if TYPE_CHECKING:
    import pandas as pd

NAME = "metrics.csv"


def write_metrics(
    folder: Path, rows: Iterable[dict[str, float]], further: Iterable[str] = ()
) -> None:
    """Write ``metrics.csv`` atomically, in full precision.

    Args:
        folder: the run's folder.
        rows: numbers by column; a missing column is NaN.
        further: columns besides `METRICS`.
    """
    columns = (*METRICS, *further)
    write_text(folder / NAME, ",".join(columns) + "\n" + _lines(rows, columns))


def append_metrics(folder: Path, rows: Iterable[dict[str, float]]) -> None:
    """Append rows to ``metrics.csv`` under its existing columns."""
    header = whole_lines(folder).partition(b"\n")[0].decode("utf-8", "replace").strip()
    append_text(folder / NAME, _lines(rows, header.split(",")))


def drop_metrics_from(folder: Path, step: int) -> None:
    """Delete the rows from ``step`` on, and an incomplete last line.

    Raises:
        UserError: as for `read_metrics`.
    """
    table = read_metrics(folder)
    header, *rows = whole_lines(folder).splitlines(keepends=True)
    if len(rows) != len(table):  # for example because an editor left empty lines
        records = ({str(k): v for k, v in row.items()} for row in table.to_dict("records"))
        columns = header.decode().strip().split(",")
        rows = [_lines([row], columns).encode() for row in records]
    earlier = (row for row, at in zip(rows, table.step, strict=True) if at < step)
    content = b"".join([header, *earlier])
    if content != read_bytes(folder / NAME):
        write_whole(folder / NAME, lambda partial: partial.write_bytes(content))


def whole_lines(folder: Path) -> bytes:
    """The content of ``metrics.csv`` without an incomplete last line.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        content = read_bytes(folder / NAME, LARGEST_TEXT)
    except OSError as error:
        raise UserError(f"{folder / NAME} cannot be read as a table ({error}).") from None
    return content[: content.rfind(b"\n") + 1]


def read_metrics(folder: Path) -> "pd.DataFrame":
    """The metrics as a table.

    Where a loss is NaN, so is the accuracy: version 0.1 continued after such a loss, and counted
    NaN as an answer.

    Raises:
        UserError: the file cannot be read, has other columns, or holds non-numeric values.
    """
    path = folder / NAME
    try:
        table = _parse(whole_lines(folder))
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} cannot be read as a table ({reason}).") from None
    if "step" not in table or not table.columns.isin(METRICS).any():
        raise UserError(f"{path} has columns {list(table)} instead of {list(METRICS)}.")
    for missing in (name for name in METRICS if name not in table):  # another version's file
        table[missing] = math.nan
    if table.empty:
        return table
    for column, kind in table.dtypes.items():
        if kind.kind not in "if" or (column == "step" and kind.kind != "i"):
            raise UserError(f"{path} holds non-numeric values in its column {column}.")
    if not table.step.is_monotonic_increasing:
        raise UserError(f"{path} has steps that are out of order.")
    for side in ("train", "test"):
        accuracy = table[f"{side}_accuracy"]
        table[f"{side}_accuracy"] = accuracy.where(table[f"{side}_loss"].notna())
    return table


def _parse(content: bytes) -> "pd.DataFrame":
    """Parse CSV so that every number round-trips exactly."""
    import pandas as pd

    with warnings.catch_warnings():
        # Before version 4, pandas rounds the last digit by default and warns about this option.
        warnings.simplefilter("ignore")
        if int(pd.__version__.partition(".")[0]) < 4:
            return pd.read_csv(io.BytesIO(content), float_precision="round_trip")
        return pd.read_csv(io.BytesIO(content))


def _lines(rows: Iterable[dict[str, float]], columns: Sequence[str]) -> str:
    def cells(row: dict[str, float]) -> Iterator[str]:
        values = (row.get(column, math.nan) for column in columns)
        return ("" if math.isnan(value) else repr(value) for value in values)

    return "".join(",".join(cells(row)) + "\n" for row in rows)
