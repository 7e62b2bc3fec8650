"""A result on disk is the result."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from mechgrok.errors import UserError
from mechgrok.runs.parquet import read_parquet, read_with_origin, write_parquet


@pytest.fixture
def dataset() -> xr.Dataset:
    generator = np.random.default_rng(0)
    return xr.Dataset(
        {
            "entropy": (("step", "neuron"), generator.random((3, 4), dtype=np.float32)),
            "dead": ("step", np.array([True, False, True])),
            "count": (("neuron", "step"), generator.integers(0, 9, (4, 3)), {"units": "edges"}),
            "total": ((), 2.5),
            "layer_of": ("neuron", np.array(["in", "in", "out", "out"])),
        },
        coords={
            "step": [0, 10, 30],
            "neuron": [0, 1, 2, 3],
            "group": ("neuron", ["a", "b", "a", "b"], {"definition": "by frequency"}),
            "weight": "W_in",
        },
        attrs={"t_gen": 30, "definition": "H = −Σ q log q", "key": [1, 5]},
    )


def test_a_dataset_comes_back_as_it_was(dataset: xr.Dataset, tmp_path: Path) -> None:
    write_parquet(dataset, tmp_path / "entropy.parquet")
    assert read_parquet(tmp_path / "entropy.parquet").identical(dataset)


def test_the_file_is_a_tidy_table_that_pandas_reads(dataset: xr.Dataset, tmp_path: Path) -> None:
    write_parquet(dataset, tmp_path / "entropy.parquet")
    table = pd.read_parquet(tmp_path / "entropy.parquet").dropna(subset="entropy")
    assert len(table) == dataset.entropy.size
    row = table[(table.step == 10) & (table.neuron == 2)]
    assert row.entropy.item() == dataset.entropy.sel(step=10, neuron=2).item()


def test_what_it_was_made_from_is_read_with_it(dataset: xr.Dataset, tmp_path: Path) -> None:
    write_parquet(dataset, tmp_path / "a.parquet", {"options": {"rate": 0.6}})
    answer, made_from = read_with_origin(tmp_path / "a.parquet")
    assert answer.identical(dataset)
    assert made_from == {"options": {"rate": 0.6}}
    write_parquet(dataset, tmp_path / "b.parquet")
    assert read_with_origin(tmp_path / "b.parquet")[1] is None
    with pytest.raises(UserError, match="parquet"):
        read_with_origin(tmp_path / "absent.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1 no table PAR1", b"step,entropy\n0,1\n"])
def test_a_foreign_or_truncated_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "entropy.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"entropy\.parquet"):
        read_parquet(path)
    with pytest.raises(UserError, match=r"entropy\.parquet"):
        read_with_origin(path)
