"""Recognizing networks by the names of their tensors, and turning them to ours.

A layout is a row of `LAYOUTS`: their names, ours, and which matrices stand the other way round.
Shapes are checked against the axes that our weights have (`_AXES`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise, permutations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mechgrok.errors import UserError

State = dict[str, Float[Tensor, "..."]]

#: The axes of our weights; ``{}`` stands for the number of a layer. Biases may be absent.
_AXES: dict[str, dict[str, str]] = {
    "transformer": {
        "embed.W_E": "d_vocab d_model",
        "pos_embed.W_pos": "n_ctx d_model",
        "blocks.{}.attn.W_Q": "n_heads d_model d_head",
        "blocks.{}.attn.W_K": "n_heads d_model d_head",
        "blocks.{}.attn.W_V": "n_heads d_model d_head",
        "blocks.{}.attn.W_O": "n_heads d_head d_model",
        "blocks.{}.mlp.W_in": "d_model d_mlp",
        "blocks.{}.mlp.b_in": "d_mlp",
        "blocks.{}.mlp.W_out": "d_mlp d_model",
        "blocks.{}.mlp.b_out": "d_model",
        "unembed.W_U": "d_model d_output",
    },
    # Without W_E and W_U the neurons read inputs and write outputs themselves.
    "mlp": {
        "W_E": "d_vocab d_read",
        "W_in": "d_read d_mlp",
        "W_hidden_{}": "d_mlp d_mlp",
        "W_out": "d_mlp d_written",
        "W_U": "d_written d_output",
        "b_in": "d_mlp",
        "b_hidden_{}": "d_mlp",
        "b_out": "d_written",
    },
    "positional-mlp": {
        "W_E_0": "d_vocab d_model",
        "W_E_1": "d_vocab d_model",
        "W_in": "d_both d_mlp",
        "W_out": "d_mlp d_output",
    },
}


@dataclass(frozen=True)
class Layout:
    """How one kind of file names and turns the weights of one of our networks.

    Attributes:
        name: what it is called; several rows of the table may share it.
        axes: which of `_AXES` its weights have.
        signature: the number of dimensions of the weights that it is recognized by.
        names: our names for theirs; unless given, theirs are ours.
        turned: for each orientation that it comes in, the weights, by our names, whose last two
            axes are swapped; the first that fits is taken.
        fields: of the model's configuration, beside those that are sizes.
        n_ctx: tokens that it reads, where no weight shows it.
        absent: weights that may be absent together, as biases always may.
    """

    name: str
    axes: str
    signature: Mapping[str, int]
    names: Mapping[str, str] = field(default_factory=dict)
    turned: tuple[str, ...] = ("",)
    fields: Mapping[str, Any] = field(default_factory=dict)
    n_ctx: int | None = None
    absent: str = ""


_HIDDEN = "W_E W_in W_hidden_{}"
_W = "blocks.{}.attn.W_"
#: In the order in which they are tried.
LAYOUTS = (
    Layout(
        "transformer, TransformerLens's orientation",
        "transformer",
        {"blocks.0.attn.W_Q": 3, "blocks.0.attn.W_O": 3},
    ),
    # Nanda et al. 2023 (arXiv 2301.05217) and Zhong et al. 2023 (arXiv 2306.17844), and without
    # positions and biases Minegishi et al. 2023: all but the unembedding turned, and W_O with its
    # heads side by side, [d_model, n_heads · d_head].
    Layout(
        "transformer, older orientation",
        "transformer",
        {"blocks.0.attn.W_Q": 3, "blocks.0.attn.W_O": 2},
        turned=(f"embed.W_E {_W}Q {_W}K {_W}V {_W}O blocks.{{}}.mlp.W_in blocks.{{}}.mlp.W_out",),
        absent="pos_embed.W_pos",
    ),
    # Minegishi et al. 2023 (arXiv 2310.19470); for images without the embeddings.
    Layout(
        "MLP",
        "mlp",
        {"inproj.W": 2},
        names={
            "embed.W_E": "W_E",
            "inproj.W": "W_in",
            "mlps.{}.W": "W_hidden_{}",
            "outproj.W": "W_out",
            "unembed.W_U": "W_U",
        },
        turned=(f"{_HIDDEN} W_out",),
        absent="W_E W_U",
    ),
    # Chughtai et al. 2023 (arXiv 2302.03025): an embedding for each operand, no W_U after W_out.
    Layout(
        "MLP with two embeddings",
        "positional-mlp",
        {"W_x": 2, "W_y": 2},
        names={"W_x": "W_E_0", "W_y": "W_E_1", "W": "W_in", "W_U": "W_out"},
        fields={"join": "concat", "unembed": False},
        n_ctx=2,
    ),
    # Ours; or all turned; or all but the last, which is W_out where there is no W_U.
    Layout(
        "MLP",
        "mlp",
        {"W_in": 2, "W_out": 2},
        turned=("", f"{_HIDDEN} W_out W_U", f"{_HIDDEN} W_out", _HIDDEN),
        absent="W_E W_U",
    ),
)
EXPECTED = (
    "a transformer (embed.W_E, pos_embed.W_pos, blocks.0.attn.W_Q …), an MLP (W_E, W_in, W_out, "
    "W_U, or embed.W_E, inproj.W, outproj.W, unembed.W_U, or W_x, W_y, W, W_U), or a stack of "
    "linear layers (0.weight, 2.weight …)"
)


#: How the scripts of Minegishi et al. 2023 call the masks of a module that has several weights.
_MASKED_BY_LETTER = re.compile(r"(.*\.)weight_mask(?:_(in|out)|([KQVO]))")


@dataclass(frozen=True)
class Network:
    """A state dict that was understood: weights by our names, and the shape they make.

    Attributes:
        layout: which layout it was.
        weights: by our names, in our orientation.
        model: fields of the model's configuration.
        d_vocab: width of the input, and ``d_output`` of the output; None where they are checked
            against the task as the weights are loaded.
        n_ctx: tokens that it reads; None where the file does not tell.
        mask: the masks that stood beside the weights.
        stored: the weights by the file's names, in its orientation, layer by layer, pruned
            ones zero; empty where the file's configuration names one of our models.
        notes: what a person should know of how they were read.
    """

    layout: str
    weights: State
    model: dict[str, Any]
    d_vocab: int | None
    n_ctx: int | None
    d_output: int | None
    mask: State = field(default_factory=dict)
    stored: State = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def recognize(state: State, path: Path, *, ordered: bool = True) -> Network:
    """The network that a state dict holds, in our names and orientations.

    Args:
        state: tensors by name.
        path: the file, for messages.
        ordered: whether the order of the tensors is the writer's own.

    Raises:
        UserError: its names are none of the known layouts, or its shapes do not fit together.
    """
    state = _unwrapped(state)
    masks = {name: value for name, value in state.items() if _is_mask(name)}
    # torch.nn.utils.prune keeps the weight of weight_mask as weight_orig.
    originals = {name for name in state if f"{name.removesuffix('_orig')}_mask" in masks}
    weights = {
        name.removesuffix("_orig") if name in originals else name: value
        for name, value in state.items()
        # scores are what chose edge-popup's mask, which stands beside them
        if name not in masks and not (masks and name.startswith("scores."))
    }
    causal = {name: weights.pop(name) for name in [*weights] if name.endswith(".attn.mask")}
    for copy in ("x_embed", "y_embed"):  # Chughtai et al. keep the embedding under two more names
        if _same(weights, copy, "embed.W_E"):
            del weights[copy]
    named = _masks_by_weight(masks, weights, path)
    stored = {n: w * named[n] if n in named else w for n, w in weights.items()}
    weights, named, notes = _with_pruned_biases(weights, named, path)
    layout = _layout_of(weights, path, ordered=ordered)
    network, names = _read(layout, weights, named, causal, path)
    in_order = {name: stored[name] for name in names if name in stored}
    return replace(network, stored=in_order, notes=notes)


def listed(state: State) -> str:
    """The names and shapes of the first tensors, for a message."""
    shown = [f"{name} {list(value.shape)}" for name, value in islice(state.items(), 8)]
    return ", ".join(shown) + (f" and {len(state) - 8} more" if len(state) > 8 else "")


def _unwrapped(state: State) -> State:
    """The tensors without what all their names begin with, as ``module.`` or ``model.``."""
    while len({name.partition(".")[0] for name in state}) == 1 and all("." in n for n in state):
        state = {name.partition(".")[2]: value for name, value in state.items()}
    return state


def _same(weights: State, name: str, other: str) -> bool:
    return name in weights and other in weights and torch.equal(weights[name], weights[other])


# --- layouts ------------------------------------------------------------------------------------


class _Misfit(Exception):
    """A tensor whose shape is not what the others need, after ``fitting`` that do."""

    def __init__(self, complaint: str, fitting: int) -> None:
        super().__init__(complaint)
        self.fitting = fitting


def _layout_of(weights: State, path: Path, *, ordered: bool) -> Layout:
    for layout in LAYOUTS:
        if all(n in weights and weights[n].ndim == ndim for n, ndim in layout.signature.items()):
            return layout
    if weights and all(name.endswith(("weight", "bias")) for name in weights):
        return _linear_stack(weights, path, ordered=ordered)
    raise UserError(
        f"{path} is of no known layout: it holds {listed(weights)}; expected is {EXPECTED}."
    )


def _read(
    layout: Layout, weights: State, masks: State, causal: State, path: Path
) -> tuple[Network, list[str]]:
    """The network of a file whose layout is known, and the file's names in the order of ours."""
    axes, names = _rows(layout, weights)
    lacking = [name for name in axes if names[name] not in weights]
    optional = layout.absent.split()
    if not set(optional) <= set(lacking):  # together, or not at all
        optional = []
    missing = [n for n in lacking if n not in optional and n.rpartition(".")[2][:2] != "b_"]
    if missing:
        raise UserError(f"{path} lacks {names[missing[0]]!r}; it holds {listed(weights)}.")
    _refuse_unused({name: w for name, w in weights.items() if name not in names.values()}, path)
    misfits = []
    for turned in layout.turned:
        try:
            sizes, ours = _fitted(weights, axes, names, turned.split())
        except _Misfit as misfit:
            misfits.append(misfit)
            continue
        kept = _fitted(masks, axes, names, turned.split(), sizes)[1]
        break
    else:
        worst = max(misfits, key=lambda misfit: misfit.fitting)
        raise UserError(f"{path} holds shapes that do not fit together: {worst}.")
    model = _model_fields(layout, ours, sizes)
    n_ctx = sizes.get("n_ctx", layout.n_ctx)
    if layout.axes == "transformer" and n_ctx is None:
        seen = {mask.shape[-1] for mask in causal.values() if mask.ndim == 2}
        n_ctx = seen.pop() if len(seen) == 1 else None
    if model["kind"] == "transformer" or model.get("bias"):
        ours = _blank(axes, sizes) | ours
    name = layout.name
    if layout.axes == "transformer" and "pos_embed.W_pos" not in ours:
        name += ", no positions"
    d_vocab = sizes.get("d_vocab", sizes.get("d_read"))
    d_output = sizes.get("d_output", sizes.get("d_written"))
    network = Network(name, ours, model, d_vocab, n_ctx, d_output, _masks(kept))
    return network, list(names.values())


