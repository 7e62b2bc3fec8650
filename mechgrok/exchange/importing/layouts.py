"""Recognizing networks by the names of their tensors, and turning them to ours.

Known layouts, checked against their shapes:

- transformers under TransformerLens's names, in its orientation (``W_in [d_model, d_mlp]``, heads
  apart) or in the older one of Nanda et al. 2023 (arXiv 2301.05217; ``W_in [d_mlp, d_model]``),
  which the transformer of Minegishi et al. 2023 (arXiv 2310.19470) shares, without positions and
  biases and with masks beside the weights;
- the MLP of Minegishi et al. 2023 as their script saves it: ``embed.W_E [d_emb, p]``, ``inproj.W
  [d_mlp, d_emb]``, ``mlps.0.W [d_mlp, d_mlp]`` …, ``outproj.W [d_emb, d_mlp]``, ``unembed.W_U
  [d_emb, p]``, with ``<module>.weight_mask`` beside them; for images without the embeddings;
- the MLP of Chughtai et al. 2023 (arXiv 2302.03025), with an embedding for each operand: ``W_x``
  and ``W_y [n, d_emb]``, ``W [2 d_emb, d_mlp]``, ``W_U [d_mlp, n]``;
- a `mechgrok.models.HookedMLP` (``W_E``, ``W_in``, ``W_out``, ``W_U``);
- a stack of ``torch.nn.Linear`` layers (``0.weight``, ``0.bias``, ``2.weight`` …).
"""

import re
from dataclasses import dataclass, field
from itertools import islice, pairwise, permutations
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from mechgrok.errors import UserError

State = dict[str, Tensor]

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
        n_ctx: tokens that it reads; None where nothing tells.
        mask: the masks that stood beside the weights.
    """

    layout: str
    weights: State
    model: dict[str, Any]
    d_vocab: int | None
    n_ctx: int | None
    d_output: int | None
    mask: State = field(default_factory=dict)


def recognize(state: State, path: Path, *, ordered: bool = True) -> Network:
    """The network that a state dict holds, in our names and orientations.

    Args:
        state: tensors by name.
        path: the file, for messages.
        ordered: whether the order of the tensors is the writer's own.

    Raises:
        UserError: its names are none of the known layouts, or its shapes do not fit together.
    """
    masks = {name: value for name, value in state.items() if _is_mask(name)}
    # torch.nn.utils.prune keeps the weight of weight_mask as weight_orig.
    originals = {name for name in state if f"{name.removesuffix('_orig')}_mask" in masks}
    state = {n.removesuffix("_orig") if n in originals else n: v for n, v in state.items()}
    weights = {
        name: value
        for name, value in state.items()
        # scores are what chose edge-popup's mask, which stands beside them
        if name not in masks and not (masks and name.startswith("scores."))
    }
    try:
        if any(name.endswith(".attn.W_Q") for name in weights):
            return _transformer(weights, masks, path)
        if "inproj.W" in weights:
            return _authors_mlp(weights, masks, path)
        if {"W_x", "W_y"} <= set(weights):
            return _two_embeddings(weights, masks, path)
        if {"W_in", "W_out"} <= set(weights):
            return _mlp(weights, masks, path)
        if weights and all(name.endswith(("weight", "bias")) for name in weights):
            return _linear_stack(weights, masks, path, ordered=ordered)
    except KeyError as missing:
        raise UserError(f"{path} lacks {missing}; it holds {listed(state)}.") from None
    raise UserError(
        f"{path} is of no known layout: it holds {listed(state)}; expected is {EXPECTED}."
    )


def listed(state: State) -> str:
    """The names and shapes of the first tensors, for a message."""
    shown = [f"{name} {list(value.shape)}" for name, value in islice(state.items(), 8)]
    return ", ".join(shown) + (f" and {len(state) - 8} more" if len(state) > 8 else "")


def _do_not_fit(path: Path, what: str) -> UserError:
    return UserError(f"{path} holds shapes that do not fit together: {what}.")


# --- transformers -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Orientation:
    """Turns a file's matrices to ours; square ones, which fit both ways, as ``old`` says."""

    path: Path
    old: bool

    def __call__(self, name: str, tensor: Tensor, *shape: int) -> Tensor:
        """``tensor`` with its last two dimensions as in ``shape``, swapped if need be."""
        turned = (*shape[:-2], shape[-1], shape[-2])
        if tuple(tensor.shape) == turned and (turned != shape or self.old):
            return tensor.transpose(-1, -2).contiguous()
        if tuple(tensor.shape) != shape:
            raise _do_not_fit(
                self.path,
                f"{name} is {list(tensor.shape)}, but the others need {list(shape)} or "
                f"{list(turned)}",
            )
        return tensor


