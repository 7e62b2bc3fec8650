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

#: Parameters under ``params`` with the ``weight_decay`` that is theirs.
Group = dict[str, Any]


class Stepper(Protocol):
    """What the training loop asks of an optimizer; those of torch.optim have it too."""

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """What it keeps of each parameter between steps, by parameter, then by name."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def step(self) -> object:
        """Change the parameters by their gradients."""


class Fused:
    """Groups of parameters, each changed in one call.

    Args:
        groups: the parameters with their weight decay.
        lr: the learning rate.
    """

    #: What is kept of each parameter, besides the number of steps: zeros to begin with.
    moments: tuple[str, ...]

    def __init__(self, groups: list[Group], *, lr: float) -> None:
        #: Each with the learning rate that is its own, under torch's name for it.
        self.param_groups: list[Group] = [{"lr": lr} | group for group in groups]
        self.state: dict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)

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
            kept = [self.state[parameter] or self._begin(parameter) for parameter in trained]
            moments = [[state[name] for state in kept] for name in self.moments]
            gradients = [parameter.grad for parameter in trained]
            self._change(trained, gradients, moments, kept, group)

    def _begin(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        state = self.state[parameter]
        state.update({name: torch.zeros_like(parameter) for name in self.moments})
        return state

    def _change(
        self,
        parameters: list[Any],
        gradients: list[Any],
        moments: list[list[Tensor]],
        kept: list[dict[str, Tensor]],
        group: Group,
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

    def _begin(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        steps = torch.zeros((), dtype=torch.float32, device=parameter.device)
        self.state[parameter]["step"] = steps
        return super()._begin(parameter)

    def _change(
        self,
        parameters: list[Any],
        gradients: list[Any],
        moments: list[list[Tensor]],
        kept: list[dict[str, Tensor]],
        group: Group,
    ) -> None:
        steps = [state["step"] for state in kept]
        torch._foreach_add_(steps, 1)
        self._adam(
            parameters,
            gradients,
            moments[0],
            moments[1],
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

    def _change(
        self,
        parameters: list[Any],
        gradients: list[Any],
        moments: list[list[Tensor]],
        kept: list[dict[str, Tensor]],
        group: Group,
    ) -> None:
        torch._fused_sgd_(
            parameters,
            gradients,
            moments[0] if moments else [],
            weight_decay=group["weight_decay"],
            momentum=self.momentum,
            lr=group["lr"],
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )
