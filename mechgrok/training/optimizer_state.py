"""The state of optimizers by weight name, in ``resume.safetensors`` and across phases."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mechgrok.configuration.training import TrainingConfig
from mechgrok.errors import UserError
from mechgrok.masks.popup import scores_of
from mechgrok.models import HookedModel, raw_weights
from mechgrok.optimization.constraints.applied import MEMORY
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.transforms.chain import STATE, states_of


def optimizer_state(optimizer: TorchOptimizer, model: HookedModel) -> dict[str, Any]:
    """The optimizer's state as ``<weight>/<key>``, for ``resume.safetensors``."""
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


def carried_state(
    state: dict[str, Any], before: TrainingConfig, after: TrainingConfig
) -> dict[str, Any]:
    """The entries of an optimizer's state with which training continues under other settings.

    Moments stay with an optimizer of the same kind (`Optimizer.state_kind`). At the same place in
    the list, the state of a transform stays with one of the same kind, and what a constraint stores
    stays with an equal one.

    Args:
        state: as from `optimizer_state`.
        before: the settings that left the state.
        after: the settings that continue.
    """
    transforms = zip(before.transforms, after.transforms, strict=False)
    constraints = zip(before.constraints, after.constraints, strict=False)
    same = [f"{STATE}{at}." for at, (a, b) in enumerate(transforms) if a.state_kind == b.state_kind]
    same += [f"{MEMORY}{at}." for at, (a, b) in enumerate(constraints) if a == b]
    same_optimizer = before.optimizer.state_kind == after.optimizer.state_kind

    def fits(key: str) -> bool:
        return key.startswith(tuple(same)) if key.startswith((STATE, MEMORY)) else same_optimizer

    return {entry: value for entry, value in state.items() if fits(entry.rpartition("/")[2])}


def parameters_by_name(model: HookedModel) -> dict[str, nn.Parameter]:
    """All parameters by their names in checkpoints: weights, and ``scores.<weight>``."""
    scores = {f"scores.{name}": parameter for name, parameter in scores_of(model).items()}
    return raw_weights(model) | scores


def _belongs(shape: Sequence[int], weight: Sequence[int], of_transform: bool) -> bool:
    """Whether state of this shape fits a weight: it is a scalar or has the weight's shape.

    A transform's state may have leading dimensions.
    """
    trailing = shape[-len(weight) :] if of_transform else shape
    return not len(shape) or tuple(trailing) == tuple(weight)
