"""What a task is: inputs, labels, a split, a loss, and what counts as having learned it."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Integer, Shaped
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.tasks.cross_entropy import cross_entropy


class Examples(NamedTuple):
    """Inputs with their labels: integer tokens ``[n, pos]`` or vectors ``[n, d_input]``."""

    inputs: Shaped[Tensor, "n ..."]
    labels: Shaped[Tensor, "n ..."]


class Criterion(NamedTuple):
    """A curve counts as learned at an accuracy of at least, or a loss of at most, ``level``."""

    quantity: Literal["accuracy", "loss"]
    level: float


class Task(BaseModel):
    """A data set to grok, a pure function of its fields (which are what a run's config stores).

    A subclass gives `examples` (all of them, in a fixed order) and the sizes below; the split into
    train and test follows from ``train_fraction`` and ``split_seed`` unless it overrides
    `train_index` and `test_index`.

    Attributes:
        name: the name it is registered under.
        train_fraction: the share of all examples that is trained on; the rest is the test set.
        split_seed: seeds the shuffle that splits them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    #: "tokens": integer inputs ``[n, pos]``; "vectors": real inputs ``[n, d_input]``.
    input_kind: ClassVar[Literal["tokens", "vectors"]] = "tokens"
    #: True where labels are residues modulo ``d_output`` and the first tokens are the same
    #: residues, so that frequencies mean something.
    modular: ClassVar[bool] = False
    #: Generalized: t_gen is the first evaluated step at which the test curve meets it.
    criterion: ClassVar[Criterion] = Criterion("accuracy", 0.95)
    #: Memorized: t_mem is the first evaluated step at which the train curve meets it.
    train_criterion: ClassVar[Criterion] = Criterion("accuracy", 0.95)

    name: str
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.4
    split_seed: Annotated[int, Field(ge=0)] = 0

    def __eq__(self, other: object) -> bool:
        """Tasks are equal by their fields; what was computed from them does not count."""
        return type(self) is type(other) and self.model_dump() == other.model_dump()

    @cached_property
    def examples(self) -> Examples:
        """Every example of the task, train and test, in an order that depends on nothing else."""
        raise NotImplementedError

    @property
    def d_vocab(self) -> int:
        """Width of the input: the number of tokens, or the length of an input vector."""
        raise NotImplementedError

    @property
    def n_ctx(self) -> int:
        """Tokens per example (1 for vectors)."""
        return 1 if self.input_kind == "vectors" else self.examples.inputs.shape[1]

    @property
    def d_output(self) -> int:
        """Width of the output: the number of answers, or of regression targets."""
        raise NotImplementedError

    @property
    def vocabulary(self) -> list[str]:
        """What each token means, for labels in figures."""
        return [str(token) for token in range(self.d_vocab)]

    @cached_property
    def _order(self) -> Integer[Tensor, " n"]:
        generator = torch.Generator().manual_seed(self.split_seed)
        return torch.randperm(len(self.examples.labels), generator=generator)

    @property
    def n_train(self) -> int:
        """The number of training examples: ``train_fraction`` of all, rounded down.

        Raises:
            UserError: one of the two sides would be empty.
        """
        n = len(self.examples.labels)
        n_train = int(self.train_fraction * n)
        if not 0 < n_train < n:
            side = "train" if n_train == 0 else "test"
            raise UserError(
                f"A train fraction of {self.train_fraction} leaves the {side} side of {self.name} "
                f"empty ({n} examples): choose one between {1 / n:.2g} and {1 - 1 / n:.6g}."
            )
        return n_train

    @property
    def train_index(self) -> Integer[Tensor, " n_train"]:
        """Rows of `examples` that are trained on."""
        return self._order[: self.n_train]

    @property
    def test_index(self) -> Integer[Tensor, " n_test"]:
        """Rows of `examples` that are held out."""
        return self._order[self.n_train :]

    @cached_property
    def train(self) -> Examples:
        """The training set."""
        return Examples(*(tensor[self.train_index] for tensor in self.examples))

    @cached_property
    def test(self) -> Examples:
        """The test set."""
        return Examples(*(tensor[self.test_index] for tensor in self.examples))

    def loss(
        self, outputs: Float[Tensor, "n d_output"], labels: Integer[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy, exact however small it and its gradient are."""
        return cross_entropy(outputs, labels)

    @property
    def loss_units(self) -> str:
        """What the loss is counted in: nats for cross-entropy."""
        return "nats" if type(self).loss is Task.loss else "the task's own loss"

    def accuracy(
        self, outputs: Float[Tensor, "n d_output"], labels: Integer[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Share of examples whose largest output is the label's."""
        return (outputs.argmax(-1) == labels).double().mean()
