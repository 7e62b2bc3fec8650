"""Optimizers with their options.

A new optimizer is one class: here, in another package (entry points of ``mechgrok.optimizers``), or
in your own file (``--optimizer file.py:Name``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from mechgrok.errors import UserError
from mechgrok.fields import Settings, make_named
from mechgrok.registry import Registry

if TYPE_CHECKING:
    from mechgrok.models.wiring import Wiring
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
