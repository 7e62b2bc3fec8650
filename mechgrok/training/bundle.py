"""Networks of one shape as one, every weight with a leading member axis.

``torch.func`` lifts whatever a network computes over that axis, so that every model works as it is
written: a product of matrices becomes one batched product, and members are independent.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from mechgrok.configuration.training import TrainingConfig
from mechgrok.errors import UserError
from mechgrok.metrics import norms
from mechgrok.models import HookedModel
from mechgrok.models.counts import TokenCounts
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.transforms.chain import take_step
from mechgrok.runs import Run
from mechgrok.tasks import Examples, Task
from mechgrok.tasks.losses import cross_entropy
from mechgrok.training.dropout import Dropout, Factors
from mechgrok.training.evaluation import further_metrics, on_device, scores
from mechgrok.training.gradients import penalty, penalty_factors
from mechgrok.training.loop import make_batches

#: One value a member.
PerMember = Float[Tensor, " member"]


class CannotStack(UserError):
    """A network, or its task, does not compute with a leading member axis what it does alone."""


class Bundle:
    """Networks of one shape, stacked: ``W_in [member, d_model, d_mlp]``.

    Each network's own weights become views of its part of the stack. What saves, loads or changes
    the weights of one network serves it here too.

    Args:
        models: the networks, on one device.
        runs: the run of each; their tasks differ by the split alone.
        optimizers: what changes their weights, all of them together; each once. None where networks
            are not trained: then there are no mini-batches, no penalties and no dropout.
        steps: where each run is, which settles its mini-batches.
    """

    def __init__(
        self,
        models: Sequence[HookedModel],
        runs: Sequence[Run],
        optimizers: Sequence[TorchOptimizer],
        steps: Sequence[int],
    ) -> None:
        self.models, self.optimizers, self._runs = models, optimizers, runs
        self.task = runs[0].task
        self._stack(models)
        sides = [
            [on_device(side, model) for side in (run.task.train, run.task.test)]
            for run, model in zip(runs, models, strict=True)
        ]
        self.train, self.test = (stacked(list(side)) for side in zip(*sides, strict=True))
        recipes = [run.config.recipe if optimizers else TrainingConfig() for run in runs]
        self._steps = list(steps)
        self._batches: list[Iterator[Examples]] = []
        n_train = len(sides[0][0].labels)
        if (recipes[0].batch_size or n_train) < n_train:
            self._batches = [
                make_batches(train, recipe, step)
                for (train, _), recipe, step in zip(sides, recipes, steps, strict=True)
            ]
        self._dropout = [
            Dropout(model, recipe, run.task.train.inputs.to(model.device))
            for model, recipe, run in zip(models, recipes, runs, strict=True)
            if recipe.dropout
        ]
        factors = [penalty_factors(recipe) for recipe in recipes]
        of_weights: dict[str, Any] = {"dtype": models[0].dtype, "device": self.device}
        self._penalties = {
            name: torch.tensor([each.get(name, 0.0) for each in factors], **of_weights)
            for name in sorted({name for each in factors for name in each})
        }

    def _stack(self, models: Sequence[HookedModel]) -> None:
        self._one = _Applied(models[0])
        parts = [dict(nn.Module.named_parameters(model)) for model in models]
        self._parts = {name: [part[name] for part in parts] for name in parts[0]}
        self.weights: dict[str, nn.Parameter] = {}
        for name, members in self._parts.items():
            together = torch.stack([member.detach() for member in members])
            self.weights[name] = nn.Parameter(together, requires_grad=members[0].requires_grad)
            for member, view in zip(members, together, strict=True):
                member.data = view
        held = [dict(nn.Module.named_buffers(model)) for model in models]
        self.buffers = {name: torch.stack([each[name] for each in held]) for name in held[0]}
        self._trained = [name for name, weight in self.weights.items() if weight.requires_grad]

    def __len__(self) -> int:
        return len(self.models)

    @property
    def device(self) -> torch.device:
        """The device that they are on."""
        return self.models[0].device

    @property
    def has_fixed_inputs(self) -> bool:
        """Whether every step is over the same examples, all of them, and with all neurons."""
        return not self._batches and not self._dropout

    def each(self, function: Callable[..., Any], *stacks: Tensor) -> Any:
        """``function(model, …)`` of all members at once: its tensors, with the member axis first.

        Args:
            function: of a network, and of its part of each of ``stacks``.
            stacks: tensors ``[member, …]``.
        """

        def of_one(state: dict[str, Tensor], *parts: Tensor) -> Any:
            return functional_call(self._one, state, (function, *parts))

        state = {f"model.{name}": value for name, value in (self.weights | self.buffers).items()}
        return torch.vmap(of_one)(state, *stacks)

    def outputs(
        self, inputs: Tensor | TokenCounts, factors: Factors | None = None
    ) -> Float[Tensor, "member n d_output"]:
        """The outputs of every member for its own inputs.

        Args:
            inputs: with a leading member axis.
            factors: of dropout, with one too; all neurons are on unless given.
        """
        counts = inputs if isinstance(inputs, TokenCounts) else None

        def of_one(model: HookedModel, *parts: Tensor) -> Tensor:
            own, off = (counts, parts) if counts is not None else (parts[0], parts[1:])
            if not off:
                return model(own)
            with self._dropout[0].applied(model, off):
                return model(own)

        stacks = (factors or []) if isinstance(inputs, TokenCounts) else [inputs, *(factors or [])]
        return self.each(of_one, *stacks)

    def _factors(self, n: int) -> Factors:
        """Of dropout, at the step of each member."""
        drawn = [
            dropout.factors(step, n, self.device)
            for dropout, step in zip(self._dropout, self._steps, strict=False)
        ]
        return [torch.stack(layer) for layer in zip(*drawn, strict=True)]

    def losses(self, data: Examples, factors: Factors | None = None) -> PerMember:
        """What each member minimizes: its mean loss and its penalty."""
        losses = loss_of_each(self.task, self.outputs(data.inputs, factors), data.labels)
        if not self._penalties:
            return losses
        names = list(self._penalties)

        def of_one(model: HookedModel, *factors: Tensor) -> Tensor:
            return penalty(model, dict(zip(names, factors, strict=True)))

        return losses + self.each(of_one, *self._penalties.values())

    def gradients(
        self, data: Examples, factors: Factors | None = None
    ) -> tuple[PerMember, list[Tensor | None]]:
        """The losses, and the gradient of each by its own member's trained weights."""
        losses = self.losses(data, factors)
        # Of the sum of the members' losses: no weight is in more than one of them.
        gradients = torch.autograd.grad(
            losses,
            [self.weights[name] for name in self._trained],
            torch.ones_like(losses),
            allow_unused=True,
        )
        return losses.detach(), list(gradients)

    def step(self) -> PerMember:
        """One step of every member; the losses before it."""
        data = self.train
        if self._batches:
            data = stacked([next(batches) for batches in self._batches])
        factors = self._factors(data.labels.shape[1])

        def gradient() -> PerMember:
            losses, gradients = self.gradients(data, factors)
            for name, each in zip(self._trained, gradients, strict=True):
                # Laid out like the weights, so that an optimizer reads both in memory's order.
                views = [None] * len(self) if each is None else each.contiguous().unbind()
                for member, view in zip(self._parts[name], views, strict=True):
                    member.grad = view
            return losses

        losses = take_step(self.optimizers, gradient)
        self._steps = [step + 1 for step in self._steps]
        return losses

    @torch.no_grad()
    def evaluate(self) -> list[dict[str, float]]:
        """A row of the metrics of each member, as `mechgrok.training.evaluate` gives it."""
        loss, accuracy = partial(loss_of_each, self.task), partial(accuracy_of_each, self.task)
        sides = {"train": [self.train], "test": [self.test]}
        columns = scores(sides, self.outputs, loss, accuracy)
        columns["l1"], columns["l2"] = self.each(norms)
        table = torch.stack(list(columns.values()), dim=1).tolist()
        rows = [dict(zip(columns, row, strict=True)) for row in table]
        for row, model, run in zip(rows, self.models, self._runs, strict=True):
            if metrics := run.config.recipe.metrics:
                data = on_device(run.task.train, model)
                row |= further_metrics(model, run.task, data, metrics)
        return rows

    def release(self, index: int) -> None:
        """Keep an optimizer that other members share from changing this one from now on."""
        for members in self._parts.values():
            members[index].grad = None

    @torch.no_grad()
    def check(self) -> None:
        """Compare the stack with its members one by one.

        Raises:
            CannotStack: a member alone computes something else, or nothing can be computed.
        """
        what = f"{type(self.models[0]).__name__} on {self.task.name}"
        try:
            with torch.enable_grad():
                self.gradients(self.train)
            outputs = self.outputs(self.train.inputs)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CannotStack(f"{what} cannot be trained together ({reason})") from error
        for index, (model, found) in enumerate(zip(self.models, outputs, strict=True)):
            alone = model(_part(self.train.inputs, index))
            if not torch.allclose(found, alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max())):
                raise CannotStack(
                    f"{what} cannot be trained together (a network among others gives other "
                    "outputs than alone: does it hold numbers that are no parameters?)"
                )


