"""Networks of one shape, stacked: every weight has a leading member axis.

``torch.func`` vectorizes a network's computation over that axis, so models need no changes: a
matrix product becomes one batched product, and members are independent.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Float, Shaped
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
from mechgrok.training.loss import Activations, StepLoss, loss_at, recorded_activations

#: One value per member.
PerMember = Float[Tensor, " member"]


class CannotStack(UserError):
    """A network or its task computes something else with a leading member axis than alone."""


class Bundle:
    """Networks of one shape, stacked: ``W_in [member, d_model, d_mlp]``.

    Each network's weights become views of its part of the stack, so code that saves, loads or
    changes the weights of one network still works.

    Args:
        models: the networks, on one device.
        runs: the run of each network; their tasks differ only in the split.
        optimizers: the optimizers that update the weights, each once. Empty if the networks are not
            trained: then there are no mini-batches, no penalties and no dropout.
        steps: each run's step, which determines its phase and its mini-batches.
    """

    def __init__(
        self,
        models: Sequence[HookedModel],
        runs: Sequence[Run],
        optimizers: Sequence[TorchOptimizer],
        steps: Sequence[int],
    ) -> None:
        self.models, self.optimizers = models, optimizers
        self.configs = [run.config.at(step) for run, step in zip(runs, steps, strict=True)]
        self.task = self.configs[0].task
        self._stack(models)
        sides = [
            [on_device(side, model) for side in (config.task.train, config.task.test)]
            for config, model in zip(self.configs, models, strict=True)
        ]
        self.train, self.test = (stacked(list(side)) for side in zip(*sides, strict=True))
        recipes = [c.recipe if optimizers else TrainingConfig() for c in self.configs]
        self._recipes, self._steps = recipes, list(steps)
        self._batches: list[Iterator[Examples]] = []
        n_train = len(sides[0][0].labels)
        if (recipes[0].batch_size or n_train) < n_train:
            self._batches = [
                make_batches(train, recipe, step)
                for (train, _), recipe, step in zip(sides, recipes, steps, strict=True)
            ]
        self._dropout = [
            Dropout(model, recipe, config.task.train.inputs.to(model.device))
            for model, recipe, config in zip(models, recipes, self.configs, strict=True)
            if recipe.dropout
        ]
        factors = [penalty_factors(recipe) for recipe in recipes]
        like_weights: dict[str, Any] = {"dtype": models[0].dtype, "device": self.device}
        self._penalties = {
            name: torch.tensor([factor.get(name, 0.0) for factor in factors], **like_weights)
            for name in sorted({name for factor in factors for name in factor})
        }
        self._loss: _BundleLoss | None = None

    def _stack(self, models: Sequence[HookedModel]) -> None:
        self._one = _Applied(models[0])
        parts = [dict(nn.Module.named_parameters(model)) for model in models]
        self._parts = {name: [part[name] for part in parts] for name in parts[0]}
        self.weights: dict[str, nn.Parameter] = {}
        for name, members in self._parts.items():
            stack = torch.stack([member.detach() for member in members])
            self.weights[name] = nn.Parameter(stack, requires_grad=members[0].requires_grad)
            for member, view in zip(members, stack, strict=True):
                member.data = view
        buffers = [dict(nn.Module.named_buffers(model)) for model in models]
        self.buffers = {name: torch.stack([own[name] for own in buffers]) for name in buffers[0]}
        self._trained = [name for name, weight in self.weights.items() if weight.requires_grad]

    def __len__(self) -> int:
        return len(self.models)

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.models[0].device

    @property
    def has_fixed_inputs(self) -> bool:
        """Whether every step uses the full training set and no dropout."""
        return not self._batches and not self._dropout

    def map(self, function: Callable[..., Any], *stacks: Tensor) -> Any:
        """Apply ``function(model, …)`` to all members at once; results have the member axis first.

        Args:
            function: takes a network and its part of each of ``stacks``.
            stacks: tensors ``[member, …]``.
        """

        def apply(state: dict[str, Tensor], *parts: Tensor) -> Any:
            return functional_call(self._one, state, (function, *parts))

        state = {f"model.{name}": value for name, value in (self.weights | self.buffers).items()}
        return torch.vmap(apply)(state, *stacks)

    def outputs(
        self, inputs: Tensor | TokenCounts, factors: Factors | None = None
    ) -> Float[Tensor, "member n d_output"]:
        """Every member's outputs for its own inputs.

        Args:
            inputs: with a leading member axis.
            factors: dropout factors with a leading member axis; default: no dropout.
        """
        return self._outputs_and_activations(inputs, factors)[0]

    def _outputs_and_activations(
        self, inputs: Tensor | TokenCounts, factors: Factors | None, record: bool = False
    ) -> tuple[Tensor, Activations]:
        """`outputs`, and the activations of the hidden layers if they are to be recorded."""
        counts = inputs if isinstance(inputs, TokenCounts) else None

        def run(model: HookedModel, *parts: Tensor) -> tuple[Tensor, Activations]:
            own, scales = (counts, parts) if counts is not None else (parts[0], parts[1:])
            with ExitStack() as hooks:
                if scales:
                    hooks.enter_context(self._dropout[0].applied(model, scales))
                recorded = hooks.enter_context(recorded_activations(model)) if record else []
                return model(own), recorded

        stacks = (factors or []) if isinstance(inputs, TokenCounts) else [inputs, *(factors or [])]
        return self.map(run, *stacks)

    def _loss_now(self) -> "_BundleLoss":
        """The members' losses at their steps."""
        if self._loss is None:
            outputs = cache(lambda: self.outputs(self.train.inputs))
            members = [
                loss_at(recipe, step, partial(_entry, outputs, index))
                for index, (recipe, step) in enumerate(zip(self._recipes, self._steps, strict=True))
            ]
            self._loss = _BundleLoss(self.task, members, self.models[0])
        return self._loss

    def _factors(self, n: int) -> Factors:
        """Dropout factors at each member's step."""
        drawn = [
            dropout.factors(step, n, self.device)
            for dropout, step in zip(self._dropout, self._steps, strict=False)
        ]
        return [torch.stack(layer) for layer in zip(*drawn, strict=True)]

    def losses(self, data: Examples, factors: Factors | None = None) -> PerMember:
        """Each member's objective: its mean loss plus its penalty."""
        loss = self._loss_now()
        outputs, activations = self._outputs_and_activations(
            data.inputs, factors, record=loss.is_penalized
        )
        losses = loss.of_each(outputs, data.labels)
        if loss.is_penalized:
            losses = losses + loss.penalties(activations)
        if not self._penalties:
            return losses
        names = list(self._penalties)

        def penalize(model: HookedModel, *factors: Tensor) -> Tensor:
            return penalty(model, dict(zip(names, factors, strict=True)))

        return losses + self.map(penalize, *self._penalties.values())

    def gradients(
        self, data: Examples, factors: Factors | None = None
    ) -> tuple[PerMember, list[Tensor | None]]:
        """The losses, and the gradient of each with respect to its member's trained weights."""
        losses = self.losses(data, factors)
        # The gradient of the sum is enough: each weight belongs to one member.
        gradients = torch.autograd.grad(
            losses,
            [self.weights[name] for name in self._trained],
            torch.ones_like(losses),
            allow_unused=True,
        )
        return losses.detach(), list(gradients)

    def step(self) -> PerMember:
        """Take one step of every member and return the losses before it."""
        data = self.train
        if self._batches:
            data = stacked([next(batches) for batches in self._batches])
        factors = self._factors(data.labels.shape[1])

        def gradient() -> PerMember:
            losses, gradients = self.gradients(data, factors)
            for name, stack in zip(self._trained, gradients, strict=True):
                # Contiguous like the weights, so that an optimizer reads both in memory order.
                views = [None] * len(self) if stack is None else stack.contiguous().unbind()
                for member, view in zip(self._parts[name], views, strict=True):
                    member.grad = view
            return losses

        losses = take_step(self.optimizers, gradient)
        self._steps = [step + 1 for step in self._steps]
        if any(recipe.constraints for recipe in self._recipes):
            self._loss = None
        return losses

    @torch.no_grad()
    def evaluate(self) -> list[dict[str, float]]:
        """One row of metrics per member, as from `mechgrok.training.evaluate`."""
        loss, accuracy = self._loss_now(), partial(accuracy_of_each, self.task)
        sides = {"train": [self.train], "test": [self.test]}
        columns = scores(sides, self.outputs, loss.of_each, accuracy)
        columns["l1"], columns["l2"] = self.map(norms)
        table = torch.stack(list(columns.values()), dim=1).tolist()
        rows = [dict(zip(columns, row, strict=True)) for row in table]
        members = zip(rows, self.models, self.configs, loss.members, strict=True)
        for row, model, config, own in members:
            if metrics := config.recipe.metrics:
                data = on_device(config.task.train, model)
                row |= further_metrics(model, config.task, data, metrics, own.temperature)
        return rows

    @torch.no_grad()
    def check(self) -> None:
        """Compare the stacked outputs with those of each member alone.

        Raises:
            CannotStack: the outputs differ, or the stack cannot be computed.
        """
        name = f"{type(self.models[0]).__name__} on {self.task.name}"
        try:
            with torch.enable_grad():
                self.gradients(self.train)
            outputs = self.outputs(self.train.inputs)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CannotStack(f"{name} cannot be trained together ({reason})") from error
        for index, (model, output) in enumerate(zip(self.models, outputs, strict=True)):
            alone = model(_part(self.train.inputs, index))
            if not torch.allclose(output, alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max())):
                raise CannotStack(
                    f"{name} cannot be trained together (a stacked network gives other outputs "
                    "than alone: does it hold numbers that are neither parameters nor buffers?)"
                )


