"""The base class of hooked models, and functions on the weights of a model."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn
from transformer_lens import ActivationCache, HookedRootModule
from transformer_lens.hook_points import HookPoint

from mechgrok.errors import UserError, near, warn
from mechgrok.global_state import in_neutral_state, in_neutral_state_from_seed
from mechgrok.models.config import Activation, ModelShape
from mechgrok.models.counts import TokenCounts
from mechgrok.models.wiring import Wiring

#: "folded": linear maps multiplied into tables; "full": all of TransformerLens's activations;
#: "auto": folded unless an activation that only the full pass computes has a hook.
Mode = Literal["auto", "folded", "full"]
#: What a forward pass returns; "both" is the pair of logits and loss, None nothing.
ReturnType = Literal["logits", "loss", "both"] | None
#: Former names of modes.
_FORMER_MODES: dict[str, Mode] = {"short": "folded", "plain": "full"}

#: Nonlinearities by name.
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "quadratic": torch.square,
    "tanh": torch.tanh,
    "silu": nn.functional.silu,
}


class UnknownHook(UserError, KeyError):
    """A model or a cache has no hook point of this name."""

    __str__ = Exception.__str__  # KeyError's puts the message in quotes.


class Cache(ActivationCache):
    """Activations by TransformerLens's short or full names.

    Raises:
        UnknownHook: an activation is not in the cache.
    """

    def __getitem__(self, key: Any) -> Tensor:
        try:
            return super().__getitem__(key)
        except KeyError as error:
            name = error.args[0]
        raise UnknownHook(f"The cache has no activation {name!r}{_offer(name, self.keys())}.")


def _offer(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest name, or else all names."""
    known = list(known)
    return near(name, known) or f": choose one of {', '.join(known)}"


class LensConfig(SimpleNamespace):
    """The shape of a model under TransformerLens's names.

    Setting an attribute ``use_…`` calls the model's method ``set_use_…``.

    Raises:
        UserError: another attribute is set.
    """

    __slots__ = ("_model",)

    def __init__(self, model: "HookedModel", **shape: Any) -> None:
        super().__init__(**shape)
        object.__setattr__(self, "_model", model)

    def __setattr__(self, name: str, value: Any) -> None:
        switch = getattr(self._model, f"set_{name}", None)
        if switch is None:
            raise UserError(
                f"cfg.{name} cannot be set to {value!r}, because cfg describes an existing model: "
                "set options of a new run, such as --set model.d_mlp=64."
            )
        switch(value)


