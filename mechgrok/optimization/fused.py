"""Adam and SGD, each one call to torch's fused kernels.

torch.optim's classes compute the same numbers with the same kernels. But for a small network they
prepare a step for longer than the step takes, and they import torch's compiler before the first.
"""

# pyright: reportPrivateImportUsage=false
# torch's fused kernels have names that begin with an underscore.

from collections import defaultdict
from typing import Any, Protocol

import torch
from torch import Tensor, nn

#: Parameters under ``params``, with their ``weight_decay`` and their learning rate ``lr``.
Group = dict[str, Any]
#: An optimizer's state of one parameter between steps, by name.
Moments = dict[str, Tensor]


class TorchOptimizer(Protocol):
    """The optimizer interface of the training loop; all of torch.optim's classes have it."""

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """The state between steps, by parameter, then by name."""
        ...

    def zero_grad(self) -> None:
        """Clear the gradients."""

    def step(self) -> object:
        """Update the parameters with their gradients."""


class Fused:
    """An optimizer that updates each group of parameters in one call.

    Args:
        groups: the parameters with their weight decay.
        lr: the learning rate.
    """

    #: Names of each parameter's state besides the step count; all start at 0.
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
    """Adam, or AdamW with ``decoupled`` weight decay.

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
    """Stochastic gradient descent, optionally with momentum."""

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
