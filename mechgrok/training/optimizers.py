"""Optimizers, and their state by the names of the weights that it belongs to."""

from typing import Any

from torch import Tensor, nn

from mechgrok.config import RunConfig
from mechgrok.errors import UserError
from mechgrok.masks.popup import scores_of
from mechgrok.models import HookedModel, raw_weights
from mechgrok.training import fused
from mechgrok.training.fused import Stepper


def make_optimizer(model: HookedModel, config: RunConfig) -> Stepper:
    """The configured optimizer over every weight that is trained, and edge-popup's scores."""
    training = config.training
    weights = [weight for weight in raw_weights(model).values() if weight.requires_grad]
    groups = [{"params": weights, "weight_decay": training.weight_decay}]
    if config.popup is not None:
        scores = list(scores_of(model).values())
        groups.append({"params": scores, "weight_decay": config.popup.score_weight_decay})
    lr = training.learning_rate
    if training.optimizer == "sgd":
        return fused.SGD(groups, lr=lr, momentum=training.momentum)
    decoupled = training.optimizer == "adamw"
    return fused.Adam(groups, lr=lr, betas=training.betas, decoupled=decoupled)


def parameters_by_name(model: HookedModel) -> dict[str, nn.Parameter]:
    """Everything that can be trained, as checkpoints name it: weights, and ``scores.<weight>``."""
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
