"""The base class of tasks: inputs, labels, a split, a loss, and criteria of learning."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from mechgrok.errors import UserError
from mechgrok.fields import Settings
from mechgrok.global_state import neutral_properties
from mechgrok.tasks.objectives import OBJECTIVES, Criterion, Objective, ObjectiveName
from mechgrok.tasks.split import Split

if TYPE_CHECKING:
    from jaxtyping import Float, Integer, Shaped
    from torch import Tensor

#: Maps outputs and labels to the mean loss.
Loss: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
#: A seed of a generator: torch and numpy both take 63 bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Examples(NamedTuple):
    """Inputs with their labels: integer tokens ``[n, pos]`` or vectors ``[n, d_input]``."""

    inputs: Shaped[Tensor, "n ..."]
    labels: Shaped[Tensor, "n ..."]


@neutral_properties
class Task(Settings):
    """A data set to grok, a pure function of its fields, which a run's config stores.

    A subclass defines `examples`, in a fixed order, and the sizes below. The split into train and
    test follows from ``train_fraction`` and ``split_seed`` (or ``fixed_split``), unless the
    subclass overrides `train_index` and `test_index`. Training minimizes its `training_objective`;
    a task may also define its own ``loss``, ``accuracy`` and criteria.
    """

    model_config = ConfigDict(ignored_types=(cached_property,))

    #: "tokens": integer inputs ``[n, pos]``; "vectors": real inputs ``[n, d_input]``.
    input_kind: ClassVar[Literal["tokens", "vectors"]] = "tokens"
    #: Whether labels and the first tokens are residues modulo ``d_output``, so that frequencies are
    #: defined.
    modular: ClassVar[bool] = False
    #: The reason if not, a predicate of the task.
    why_not_modular: ClassVar[str] = "is not modular arithmetic"
    #: Generalized: t_gen is the first evaluated step at which the test curve meets it.
    criterion: ClassVar[Criterion] = property(  # type: ignore[assignment]
        lambda task: task.training_objective.criterion
    )
    #: Memorized: t_mem is the first evaluated step at which the train curve meets it.
    train_criterion: ClassVar[Criterion] = property(  # type: ignore[assignment]
        lambda task: task.training_objective.train_criterion
    )

    name: str = Field(
        description="Task: add, sub, mul, …, parity, mnist, or your own, file.py:name."
    )
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.4, description="Share of examples in the training set; the rest is the test set."
    )
    split_seed: Seed | None = Field(
        default=0, description="Seed of the split; none for a fixed split."
    )
    label_noise: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        exclude_if=lambda share: not share,
        description="Share of training labels that are replaced.",
    )
    noise_seed: Seed = Field(
        default=0, exclude_if=lambda seed: not seed, description="Seed of the label noise."
    )
    objective: ObjectiveName | None = Field(
        default=None,
        exclude_if=lambda objective: objective is None,
        description="Loss for classification: cross-entropy (exact), stablemax, mse, hinge, "
        "cross-entropy-float64, cross-entropy-float32, or your own.",
    )
    fixed_split: Split | None = Field(
        default=None,
        exclude_if=lambda split: split is None,
        description="The split row by row, for imported weights with a known training set.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fixed_split_has_no_seed(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        if fields.get("fixed_split") is None:
            return fields | {"split_seed": 0} if fields.get("split_seed", 0) is None else fields
        split = Split.model_validate(fields["fixed_split"])
        return fields | {"split_seed": None, "train_fraction": split.train_fraction}

    @model_validator(mode="after")
    def _one_loss(self) -> Self:
        if self.objective is not None and type(self).loss is not Task.loss:
            raise UserError(f"The task {self.name} has its own loss: omit the objective.")
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        neutral_properties(cls)

    def __eq__(self, other: object) -> bool:
        """Tasks are equal if their fields, including the name, are equal.

        The class itself is not compared, because its file may have been loaded twice.
        """
        if not isinstance(other, Task) or type(self).__name__ != type(other).__name__:
            return False
        return self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.model_dump_json()))

    @cached_property
    def examples(self) -> Examples:
        """All examples of the task, train and test, in a fixed order."""
        raise NotImplementedError

    @cached_property
    def training_objective(self) -> Objective:
        """The loss, the accuracy and the criteria of learning."""
        return OBJECTIVES.load(self.objective or "cross-entropy")

    @property
    def n_examples(self) -> int:
        """The number of examples, train and test, if possible without making them."""
        return len(self.examples.labels)

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
        """The meaning of each token, for labels in figures."""
        return [str(token) for token in range(self.d_vocab)]

    @cached_property
    def _order(self) -> Integer[Tensor, " n"]:
        import torch

        generator = torch.Generator().manual_seed(self.split_seed or 0)
        return torch.randperm(len(self.examples.labels), generator=generator)

    @property
    def n_train(self) -> int:
        """The number of training examples: ``train_fraction`` of all, rounded down.

        Raises:
            UserError: a side would be empty.
        """
        n = self.n_examples
        if self.fixed_split is not None:
            return len(self._fixed_rows("train"))
        n_train = int(self.train_fraction * n)
        if not 0 < n_train < n:
            side = "train" if n_train == 0 else "test"
            raise UserError(
                f"A train fraction of {self.train_fraction} leaves the {side} side of {self.name} "
                f"empty ({n} examples): choose one between {1 / n:.2g} and {1 - 1 / n:.6g}."
            )
        return n_train

    @property
    def n_sides(self) -> tuple[int, int]:
        """The numbers of training and test examples, if possible without making them."""
        usual = type(self).train_index is Task.train_index and self.fixed_split is None
        if usual and type(self).test_index is Task.test_index:
            return self.n_train, self.n_examples - self.n_train
        return len(self.train_index), len(self.test_index)

    @property
    def train_index(self) -> Integer[Tensor, " n_train"]:
        """Rows of `examples` in the training set."""
        if self.fixed_split is not None:
            return self._fixed_rows("train")
        return self._order[: self.n_train]

    @property
    def test_index(self) -> Integer[Tensor, " n_test"]:
        """Rows of `examples` in the test set."""
        if self.fixed_split is not None:
            return self._fixed_rows("test")
        return self._order[self.n_train :]

    def _fixed_rows(self, side: Literal["train", "test"]) -> Integer[Tensor, " n_side"]:
        import torch

        split, n = self.fixed_split, self.n_examples
        assert split is not None
        if split.n != n:
            raise UserError(f"The split has {split.n} examples, but {self} has {n}.")
        return torch.from_numpy(split.train_rows if side == "train" else split.test_rows)

    @cached_property
    def train(self) -> Examples:
        """The training set, with `label_noise`; `examples` and `test` have the true labels."""
        inputs, labels = (tensor[self.train_index] for tensor in self.examples)
        return Examples(inputs, self._with_noise(labels) if self.label_noise else labels)

    def _with_noise(self, labels: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."]:
        """Replace a share of the training labels, each by a uniformly random other label."""
        import torch

        distinct, indices = self.examples.labels.unique(dim=0, return_inverse=True)
        if len(distinct) < 2:
            raise UserError(
                f"All labels of {self.name} are equal, so no label can be replaced by another: "
                "omit the label noise."
            )
        generator = torch.Generator().manual_seed(self.noise_seed)
        n_replaced = round(self.label_noise * len(labels))
        rows = torch.randperm(len(labels), generator=generator)[:n_replaced]
        shift = torch.randint(1, len(distinct), (n_replaced,), generator=generator)
        noisy = labels.clone()
        noisy[rows] = distinct[(indices[self.train_index][rows] + shift) % len(distinct)]
        return noisy

    @cached_property
    def test(self) -> Examples:
        """The test set."""
        return Examples(*(tensor[self.test_index] for tensor in self.examples))

    def loss(
        self, outputs: Float[Tensor, "n d_output"], labels: Shaped[Tensor, "n ..."]
    ) -> Float[Tensor, ""]:
        """The objective's loss, in float64."""
        return self.training_objective.loss(outputs, labels)

    def loss_at(self, temperature: float) -> Loss:
        """The loss of outputs / T at a temperature T, as a function of outputs and labels."""
        if temperature == 1:
            return self.loss
        return lambda outputs, labels: self.loss(outputs / temperature, labels)

    def loss_and_gradient(
        self,
        outputs: Float[Tensor, "n d_output"],
        labels: Shaped[Tensor, "n ..."],
        temperature: float = 1,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_output"]]:
        """The loss of a batch and ∂L/∂outputs, both detached; the outputs may be overwritten."""
        if temperature != 1:
            loss, gradient = self.loss_and_gradient(outputs.div_(temperature), labels)
            return loss, gradient.div_(temperature)
        with_gradient = self.training_objective.with_gradient
        if with_gradient is not None and type(self).loss is Task.loss:
            return with_gradient(outputs, labels)
        import torch

        outputs = outputs.detach().requires_grad_()
        loss = self.loss(outputs, labels)
        return loss.detach(), torch.autograd.grad(loss, outputs)[0]

    @property
    def no_softmax(self) -> str | None:
        """Why the loss has no softmax, whose temperature could be set; None if it has one."""
        if type(self).loss is not Task.loss:
            return f"{self.name} has its own loss"
        objective = self.training_objective
        return None if objective.softmax else f"the loss of {self.name} is {objective}"

    @property
    def loss_units(self) -> str:
        """The loss's unit: the objective's, unless the task has its own loss."""
        own = type(self).loss is not Task.loss
        return "the task's own loss" if own else self.training_objective.unit

    def accuracy(
        self, outputs: Float[Tensor, "n d_output"], labels: Shaped[Tensor, "n ..."]
    ) -> Float[Tensor, ""]:
        """The share of examples that the objective counts as right."""
        return self.training_objective.accuracy(outputs, labels)
