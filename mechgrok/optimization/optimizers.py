"""Optimizers with their options, and their state by weight name.

A new optimizer is one class: here, in another package (entry points of ``mechgrok.optimizers``), or
in your own file (``--optimizer file.py:Name``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.fields import Settings, make_named
from mechgrok.optimization.weight_settings import by_weight
from mechgrok.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from mechgrok.configuration.run_config import RunConfig
    from mechgrok.models import HookedModel
    from mechgrok.models.wiring import Layout, Wiring
    from mechgrok.optimization.fused import TorchOptimizer

#: The decay rate of a moving average.
Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Settings):
    """An optimizer by name, with its own options.

    Learning rate and weight decay are common to all and belong to the training settings
    (`mechgrok.configuration.TrainingConfig`). A subclass adds its options as fields and overrides
    `make`.
    """

    #: Whether the update of a parameter depends only on its own gradient and state, all tensors on
    #: its device. Then networks that train together share one optimizer, also in a CUDA graph.
    separable: ClassVar[bool] = False
    effective_methods = ("make",)

    name: str

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        """Make the optimizer over groups of parameters.

        Args:
            groups: dictionaries of parameters (``params``), their ``weight_decay``, and their
                ``layouts`` as matrices (`mechgrok.models.wiring.Layout`; None for a vector). A
                group with a learning rate of its own holds it as ``lr``, as in torch.optim.
            learning_rate: the learning rate of the other groups.
        """
        raise NotImplementedError

    def check(self, wiring: Wiring) -> None:
        """Raise an error if the optimizer cannot train this network.

        Raises:
            UserError: it cannot.
        """

    @property
    def state_kind(self) -> object:
        """Equal for optimizers that can continue with each other's state, in a later phase."""
        return self.name

    def __str__(self) -> str:
        return self.name


OPTIMIZERS: Registry[type[Optimizer]] = Registry("optimizer", "mechgrok.optimizers")


@OPTIMIZERS.register("adamw")
class AdamW(Optimizer):
    """Adam with decoupled weight decay: θ ← θ − lr · weight_decay · θ.

    Source: Loshchilov and Hutter 2019 (arXiv 1711.05101).
    """

    separable: ClassVar[bool] = True
    name: str = "adamw"
    betas: tuple[Decay, Decay] = Field(
        default=(0.9, 0.98), description="Decay rates of Adam's two moments: 0.9,0.98."
    )

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        from mechgrok.optimization import fused

        return fused.Adam(groups, lr=learning_rate, betas=self.betas)


@OPTIMIZERS.register("adam")
class Adam(AdamW):
    """Adam, with the weight decay added to the gradient.

    Source: Kingma and Ba 2015 (arXiv 1412.6980).
    """

    name: str = "adam"

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        from mechgrok.optimization import fused

        return fused.Adam(groups, lr=learning_rate, betas=self.betas, decoupled=False)


@OPTIMIZERS.register("sgd")
class SGD(Optimizer):
    """Stochastic gradient descent, with the weight decay added to the gradient."""

    separable: ClassVar[bool] = True
    name: str = "sgd"
    momentum: Decay = Field(default=0.0, description="Momentum of SGD and Muon.")

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        from mechgrok.optimization import fused

        return fused.SGD(groups, lr=learning_rate, momentum=self.momentum)

    @property
    def state_kind(self) -> object:
        return self.name, self.momentum > 0


