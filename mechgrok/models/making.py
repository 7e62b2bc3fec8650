"""Making models from configurations: built-in kinds and user models."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError

from mechgrok import user_code
from mechgrok.errors import UserError, choices, sentence
from mechgrok.global_state import in_neutral_state
from mechgrok.models.config import KINDS, ModelShape

if TYPE_CHECKING:
    from mechgrok.models.hooked import HookedModel
    from mechgrok.models.wiring import Wiring
    from mechgrok.tasks import Task


def saved_shape(value: Any) -> Any:
    """Parse a model's configuration from ``config.json``.

    Raises:
        UserError: the kind is unknown or is user code that is not trusted, or a field is unknown or
            out of range.
    """
    if not isinstance(value, Mapping):
        return value
    fields = dict(value)
    kind = fields.setdefault("kind", "mlp")
    if user_code.is_own(kind):  # An absolute path works from any directory.
        kind = fields["kind"] = user_code.absolute(kind)
    try:
        return config_class(kind)(**fields)
    except ValidationError as error:
        known = config_class(kind).model_fields
        raise UserError(sentence(error, f"model {kind}", known, _kinds_with)) from None


def _kinds_with(option: str) -> list[str]:
    """The kinds of models that have an option."""
    return [kind for kind, (shape, *_) in KINDS.items() if option in shape.model_fields]


#: A model's configuration of any kind, as a field of a run's configuration.
ModelConfig = Annotated[SerializeAsAny[ModelShape], BeforeValidator(saved_shape)]


def config_class(kind: Any) -> type[ModelShape]:
    """The configuration class of a kind of model.

    Raises:
        UserError: the kind is unknown.
    """
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind][0]
    return model_class(kind).Config


def model_class(kind: Any) -> "type[HookedModel]":
    """The class of a kind of model: built-in, or a user's (``file.py:Class``).

    Raises:
        UserError: the kind is unknown, or is user code that is not trusted.
    """
    if user_code.is_own(kind):
        return _own_model(user_code.absolute(kind))
    if not isinstance(kind, str) or kind not in KINDS:
        raise UserError(f"There is no model {kind!r}: choose {choices(KINDS)}.")
    module, _, name = KINDS[kind][1].partition(":")
    return getattr(import_module(module), name)


def _own_model(name: str) -> "type[HookedModel]":
    from mechgrok.models.hooked import HookedModel

    kind = user_code.load(name, "model")
    if isinstance(kind, type) and issubclass(kind, HookedModel) and hasattr(kind, "Config"):
        return kind
    location, _, attribute = name.rpartition(":")
    raise UserError(
        f"{attribute} in {location} is not a model: make the class a subclass of mechgrok.models."
        "HookedModel with a Config that is a subclass of mechgrok.models.ModelShape."
    )


@in_neutral_state
def make_model(config: ModelShape, task: "Task", seed: int = 0) -> "HookedModel":
    """Make a freshly initialized model for a task.

    Raises:
        UserError: the task has vectors, but the model reads only tokens.
    """
    kind = model_class(config.kind)
    if task.input_kind != "tokens" and not kind.reads_vectors:
        raise UserError(
            f"A {config.kind} reads tokens, but {task.name} has vectors: choose --model mlp."
        )
    model = kind(config, **_sizes(task), seed=seed)  # type: ignore[call-arg]
    model.loss_fn = task.loss
    return model


def wiring_of(config: ModelShape, task: "Task") -> "Wiring":
    """The wiring of a model for a task, computed without making weights."""
    if config.kind in KINDS:
        from mechgrok.models import wirings

        wire = getattr(wirings, KINDS[config.kind][2])
    else:
        wire = model_class(config.kind).wire
    return wire(config, **_sizes(task))


def _sizes(task: "Task") -> dict[str, int]:
    return {"d_vocab": task.d_vocab, "n_ctx": task.n_ctx, "d_output": task.d_output}
