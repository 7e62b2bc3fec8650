"""Optimizers, each with its own options, and their state by the names of the weights it belongs to.

A new one is one class here, in another package (entry points of ``mechgrok.optimizers``), or in a
file of one's own: ``--optimizer file.py:Name``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.fields import Settings, make_named
from mechgrok.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from mechgrok.configuration.run_config import RunConfig
    from mechgrok.models import HookedModel
    from mechgrok.models.wiring import Layout, Wiring
    from mechgrok.optimization.fused import TorchOptimizer

#: A rate at which a moving average forgets.
Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Settings):
    """An optimizer by name, with the options that are its own.

    The learning rate and the weight decay, which all have, are the training's
    (`mechgrok.configuration.TrainingConfig`). A subclass adds its options as fields and
    says how it is made.
    """

    #: Whether a step updates each parameter by its own gradient and state alone, and the state is
    #: tensors beside the parameter. Then one serves many networks that are trained together, in a
    #: CUDA graph too; else each network has its own.
    separable: ClassVar[bool] = False

    name: str

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        """The optimizer over groups of parameters.

        Args:
            groups: parameters under ``params``, with their ``weight_decay``, and under ``layouts``
                how each lies in memory as a matrix of the wiring (`mechgrok.models.wiring.Layout`),
                None for what is no matrix.
            learning_rate: the training's.
        """
        raise NotImplementedError

    def check(self, wiring: Wiring) -> None:
        """Refuse a network that it cannot train, before anything is written.

        Raises:
            UserError: it cannot.
        """

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
    """Adam, the weight decay added to the gradient.

    Source: Kingma and Ba 2015 (arXiv 1412.6980).
    """

    name: str = "adam"

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        from mechgrok.optimization import fused

        return fused.Adam(groups, lr=learning_rate, betas=self.betas, decoupled=False)


@OPTIMIZERS.register("sgd")
class SGD(Optimizer):
    """Stochastic gradient descent, the weight decay added to the gradient."""

    separable: ClassVar[bool] = True
    name: str = "sgd"
    momentum: Decay = Field(default=0.0, description="Momentum of SGD and Muon.")

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        from mechgrok.optimization import fused

        return fused.SGD(groups, lr=learning_rate, momentum=self.momentum)


@OPTIMIZERS.register("muon")
class Muon(Optimizer):
    """Muon for matrices, and AdamW, with the training's learning rate, for all else.

    A matrix moves by its momentum M with all singular values near 1: for M = U S Vᵀ of a matrix
    ``[d_in, d_out]`` θ ← (1 − lr · weight_decay) θ − lr √max(1, d_out / d_in) U Vᵀ. Which
    weights are matrices the wiring says: the heads of an attention weight are one, side by side.
    As its author advises, those that read the inputs or write the outputs are left to AdamW.

    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon), whose learning rate, momentum
    and five iterations are the defaults.
    """

    separable: ClassVar[bool] = True
    name: str = "muon"
    muon_learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=0.02, description="Step size of Muon's matrices."
    )
    matrices: Literal["inside", "all"] = Field(
        default="inside",
        description="Which matrices are Muon's: those inside, between hidden units, or all.",
    )
    momentum: Decay = Field(default=0.95, description="Momentum of SGD and Muon.")
    nesterov: bool = Field(default=True, description="Nesterov's momentum, of Muon.")
    iterations: Annotated[int, Field(ge=1, le=100)] = Field(
        default=5, description="Newton-Schulz iterations of Muon."
    )
    betas: tuple[Decay, Decay] = Field(
        default=(0.9, 0.98), description="Decay rates of Adam's two moments: 0.9,0.98."
    )

    def check(self, wiring: Wiring) -> None:
        if self.matrices == "inside" and not any(
            wiring.layout(n).inside for n in wiring.connections
        ):
            raise UserError(
                "The network has no matrix between hidden units, so that Muon would change none: "
                "choose --matrices all, or another optimizer."
            )

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> TorchOptimizer:
        from mechgrok.optimization import fused, muon

        laid = {
            parameter: layout
            for group in groups
            for parameter, layout in zip(group["params"], group["layouts"], strict=True)
            if layout is not None and (layout.inside or self.matrices == "all")
        }

        def part(of_muon: bool) -> list[dict[str, Any]]:
            return [
                {
                    "params": [each for each in group["params"] if (each in laid) == of_muon],
                    "weight_decay": group["weight_decay"],
                }
                for group in groups
            ]

        matrices = muon.MuonMatrices(
            part(True),
            laid,
            lr=self.muon_learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            iterations=self.iterations,
        )
        rest = fused.Adam(part(False), lr=learning_rate, betas=self.betas)
        return muon.Muon(matrices, rest)


def choose_optimizer(value: Any) -> Optimizer:
    """An optimizer from text, ``sgd:momentum=0.9``, or from a dictionary of its name and options.

    Raises:
        UserError: the optimizer or an option of it is unknown.
    """
    return make_named(OPTIMIZERS, Optimizer, value)


def make_optimizer(model: HookedModel, config: RunConfig, step: int = 0) -> TorchOptimizer:
    """The configured optimizer over every weight that is trained, and edge-popup's scores.

    Args:
        model: the network.
        config: the run's.
        step: that the run has reached.
    """
    return make_optimizers([(model, config)], [step])[0]


def make_optimizers(
    networks: Sequence[tuple[HookedModel, RunConfig]], steps: Sequence[int] | None = None
) -> list[TorchOptimizer]:
    """What changes the weights of each network; those that are alike and separable share one.

    Alike are two with the same options, transforms and learning rate; weight decay is each
    parameter's own.

    Args:
        networks: with their configurations.
        steps: that each has reached; 0 unless given.
    """
    sharing: dict[object, list[int]] = {}
    for index, (_, config) in enumerate(networks):
        training = config.recipe
        options = training.model_dump_json(include={"optimizer", "transforms", "learning_rate"})
        sharing.setdefault(options if training.separable else index, []).append(index)
    made: dict[int, TorchOptimizer] = {}
    for sharers in sharing.values():
        step = steps[sharers[0]] if steps else 0
        shared = _make([networks[index] for index in sharers], step)
        made |= dict.fromkeys(sharers, shared)
    return [made[index] for index in range(len(networks))]


def _make(networks: Sequence[tuple[HookedModel, RunConfig]], step: int) -> TorchOptimizer:
    """One optimizer of networks that are alike, behind the transforms where there are any."""
    by_decay: dict[float, dict[nn.Parameter, Layout | None]] = {}
    for model, config in networks:
        for parameters, weight_decay in _groups(model, config):
            by_decay.setdefault(weight_decay, {}).update(parameters)
    groups: list[dict[str, Any]] = [
        {
            "params": list(parameters),
            "weight_decay": weight_decay,
            "layouts": list(parameters.values()),
        }
        for weight_decay, parameters in by_decay.items()
    ]
    config = networks[0][1]
    training = config.recipe
    optimizer = training.optimizer.make(groups, training.learning_rate)
    if not training.transforms and not training.constraints:
        return optimizer
    from mechgrok.optimization.constraints.base import Weights
    from mechgrok.optimization.transforms.chain import Chain

    network = None
    if training.constraints:
        network = Weights(networks[0][0], config.task)
        for constraint in training.constraints:
            constraint.check(network)
    return Chain(
        optimizer,
        training.transforms,
        [parameter for group in groups for parameter in group["params"]],
        step=step,
        steps=training.steps,
        seed=config.seed or 0,
        constraints=training.constraints,
        network=network,
    )


def _groups(
    model: HookedModel, config: RunConfig
) -> Iterator[tuple[dict[nn.Parameter, Layout | None], float]]:
    """What is trained of a network and how it lies in memory, with the weight decay on it."""
    from mechgrok.masks.popup import scores_of
    from mechgrok.models import raw_weights

    wiring = model.wiring

    def laid(parameters: Mapping[str, nn.Parameter]) -> dict[nn.Parameter, Layout | None]:
        return {
            parameter: wiring.layout(name) if name in wiring.connections else None
            for name, parameter in parameters.items()
            if parameter.requires_grad
        }

    yield laid(raw_weights(model)), config.recipe.weight_decay
    if config.popup is not None:
        yield laid(scores_of(model)), config.popup.score_weight_decay


def parameters_by_name(model: HookedModel) -> dict[str, nn.Parameter]:
    """Everything that can be trained, as checkpoints name it: weights, and ``scores.<weight>``."""
    from mechgrok.masks.popup import scores_of
    from mechgrok.models import raw_weights

    scores = {f"scores.{name}": parameter for name, parameter in scores_of(model).items()}
    return raw_weights(model) | scores


def optimizer_state(optimizer: TorchOptimizer, model: HookedModel) -> dict[str, Any]:
    """What lasts from step to step, as ``<weight>/<key>``, for ``resume.safetensors``."""
    from mechgrok.optimization.transforms.chain import states_of

    parameters = parameters_by_name(model)
    return {
        f"{name}/{prefix}{key}": value
        for prefix, state in states_of(optimizer).items()
        for name, weight in parameters.items()
        for key, value in state.get(weight, {}).items()
    }


def load_optimizer(optimizer: TorchOptimizer, model: HookedModel, state: dict[str, Any]) -> None:
    """Put what `optimizer_state` gave back into a fresh optimizer.

    Raises:
        UserError: the state is that of other weights, or of other transforms.
    """
    from torch import Tensor

    from mechgrok.optimization.transforms.chain import MEMORY, STATE, states_of

    parameters, homes = parameters_by_name(model), states_of(optimizer)
    for entry, value in state.items():
        name, _, key = entry.rpartition("/")
        weight = parameters.get(name)
        prefix = next((prefix for prefix in homes if prefix and key.startswith(prefix)), "")
        shape = getattr(value, "shape", ())
        stray = key.startswith((STATE, MEMORY)) and not prefix
        if weight is None or stray or not _belongs(shape, weight.shape, bool(prefix)):
            raise UserError(
                f"The optimizer's state holds {entry} {list(shape)}, which belongs to another "
                f"{'training' if stray else 'network'}: resume.safetensors is not this run's."
            )
        is_tensor = isinstance(value, Tensor)
        placed = value.to(weight.device) if is_tensor else value
        homes[prefix][weight][key.removeprefix(prefix)] = placed


def _belongs(shape: Sequence[int], weight: Sequence[int], of_transform: bool) -> bool:
    """Whether state of this shape can be a weight's: it is one number (a count of steps), or has
    the weight's shape; that of a transform may have leading dimensions."""
    trailing = shape[-len(weight) :] if of_transform else shape
    return not len(shape) or tuple(trailing) == tuple(weight)
