"""The fields of interventions: their types, and their descriptions in docstrings and forms."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from mechgrok.errors import UserError, sentence
from mechgrok.fields import Settings

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

#: The ``fwd_hooks`` of ``model.run_with_hooks``.
Hooks = list[tuple[Any, Callable[..., Any]]]
#: The number of a neuron, a head or a row, within the size of a tensor.
Number = Annotated[int, Field(ge=0, le=10**7, strict=True)]
#: Accepts a single number or text where several stand.
one_or_several = BeforeValidator(
    lambda value: (value,) if isinstance(value, int | str) and value != "dead" else value
)
#: Several numbers, at most as many as a layer may have neurons.
Numbers = Annotated[tuple[Number, ...], Field(max_length=10**5), one_or_several]
#: A name of a hook or a weight, or a path: printable text within a file system's limit.
Word = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00-\x1f\x7f]+$")]
# Names for which the explorer lists a run's choices.
Hook = Annotated[Word, Field(json_schema_extra={"names": "hooks"})]
Weight = Annotated[Word, Field(json_schema_extra={"names": "weights"})]
PruningMethod = Annotated[Word, Field(json_schema_extra={"names": "methods"})]
RunFolder = Annotated[Word, Field(json_schema_extra={"names": "runs"})]
#: A layer of neurons, counted from the first, or with a negative number from the last.
Layer = Annotated[int, Field(ge=-1000, le=1000, strict=True)]
#: Neurons by number, or "dead": those without a kept input weight.
Neurons = Numbers | Literal["dead"]


class _Listed(ModelMetaclass):
    """Lists a class's own names in ``help`` and completion, without those of pydantic."""

    def __dir__(cls) -> list[str]:
        own = {*super().__dir__()} - {*dir(BaseModel)} | {*getattr(cls, "model_fields")}  # noqa: B009
        return sorted(name for name in own if not name.startswith("_"))


class Described(Settings, metaclass=_Listed):
    """Fields with descriptions, which appear in the docstring of a subclass.

    Raises:
        UserError: an option is unknown or its value is invalid.
    """

    #: The name of an object in error messages.
    what: ClassVar[str] = "intervention {}"

    def __init__(self, /, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            kind = type(self)
            what = self.what.format(kind.__name__)
            raise UserError(sentence(error, what, kind.model_fields)) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        missing = [
            f"    {name}: {field.description}\n"
            for name, field in cls.model_fields.items()
            if f" {name}: " not in (cls.__doc__ or "")
        ]
        if missing and cls.__doc__:
            heading = "" if "Attributes:\n" in cls.__doc__ else "\n\nAttributes:"
            cls.__doc__ = f"{cleandoc(cls.__doc__)}{heading}\n{''.join(missing)}"

    def __dir__(self) -> list[str]:
        return dir(type(self))

    @property
    def given(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain Python values."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return {name: _plain(value) for name, value in self if value != defaults[name]}

    def __repr__(self) -> str:
        """The Python expression that makes the object."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.given.items())})"

    __str__ = __repr__


def _plain(value: Any) -> Any:
    if isinstance(value, Described):
        return value.given
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
