"""The optimizers of networks in training, made from the settings in force at a step."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from mechgrok.configuration.run_config import RunConfig
from mechgrok.masks.popup import scores_of
from mechgrok.models import HookedModel, raw_weights
from mechgrok.models.wiring import Layout
from mechgrok.optimization.constraints.applied import AppliedConstraints
from mechgrok.optimization.constraints.base import Weights
from mechgrok.optimization.fused import TorchOptimizer
from mechgrok.optimization.transforms.chain import Chain
from mechgrok.optimization.weight_settings import by_weight
from mechgrok.training.optimizer_state import carried_state, load_optimizer


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
