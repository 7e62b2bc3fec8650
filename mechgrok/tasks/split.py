"""A split fixed row by row, for imported weights with a known training set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Integer
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from mechgrok.bits import pack_bits, unpack_bits
from mechgrok.errors import UserError, sentence


class Split(BaseModel):
    """A split of a task's examples into training and test set.

    Each side is stored as one bit per row of the task's `examples` (`mechgrok.bits`): 12,769 pairs
    take two kilobytes of ``config.json``.

    Attributes:
        n: the number of examples.
        train: the rows of the training set.
        test: the rows of the test set; None for all others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    train: str
    test: str | None = None

    @classmethod
    def of_rows(cls, n: int, train: Sequence[int], test: Sequence[int] | None = None) -> Self:
        """The split of ``n`` examples into rows ``train`` and ``test`` (default: the rest).

        Raises:
            UserError: a row is out of range or on both sides, or a side is empty.
        """
        sides = {name: _bits(n, rows) for name, rows in (("train", train), ("test", test)) if rows}
        if "test" in sides and sides["test"] == pack_bits(~unpack_bits(sides["train"], n)):
            del sides["test"]
        try:
            return cls(n=n, **sides)
        except ValidationError as error:
            raise UserError(sentence(error, "split")) from None

    @model_validator(mode="after")
    def _two_sides(self) -> Self:
        train, test = (np.zeros(self.n, bool) for _ in range(2))
        train[self.train_rows] = True
        test[self.test_rows] = True
        if not train.any() or not test.any():
            raise UserError(f"A split of {self.n} examples has an empty side.")
        if (train & test).any():
            row = int(np.flatnonzero(train & test)[0])
            raise UserError(f"A split has row {row} on both sides, train and test.")
        return self

    @property
    def train_rows(self) -> Integer[np.ndarray, " n_train"]:
        """The rows of the training set, in order."""
        return np.flatnonzero(unpack_bits(self.train, self.n))

    @property
    def test_rows(self) -> Integer[np.ndarray, " n_test"]:
        """The rows of the test set, in order."""
        if self.test is None:
            return np.flatnonzero(~unpack_bits(self.train, self.n))
        return np.flatnonzero(unpack_bits(self.test, self.n))

    @property
    def train_fraction(self) -> float:
        """The share of examples in the training set."""
        return len(self.train_rows) / self.n


def _bits(n: int, rows: Sequence[int]) -> str:
    numbers = np.asarray(rows, dtype=np.int64)
    if outside := [int(row) for row in numbers if not 0 <= row < n]:
        raise UserError(f"A split has row {outside[0]}, but there are {n} examples.")
    bits = np.zeros(n, dtype=bool)
    bits[numbers] = True
    return pack_bits(bits)