class _Applied(nn.Module):
    """A network as the argument of a function, for ``functional_call`` to put weights into."""

    def __init__(self, model: HookedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(self.model, *arguments)


def stacked(members: Sequence[Examples]) -> Examples:
    """As many examples of each member, as one."""
    inputs = [each.inputs for each in members]
    counts = isinstance(inputs[0], TokenCounts)
    stack: Any = TokenCounts.stack if counts else torch.stack
    return Examples(stack(inputs), torch.stack([each.labels for each in members]))


def _part(inputs: Tensor | TokenCounts, index: int) -> Tensor | TokenCounts:
    if isinstance(inputs, TokenCounts):
        return TokenCounts(inputs.tokens[index], inputs.d_vocab)
    return inputs[index]


def loss_of_each(task: Task, outputs: Tensor, labels: Tensor) -> PerMember:
    """Each member's mean loss."""
    if type(task).loss is not Task.loss:
        return _one_by_one(task.loss, outputs, labels)
    loss = task.training_objective.loss
    if loss is cross_entropy:  # It takes a leading axis itself, and forms its own gradient.
        return loss(outputs, labels)
    return torch.vmap(loss)(outputs, labels)


def accuracy_of_each(task: Task, outputs: Tensor, labels: Tensor) -> PerMember:
    """Each member's share of right answers."""
    if type(task).accuracy is not Task.accuracy:
        return _one_by_one(task.accuracy, outputs, labels)
    return torch.vmap(task.training_objective.accuracy)(outputs, labels)


def _one_by_one(
    function: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, labels: Tensor
) -> PerMember:
    """A user's function may do anything, so it is called for each network by itself."""
    return torch.stack([function(*own) for own in zip(outputs, labels, strict=True)])