class HookedModel(HookedRootModule):
    """A model with hooks on activations and weights, under TransformerLens's names.

    Its forward pass has two modes that compute the same function. The *full* mode computes every
    activation. The *folded* mode multiplies consecutive linear maps into small tables, because
    there are only ``d_vocab`` different inputs to embed; it is several times faster and computes
    only the activations in `folded_hooks`.
    """

    #: The configuration class.
    Config: ClassVar[type[ModelShape]]
    #: Whether the model reads real vectors besides tokens.
    reads_vectors: ClassVar[bool] = False

    config: ModelShape
    #: Width of the input, number of positions, width of the output.
    d_vocab: int
    n_ctx: int
    d_output: int
    #: Names of the hook points that the folded mode computes too.
    folded_hooks: frozenset[str] = frozenset()
    #: Hook points that a method turns on, by the last part of their names.
    optional_hooks: ClassVar[Mapping[str, str]] = {}
    #: The task's loss of (outputs, labels), for ``return_type="loss"``.
    loss_fn: Callable[[Tensor, Tensor], Tensor] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = in_neutral_state_from_seed(cls.__init__)  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        # A task's function may not be picklable.
        return {name: value for name, value in vars(self).items() if name != "loss_fn"}

    def setup(self) -> None:
        """Name every hook point; the hook point of a weight's mask is ``<weight>.hook_mask``."""
        super().setup()
        for name, hook in list(self.hook_dict.items()):
            if ".original" in name or "parametrizations." not in name:
                continue
            plain_name = weight_name(name)
            hook.name = plain_name
            self.hook_dict[plain_name] = self.hook_dict.pop(name)
            self.mod_dict[plain_name] = hook
        self._activation_hooks = {
            name: hook for name, hook in self.hook_dict.items() if not name.endswith(".hook_mask")
        }
        self._full_hooks = [
            hook for name, hook in self._activation_hooks.items() if name not in self.folded_hooks
        ]

    def _is_folded(self, mode: str) -> bool:
        """Whether this mode uses the folded pass."""
        if mode == "auto":
            return not any_active(self._full_hooks)
        if mode in _FORMER_MODES:
            former, mode = mode, _FORMER_MODES[mode]
            warn(f"The mode {former!r} is now called {mode!r}.", DeprecationWarning)
        return mode == "folded"

    @property
    def has_active_hooks(self) -> bool:
        """Whether an activation has a hook; mask hooks do not count."""
        return any_active(self._activation_hooks.values())

    @property
    def is_listened_to(self) -> bool:
        """The former name of `has_active_hooks`."""
        warn("is_listened_to is now called has_active_hooks.", DeprecationWarning)
        return self.has_active_hooks

    @property
    def short_hooks(self) -> frozenset[str]:
        """The former name of `folded_hooks`."""
        warn("short_hooks is now called folded_hooks.", DeprecationWarning)
        return self.folded_hooks

    @short_hooks.setter
    def short_hooks(self, names: frozenset[str]) -> None:
        warn("short_hooks is now called folded_hooks.", DeprecationWarning)
        self.folded_hooks = names

    @abstractmethod
    def forward(self, inputs: Shaped[Tensor, "batch ..."], mode: Mode = "auto") -> Tensor:
        """Outputs ``[batch, d_output]``."""

    def vjp(
        self, inputs: Any
    ) -> tuple[Float[Tensor, "*member batch d_output"], Callable[[Tensor], None]]:
        """Outputs, and a function that pulls a gradient back to the weights.

        Args:
            inputs: a batch from `encode`.

        Returns:
            The outputs, which may be overwritten, and a function to call once with ∂L/∂outputs,
            which adds ∂L/∂θ to ``grad`` of every parameter θ.
        """
        outputs = self(inputs)
        own = outputs.detach().clone(memory_format=torch.contiguous_format)
        return own, outputs.backward

    @classmethod
    @abstractmethod
    def wire(cls, config: Any, *, d_vocab: int, n_ctx: int, d_output: int) -> Wiring:
        """The wiring of a network of this shape, computed without making weights."""

    @cached_property
    def wiring(self) -> Wiring:
        """The wiring of this network."""
        return self.wire(
            self.config, d_vocab=self.d_vocab, n_ctx=self.n_ctx, d_output=self.d_output
        )

    @property
    def cfg(self) -> LensConfig:
        """The shape under TransformerLens's names, for `ActivationCache` and its functions."""
        shape = {name: getattr(self.config, name) for name in type(self.config).model_fields}
        return LensConfig(
            self,
            **shape,
            n_ctx=self.n_ctx,
            d_vocab=self.d_vocab,
            d_vocab_out=self.d_output,
            act_fn=self.config.act,
            normalization_type=self.normalization_type,
            attn_only=False,
            device=self.device,
            dtype=self.dtype,
        )

    @property
    def normalization_type(self) -> str | None:
        """TransformerLens's name of the normalization: LN, RMS, LNPre or RMSPre."""
        kind = {"layer": "LN", "rms": "RMS"}.get(getattr(self.config, "norm", None) or "")
        return f"{kind}Pre" if kind and not getattr(self.config, "norm_learned", True) else kind

    def weight(self, name: str) -> Float[Tensor, "..."]:
        """The weight ``name``, masked if it has a mask."""
        return getattr(*weight_owner(self, name))

    def input_side(self, path: str | None = None) -> Float[Tensor, "d_vocab d_mlp"]:
        """The weight from every token to every neuron of the first hidden layer.

        Args:
            path: one of the wiring's input paths, or "auto"; default: the direct path.
        """
        return self.wiring.input_path(path or self.wiring.direct).product(self.weight)

    def output_side(self) -> Float[Tensor, "d_mlp d_output"]:
        """The weight from every neuron of the last hidden layer to every output."""
        return self.wiring.output_path.product(self.weight)

    def linear_flow(self) -> Float[Tensor, ""]:
        """SynFlow's R for weights ≥ 0: the sum of the outputs for an input of ones.

        A model that reads only tokens gets every token t at all positions instead:

            R = Σ_t Σ_c f_c(t, …, t)

        This is the same sum if the outputs f are linear in the embedding.
        """
        if self.reads_vectors:
            return self(torch.ones(1, self.d_vocab, dtype=self.dtype, device=self.device)).sum()
        tokens = torch.arange(self.d_vocab, device=self.device)
        return self(tokens[:, None].repeat(1, self.n_ctx)).sum()

    @property
    def dtype(self) -> torch.dtype:
        """The weights' data type."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The weights' device."""
        return next(self.parameters()).device

    def to_tokens(self, inputs: Any) -> Any:
        """A batch from a list, an array, or the tokens ``[pos]`` of one example.

        Raises:
            UserError: the input is not numbers.
        """
        if isinstance(inputs, TokenCounts) or (isinstance(inputs, Tensor) and inputs.ndim != 1):
            return inputs
        try:
            batch = torch.as_tensor(inputs, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            raise UserError(
                f"The model has no tokenizer for {inputs!r}: give numbers, such as [[3, 5]]."
            ) from None
        if batch.is_floating_point():
            return batch.to(self.dtype)
        return batch.long()[None] if batch.ndim == 1 else batch.long()

    def tokens_to_residual_directions(
        self, tokens: int | Integer[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch d_model"]:
        """The column of W_U for each token: the direction that raises its logit."""
        chosen = torch.as_tensor(tokens, device=self.device)
        chosen = chosen.flatten()[0] if chosen.numel() == 1 else chosen  # as in TransformerLens
        return self.weight(self.wiring.full_name("W_U")).T[chosen]

    def tl(self) -> Any:
        """A stock TransformerLens model (``TransformerBridge``) with these weights, masks applied.

        Raises:
            UserError: TransformerLens has no such model.
        """
        raise UserError(
            f"TransformerLens has no native {self.config.kind}: use run.model(step) itself, whose "
            "hooks have TransformerLens's names."
        )

    def _returned(
        self, outputs: Float[Tensor, "batch ... d_output"], return_type: ReturnType, labels: Any
    ) -> Any:
        """The outputs, their loss (of the last position), both, or None.

        Raises:
            UserError: the loss has no labels or no task, or there is no such ``return_type``.
        """
        if return_type is None:
            return None
        if return_type not in ("loss", "both"):
            raise UserError(
                f"There is no return_type {return_type!r}: choose logits, loss, both or None."
            )
        if labels is None:
            raise UserError(
                "The loss needs labels, because they are not the next tokens: give model(inputs, "
                f"return_type={return_type!r}, labels=labels)."
            )
        if self.loss_fn is None:
            raise UserError("This model has no task, so no loss: open it by run.model(step).")
        last = outputs[:, -1] if outputs.ndim == 3 else outputs
        loss = self.loss_fn(last, torch.as_tensor(labels, device=outputs.device))
        return loss if return_type == "loss" else (outputs, loss)

    def run_with_cache(
        self,
        *model_args: Any,
        return_cache_object: bool = True,
        remove_batch_dim: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Any]:
        """Outputs and activations, in an `ActivationCache` (``cache["post", 0]``).

        Args:
            model_args: arguments of `forward`.
            return_cache_object: False for a plain dictionary.
            remove_batch_dim: drop the batch dimension of activations, for a batch of one.
            kwargs: arguments of ``HookedRootModule.run_with_cache``.

        Raises:
            UnknownHook: a name in ``names_filter`` is not a hook point.
        """
        if model_args:
            model_args = (self.to_tokens(model_args[0]), *model_args[1:])
        outputs, cache = super().run_with_cache(
            *model_args, remove_batch_dim=remove_batch_dim, **kwargs
        )
        if return_cache_object:
            cache = Cache(cache, self, has_batch_dim=not remove_batch_dim)
        return outputs, cache

    def get_caching_hooks(self, names_filter: Any = None, *args: Any, **kwargs: Any) -> Any:
        """TransformerLens's method; ``names_filter`` may be any collection of names."""
        return super().get_caching_hooks(self._known(names_filter), *args, **kwargs)

    def add_caching_hooks(self, names_filter: Any = None, *args: Any, **kwargs: Any) -> Any:
        """TransformerLens's method; ``names_filter`` may be any collection of names."""
        return super().add_caching_hooks(self._known(names_filter), *args, **kwargs)

    def add_hook(self, name: Any, *args: Any, **kwargs: Any) -> None:
        """Add a hook to the hook points that a name or a function of names selects."""
        super().add_hook(self._known(name), *args, **kwargs)

    def _enable_hook_with_name(self, name: str, hook: Callable[..., Any], dir: Any) -> None:
        self.check_hook(name)
        super()._enable_hook_with_name(name, hook, dir)

    def _known(self, names: Any) -> Any:
        """Names of hook points in TransformerLens's forms, after a check that they exist."""
        if names is None or callable(names):
            return names
        names = names if isinstance(names, str) else list(names)
        for name in [names] if isinstance(names, str) else names:
            self.check_hook(name)
        return names

    def check_hook(self, name: str) -> None:
        """Raise an error for a hook point that the model does not have.

        Raises:
            UnknownHook: the model has no such hook point, or it is off.
        """
        if name in self.hook_dict:
            return
        known, last = list(self._activation_hooks), name.rpartition(".")[2]
        if last in self.optional_hooks and not any(one.endswith(last) for one in known):
            raise UnknownHook(f"{name} is off: call model.{self.optional_hooks[last]}(True) first.")
        raise UnknownHook(f"The model has no hook point {name!r}{_offer(name, known)}.")

    def encode(self, inputs: Any) -> Any:
        """Encode inputs for the folded mode; reuse the result over many calls."""
        return inputs

    def n_parameters(self) -> int:
        """The number of weights, pruned ones included."""
        return sum(weight.numel() for weight in raw_weights(self).values())


def any_active(hooks: Iterable[HookPoint]) -> bool:
    """Whether one of these hook points has a hook."""
    return any(hook._forward_hooks or hook._backward_hooks for hook in hooks)


def weight_name(parameter_name: str) -> str:
    """The name of a weight, from PyTorch's name of its parameter.

    ``torch.nn.utils.parametrize`` stores a masked weight as ``parametrizations.W_in.original``; its
    name is still ``W_in``. The ``_original_component`` of a TransformerLens bridge is dropped too.
    """
    path = [part for part in parameter_name.split(".") if part != "_original_component"]
    if "parametrizations" not in path:
        return ".".join(path)
    at = path.index("parametrizations")
    rest = [part for part in path[at + 2 :] if part != "original" and not part.isdigit()]
    return ".".join([*path[:at], path[at + 1], *rest])


def raw_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The unmasked weights by name, without edge-popup's scores."""
    # Call nn.Module's method: a TransformerLens bridge reports the names of its wrapped model.
    return {
        weight_name(name): parameter
        for name, parameter in nn.Module.named_parameters(model)
        if "parametrizations" not in name or name.endswith(".original")
    }


def weight_owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module and the attribute of the weight ``name``.

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
    while isinstance(inner := getattr(owner, "_original_component", None), nn.Module):
        owner = inner
    return owner, attribute


def effective_weights(model: nn.Module) -> dict[str, Float[Tensor, "..."]]:
    """The weights by name, masked where the model has a mask."""
    return {name: getattr(*weight_owner(model, name)) for name in raw_weights(model)}


def add_gradients(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Backpropagate the gradients at weights to the ``grad`` of their parameters.

    Args:
        weights: effective weights; a masked one is a product of its parameter and its mask.
        gradients: the gradient at each weight.
    """
    products, at_products = [], []
    for weight, gradient in zip(weights, gradients, strict=True):
        if not weight.is_leaf:
            products.append(weight)
            at_products.append(gradient)
        elif weight.requires_grad:
            weight.grad = gradient if weight.grad is None else weight.grad + gradient
    if products:
        torch.autograd.backward(products, at_products)


@in_neutral_state
def load_weights(model: nn.Module, weights: dict[str, Float[Tensor, "..."]]) -> None:
    """Copy ``weights`` into the model's raw weights, by name.

    Raises:
        UserError: a weight is missing or unknown, or has another shape.
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
