"""Masks as hooks: a mask is put on a model's weights, and hooked, changed and read there."""

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformer_lens.hook_points import HookPoint

from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.masks.mask import Mask
from mechgrok.models import HookedModel, raw_weights, weight_owner


class MaskHook(nn.Module):
    """The parametrization w = θ ⊙ m of one weight, with m behind the hook point ``hook_mask``."""

    def __init__(self, kept: Bool[Tensor, "..."]) -> None:
        super().__init__()
        self.mask: Float[Tensor, "..."]
        self.register_buffer("mask", kept.float())
        self.hook_mask = HookPoint()

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return weight * self.hook_mask(self.mask)

    def kept(self) -> Bool[Tensor, "..."]:
        """Which entries are kept now."""
        return self.mask.bool()


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are pruned unless told otherwise: all matrices, no biases, no norms."""
    return {name: weight for name, weight in raw_weights(model).items() if weight.ndim >= 2}


@in_neutral_state
def apply_mask(model: nn.Module, mask: Mask) -> None:
    """Put ``mask`` on the model: ``model.W_in`` is the masked weight wherever it is used.

    The raw weight is kept beside it. Pruned weights get no gradient; an optimizer leaves them
    exactly zero if they start there. A mask that is already on is replaced. The hook point
    ``<weight>.hook_mask`` carries the mask (1 kept, 0 pruned), so that ``run_with_hooks`` can
    change it for one call.

    Args:
        model: a hooked model of this package, or a TransformerLens bridge
            (``TransformerBridge.boot_native``), there after any ``enable_compatibility_mode``,
            which forgets hook points that it did not make.

    Raises:
        UserError: the model has no such weight, or one of another shape.
    """
    raw = raw_weights(model)
    for name, kept in mask.items():
        if name in raw and kept.shape != raw[name].shape:
            raise UserError(
                f"The mask of {name} has shape {tuple(kept.shape)}, but the model's weight has "
                f"{tuple(raw[name].shape)}: the mask belongs to another model."
            )
        weight_owner(model, name)
    for name, kept in mask.items():
        put_hook(model, name, MaskHook(kept.to(raw[name].device)))
    name_hooks(model)


def put_hook(model: nn.Module, name: str, hook: nn.Module) -> None:
    """Let ``hook`` stand between weight ``name`` and its use, in place of one that does already."""
    owner, attribute = weight_owner(model, name)
    if parametrize.is_parametrized(owner, attribute):
        parametrize.remove_parametrizations(owner, attribute, leave_parametrized=False)
    parametrize.register_parametrization(owner, attribute, hook)


def name_hooks(model: nn.Module) -> None:
    """Let ``run_with_hooks`` and ``run_with_cache`` find every ``<weight>.hook_mask`` by name."""
    if isinstance(model, HookedModel):
        model.setup()
        return
    # A bridge looks hook points up in its own registry, which it fills from its components.
    registry: Any = getattr(model, "_hook_registry")  # noqa: B009
    for name, hook in mask_hooks(model).items():
        hook.hook_mask.name = f"{name}.hook_mask"
        registry[hook.hook_mask.name] = hook.hook_mask


def mask_hooks(model: nn.Module) -> dict[str, Any]:
    """The module that masks each weight, a `MaskHook` or edge-popup's, for those that have one."""
    hooks = {}
    for name in raw_weights(model):
        owner, attribute = weight_owner(model, name)
        if parametrize.is_parametrized(owner, attribute):
            hooks[name] = owner.get_submodule(f"parametrizations.{attribute}.0")
    return hooks


@in_neutral_state
def mask_of(model: nn.Module) -> Mask | None:
    """The mask that is on the model now; None for a dense model."""
    kept = {name: hook.kept() for name, hook in mask_hooks(model).items()}
    return Mask(kept) if kept else None
