"""The task of composing two elements of a finite group."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from mechgrok.errors import UserError
from mechgrok.tasks.base import Examples
from mechgrok.tasks.binary import BinaryOperation
from mechgrok.tasks.groups import families
from mechgrok.tasks.groups.cayley import of_table, pack_table, read_table, unpack_table
from mechgrok.tasks.groups.group import Group

if TYPE_CHECKING:
    from jaxtyping import Integer
    from torch import Tensor


class GroupComposition(BinaryOperation):
    """c = a·b in a finite group, over all ordered pairs of its elements.

    `mechgrok.tasks.groups.families` defines the elements of each group, their order and their
    products. A user group is a text file with its Cayley table (`mechgrok.tasks.groups.cayley`);
    the run's settings store the table.

    Source: Chughtai, Chan and Nanda 2023 (arXiv 2302.03025).
    """

    name: str = "group"
    group: str = Field(
        default="S5",
        description="Group: C12, D6, S5, A5, Q8, a product such as C3xS3, or a file with a table.",
    )
    table: str | None = Field(
        default=None,
        exclude_if=lambda table: table is None,
        description="The table from --group's file, as stored in config.json.",
    )

    @model_validator(mode="before")
    @classmethod
    def _known_group(cls, fields: dict[str, Any]) -> dict[str, Any]:
        name = fields.get("group", "S5")
        if not isinstance(name, str):
            raise UserError(f"A group's name must be text such as S5, not {name!r}.")
        if fields.get("table") is not None:
            unpack_table(fields["table"], name)
            return fields
        if "/" in name or "." in name:
            path = Path(name).expanduser()
            return fields | {"group": path.stem, "table": pack_table(read_table(path))}
        return fields | {"group": "x".join(families.parts_of(name))}

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.n_answers < 2:
            raise UserError(f"The group {self.group} has one element: choose a larger one.")
        return self

    @property
    def modular(self) -> bool:  # type: ignore[override]
        """Whether the task is addition: the group is a cyclic group given by name."""
        return self.table is None and self.group.startswith("C") and "x" not in self.group

    @cached_property
    def structure(self) -> Group:
        """The group."""
        if self.table is None:
            return families.named(self.group)
        return of_table(self.group, unpack_table(self.table, self.group))

    @property
    def n_answers(self) -> int:
        return families.order_of(self.group) if self.table is None else self.structure.order

    @property
    def order_matters(self) -> bool:
        if self.table is None:
            return not families.is_commutative(self.group)
        return not self.structure.is_commutative

    @property
    def n_examples(self) -> int:
        return self.n_answers**2

    @cached_property
    def pair(self) -> Integer[Tensor, "n 2"]:
        """All pairs (a, b), in lexicographic order of their numbers."""
        import torch

        elements = torch.arange(self.n_answers)
        return torch.cartesian_prod(elements, elements)

    def answer(self, a: Integer[Tensor, " n"], b: Integer[Tensor, " n"]) -> Integer[Tensor, " n"]:
        """The number of a·b."""
        import torch

        return torch.from_numpy(self.structure.table)[a, b]

    @cached_property
    def examples(self) -> Examples:
        return Examples(self.tokens(self.pair), self.answer(*self.pair.unbind(1)))

    @property
    def vocabulary(self) -> list[str]:
        return [*self.structure.elements, *["="] * self.equals]

    def __str__(self) -> str:
        return f"a·b in {self.group}, all pairs"
