"""Masks as hooks: apply masks to a model's weights, change and read them."""

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
    """The parametrization w = θ ⊙ m of one weight, with the hook point ``hook_mask`` on m."""

    def __init__(self, mask: Bool[Tensor, "..."]) -> None:
        super().__init__()
        self.mask: Float[Tensor, "..."]
        self.register_buffer("mask", mask.float())
        self.hook_mask = HookPoint()

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return weight * self.hook_mask(self.mask)

    def kept(self) -> Bool[Tensor, "..."]:
        """Whether each entry is currently kept."""
        return self.mask.bool()


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that pruning applies to: all matrices, but no vectors."""
    return {name: weight for name, weight in raw_weights(model).items() if weight.ndim >= 2}


@in_neutral_state
def apply_mask(model: nn.Module, mask: Mask) -> None:
    """Apply ``mask`` to the model, so that ``model.W_in`` is the masked weight everywhere.

    The raw weight stays accessible (`mechgrok.models.raw_weights`). Pruned weights get no gradient;
    an optimizer leaves them exactly zero if they start at zero. An earlier mask is replaced. The
    hook point ``<weight>.hook_mask`` carries the mask (1 kept, 0 pruned), so ``run_with_hooks`` can
    change it for one call.

    Args:
        model: a hooked model of this package, or a TransformerLens bridge
            (``TransformerBridge.boot_native``); call a bridge's ``enable_compatibility_mode``
            before, because it drops other hook points.
        mask: the mask.

    Raises:
        UserError: the model lacks a masked weight, or its shape differs.
    """
    raw = raw_weights(model)
    for name, entries in mask.items():
        if name in raw and entries.shape != raw[name].shape:
            raise UserError(
                f"The mask of {name} has shape {tuple(entries.shape)}, but the model's weight has "
                f"{tuple(raw[name].shape)}: the mask belongs to another model."
            )
        weight_owner(model, name)
    for name, entries in mask.items():
        put_hook(model, name, MaskHook(entries.to(raw[name].device)))
    name_hooks(model)


def put_hook(model: nn.Module, name: str, hook: nn.Module) -> None:
    """Parametrize the weight ``name`` by ``hook``, replacing an earlier one."""
    owner, attribute = weight_owner(model, name)
    if parametrize.is_parametrized(owner, attribute):
        parametrize.remove_parametrizations(owner, attribute, leave_parametrized=False)
    parametrize.register_parametrization(owner, attribute, hook)
    owner.train(owner.training)  # The new modules too are in training or in evaluation mode.


def name_hooks(model: nn.Module) -> None:
    """Name every ``<weight>.hook_mask`` for ``run_with_hooks`` and ``run_with_cache``."""
    if isinstance(model, HookedModel):
        model.setup()
        return
    # A bridge has its own registry of hook points, filled from its components.
    registry: Any = getattr(model, "_hook_registry")  # noqa: B009
    for name, hook in mask_hooks(model).items():
        hook.hook_mask.name = f"{name}.hook_mask"
        registry[hook.hook_mask.name] = hook.hook_mask


def mask_hooks(model: nn.Module) -> dict[str, Any]:
    """The module that masks each masked weight: a `MaskHook` or edge-popup's hook."""
    hooks = {}
    for name in raw_weights(model):
        owner, attribute = weight_owner(model, name)
        if parametrize.is_parametrized(owner, attribute):
            hooks[name] = owner.get_submodule(f"parametrizations.{attribute}.0")
    return hooks


@in_neutral_state
def mask_of(model: nn.Module) -> Mask | None:
    """The model's current mask; None for a dense model."""
    masks = {name: hook.kept() for name, hook in mask_hooks(model).items()}
    return Mask(masks) if masks else None