def _rows(layout: Layout, weights: State) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The axes of each of our weights, and the file's name for it, for as many layers as it has."""
    table = _AXES[layout.axes]
    pairs = layout.names or {name: name for name in table}
    templates = [re.escape(name).replace(r"\{\}", "([0-9]+)") for name in pairs if "{}" in name]
    found = (re.fullmatch(each, name) for each in templates for name in weights)
    n_layers = len({match[1] for match in found if match})
    axes: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for theirs, ours in pairs.items():
        # Ours count hidden layers from 1 and blocks from 0; others count both from 0.
        first = int(ours.startswith(("W_", "b_")))
        for layer in range(first, first + (n_layers if "{}" in theirs else 1)):
            own = ours.format(layer)
            names[own] = theirs.format(layer if theirs == ours else layer - first)
            axes[own] = table[own if own in table else _template(own)].split()
    return axes, names


def _template(name: str) -> str:
    """``blocks.{}.mlp.W_in`` for ``blocks.0.mlp.W_in``."""
    return re.sub(r"[0-9]+", "{}", name)


def _fitted(
    tensors: State,
    axes: Mapping[str, list[str]],
    names: Mapping[str, str],
    turned: list[str],
    known: Mapping[str, int] = {},
) -> tuple[dict[str, int], State]:
    """The sizes of the axes, and the tensors by our names in our orientation.

    Raises:
        _Misfit: two tensors need different sizes of an axis.
    """
    sizes = dict(known)
    ours: State = {}
    for name, dimensions in axes.items():
        if (tensor := tensors.get(names[name])) is None:
            continue
        stored = list(tensor.shape)
        is_turned = name in turned or _template(name) in turned
        if is_turned and tensor.ndim == len(dimensions) - 1:  # heads side by side
            heads = sizes[dimensions[0]]
            if tensor.shape[1] % heads == 0:
                tensor = tensor.mT.reshape(heads, -1, tensor.shape[0])
        elif is_turned and tensor.ndim > 1:
            tensor = tensor.mT
        found = dict(zip(dimensions, tensor.shape, strict=False))
        needed = [sizes.get(axis, found.get(axis, 0)) for axis in dimensions]
        if list(tensor.shape) != needed:
            expected = ", ".join(f"{axis} = {sizes[axis]}" for axis in dimensions if axis in sizes)
            raise _Misfit(
                f"{names[name]} is {stored}, but the others need {expected or 'other dimensions'}",
                len(ours),
            )
        sizes |= found
        if "d_model" in sizes:
            sizes["d_both"] = 2 * sizes["d_model"]  # two embeddings side by side
        if "W_E" in ours:
            sizes["d_model"] = sizes["d_written"] = sizes["d_read"]
        ours[name] = tensor.contiguous()
    return sizes, ours