def _other(weights: State, name: str, size: int, path: Path, dimensions: int = 2) -> int:
    """The dimension of a matrix beside the one of length ``size``."""
    shape = weights[name].shape
    if len(shape) != dimensions or size not in shape[-2:]:
        raise _do_not_fit(path, f"{name} is {list(shape)}, and has no dimension of {size}")
    rows, columns = shape[-2:]
    return columns if rows == size else rows


def _transformer(weights: State, masks: State, path: Path) -> Network:
    causal = {name: m for name, m in weights.items() if name.endswith(".attn.mask")}
    # Chughtai et al. keep the embedding under two more names.
    again = {name for name in ("x_embed", "y_embed") if _same(weights, name, "embed.W_E")}
    weights = {name: value for name, value in weights.items() if name not in {*causal, *again}}
    old = weights["blocks.0.attn.W_O"].ndim == 2
    d_model, n_ctx = _width_and_context(weights, causal, path, old=old)
    n_layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    n_heads = len(weights["blocks.0.attn.W_Q"])
    d_head = _other(weights, "blocks.0.attn.W_Q", d_model, path, 3)
    d_mlp = _other(weights, "blocks.0.mlp.W_in", d_model, path)
    d_vocab = _other(weights, "embed.W_E", d_model, path)
    d_output = _other(weights, "unembed.W_U", d_model, path)
    head, mlp = (n_heads, d_model, d_head), (d_model, d_mlp)
    shapes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (d_vocab, d_model),
        "unembed.W_U": (d_model, d_output),
    }
    blank: State = {}
    for block in (f"blocks.{layer}" for layer in range(n_layers)):
        shapes |= {f"{block}.attn.{name}": head for name in ("W_Q", "W_K", "W_V")}
        shapes |= {f"{block}.attn.W_O": (n_heads, d_head, d_model)}
        shapes |= {f"{block}.mlp.W_in": mlp, f"{block}.mlp.W_out": mlp[::-1]}
        blank |= {
            f"{block}.mlp.b_in": torch.zeros(d_mlp),
            f"{block}.mlp.b_out": torch.zeros(d_model),
        }
    if n_ctx is not None:  # else it is made when the task is known
        blank["pos_embed.W_pos"] = torch.zeros(n_ctx, d_model)
    _refuse_unused({n: value for n, value in weights.items() if n not in {*shapes, *blank}}, path)
    # The older orientation turns every matrix but the unembedding.
    turn = {name: _Orientation(path, old and name != "unembed.W_U") for name in shapes}

    def turned(tensors: State) -> State:
        rest = {name: value for name, value in tensors.items() if name in blank}
        return rest | {
            name: turn[name](name, _heads_apart(tensors[name], n_heads, name), *shapes[name])
            for name in shapes
            if name in tensors
        }

    if missing := [name for name in shapes if name not in weights]:
        raise KeyError(missing[0])
    model = {"kind": "transformer", "d_model": d_model, "n_layers": n_layers, "n_heads": n_heads}
    model |= {"d_head": d_head, "d_mlp": d_mlp}
    layout = "transformer, " + ("older orientation" if old else "TransformerLens's orientation")
    if "pos_embed.W_pos" not in weights:
        layout += ", no positions"
    mask = turned(_masks_by_weight(masks, weights, path))
    ours = blank | turned(weights)
    return Network(layout, ours, model, d_vocab, n_ctx, d_output, _masks(mask))


def _same(weights: State, name: str, other: str) -> bool:
    return name in weights and other in weights and torch.equal(weights[name], weights[other])


def _width_and_context(
    weights: State, causal: State, path: Path, *, old: bool
) -> tuple[int, int | None]:
    """d_model, and the number of positions where the file tells it."""
    if "pos_embed.W_pos" in weights:
        n_ctx, d_model = _shape_of(weights, "pos_embed.W_pos", 2, path)
        return d_model, n_ctx
    if not old:  # TransformerLens's own always have positions
        raise KeyError("pos_embed.W_pos")
    d_model = _shape_of(weights, "blocks.0.attn.W_O", 2, path)[0]
    sizes = {mask.shape[-1] for mask in causal.values() if mask.ndim == 2}
    return d_model, sizes.pop() if len(sizes) == 1 else None