@OPTIMIZERS.register("muon")
class Muon(Optimizer):
    """Muon for matrices, and AdamW with the usual learning rate for all other weights.

    With the momentum M = U S Vᵀ of a matrix ``[d_in, d_out]``,
    θ ← (1 − lr · weight_decay) θ − lr √max(1, d_out / d_in) U Vᵀ. The heads of an attention weight
    count as one matrix, side by side. By default, as Muon's author advises, AdamW trains the
    matrices that read the inputs or write the outputs.

    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon), including the default learning
    rate, momentum and five iterations.
    """

    separable: ClassVar[bool] = True
    name: str = "muon"
    muon_learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=0.02, description="Learning rate of Muon's matrices."
    )
    matrices: Literal["inside", "all"] = Field(
        default="inside",
        description="Matrices that Muon trains: inside (between hidden units) or all.",
    )
    momentum: Decay = Field(default=0.95, description="Momentum of SGD and Muon.")
    nesterov: bool = Field(default=True, description="Use Nesterov's momentum in Muon.")
    iterations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=5, description="Newton-Schulz iterations of Muon."
    )
    betas: tuple[Decay, Decay] = Field(
        default=(0.9, 0.98), description="Decay rates of Adam's two moments: 0.9,0.98."
    )

    @property
    def state_kind(self) -> object:
        return self.name, self.matrices

    def check(self, wiring: Wiring) -> None:
        inside = (wiring.layout(name).inside for name in wiring.connections)
        if self.matrices == "inside" and not any(inside):
            raise UserError(
                "The network has no matrix between hidden units for Muon to train: choose "
                "--matrices all, or another optimizer."
            )

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        from mechgrok.optimization import fused, muon

        layouts = {
            parameter: layout
            for group in groups
            for parameter, layout in zip(group["params"], group["layouts"], strict=True)
            if layout is not None and (layout.inside or self.matrices == "all")
        }

        def part(by_muon: bool) -> list[dict[str, Any]]:
            return [
                group | {"params": [p for p in group["params"] if (p in layouts) == by_muon]}
                for group in groups
            ]

        matrices = muon.MuonMatrices(
            part(True),
            layouts,
            lr=self.muon_learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            iterations=self.iterations,
        )
        rest = fused.Adam(part(False), lr=learning_rate, betas=self.betas)
        return muon.Muon(matrices, rest)


def choose_optimizer(value: Any) -> Optimizer:
    """Parse an optimizer: ``sgd:momentum=0.9``, or a dictionary of its name and options.

    Raises:
        UserError: the optimizer or an option is unknown.
    """
    return make_named(OPTIMIZERS, Optimizer, value)


def make_optimizer(model: HookedModel, config: RunConfig, step: int = 0) -> TorchOptimizer:
    """The configured optimizer over all trained weights and edge-popup scores.

    Args:
        model: the network.
        config: the run's configuration.
        step: the run's current step.
    """
    return make_optimizers([(model, config)], [step])[0]


def make_optimizers(
    networks: Sequence[tuple[HookedModel, RunConfig]], steps: Sequence[int] | None = None
) -> list[TorchOptimizer]:
    """The optimizer of each network; similar networks share a separable one.

    Networks are similar if their options, transforms and learning rate are the same; each
    parameter has its own weight decay, and perhaps its own learning rate.

    Args:
        networks: the networks with their configurations.
        steps: each run's current step; default: 0.
    """
    by_options: dict[object, list[int]] = {}
    for index, (_, config) in enumerate(networks):
        training = config.recipe
        options = training.model_dump_json(include={"optimizer", "transforms", "learning_rate"})
        by_options.setdefault(options if training.separable else index, []).append(index)
    optimizers: dict[int, TorchOptimizer] = {}
    for indices in by_options.values():
        step = steps[indices[0]] if steps else 0
        shared = _make([networks[index] for index in indices], step)
        optimizers |= dict.fromkeys(indices, shared)
    return [optimizers[index] for index in range(len(networks))]


def _make(networks: Sequence[tuple[HookedModel, RunConfig]], step: int) -> TorchOptimizer:
    """One optimizer for similar networks, behind their transforms if any."""
    by_settings: dict[tuple[tuple[str, float], ...], dict[nn.Parameter, Layout | None]] = {}
    for model, config in networks:
        for parameter, layout, settings in _parameters(model, config):
            by_settings.setdefault(tuple(settings.items()), {})[parameter] = layout
    groups: list[dict[str, Any]] = [
        {"params": list(parameters), "layouts": list(parameters.values()), **dict(settings)}
        for settings, parameters in by_settings.items()
    ]
    config = networks[0][1]
    training = config.recipe
    optimizer = training.optimizer.make(groups, training.learning_rate)
    if not training.transforms and not training.constraints:
        return optimizer
    from mechgrok.optimization.constraints.applied import AppliedConstraints
    from mechgrok.optimization.constraints.base import Weights
    from mechgrok.optimization.transforms.chain import Chain

    constraints = None
    if training.constraints:  # Then the network is alone (`TrainingConfig.separable`).
        weights = Weights(networks[0][0], config.task)
        constraints = AppliedConstraints(training.constraints, weights)
    return Chain(
        optimizer,
        training.transforms,
        [parameter for group in groups for parameter in group["params"]],
        step=step,
        steps=training.steps,
        seed=config.seed or 0,
        constraints=constraints,
    )