def _entry(stack: Callable[[], Tensor], index: int) -> Tensor:
    """An entry of a stack that is computed when it is needed."""
    return stack()[index]


class _BundleLoss:
    """The members' losses at one step.

    Args:
        task: their task.
        members: the loss of each member.
        model: one of the networks.
    """

    def __init__(self, task: Task, members: Sequence[StepLoss], model: HookedModel) -> None:
        self.task, self.members = task, members
        self.is_penalized = any(member.penalties for member in members)
        temperatures = [member.temperature for member in members]
        self._temperature: Tensor | None = None
        if any(temperature != 1 for temperature in temperatures):
            like_weights: dict[str, Any] = {"dtype": model.dtype, "device": model.device}
            self._temperature = torch.tensor(temperatures, **like_weights)[:, None, None]

    def of_each(
        self, outputs: Float[Tensor, "member n d_output"], labels: Shaped[Tensor, "member n ..."]
    ) -> PerMember:
        """Each member's mean loss at its temperature, without penalties."""
        if self._temperature is not None:
            outputs = outputs / self._temperature
        return loss_of_each(self.task, outputs, labels)

    def penalties(self, activations: Activations) -> PerMember:
        """Each member's penalty on its activations, which have a leading member axis."""
        by_member = zip(*activations, strict=True)
        return torch.stack(
            [member.penalty(list(own)) for member, own in zip(self.members, by_member, strict=True)]
        )