def _shape_of(weights: State, name: str, dimensions: int, path: Path) -> torch.Size:
    if weights[name].ndim != dimensions:
        raise _do_not_fit(
            path, f"{name} is {list(weights[name].shape)} instead of {dimensions}-dimensional"
        )
    return weights[name].shape


def _heads_apart(tensor: Tensor, n_heads: int, name: str) -> Tensor:
    """The older W_O [d_model, n_heads · d_head] with its heads apart; others as they are."""
    if not name.endswith("W_O") or tensor.ndim != 2 or tensor.shape[1] % n_heads:
        return tensor
    # One more turn is to come, which the older orientation needs and this one has had.
    return rearrange(tensor, "m (h k) -> h m k", h=n_heads)


def _refuse_unused(unused: State, path: Path) -> None:
    """Refuse weights that our models have no place for, unless they are zero and change nothing."""
    for name, value in unused.items():
        is_bias = name.rpartition(".")[2].startswith("b_")
        if not (is_bias and not value.any()):
            raise UserError(
                f"{path} holds {name} {list(value.shape)}, which the models here have no place for "
                "(no layer norm, and no biases of attention or unembedding): it cannot be imported."
            )


# --- MLPs ---------------------------------------------------------------------------------------


def _authors_mlp(weights: State, masks: State, path: Path) -> Network:
    """The MLP of Minegishi et al.: all matrices [d_out, d_in], but the unembedding."""
    inner = sorted(
        (name for name in weights if re.fullmatch(r"mlps\.[0-9]+\.W", name)),
        key=lambda name: int(name.split(".")[1]),
    )
    ours = {"embed.W_E": "W_E", "inproj.W": "W_in"}
    ours |= {name: f"W_hidden_{layer}" for layer, name in enumerate(inner, 1)}
    ours |= {"outproj.W": "W_out", "unembed.W_U": "W_U"}
    masks = _masks_by_weight(masks, weights, path)
    _refuse_unused({name: value for name, value in weights.items() if name not in ours}, path)

    def renamed(tensors: State) -> State:
        return {
            own: tensors[name] if own == "W_U" else tensors[name].mT.contiguous()
            for name, own in ours.items()
            if name in tensors
        }

    for name in weights:
        _shape_of(weights, name, 2, path)
    return _mlp(renamed(weights), renamed(masks), path, turnable=False)


def _two_embeddings(weights: State, masks: State, path: Path) -> Network:
    """The MLP of Chughtai et al.: two embeddings side by side, and no W_U after W_out."""
    ours = {"W_x": "W_E_0", "W_y": "W_E_1", "W": "W_in", "W_U": "W_out"}
    _refuse_unused({name: value for name, value in weights.items() if name not in ours}, path)
    masks = _masks_by_weight(masks, weights, path)
    d_vocab, d_model = _shape_of(weights, "W_x", 2, path)
    d_mlp, d_output = _shape_of(weights, "W_U", 2, path)
    shapes = {"W_x": (d_vocab, d_model), "W_y": (d_vocab, d_model), "W": (2 * d_model, d_mlp)}
    if any(tuple(weights[name].shape) != shape for name, shape in shapes.items()):
        raise _do_not_fit(path, listed(weights))

    def renamed(tensors: State) -> State:
        return {own: tensors[name] for name, own in ours.items() if name in tensors}

    model = {"kind": "positional-mlp", "d_model": d_model, "d_mlp": d_mlp, "n_layers": 1}
    model |= {"join": "concat", "unembed": False}
    layout = "MLP with two embeddings"
    return Network(layout, renamed(weights), model, d_vocab, 2, d_output, _masks(renamed(masks)))