def _parameters(
    model: HookedModel, config: RunConfig
) -> Iterator[tuple[nn.Parameter, Layout | None, dict[str, float]]]:
    """A network's trained parameters with their layouts, weight decay and learning rate if any."""
    from mechgrok.masks.popup import scores_of
    from mechgrok.models import raw_weights

    training, wiring = config.recipe, model.wiring

    def layout(name: str) -> Layout | None:
        return wiring.layout(name) if name in wiring.connections else None

    own = by_weight(training.weights, wiring)
    for name, parameter in raw_weights(model).items():
        if parameter.requires_grad:
            chosen = own.get(name, {})
            settings = {"weight_decay": chosen.get("weight_decay", training.weight_decay)}
            if "learning_rate" in chosen:
                settings["lr"] = chosen["learning_rate"]
            yield parameter, layout(name), settings
    if config.popup is not None:
        for name, parameter in scores_of(model).items():
            if parameter.requires_grad:
                yield parameter, layout(name), {"weight_decay": config.popup.score_weight_decay}


def parameters_by_name(model: HookedModel) -> dict[str, nn.Parameter]:
    """All parameters by their names in checkpoints: weights, and ``scores.<weight>``."""
    from mechgrok.masks.popup import scores_of
    from mechgrok.models import raw_weights

    scores = {f"scores.{name}": parameter for name, parameter in scores_of(model).items()}
    return raw_weights(model) | scores


def optimizer_state(optimizer: TorchOptimizer, model: HookedModel) -> dict[str, Any]:
    """The optimizer's state as ``<weight>/<key>``, for ``resume.safetensors``."""
    from mechgrok.optimization.transforms.chain import states_of

    parameters = parameters_by_name(model)
    return {
        f"{name}/{prefix}{key}": value
        for prefix, state in states_of(optimizer).items()
        for name, weight in parameters.items()
        for key, value in state.get(weight, {}).items()
    }


def load_optimizer(optimizer: TorchOptimizer, model: HookedModel, state: dict[str, Any]) -> None:
    """Load a state from `optimizer_state` into a fresh optimizer.

    Raises:
        UserError: the state belongs to other weights or other transforms.
    """
    from torch import Tensor

    from mechgrok.optimization.constraints.applied import MEMORY
    from mechgrok.optimization.transforms.chain import STATE, states_of

    parameters, states = parameters_by_name(model), states_of(optimizer)
    for entry, value in state.items():
        name, _, key = entry.rpartition("/")
        weight = parameters.get(name)
        prefix = next((prefix for prefix in states if prefix and key.startswith(prefix)), "")
        shape = getattr(value, "shape", ())
        stray = key.startswith((STATE, MEMORY)) and not prefix
        if weight is None or stray or not _belongs(shape, weight.shape, bool(prefix)):
            raise UserError(
                f"The optimizer's state holds {entry} {list(shape)}, which belongs to another "
                f"{'training' if stray else 'network'}: resume.safetensors is not this run's."
            )
        own = value.to(weight.device) if isinstance(value, Tensor) else value
        states[prefix][weight][key.removeprefix(prefix)] = own


def _belongs(shape: Sequence[int], weight: Sequence[int], of_transform: bool) -> bool:
    """Whether state of this shape fits a weight: it is a scalar or has the weight's shape.

    A transform's state may have leading dimensions.
    """
    trailing = shape[-len(weight) :] if of_transform else shape
    return not len(shape) or tuple(trailing) == tuple(weight)