def _model_fields(layout: Layout, ours: State, sizes: Mapping[str, int]) -> dict[str, Any]:
    kind = layout.axes
    wanted = ["d_model", "d_mlp"] + ["n_heads", "d_head"] * (kind == "transformer")
    fields = {"kind": kind, **{name: sizes.get(name) for name in wanted}, **layout.fields}
    if kind == "transformer":
        return fields | {"n_layers": sum(name.endswith(".W_Q") for name in ours)}
    if kind == "mlp":
        fields["bias"] = any(name.startswith("b_") for name in ours)
    return fields | {"n_layers": 1 + sum(name.startswith("W_hidden_") for name in ours)}


def _blank(axes: Mapping[str, list[str]], sizes: Mapping[str, int]) -> State:
    """Biases of zero. (Positions are made when the task is known.)"""
    return {
        name: torch.zeros([sizes[axis] for axis in dimensions])
        for name, dimensions in axes.items()
        if len(dimensions) == 1
    }


def _refuse_unused(unused: State, path: Path) -> None:
    """Refuse weights that our models have no place for, unless they are zero and change nothing."""
    for name, value in unused.items():
        is_bias = name.rpartition(".")[2].startswith("b_")
        if not (is_bias and not value.any()):
            raise UserError(
                f"{path} holds {name} {list(value.shape)}, which the models here have no place for "
                "(no layer norm, and no biases of attention or unembedding): it cannot be imported."
            )


def _linear_stack(weights: State, path: Path, *, ordered: bool) -> Layout:
    """The layout of a stack of ``torch.nn.Linear``, made for the names of its layers."""
    layers = [name.removesuffix("weight") for name in weights if name.endswith("weight")]
    if len(layers) < 2 or any(weights[f"{layer}weight"].ndim != 2 for layer in layers):
        raise UserError(f"{path} holds no stack of two or more linear layers: {listed(weights)}.")
    layers = _in_order(layers, weights, path, ordered=ordered)
    ours = ["in", *(f"hidden_{layer}" for layer in range(1, len(layers) - 1)), "out"]
    names = {
        f"{layer}{what}": f"{letter}_{own}"
        for layer, own in zip(layers, ours, strict=True)
        for what, letter in (("weight", "W"), ("bias", "b"))
    }
    turned = (f"{_HIDDEN} W_out",)
    return Layout("stack of linear layers", "mlp", {}, names=names, turned=turned)


def _in_order(layers: list[str], weights: State, path: Path, *, ordered: bool) -> list[str]:
    """The layers from first to last: by the number in their names, else as they were written.

    Raises:
        UserError: neither tells, and the shapes fit together in several orders.
    """
    numbered = [re.fullmatch(r"(.*?)([0-9]{1,9})(\D*)", layer) for layer in layers]
    if all(numbered) and len({(m[1], m[3]) for m in numbered if m}) == 1:
        return sorted(layers, key=lambda layer: int(re.findall(r"[0-9]+", layer)[-1]))
    if ordered or len(layers) > 8:
        return layers

    def fits(order: tuple[str, ...]) -> bool:
        shapes = [weights[f"{layer}weight"].shape for layer in order]
        return all(before[0] == after[1] for before, after in pairwise(shapes))

    fitting = list(islice((list(order) for order in permutations(layers) if fits(order)), 2))
    if len(fitting) == 2:
        raise UserError(
            f"{path} tells the order of its layers neither by their names nor by their shapes "
            f"({listed(weights)}): number them, 0.weight, 1.weight …."
        )
    return fitting[0] if fitting else layers


# --- masks --------------------------------------------------------------------------------------


def _is_mask(name: str) -> bool:
    last = name.rpartition(".")[2]
    return name.startswith("mask.") or last.endswith("_mask") or last.startswith("weight_mask")


def _masks_by_weight(masks: State, weights: State, path: Path) -> State:
    """Masks under the names of the weights that they stand beside.

    Raises:
        UserError: one holds other values than 0 and 1, or stands beside no weight of its shape.
    """
    named = {}
    for name, kept in masks.items():
        beside = _masked_weights(name, weights)
        if len(beside) != 1 or weights.get(beside[0], kept[:0]).shape != kept.shape:
            raise UserError(
                f"{path} holds the mask {name} {list(kept.shape)}, but no one weight of its shape "
                f"beside it: it holds {listed(weights)}."
            )
        if not ((kept == 0) | (kept == 1)).all():
            raise UserError(
                f"{path} holds the mask {name} with values other than 0 and 1: multiply it into "
                "its weight, or leave it out."
            )
        named[beside[0]] = kept
    return named


def _with_pruned_biases(
    weights: State, masks: State, path: Path
) -> tuple[State, State, tuple[str, ...]]:
    """Weights whose pruned biases are zero, the masks of all others, and a note on the biases.

    No method here prunes biases, and every measure of a mask is one of its matrices, so that the
    mask of a bias is multiplied into its values.
    """
    pruned = [name for name, kept in masks.items() if kept.ndim == 1 and not kept.all()]
    weights = weights | {name: weights[name] * masks[name] for name in pruned}
    note = (
        f"{path.name} prunes biases ({', '.join(pruned)}): they are zero where it does, but masks "
        "hold matrices alone, so a ticket may train them again."
    )
    return weights, {n: m for n, m in masks.items() if m.ndim > 1}, (note,) * bool(pruned)


def _masked_weights(mask: str, weights: State) -> list[str]:
    """The weights that a mask of that name may belong to."""
    if mask.startswith("mask."):
        return [mask.removeprefix("mask.")]
    if match := _MASKED_BY_LETTER.fullmatch(mask):
        return [f"{match[1]}W_{match[2] or match[3]}"]
    if mask.endswith("weight_mask"):
        module = mask.removesuffix("weight_mask")
        return [
            name
            for name in weights
            if name.startswith(module)
            and name[len(module) :].startswith(("W", "weight"))
            and "." not in name[len(module) :]
        ]
    return [mask.removesuffix("_mask")]


def _masks(masks: State) -> State:
    """The masks, or none where they keep everything."""
    return masks if any((kept == 0).any() for kept in masks.values()) else {}
