"""Optimizers at a step of a training, with the state that earlier steps left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mechgrok.optimization.constraints.applied import MEMORY
from mechgrok.optimization.optimizers import load_optimizer, make_optimizers
from mechgrok.optimization.transforms.chain import STATE

if TYPE_CHECKING:
    from mechgrok.configuration.run_config import RunConfig
    from mechgrok.configuration.training import TrainingConfig
    from mechgrok.models import HookedModel
    from mechgrok.optimization.fused import TorchOptimizer


def resume_optimizers(
    networks: Sequence[tuple[HookedModel, RunConfig]],
    steps: Sequence[int],
    states: Sequence[dict[str, Any]],
) -> list[TorchOptimizer]:
    """The optimizer of each network at its step, under the settings in force there.

    Args:
        networks: the networks with their configurations; similar ones share an optimizer.
        steps: each network's step.
        states: the states that the steps before left, as in ``resume.safetensors``.

    Raises:
        UserError: a state belongs to another network or training.
    """
    configs = [config.at(step) for (_, config), step in zip(networks, steps, strict=True)]
    models = [model for model, _ in networks]
    optimizers = make_optimizers(list(zip(models, configs, strict=True)), steps)
    for index, ((model, config), step) in enumerate(zip(networks, steps, strict=True)):
        before, after = config.at(max(0, step - 1)).recipe, configs[index].recipe
        changes = before is not after
        state = carried_state(states[index], before, after) if changes else states[index]
        load_optimizer(optimizers[index], model, state)
    return optimizers


def carried_state(
    state: dict[str, Any], before: TrainingConfig, after: TrainingConfig
) -> dict[str, Any]:
    """The entries of an optimizer's state with which training continues under other settings.

    Moments stay with an optimizer of the same kind (`Optimizer.state_kind`). At the same place in
    the list, the state of a transform stays with one of the same kind, and what a constraint stores
    stays with an equal one.

    Args:
        state: as from `mechgrok.optimization.optimizers.optimizer_state`.
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