class _Applied(nn.Module):
    """Calls a function with a network whose weights ``functional_call`` replaces."""

    def __init__(self, model: HookedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(self.model, *arguments)


def stacked(members: Sequence[Examples]) -> Examples:
    """Stack the members' examples, which are equally many."""
    inputs = [examples.inputs for examples in members]
    counts = isinstance(inputs[0], TokenCounts)
    stack: Any = TokenCounts.stack if counts else torch.stack
    return Examples(stack(inputs), torch.stack([examples.labels for examples in members]))


def _part(inputs: Tensor | TokenCounts, index: int) -> Tensor | TokenCounts:
    if isinstance(inputs, TokenCounts):
        return TokenCounts(inputs.tokens[index], inputs.d_vocab)
    return inputs[index]


def loss_of_each(
    task: Task, outputs: Float[Tensor, "member n d_output"], labels: Shaped[Tensor, "member n ..."]
) -> PerMember:
    """Each member's mean loss."""
    if type(task).loss is not Task.loss:
        return _one_by_one(task.loss, outputs, labels)
    loss = task.training_objective.loss
    if loss is cross_entropy:  # It supports leading axes and has its own gradient.
        return loss(outputs, labels)
    return torch.vmap(loss)(outputs, labels)


def accuracy_of_each(
    task: Task, outputs: Float[Tensor, "member n d_output"], labels: Shaped[Tensor, "member n ..."]
) -> PerMember:
    """Each member's accuracy."""
    if type(task).accuracy is not Task.accuracy:
        return _one_by_one(task.accuracy, outputs, labels)
    return torch.vmap(task.training_objective.accuracy)(outputs, labels)


def _one_by_one(
    function: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, labels: Tensor
) -> PerMember:
    """Call a user's function once per member, because ``vmap`` may not support it."""
    return torch.stack([function(*own) for own in zip(outputs, labels, strict=True)])
