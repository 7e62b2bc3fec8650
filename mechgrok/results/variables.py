"""What the variables of an answer are: dimensions, units and definition, each said once.

An analysis declares its variables and coordinates in a table, ``VARIABLES``. `described` makes its
Dataset from it; ``mechgrok analyze NAME --help`` and the documentation list what it says.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import xarray as xr


class Variable(NamedTuple):
    """A variable or a coordinate of an analysis's Dataset.

    What stands in braces is filled in when it is measured: "{units of the loss}" becomes "nats".

    Attributes:
        dims: its dimensions, with commas between them.
        units: "none" of a yes or no, a name, or a number that something has.
        definition: a phrase, with the formula where there is one.

    >>> Variable("step, neuron", "{units of it}", "how much it fires").filled({"units of it": "Hz"})
    Variable(dims='step, neuron', units='Hz', definition='how much it fires')
    """

    dims: str
    units: str
    definition: str

    def filled(self, words: Mapping[str, object]) -> "Variable":
        """With what stands in braces replaced by ``words``."""
        return Variable(*(text.format_map(words) for text in self))


#: What an analysis's variables and coordinates are, by name.
Table = Mapping[str, Variable]

#: Coordinates that mean the same in every analysis.
SHARED: Table = {
    "step": Variable("step", "step", "training steps of the checkpoints or evaluations"),
    "neuron": Variable("neuron", "none", "a neuron's number in its layer"),
    "weight": Variable("weight", "none", "a weight's name"),
    "side": Variable("side", "none", "of the split: train, test"),
    "frequency": Variable(
        "frequency",
        "{units of a frequency}",
        "0 … ⌊n/2⌋ of n residues in their order; of a group the number of a representation",
    ),
    "representation": Variable("frequency", "none", "of a group: the representation's name"),
}


def described(
    table: Table,
    values: Mapping[str, Any],
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any] | None = None,
    words: Mapping[str, object] | None = None,
) -> "xr.Dataset":
    """A Dataset whose variables have the dimensions, and in their attributes the words, of a table.

    Args:
        table: what each variable and coordinate is; `SHARED` need not be said again.
        values: of the variables.
        coords: values of the coordinates.
        attrs: of the Dataset.
        words: what stands in the table's braces.

    >>> table = {"speed": Variable("step", "1/step", "‖θ_t' − θ_t‖ / (t' − t)")}
    >>> dataset = described(table, {"speed": [0.5, 0.25]}, {"step": [0, 10]})
    >>> dataset.speed.dims, dataset.speed.attrs
    (('step',), {'units': '1/step', 'definition': "‖θ_t' − θ_t‖ / (t' − t)"})
    """
    import xarray as xr

    known = {**SHARED, **table}

    def each(given: Mapping[str, Any]) -> dict[str, tuple[list[str], Any, dict[str, str]]]:
        entries = {}
        for name, value in given.items():
            dims, units, definition = known[name].filled(words or {})
            about = {"units": units, "definition": definition}
            entries[name] = (dims.split(", "), value, about)
        return entries

    return xr.Dataset(each(values), each(coords), attrs)


def for_each(table: Table, word: str, names: Iterable[str]) -> Table:
    """A table in which every entry stands once for each of some names.

    >>> for_each({"{W} kept": Variable("{W} row", "none", "is it?")}, "W", ["W_E"])
    {'W_E kept': Variable(dims='W_E row', units='none', definition='is it?')}
    """

    def stand(text: str, name: str) -> str:
        return text.replace(f"{{{word}}}", name)

    return {
        stand(key, name): Variable(*(stand(text, name) for text in variable))
        for key, variable in table.items()
        for name in names
    }


def as_listed(table: Table) -> Table:
    """A table without its braces, as it is read where nothing is measured.

    >>> as_listed({"{W}": Variable("step", "{units of the loss}", "what it costs")})
    {'W': Variable(dims='step', units='units of the loss', definition='what it costs')}
    """

    def bare(text: str) -> str:
        return text.replace("{", "").replace("}", "")

    return {bare(key): Variable(*map(bare, variable)) for key, variable in table.items()}
