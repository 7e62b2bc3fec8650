"""Optimizers, each with its own options, and their state by the names of the weights it belongs to.

A new one is one class here, in another package (entry points of ``mechgrok.optimizers``), or in a
file of one's own: ``--optimizer file.py:Name``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, ValidationError

from mechgrok import own_code
from mechgrok.errors import UserError, sentence
from mechgrok.fields import Settings
from mechgrok.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from mechgrok.config import RunConfig
    from mechgrok.models import HookedModel
    from mechgrok.training.fused import Stepper

#: A rate at which a moving average forgets.
Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Settings):
    """An optimizer by name, with the options that are its own.

    The learning rate and the weight decay, which all have, are the training's
    (`mechgrok.training.config.TrainingConfig`). A subclass adds its options as fields and says how
    it is made.
    """

    #: Whether a step changes each parameter by its own gradient and state alone, and all that it
    #: keeps are tensors beside the parameter. Then one serves many networks that are trained
    #: together, in a CUDA graph too; else each network has its own.
    separable: ClassVar[bool] = False

    name: str

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> Stepper:
        """The optimizer over groups of parameters, each with its own ``weight_decay``."""
        raise NotImplementedError

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

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> Stepper:
        from mechgrok.training import fused

        return fused.Adam(groups, lr=learning_rate, betas=self.betas)


@OPTIMIZERS.register("adam")
class Adam(AdamW):
    """Adam, the weight decay added to the gradient.

    Source: Kingma and Ba 2015 (arXiv 1412.6980).
    """

    name: str = "adam"

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> Stepper:
        from mechgrok.training import fused

        return fused.Adam(groups, lr=learning_rate, betas=self.betas, decoupled=False)


@OPTIMIZERS.register("sgd")
class SGD(Optimizer):
    """Stochastic gradient descent, the weight decay added to the gradient."""

    separable: ClassVar[bool] = True
    name: str = "sgd"
    momentum: Decay = Field(default=0.0, description="Momentum of SGD.")

    def make(self, groups: list[dict[str, Any]], learning_rate: float) -> Stepper:
        from mechgrok.training import fused

        return fused.SGD(groups, lr=learning_rate, momentum=self.momentum)


def choose_optimizer(value: Any) -> Any:
    """An optimizer from its name, or from a dictionary of its name and options.

    Raises:
        UserError: the optimizer or an option of it is unknown.
    """
    if isinstance(value, Optimizer):
        return value
    options = {"name": value} if isinstance(value, str) else value
    if not isinstance(options, dict) or not isinstance(name := options.get("name"), str):
        raise UserError(f"An optimizer is named, as adamw is, not {value!r}.")
    chosen = OPTIMIZERS.load(name)
    if not (isinstance(chosen, type) and issubclass(chosen, Optimizer)):
        raise UserError(f"{name} is no optimizer: make it a subclass of mechgrok.Optimizer.")
    try:
        return chosen(**options | {"name": own_code.absolute(name)})
    except ValidationError as error:
        raise UserError(sentence(error, f"optimizer {name}", chosen.model_fields)) from None


def make_optimizer(model: HookedModel, config: RunConfig) -> Stepper:
    """The configured optimizer over every weight that is trained, and edge-popup's scores."""
    return make_optimizers([(model, config)])[0]


def make_optimizers(networks: Sequence[tuple[HookedModel, RunConfig]]) -> list[Stepper]:
    """The optimizer of each network; those that are alike and `Optimizer.separable` are one.

    Alike are two with the same options and learning rate; weight decay is each parameter's own.
    """
    sharing: dict[object, list[int]] = {}
    for index, (_, config) in enumerate(networks):
        training = config.recipe
        alike = (training.optimizer.model_dump_json(), training.learning_rate)
        key = alike if training.optimizer.separable else index
        sharing.setdefault(key, []).append(index)
    made: dict[int, Stepper] = {}
    for sharers in sharing.values():
        by_decay: dict[float, list[nn.Parameter]] = {}
        for index in sharers:
            for parameters, weight_decay in _groups(*networks[index]):
                by_decay.setdefault(weight_decay, []).extend(parameters)
        groups: list[dict[str, Any]] = [
            {"params": parameters, "weight_decay": weight_decay}
            for weight_decay, parameters in by_decay.items()
        ]
        training = networks[sharers[0]][1].recipe
        made |= dict.fromkeys(sharers, training.optimizer.make(groups, training.learning_rate))
    return [made[index] for index in range(len(networks))]


def _groups(model: HookedModel, config: RunConfig) -> Iterator[tuple[list[nn.Parameter], float]]:
    """What is trained of a network, with the weight decay on it."""
    from mechgrok.masks.popup import scores_of
    from mechgrok.models import raw_weights

    weights = [weight for weight in raw_weights(model).values() if weight.requires_grad]
    yield weights, config.recipe.weight_decay
    if config.popup is not None:
        yield list(scores_of(model).values()), config.popup.score_weight_decay


def parameters_by_name(model: HookedModel) -> dict[str, nn.Parameter]:
    """Everything that can be trained, as checkpoints name it: weights, and ``scores.<weight>``."""
    from mechgrok.masks.popup import scores_of
    from mechgrok.models import raw_weights

    scores = {f"scores.{name}": parameter for name, parameter in scores_of(model).items()}
    return raw_weights(model) | scores


def optimizer_state(optimizer: Stepper, model: HookedModel) -> dict[str, Any]:
    """The optimizer's state as ``<weight>/<key>``, for ``resume.safetensors``."""
    return {
        f"{name}/{key}": value
        for name, weight in parameters_by_name(model).items()
        for key, value in optimizer.state.get(weight, {}).items()
    }


def load_optimizer(optimizer: Stepper, model: HookedModel, state: dict[str, Any]) -> None:
    """Put what `optimizer_state` gave back into a fresh optimizer.

    Raises:
        UserError: the state is that of other weights.
    """
    from torch import Tensor

    parameters = parameters_by_name(model)
    for entry, value in state.items():
        name, _, key = entry.rpartition("/")
        weight = parameters.get(name)
        # What an optimizer keeps of a weight has its shape, or is one number (a count of steps).
        shape = getattr(value, "shape", ())
        if weight is None or (len(shape) and shape != weight.shape):
            raise UserError(
                f"The optimizer's state holds {entry} {list(shape)}, which belongs to another "
                "network: resume.safetensors is not this run's."
            )
        is_tensor = isinstance(value, Tensor)
        optimizer.state[weight][key] = value.to(weight.device) if is_tensor else value
