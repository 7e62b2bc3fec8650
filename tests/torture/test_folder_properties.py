"""Whatever is done to a run folder in whatever order, it holds what was written last."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.files import remove_partials
from mechgrok.masks import Mask
from mechgrok.runs.checkpoint import (
    Checkpoint,
    checkpoint_file,
    checkpoints,
    drop_checkpoints_after,
    mask_density,
    read_checkpoint,
    write_checkpoint,
)
from mechgrok.runs.metrics import METRICS, append_metrics, drop_metrics_from, read_metrics
from mechgrok.runs.metrics import write_metrics as begin_metrics
from mechgrok.runs.state import BEFORE, NEWEST, read_state, write_state

floats = st.floats(width=32, allow_nan=True, allow_infinity=True)
shapes = st.lists(st.integers(0, 3), max_size=3)
tensors = shapes.flatmap(
    lambda shape: st.lists(
        floats, min_size=torch.Size(shape).numel(), max_size=torch.Size(shape).numel()
    ).map(lambda numbers: torch.tensor(numbers).reshape(shape))
)
named = st.dictionaries(st.text("WEin.θ/ '", min_size=1, max_size=6), tensors, max_size=3)
others = st.dictionaries(
    st.text("step/", min_size=1, max_size=5), st.integers() | st.booleans() | st.none(), max_size=2
)
rows = st.lists(st.lists(st.floats(allow_nan=False), min_size=6, max_size=6), max_size=3)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(a.view(torch.int32), other[n].view(torch.int32))  # NaN by its bits
        if isinstance(a, Tensor) and a.dtype == torch.float32
        else torch.equal(a, other[n])
        if isinstance(a, Tensor)
        else a == other[n]
        for n, a in one.items()
    )


class Folder(RuleBasedStateMachine):
    """The folder beside what should be in it."""

    def __init__(self) -> None:
        super().__init__()
        self._scratch = tempfile.TemporaryDirectory()
        self.path = Path(self._scratch.name)
        begin_metrics(self.path, [])
        self.kept: dict[int, Checkpoint] = {}
        self.rows: list[list[float]] = []
        self.states: dict[str, tuple[int, dict[str, Any]]] = {}
        self.torn = False
        self.damaged: set[int] = set()

    def teardown(self) -> None:
        self._scratch.cleanup()

    @rule(step=st.integers(0, 8), weights=named, masked=st.booleans(), scored=st.booleans())
    def write_a_checkpoint(
        self, step: int, weights: dict[str, Tensor], masked: bool, scored: bool
    ) -> None:
        mask = Mask({n: w > 0 for n, w in weights.items()}) if masked and weights else None
        checkpoint = Checkpoint(
            step, weights, mask, {n: w.clone() for n, w in weights.items()} if scored else {}
        )
        write_checkpoint(self.path, checkpoint)
        self.kept[step] = checkpoint
        self.damaged.discard(step)

    @precondition(lambda self: self.kept)
    @rule(state=named, more=others)
    def write_the_state(self, state: dict[str, Tensor], more: dict[str, Any]) -> None:
        step = max(self.kept)
        both = {f"{name}/exp": value for name, value in state.items()} | more
        write_state(self.path, step, both)
        if NEWEST in self.states and self.states[NEWEST][0] != step:
            self.states[BEFORE] = self.states[NEWEST]
        self.states[NEWEST] = (step, both)

    @precondition(lambda self: not self.torn)
    @rule(values=rows)
    def append_rows(self, values: list[list[float]]) -> None:
        first = self.rows[-1][0] + 1 if self.rows else 0
        new = [[first + k, *each] for k, each in enumerate(values)]
        append_metrics(self.path, [dict(zip(METRICS, row, strict=True)) for row in new])
        self.rows += new

    @precondition(lambda self: not self.torn)
    @rule(part=st.text("0123456789.,e-", max_size=12))
    def tear_a_row(self, part: str) -> None:
        with open(self.path / "metrics.csv", "a") as file:
            file.write(part)
        self.torn = True

    @rule(step=st.integers(0, 12))
    def drop_rows(self, step: int) -> None:
        drop_metrics_from(self.path, step)
        self.rows = [row for row in self.rows if row[0] < step]
        self.torn = False

    @rule(step=st.integers(-1, 8))
    def drop_checkpoints(self, step: int) -> None:
        drop_checkpoints_after(self.path, step)
        self.kept = {at: kept for at, kept in self.kept.items() if at <= step}
        self.damaged &= self.kept.keys()

    @rule(name=st.sampled_from(["metrics.csv", "step_00000003.safetensors", NEWEST]))
    def leave_a_partial(self, name: str) -> None:
        (self.path / f".{name}.1.partial").write_bytes(b"half")
        remove_partials(self.path)

    @precondition(lambda self: self.kept)
    @rule(share=st.floats(0, 1, exclude_max=True))
    def truncate_the_newest(self, share: float) -> None:
        file = checkpoint_file(self.path, max(self.kept))
        content = file.read_bytes()
        file.write_bytes(content[: int(share * len(content))])
        self.damaged.add(max(self.kept))

    @invariant()
    def checkpoints_are_read_as_they_were_written(self) -> None:
        assert checkpoints(self.path) == sorted(self.kept)
        for step, written in self.kept.items():
            if step in self.damaged:
                with pytest.raises(UserError):
                    read_checkpoint(self.path, step, check=True)
                continue
            read = read_checkpoint(self.path, step, check=True)
            assert equal(read.weights, written.weights)
            assert read.mask == written.mask
            assert equal(read.scores, written.scores)
            entries = written.mask.n_entries if written.mask else 0
            found = mask_density(self.path, step)
            assert found == (written.mask.density if written.mask and entries else None)

    @invariant()
    def metrics_are_read_to_the_last_digit(self) -> None:
        table = read_metrics(self.path)
        assert table.step.tolist() == [row[0] for row in self.rows]
        read = [value for row in table.itertuples(index=False) for value in row]
        wanted = [value for row in self.rows for value in row]
        assert np.array_equal(read, wanted, equal_nan=True)

    @invariant()
    def the_state_is_the_newest_that_has_a_sound_checkpoint(self) -> None:
        sound = self.kept.keys() - self.damaged
        wanted = [self.states[n] for n in (NEWEST, BEFORE) if n in self.states]
        wanted = [(step, state) for step, state in wanted if step in sound]
        try:
            step, state = read_state(self.path)
        except UserError:
            assert not wanted
            assert list(self.kept) != [0]
            return
        if wanted:
            assert step == wanted[0][0]
            assert equal(state, wanted[0][1])
        else:
            assert (step, state, list(self.kept)) == (0, {}, [0])

    @invariant()
    def nothing_else_is_there(self) -> None:
        names = {checkpoint_file(self.path, step).name for step in self.kept}
        assert {f.name for f in self.path.iterdir()} == names | {"metrics.csv", *self.states}


TestFolder = Folder.TestCase
