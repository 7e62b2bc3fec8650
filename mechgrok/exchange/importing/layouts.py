"""Recognizing networks by the names and shapes of their tensors, listed in `layouts.toml`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise, permutations
from math import prod
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mechgrok.errors import UserError
from mechgrok.exchange.importing import tables

State = dict[str, Float[Tensor, "..."]]

EXPECTED = (
    "a transformer (embed.W_E, pos_embed.W_pos, blocks.0.attn.W_Q …), an MLP (W_E, W_in, W_out, "
    "W_U, or embed.W_E, inproj.W, outproj.W, unembed.W_U, or W_x, W_y, W, W_U), or a stack of "
    "linear layers (0.weight, 2.weight …)"
)
#: Patterns of mask names, and of the names of their weights.
_MASKS = (
    (r"mask\.(.+)", "{}"),
    (r"(.*\.|)weight_mask_?(in|out|[KQVO])", "{}W_{}"),  # Minegishi et al. 2023
    (r"(.*\.|)weight_mask", "{}(?:W|weight)[^.]*"),  # the same, and torch.nn.utils.prune
    (r"(.+)_mask", "{}"),
)


@dataclass(frozen=True)
class Layout:
    """The layout of one of our models' weights in one kind of file; see ``layouts.toml``."""

    name: str
    kind: str
    axes: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict)
    transposed: tuple[str, ...] = ()
    joined: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    def rows(self, names: Mapping[str, Any]) -> list["_Row"]:
        """One row per weight, for the number of layers in the file's ``names``."""
        patterns = [re.escape(self.names.get(name, name)) for name in self.axes if "{}" in name]
        matches = (
            re.fullmatch(pattern.replace(r"\{\}", "([0-9]+)"), name)
            for pattern in patterns
            for name in names
        )
        n_layers = len({match[1] for match in matches if match})
        rows = []
        for ours, axes in self.axes.items():
            stored = self.joined.get(ours, axes).split()
            transposed = ours.rpartition(".")[2] in self.transposed
            if transposed:
                stored[-2:] = reversed(stored[-2:])
            for layer in range(n_layers) if "{}" in ours else (0,):
                theirs = _numbered(self.names.get(ours, ours), layer)
                rows.append(_Row(_numbered(ours, layer), theirs, axes.split(), stored, transposed))
        return rows


def _numbered(name: str, layer: int) -> str:
    """The name of a layer; our hidden layers count from 1, all others from 0."""
    return name.replace("{}", str(layer + 1 if "_hidden_" in name else layer))


@dataclass(frozen=True)
class _Row:
    """One weight: our name and axes, and the file's."""

    ours: str
    theirs: str
    axes: list[str]
    stored: list[str]
    transposed: bool

    @property
    def is_bias(self) -> bool:
        return self.ours.rpartition(".")[2].startswith("b_")

    @property
    def norm_at(self) -> str | None:
        """The place of the normalization that the weight belongs to, if any."""
        return norm_at(self.ours)

    def oriented(self, tensors: State, sizes: Mapping[str, int]) -> Float[Tensor, "..."]:
        """The file's tensor in our orientation."""
        tensor = tensors[self.theirs]
        if not self.transposed or tensor.ndim < 2:
            return tensor
        return tensor.mT.reshape([_size(axis, sizes) for axis in self.axes])


def norm_at(name: str) -> str | None:
    """The place of the normalization that one of our weights belongs to, if any.

    >>> [norm_at(name) for name in ("blocks.0.ln1.w", "ln_final.b", "unembed.W_U")]
    ['before', 'end', None]
    """
    if name.startswith("ln_final."):
        return "end"
    return "before" if re.search(r"\.ln[12]\.", name) else None


LAYOUTS = tuple(
    Layout(**row | {"axes": tables.LAYOUTS["axes"][row["axes"]]})
    for row in tables.LAYOUTS["layout"]
)