def _mlp(weights: State, masks: State, path: Path, *, turnable: bool = True) -> Network:
    """An MLP under our names; all its matrices may stand the other way."""
    inner = sorted(
        (name for name in weights if re.fullmatch(r"W_hidden_[0-9]+", name)),
        key=lambda name: int(name.rpartition("_")[2]),
    )
    embedded = "W_E" in weights or "W_U" in weights
    chain = ["W_E"] * embedded + ["W_in", *inner, "W_out"] + ["W_U"] * embedded
    biases = {name for name in weights if name.startswith("b_")}
    _refuse_unused(
        {name: value for name, value in weights.items() if name not in {*chain, *biases}}, path
    )
    masks = _masks_by_weight(masks, weights, path) if turnable else masks
    matrices = {name: weights[name] for name in chain}
    for name in chain:
        _shape_of(weights, name, 2, path)
    if (turned := _to_be_turned(matrices, turnable=turnable)) is None:
        raise _do_not_fit(path, listed(matrices))
    matrices = {name: m.mT.contiguous() if name in turned else m for name, m in matrices.items()}
    masks = {name: m.mT.contiguous() if name in turned else m for name, m in masks.items()}
    model: dict[str, Any] = {"kind": "mlp", "d_model": None}
    if embedded:
        model["d_model"] = matrices["W_in"].shape[0]
    model |= {"d_mlp": matrices["W_in"].shape[1], "n_layers": 1 + len(inner), "bias": bool(biases)}
    d_vocab, d_output = matrices[chain[0]].shape[0], matrices[chain[-1]].shape[1]
    ours = matrices | {name: weights[name] for name in biases}
    return Network("MLP", ours, model, d_vocab, None, d_output, _masks(masks))


def _to_be_turned(matrices: State, *, turnable: bool) -> list[str] | None:
    """Which matrices must be turned for each to read what the one before it writes.

    Tried in turn: none, all, all but the last. None where nothing fits.
    """
    names = list(matrices)
    for turned in ([], names, names[:-1]) if turnable else ([],):
        shapes = [m.mT.shape if name in turned else m.shape for name, m in matrices.items()]
        if all(before[1] == after[0] for before, after in pairwise(shapes)):
            return turned
    return None


def _linear_stack(weights: State, masks: State, path: Path, *, ordered: bool) -> Network:
    layers = [name.removesuffix("weight") for name in weights if name.endswith("weight")]
    if len(layers) < 2 or any(weights[f"{layer}weight"].ndim != 2 for layer in layers):
        raise UserError(f"{path} holds no stack of two or more linear layers: {listed(weights)}.")
    layers = _in_order(layers, weights, path, ordered=ordered)
    matrices = [weights[f"{layer}weight"] for layer in layers]
    for (before, after), layer in zip(pairwise(matrices), layers[1:], strict=True):
        if after.shape[1] != before.shape[0]:
            raise _do_not_fit(
                path,
                f"{layer}weight is {list(after.shape)}, but the layer before it writes "
                f"{before.shape[0]} numbers",
            )
    if len({len(matrix) for matrix in matrices[:-1]}) > 1:
        widths = ", ".join(str(len(matrix)) for matrix in matrices[:-1])
        raise UserError(f"{path} has hidden layers of {widths} neurons: here all have one width.")
    names = ["in", *(f"hidden_{layer}" for layer in range(1, len(layers) - 1)), "out"]
    ours = {f"W_{name}": m.T.contiguous() for name, m in zip(names, matrices, strict=True)}
    bias = any(name.endswith("bias") for name in weights)
    if bias:
        for name, layer, matrix in zip(names, layers, matrices, strict=True):
            ours[f"b_{name}"] = weights.get(f"{layer}bias", torch.zeros(len(matrix)))
    model = {"kind": "mlp", "d_model": None, "d_mlp": len(matrices[0]), "bias": bias}
    model["n_layers"] = len(layers) - 1
    d_vocab, d_output = matrices[0].shape[1], len(matrices[-1])
    by_weight = _masks_by_weight(masks, weights, path)
    kept = {
        f"W_{name}": by_weight[f"{layer}weight"].T.contiguous()
        for name, layer in zip(names, layers, strict=True)
        if f"{layer}weight" in by_weight
    }
    return Network("stack of linear layers", ours, model, d_vocab, None, d_output, _masks(kept))


def _in_order(layers: list[str], weights: State, path: Path, *, ordered: bool) -> list[str]:
    """The layers from first to last: by the number in their names, else as they were written.

    Raises:
        UserError: neither tells, and the shapes fit together in several orders.
    """
    numbered = [re.fullmatch(r"(.*?)([0-9]+)(\D*)", layer) for layer in layers]
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
