"""Which weights are kept: a value type, and the hook that puts it on a model's weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformer_lens.hook_points import HookPoint

from mechgrok.errors import UserError
from mechgrok.models import HookedModel, raw_weights, weight_owner


@dataclass(frozen=True, eq=False)
class Mask(Mapping[str, Bool[Tensor, "..."]]):
    """For some of a model's weights, by name, which of their entries are kept (True).

    Weights that it does not name are kept whole.
    """

    kept: dict[str, Bool[Tensor, "..."]]

    def __post_init__(self) -> None:
        for name, kept in self.kept.items():
            if kept.dtype != torch.bool:
                if not ((kept == 0) | (kept == 1)).all():
                    raise UserError(f"The mask of {name} holds values other than 0 and 1.")
                self.kept[name] = kept.bool()

    def __getitem__(self, name: str) -> Bool[Tensor, "..."]:
        return self.kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def density(self) -> float:
        """Share of the masked weights' entries that are kept, over all of them."""
        entries = sum(kept.numel() for kept in self.kept.values())
        return sum(int(kept.sum()) for kept in self.kept.values()) / entries


class MaskHook(nn.Module):
    """The parametrization w = θ ⊙ m of one weight, with m behind the hook point ``hook_mask``."""

    def __init__(self, kept: Bool[Tensor, "..."]) -> None:
        super().__init__()
        self.mask: Float[Tensor, ...]
        self.register_buffer("mask", kept.float())
        self.hook_mask = HookPoint()

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return weight * self.hook_mask(self.mask)


def apply_mask(model: HookedModel, mask: Mask) -> None:
    """Put ``mask`` on the model: ``model.W_in`` is the masked weight wherever it is used.

    The raw weight is kept beside it. Pruned weights get no gradient; an optimizer leaves them
    exactly zero if they start there. A mask that is already on is replaced.

    Raises:
        UserError: the model has no such weight, or one of another shape.
    """
    raw = raw_weights(model)
    for name, kept in mask.items():
        owner, attribute = weight_owner(model, name)
        if kept.shape != raw[name].shape:
            raise UserError(
                f"The mask of {name} has shape {tuple(kept.shape)}, but the model's weight has "
                f"{tuple(raw[name].shape)}: the mask belongs to another model."
            )
        if parametrize.is_parametrized(owner, attribute):
            parametrize.remove_parametrizations(owner, attribute, leave_parametrized=False)
        hook = MaskHook(kept.to(raw[name].device))
        parametrize.register_parametrization(owner, attribute, hook)
    model.setup()