@dataclass(frozen=True)
class Network:
    """A recognized network: weights by our names, and the shape of the model.

    Attributes:
        layout: name of the layout.
        weights: weights by our names, in our orientation.
        model: fields of the model's configuration.
        mask: the file's masks by our names.
        axes: axes of our weights; empty if the file's configuration names one of our models.
        sizes: sizes of the axes, without ``n_ctx`` if it is unknown.
        stored: effective weights by the file's names, layer by layer.
        notes: warnings for the user.
    """

    layout: str
    weights: State
    model: dict[str, Any]
    mask: State = field(default_factory=dict)
    axes: Mapping[str, list[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    stored: State = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def select(self, axis: str, index: Integer[Tensor, " n"]) -> "Network":
        """The network with entries ``index`` of an axis, in this order."""

        def select_in(tensors: State) -> State:
            along = {n: self.axes[n].index(axis) for n in tensors if axis in self.axes.get(n, ())}
            return tensors | {n: tensors[n].index_select(dim, index) for n, dim in along.items()}

        return replace(self, weights=select_in(self.weights), mask=select_in(self.mask))


class _Misfit(Exception):
    """Why a layout does not fit, and the number of names and shapes that do."""

    def __init__(self, complaint: str, *fitting: int) -> None:
        super().__init__(complaint)
        self.fitting = fitting


def recognize(state: State, path: Path, *, ordered: bool = True) -> Network:
    """Recognize a state dict as one of our networks.

    Args:
        state: tensors by name.
        path: the file, for messages.
        ordered: whether the tensors are in the writer's order.

    Raises:
        UserError: no layout has these names, or the shapes are inconsistent.
    """
    weights, masks = _separate_masks(_without_prefix(state), path)
    notes: list[str] = []
    causal = [weights.pop(name) for name in list(weights) if name.endswith(".attn.mask")]
    # Masks here cover matrices only.
    pruned = [name for name, mask in masks.items() if mask.ndim == 1 and not mask.all()]
    weights |= {name: weights[name] * masks[name] for name in pruned}
    if pruned:
        notes.append(
            f"{path.name} prunes biases ({', '.join(pruned)}): they are set to zero, but masks "
            "cover only matrices, so a ticket may train them again."
        )
    layout, rows, sizes = _fit_any(weights, path, ordered=ordered)
    present = [row for row in rows if row.theirs in weights]
    masked = [row for row in present if row.theirs in masks and not row.is_bias]
    mask = {row.ours: row.oriented(masks, sizes) for row in masked}
    ours = {row.ours: row.oriented(weights, sizes) for row in present}
    stored = {row.theirs: weights[row.theirs] for row in present}
    model = _model_fields(layout, ours, sizes)
    if layout.kind == "transformer" or model.get("bias"):
        ours |= {
            row.ours: torch.zeros(sizes[row.axes[0]])
            for row in rows
            if (row.is_bias or _lacks_bias(row, model)) and row not in present
        }
    if model.get("norm_at") == "before":
        notes.append(
            f"{path.name} has ln1 and ln2 but no ln_final: they are taken to normalize what "
            "attention and neurons read (norm_at before), not what they write."
        )
    lengths = {mask.shape[-1] for mask in causal if mask.ndim == 2}
    if len(lengths) == 1:
        sizes.setdefault("n_ctx", lengths.pop())
    return Network(
        layout.name,
        ours,
        model,
        mask=mask if any((bits == 0).any() for bits in mask.values()) else {},
        axes={row.ours: row.axes for row in rows},
        sizes=sizes,
        stored=stored | {name: stored[name] * bits for name, bits in masks.items()},
        notes=tuple(notes),
    )


def _lacks_bias(row: _Row, model: Mapping[str, Any]) -> bool:
    """Whether the weight is the bias of one of the model's LayerNorms."""
    places = model.get("norm_at", "").split("+") if model.get("norm") == "layer" else []
    return row.norm_at in places and row.ours.endswith(".b")


def listed(state: State) -> str:
    """Names and shapes of the first tensors, for a message."""
    texts = [f"{name} {list(value.shape)}" for name, value in islice(state.items(), 8)]
    return ", ".join(texts) + (f" and {len(state) - 8} more" if len(state) > 8 else "")


def _without_prefix(state: State) -> State:
    """Remove a prefix of all names, such as ``module.`` or ``model.``."""
    while len({name.partition(".")[0] for name in state}) == 1 and all("." in n for n in state):
        state = {name.partition(".")[2]: value for name, value in state.items()}
    return state


def _separate_masks(state: State, path: Path) -> tuple[State, State]:
    """Separate the weights of a state dict from its masks, keyed by their weights.

    Raises:
        UserError: a mask holds values other than 0 and 1, or has no weight of its shape.
    """
    patterns = {name: pattern for name in state if (pattern := _weight_of_mask(name))}
    weights = {
        # torch.nn.utils.prune keeps the weight of weight_mask as weight_orig.
        short if f"{(short := name.removesuffix('_orig'))}_mask" in patterns else name: value
        for name, value in state.items()
        # The scores of edge-popup are redundant: the file holds their mask.
        if name not in patterns and not (patterns and name.startswith("scores."))
    }
    for copy in ("x_embed", "y_embed"):  # duplicates of the embedding by Chughtai et al.
        if {copy, "embed.W_E"} <= weights.keys() and weights[copy].equal(weights["embed.W_E"]):
            del weights[copy]
    masks = {}
    for name, pattern in patterns.items():
        mask, owners = state[name], [w for w in weights if re.fullmatch(pattern, w)]
        if len(owners) != 1 or weights[owners[0]].shape != mask.shape:
            raise UserError(
                f"{path} holds the mask {name} {list(mask.shape)}, but no single weight of this "
                f"shape: it holds {listed(weights)}."
            )
        if not ((mask == 0) | (mask == 1)).all():
            raise UserError(
                f"{path} holds the mask {name} with values other than 0 and 1: multiply it into "
                "its weight, or remove it."
            )
        masks[owners[0]] = mask
    return weights, masks


def _weight_of_mask(name: str) -> str | None:
    """A pattern for the weight's name of a mask's name; None for other names."""
    matches = ((re.fullmatch(pattern, name), weight) for pattern, weight in _MASKS)
    return next((w.format(*map(re.escape, match.groups())) for match, w in matches if match), None)


# --- fitting ------------------------------------------------------------------------------------


def _fit_any(
    weights: State, path: Path, *, ordered: bool
) -> tuple[Layout, list[_Row], dict[str, int]]:
    """The first layout that fits the weights, its rows, and the sizes of its axes.

    Raises:
        UserError: none fits; the message explains the closest misfit.
    """
    layouts = LAYOUTS
    if weights and all(name.endswith(("weight", "bias")) for name in weights):
        layouts = (_linear_stack(weights, path, ordered=ordered),)
    misfits = []
    for layout in layouts:
        try:
            return layout, *_fit(layout, weights)
        except _Misfit as misfit:
            misfits.append(misfit)
    best = max(misfits, key=lambda misfit: misfit.fitting)
    if any(best.fitting):
        raise UserError(f"{path} {best}.")
    raise UserError(
        f"{path} has an unknown layout: it holds {listed(weights)}; expected: {EXPECTED}."
    )


def _fit(layout: Layout, weights: State) -> tuple[list[_Row], dict[str, int]]:
    rows, sizes = layout.rows(weights), dict(layout.sizes)
    present = [row for row in rows if row.theirs in weights]
    n_known = sum(weights[row.theirs].ndim == len(row.stored) for row in present)
    places = {row.norm_at for row in present}  # None for all other weights
    missing = [
        row.theirs
        for row in rows
        if row not in present
        and row.norm_at in places | {None}
        and not (row.is_bias or row.ours.endswith(".b"))
    ]
    if missing:
        raise _Misfit(f"lacks {missing[0]!r}; it holds {listed(weights)}", n_known, 0)
    for n_fitting, row in enumerate(present):
        shape, before = list(weights[row.theirs].shape), sizes
        sizes = {a: n for a, n in zip(row.stored, shape, strict=False) if "*" not in a} | before
        if shape != [_size(axis, sizes) for axis in row.stored]:
            known = (axis for axis in dict.fromkeys(row.axes) if axis in before)
            needed = ", ".join(f"{axis} = {before[axis]}" for axis in known)
            raise _Misfit(
                f"holds inconsistent shapes: {row.theirs} is {shape}, but the others "
                f"need {needed or 'other dimensions'}",
                n_known,
                n_fitting,
            )
    placed = {row.theirs for row in present}
    for name in (name for name in weights if name not in placed):
        # A bias of zeros has no effect.
        if not name.rpartition(".")[2].startswith("b_") or weights[name].any():
            raise _Misfit(
                f"holds {name} {list(weights[name].shape)}, which mechgrok's models do not support "
                "(no biases in attention or unembedding): it cannot be imported",
                n_known,
                len(present),
            )
    return rows, sizes


def _size(axis: str, sizes: Mapping[str, int]) -> int:
    """The size of an axis, which may be a product; 0 if unknown."""
    return prod(int(part) if part.isdigit() else sizes.get(part, 0) for part in axis.split("*"))


def _model_fields(layout: Layout, weights: State, sizes: Mapping[str, int]) -> dict[str, Any]:
    """The fields of the model's configuration."""
    fields = {"kind": layout.kind, **layout.fields}
    fields |= {name: sizes.get(name) for name in ("d_model", "d_mlp")}
    if layout.kind == "transformer":
        fields |= {"n_heads": sizes["n_heads"], "d_head": sizes["d_head"]}
        fields["n_layers"] = sum(name.endswith(".W_Q") for name in weights)
        return fields | _norm_fields(weights)
    if layout.kind == "mlp":
        fields["bias"] = any(name.startswith("b_") for name in weights)
    return fields | {"n_layers": 1 + sum(name.startswith("W_hidden_") for name in weights)}


def _norm_fields(names: Iterable[str]) -> dict[str, str]:
    """The normalization of a transformer, from the names of its weights; empty without one."""
    norms = {name: place for name in names if (place := norm_at(name))}
    if not norms:
        return {}
    is_layer_norm = any(name.endswith(".b") for name in norms)
    at = [place for place in ("before", "end") if place in norms.values()]
    return {"norm": "layer" if is_layer_norm else "rms", "norm_at": "+".join(at)}


def _linear_stack(weights: State, path: Path, *, ordered: bool) -> Layout:
    """The layout of a stack of ``torch.nn.Linear`` layers."""
    layers = [name.removesuffix("weight") for name in weights if name.endswith("weight")]
    if len(layers) < 2 or any(weights[f"{layer}weight"].ndim != 2 for layer in layers):
        raise UserError(f"{path} holds no stack of two or more linear layers: {listed(weights)}.")
    layers = _in_order(layers, weights, path, ordered=ordered)
    ours = ["in", *(f"hidden_{layer}" for layer in range(1, len(layers) - 1)), "out"]
    names = {
        f"{letter}_{own}": f"{layer}{what}"
        for layer, own in zip(layers, ours, strict=True)
        for what, letter in (("weight", "W"), ("bias", "b"))
    }
    table = tables.LAYOUTS["axes"]["mlp-without-embeddings"]
    axes = {name: table[re.sub("[0-9]+", "{}", name)] for name in names}
    return Layout("stack of linear layers", "mlp", axes, names, transposed=tuple(names))


def _in_order(layers: list[str], weights: State, path: Path, *, ordered: bool) -> list[str]:
    """The layers from first to last, by the numbers in their names or else as written.

    Raises:
        UserError: the file is unordered, and the shapes allow several orders.
    """
    numbered = [re.fullmatch(r"(.*?)([0-9]{1,9})(\D*)", layer) for layer in layers]
    if all(numbered) and len({(m[1], m[3]) for m in numbered if m}) == 1:
        return sorted(layers, key=lambda layer: int(re.findall(r"[0-9]+", layer)[-1]))
    if ordered or len(layers) > 8:
        return layers
    fitting = [order for order in permutations(layers) if _is_chain(order, weights)]
    if len(fitting) > 1:
        raise UserError(
            f"The names and shapes in {path} leave the order of its layers open "
            f"({listed(weights)}): number them, 0.weight, 1.weight …."
        )
    return list(fitting[0]) if fitting else layers


def _is_chain(layers: Sequence[str], weights: State) -> bool:
    """Whether the width of each layer's input equals that of the previous output."""
    shapes = [weights[f"{layer}weight"].shape for layer in layers]
    return all(before[0] == after[1] for before, after in pairwise(shapes))
