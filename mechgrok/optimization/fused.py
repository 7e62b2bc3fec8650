"""Adam and SGD as one call into torch each.

torch.optim's own classes compute the same numbers with the same calls, but take longer to prepare
a step than the step takes for a small network, and import torch's compiler before the first one.
"""

# pyright: reportPrivateImportUsage=false
# They call the same functions of torch, whose names begin with an underscore.

from collections import defaultdict
from typing import Any, Protocol

import torch
from torch import Tensor, nn

#: Parameters under ``params`` with their ``weight_decay``, and with ``lr``, torch's name for it.
Group = dict[str, Any]
#: What an optimizer stores about one parameter between steps, by name.
Moments = dict[str, Tensor]


class TorchOptimizer(Protocol):
    """What the training loop needs of an optimizer; every one of torch.optim has it."""

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """What is stored between steps, by parameter, then by name."""
        ...

    def zero_grad(self) -> None:
        """Clear the gradients."""

    def step(self) -> object:
        """Update the parameters with their gradients."""


class Fused:
    """Groups of parameters, each updated in one call.

    Args:
        groups: the parameters with their weight decay.
        lr: the learning rate.
    """

    #: The names of what is stored about each parameter besides the number of steps, 0 at first.
    moments: tuple[str, ...]

    def __init__(self, groups: list[Group], *, lr: float) -> None:
        self.param_groups: list[Group] = [{"lr": lr} | group for group in groups]
        self.state: dict[nn.Parameter, Moments] = defaultdict(dict)

    def zero_grad(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not trained:
                continue
            for parameter in trained:
                if not self.state[parameter]:
                    self.state[parameter] = self._initial_state(parameter)
            states = [self.state[parameter] for parameter in trained]
            self._update(group, trained, [parameter.grad for parameter in trained], states)

    def _initial_state(self, parameter: nn.Parameter) -> Moments:
        return {name: torch.zeros_like(parameter) for name in self.moments}

    def _update(
        self, group: Group, parameters: list[Any], gradients: list[Any], states: list[Moments]
    ) -> None:
        raise NotImplementedError


class Adam(Fused):
    """Adam; with ``decoupled`` weight decay AdamW.

    Sources: Kingma and Ba 2015 (arXiv 1412.6980); Loshchilov and Hutter 2019 (arXiv 1711.05101).
    """

    moments = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        groups: list[Group],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        decoupled: bool = True,
    ) -> None:
        super().__init__(groups, lr=lr)
        self.betas = betas
        self._adam = torch._fused_adamw_ if decoupled else torch._fused_adam_

    def _initial_state(self, parameter: nn.Parameter) -> Moments:
        steps = torch.zeros((), dtype=torch.float32, device=parameter.device)
        return {"step": steps} | super()._initial_state(parameter)

    def _update(
        self, group: Group, parameters: list[Any], gradients: list[Any], states: list[Moments]
    ) -> None:
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        self._adam(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


class SGD(Fused):
    """Stochastic gradient descent, with momentum where it is not 0."""

    def __init__(self, groups: list[Group], *, lr: float, momentum: float = 0.0) -> None:
        super().__init__(groups, lr=lr)
        self.momentum = momentum
        self.moments = ("momentum_buffer",) if momentum else ()

    def _update(
        self, group: Group, parameters: list[Any], gradients: list[Any], states: list[Moments]
    ) -> None:
        torch._fused_sgd_(
            parameters,
            gradients,
            [state["momentum_buffer"] for state in states if state],
            weight_decay=group["weight_decay"],
            momentum=self.momentum,
            lr=group["lr"],
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )
