"""Reading and writing xarray Datasets as tidy Parquet tables."""

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from mechgrok.errors import UserError
from mechgrok.files import read_bytes, write_whole

_METADATA, _DIGEST = b"mechgrok", b"mechgrok_blake2b"


def write_parquet(dataset: xr.Dataset, path: Path, made_from: dict[str, Any] | None = None) -> None:
    """Write ``dataset`` atomically as a tidy table.

    Every dimension, coordinate and variable has a column. Variables with the same dimensions share
    rows, in which all other dimensions are null. The file's metadata hold dimensions and
    attributes, from which `read_parquet` restores the dataset, and ``made_from``, which
    `read_with_origin` returns.
    """
    groups = _groups(dataset)
    frames = [_frame(dataset, list(dims), names) for dims, names in groups.items()]
    table = pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)
    described: dict[str, Any] = {
        "attrs": dataset.attrs,
        "groups": [[list(dims), names] for dims, names in groups.items()],
        "made_from": made_from,
        "sizes": {str(dim): size for dim, size in dataset.sizes.items()},
        "coords": {
            str(name): [list(coord.dims), coord.to_numpy().tolist(), coord.attrs]
            for name, coord in dataset.coords.items()
        },
        "variables": {
            str(name): [list(dataset[name].dims), str(dataset[name].dtype), dataset[name].attrs]
            for name in dataset.data_vars
        },
    }
    text = json.dumps(described, default=_plain).encode()
    metadata = {**(table.schema.metadata or {}), _METADATA: text, _DIGEST: _digest(text)}
    table = table.replace_schema_metadata(metadata)
    write_whole(
        path,
        lambda partial: pq.write_table(
            table, partial, compression="zstd", write_page_checksum=True
        ),
    )


def read_parquet(path: Path) -> xr.Dataset:
    """The dataset in a file of `write_parquet`; ``encoding["source"]`` is the path.

    Raises:
        UserError: the file is missing, truncated, damaged or foreign.
    """
    return read_with_origin(path)[0]


def read_with_origin(path: Path) -> tuple[xr.Dataset, dict[str, Any] | None]:
    """The dataset in a file of `write_parquet`, and its ``made_from``.

    Raises:
        UserError: as for `read_parquet`.
    """
    try:
        # From a buffer: pyarrow's threads can deadlock when they read a Python file.
        buffer = pa.BufferReader(read_bytes(path))
        table = pq.read_table(buffer, page_checksum_verification=True)
        described = _description(table.schema.metadata)
        dataset, made_from = _dataset(table, described), described["made_from"]
    except Exception as error:  # A damaged file can contain anything.
        raise UserError(f"{path} holds no results of an analysis ({error}).") from None
    dataset.encoding["source"] = str(path)
    return dataset, made_from


def _dataset(table: pa.Table, described: dict[str, Any]) -> xr.Dataset:
    sizes = described["sizes"]
    variables, start = {}, 0
    for dims, names in described["groups"]:
        shape = [sizes[dim] for dim in dims]
        stop = start + int(np.prod(shape))
        for name in names:
            _, dtype, attrs = described["variables"][name]
            column = table.column(name).slice(start, stop - start).to_numpy()
            variables[name] = (dims, column.astype(dtype).reshape(shape), attrs)
        start = stop
    coords = {name: tuple(coord) for name, coord in described["coords"].items()}
    return xr.Dataset(variables, coords=coords, attrs=described["attrs"])


def _description(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    text = metadata[_METADATA]
    if metadata.get(_DIGEST, _digest(text)) != _digest(text):
        raise ValueError("its description was damaged")
    return json.loads(text)


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).hexdigest().encode()


def _groups(dataset: xr.Dataset) -> dict[tuple[str, ...], list[str]]:
    """The variables' names by their dimensions."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, variable in dataset.data_vars.items():
        groups.setdefault(tuple(map(str, variable.dims)), []).append(str(name))
    return groups


def _frame(dataset: xr.Dataset, dims: list[str], names: list[str]) -> pd.DataFrame:
    """One row per coordinate of ``dims``, in C order, with the variables ``names``."""
    index = [dataset.get_index(dim) for dim in dims]
    rows = pd.MultiIndex.from_product(index, names=dims) if dims else pd.RangeIndex(1)
    columns = {name: dataset[name].to_numpy().reshape(-1) for name in names}
    frame = pd.DataFrame(columns, index=rows)
    return frame.reset_index() if dims else frame


def _plain(value: Any) -> Any:
    """Convert NumPy scalars and arrays to JSON types."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
