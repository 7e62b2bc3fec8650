"""What every hooked model here shares: names of weights, the short way and the plain way."""

import math
from abc import abstractmethod
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from transformer_lens import HookedRootModule

from mechgrok.errors import UserError

#: "short": the folded computation; "plain": every activation as TransformerLens makes it;
#: "auto": the short way unless a hook listens to an activation that it never makes.
Way = Literal["auto", "short", "plain"]

ACTIVATIONS = {"relu": torch.relu, "gelu": nn.functional.gelu}


class HookedModel(HookedRootModule):
    """A model whose activations and weights can be hooked, by TransformerLens's names.

    There are two ways through it that compute the same function. The *plain way* makes every
    activation in turn. The *short way* folds consecutive linear maps into small tables, because
    there are only ``d_vocab`` different inputs to embed; it is several times faster and makes only
    the activations in `short_hooks`.
    """

    #: Width of the input and of the output: tokens (or numbers) read, answers given.
    d_vocab: int
    d_output: int
    #: Names of the hook points that the short way makes too.
    short_hooks: frozenset[str] = frozenset()

    def setup(self) -> None:
        """Name every hook point; those of a weight's mask are called ``<weight>.hook_mask``."""
        super().setup()
        for name, hook in list(self.hook_dict.items()):
            if ".original" in name or "parametrizations." not in name:
                continue
            plain_name = weight_name(name)
            hook.name = plain_name
            self.hook_dict[plain_name] = self.hook_dict.pop(name)
            self.mod_dict[plain_name] = hook
        self._plain_hooks = [
            hook
            for name, hook in self.hook_dict.items()
            if name not in self.short_hooks and not name.endswith(".hook_mask")
        ]

    def _takes_short_way(self, way: Way) -> bool:
        if way != "auto":
            return way == "short"
        return not any(hook._forward_hooks or hook._backward_hooks for hook in self._plain_hooks)

    @abstractmethod
    def forward(self, inputs: Shaped[Tensor, "batch ..."], way: Way = "auto") -> Tensor:
        """Outputs ``[batch, d_output]``."""

    @abstractmethod
    def input_side(self) -> Float[Tensor, "d_vocab d_mlp"]:
        """The weight from every input to every neuron of the first hidden layer."""

    @abstractmethod
    def output_side(self) -> Float[Tensor, "d_mlp d_output"]:
        """The weight from every neuron of the last hidden layer to every output."""

    def encode(self, inputs: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """The form of ``inputs`` that the short way takes fastest; keep it over many calls."""
        return inputs

    def n_parameters(self) -> int:
        """The number of weights, pruned ones included."""
        return sum(weight.numel() for weight in raw_weights(self).values())


def weight_name(parameter_name: str) -> str:
    """The name of a weight from PyTorch's name of the parameter that holds it.

    A weight under a mask is stored by ``torch.nn.utils.parametrize`` as
    ``parametrizations.W_in.original``; its name is ``W_in`` all the same. So is a weight's in the
    ``_original_component`` that a TransformerLens bridge wraps.
    """
    path = [part for part in parameter_name.split(".") if part != "_original_component"]
    if "parametrizations" not in path:
        return ".".join(path)
    at = path.index("parametrizations")
    rest = [part for part in path[at + 2 :] if part != "original" and not part.isdigit()]
    return ".".join([*path[:at], path[at + 1], *rest])


def raw_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights themselves, before any mask and without edge-popup's scores, by name."""
    # nn.Module's own names: a TransformerLens bridge reports those of the model that it wraps.
    return {
        weight_name(name): parameter
        for name, parameter in nn.Module.named_parameters(model)
        if "parametrizations" not in name or name.endswith(".original")
    }


def weight_owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds weight ``name``, and the attribute it holds it under.

    Raises:
        UserError: the model has no such weight.
    """
    path, _, attribute = name.rpartition(".")
    try:
        owner = model.get_submodule(path)
        getattr(owner, attribute)
    except AttributeError:
        known = ", ".join(raw_weights(model))
        raise UserError(f"The model has no weight {name!r}; it has {known}.") from None
    while hasattr(owner, "_original_component"):
        owner = owner._original_component  # type: ignore[assignment]
    return owner, attribute


def effective_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that the model computes with: masked where a mask is on."""
    return {name: getattr(*weight_owner(model, name)) for name in raw_weights(model)}


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy ``weights`` into the model's raw weights, by name.

    Raises:
        UserError: a weight is missing, unknown or of another shape.
    """
    raw = raw_weights(model)
    if missing := [name for name in raw if name not in weights]:
        raise UserError(f"The weights lack {', '.join(missing)}, which the model needs.")
    if unknown := [name for name in weights if name not in raw]:
        raise UserError(f"The weights hold {', '.join(unknown)}, which the model does not have.")
    for name, parameter in raw.items():
        if parameter.shape != weights[name].shape:
            raise UserError(
                f"{name} has shape {tuple(weights[name].shape)}, but the model needs "
                f"{tuple(parameter.shape)}."
            )
    with torch.no_grad():
        for name, parameter in raw.items():
            parameter.copy_(weights[name])


def normal_weight(
    *shape: int, d_in: int, init_scale: float, generator: torch.Generator
) -> nn.Parameter:
    """A weight drawn from N(0, κ²/d_in), κ = ``init_scale``, d_in = the width of what it reads."""
    draw: Float[Tensor, ...] = torch.randn(shape, generator=generator)
    return nn.Parameter(draw * (init_scale / math.sqrt(d_in)))


def uniform_weight(
    *shape: int, d_in: int, init_scale: float, generator: torch.Generator
) -> nn.Parameter:
    """A weight drawn from κ · U(−1/√d_in, 1/√d_in), as PyTorch's nn.Linear starts (times κ)."""
    draw: Float[Tensor, ...] = 2 * torch.rand(shape, generator=generator) - 1
    return nn.Parameter(draw * (init_scale / math.sqrt(d_in)))
