"""Tables of an answer's variables: dimensions, units and definitions.

An analysis declares its variables and coordinates in a table, ``VARIABLES``. `described` builds its
Dataset from the table, and ``mechgrok analyze NAME --help`` and the documentation list it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import xarray as xr


class Variable(NamedTuple):
    """A variable or a coordinate of an analysis's Dataset.

    The measurement fills in placeholders in braces: "{units of the loss}" becomes "nats".

    Attributes:
        dims: its dimensions, separated by commas.
        units: its units; "none" for a truth value, a name or an index.
        definition: a phrase, with a formula if possible.

    >>> Variable("step, neuron", "{units of it}", "how much it fires").filled({"units of it": "Hz"})
    Variable(dims='step, neuron', units='Hz', definition='how much it fires')
    """

    dims: str
    units: str
    definition: str

    def filled(self, words: Mapping[str, object]) -> "Variable":
        """Replace placeholders in braces."""
        return Variable(*(text.format_map(words) for text in self))


class Scalar(NamedTuple):
    """One number per step, from a variable that has further dimensions.

    Attributes:
        variable: the variable's name.
        at: labels of further dimensions; the mean is taken over the others, without NaN.

    >>> import xarray as xr
    >>> coords = {"step": [0], "side": ["train", "test"]}
    >>> dataset = xr.Dataset({"margin": (["step", "side"], [[1.0, 3.0]])}, coords)
    >>> [Scalar("margin", at).of(dataset).item() for at in ({"side": "test"}, {})]
    [3.0, 2.0]
    """

    variable: str
    at: Mapping[str, Any] = {}

    def of(self, dataset: "xr.Dataset") -> "xr.DataArray":
        """The scalar over the steps of an answer.

        Raises:
            KeyError: the answer has no such variable or label.
        """
        values = dataset[self.variable].sel(self.at)
        return values.mean([dim for dim in values.dims if dim != "step"])

    def definition(self, dataset: "xr.Dataset") -> str:
        """The variable's definition in an answer, with the labels and the dimensions of the mean.

        Raises:
            KeyError: the answer has no such variable.
        """
        variable = dataset[self.variable]
        dims = [str(dim) for dim in variable.dims if dim not in ("step", *self.at)]
        labels = [f"{dim} {label}" for dim, label in self.at.items()]
        mean = [f"mean over {' and '.join(dims)}"] if dims else []
        return "; ".join([variable.attrs.get("definition", self.variable), *labels, *mean])


#: Variables and coordinates by name.
Table = Mapping[str, Variable]

#: Coordinates with the same meaning in every analysis.
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
    """Build a Dataset with the dimensions, units and definitions of a table.

    Args:
        table: the variables and coordinates, besides `SHARED`.
        values: values of the variables.
        coords: values of the coordinates.
        attrs: attributes of the Dataset.
        words: replacements for the table's placeholders.

    >>> table = {"speed": Variable("step", "1/step", "‖θ_t' − θ_t‖ / (t' − t)")}
    >>> dataset = described(table, {"speed": [0.5, 0.25]}, {"step": [0, 10]})
    >>> dataset.speed.dims, dataset.speed.attrs
    (('step',), {'units': '1/step', 'definition': "‖θ_t' − θ_t‖ / (t' − t)"})
    """
    import xarray as xr

    variables = {**SHARED, **table}

    def add_metadata(
        arrays: Mapping[str, Any],
    ) -> dict[str, tuple[list[str], Any, dict[str, str]]]:
        entries = {}
        for name, array in arrays.items():
            dims, units, definition = variables[name].filled(words or {})
            entries[name] = (dims.split(", "), array, {"units": units, "definition": definition})
        return entries

    return xr.Dataset(add_metadata(values), add_metadata(coords), attrs)


def for_each(table: Table, word: str, names: Iterable[str]) -> Table:
    """Repeat a table's entries for each of ``names``, which replaces the placeholder ``word``.

    >>> for_each({"{W} kept": Variable("{W} row", "none", "is it?")}, "W", ["W_E"])
    {'W_E kept': Variable(dims='W_E row', units='none', definition='is it?')}
    """

    def insert(name: str, text: str) -> str:
        return text.replace(f"{{{word}}}", name)

    return {
        insert(name, key): Variable(*(insert(name, text) for text in variable))
        for key, variable in table.items()
        for name in names
    }


def as_listed(table: Table) -> Table:
    """A table without the braces of its placeholders, for documentation.

    >>> as_listed({"{W}": Variable("step", "{units of the loss}", "what it costs")})
    {'W': Variable(dims='step', units='units of the loss', definition='what it costs')}
    """

    def bare(text: str) -> str:
        return text.replace("{", "").replace("}", "")

    return {bare(key): Variable(*map(bare, variable)) for key, variable in table.items()}
