"""What every intervention is: a value that says what it does to hooks or to the mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from mechgrok.errors import UserError, sentence
from mechgrok.fields import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from mechgrok.interventions.network import Network
    from mechgrok.masks import Mask

#: What ``model.run_with_hooks(inputs, fwd_hooks=…)`` takes.
Hooks = list[tuple[Any, Callable[..., Any]]]
#: The number of a neuron, a head, a row: never negative, and small enough for a tensor.
Number = Annotated[int, Field(ge=0, le=10**7, strict=True)]
#: Several of them; the longest list is as long as a layer may be wide.
Numbers = Annotated[tuple[Number, ...], Field(max_length=10**5)]
#: The name of a hook or a weight, a path: printable, and no longer than a file system allows.
Word = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00-\x1f\x7f]+$")]
# What a text names, of which the explorer offers those that a run has.
Hook = Annotated[Word, Field(json_schema_extra={"names": "hooks"})]
Weight = Annotated[Word, Field(json_schema_extra={"names": "weights"})]
PruningMethod = Annotated[Word, Field(json_schema_extra={"names": "methods"})]
RunFolder = Annotated[Word, Field(json_schema_extra={"names": "runs"})]
#: A layer of neurons, counted from the first, or with a negative number from the last.
Layer = Annotated[int, Field(ge=-1000, le=1000, strict=True)]
#: The neurons named, or those that no kept weight reaches.
Neurons = Numbers | Literal["dead"]


class Intervention(Settings):
    """Something that may be done to a network; a new kind is a subclass and its registration.

    Its fields say what is done, so that it can be written down; the explorer makes a form of their
    types, bounds and descriptions. `hooks` and `remask` turn it into what PyTorch runs; a subclass
    overrides one of them, or both.

    Raises:
        UserError: an option is unknown or its value makes no sense.
    """

    def __init__(self, /, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            kind = type(self)
            raise UserError(
                sentence(error, f"intervention {kind.__name__}", kind.model_fields)
            ) from None

    def hooks(self, network: Network, inputs: Tensor) -> Hooks:
        """What is done to activations while the network reads ``inputs``, as forward hooks.

        Args:
            network: as the interventions before this one left it.
            inputs: the batch that the hooks will see.

        Raises:
            UserError: it cannot be done to this network.
        """
        return []

    def remask(self, network: Network) -> Mask:
        """The mask of all matrices from here on.

        Raises:
            UserError: it cannot be done to this network.
        """
        return network.mask

    @property
    def given(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain numbers, texts, lists, tables."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return {name: _plain(value) for name, value in self if value != defaults[name]}

    def __repr__(self) -> str:
        """The Python that makes it."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.given.items())})"

    __str__ = __repr__


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
