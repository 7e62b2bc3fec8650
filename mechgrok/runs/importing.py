"""Opening weights that were trained elsewhere as a run.

Known layouts, recognized by the names of the tensors and checked against their shapes:

- transformers under TransformerLens's names, in its orientation (``W_in [d_model, d_mlp]``, heads
  apart) or in the older one of Nanda et al. 2023 (arXiv 2301.05217; ``W_in [d_mlp, d_model]``);
- the MLP of Minegishi et al. 2023 (arXiv 2310.19470) as their script saves it: ``embed.W_E
  [d_emb, p]``, ``inproj.W [d_mlp, d_emb]``, ``outproj.W [d_emb, d_mlp]``, ``unembed.W_U
  [d_emb, p]``, with ``<module>.weight_mask`` beside them;
- a `mechgrok.models.HookedMLP` (``W_E``, ``W_in``, ``W_out``, ``W_U``);
- a stack of ``torch.nn.Linear`` layers (``0.weight``, ``0.bias``, ``2.weight`` …).

A file is a bare state dict, or holds one under ``model``, ``state_dict`` or ``model_state_dict``,
or a list of them under ``checkpoints`` or ``state_dicts``; it is safetensors or a PyTorch pickle of
tensors, dictionaries and lists. Pickles that hold anything else are refused without being executed.
"""

import json
import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mechgrok.config import ImportOrigin, RunConfig
from mechgrok.errors import UserError
from mechgrok.masks import Mask, apply_mask
from mechgrok.models import load_weights, make_model
from mechgrok.runs import Run, create_run
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.runs.metrics import write_metrics
from mechgrok.tasks import Task
from mechgrok.tasks.operations import OPERATIONS
from mechgrok.training import evaluate

State = dict[str, Tensor]

#: Where a saved dictionary keeps its weights: one state dict, or a list of them.
_ONE = ("model", "state_dict", "model_state_dict")
_MANY = ("checkpoints", "state_dicts")
#: What training scripts wrap a model in, and the buffers that are no weights.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_BUFFERS = (".attn.mask", ".IGNORE")
#: Facts about a training, by the names that scripts save them under and by ours.
_FACTS = {
    "p": "p",
    "frac_train": "train_fraction",
    "lr": "learning_rate",
    "weight_decay": "weight_decay",
    "fn_name": "operation",
}
_TRAINING = ("learning_rate", "weight_decay")
_OPERATIONS = {"add": "add", "subtract": "sub", "sub": "sub", "mul": "mul", "multiply": "mul"}
_EXPECTED = (
    "a transformer (embed.W_E, pos_embed.W_pos, blocks.0.attn.W_Q …), an MLP (W_E, W_in, W_out, "
    "W_U, or embed.W_E, inproj.W, outproj.W, unembed.W_U), or a stack of linear layers (0.weight, "
    "2.weight …)"
)


@dataclass(frozen=True)
class Saved:
    """One state dict as a file holds it, and what else the file tells."""

    file: Path
    state: State
    step: int | None
    facts: dict[str, Any]


@dataclass(frozen=True)
class Network:
    """A state dict that was understood: weights by our names, and the shape they make."""

    layout: str
    weights: State
    model: dict[str, Any]
    d_vocab: int
    n_ctx: int
    d_output: int
    mask: State = field(default_factory=dict)


def import_run(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    task: dict[str, Any] | None = None,
    steps: Sequence[int] | None = None,
    act: str = "relu",
    overwrite: bool = False,
) -> Run:
    """Make a run folder of weights that were trained elsewhere, measured anew at every step.

    A file does not tell which examples were trained on. The run's split is therefore a fresh one:
    its train and test accuracy are those of two random parts of all examples.

    Args:
        files: the files; each holds the weights of one step, or of several.
        out: the run's folder, absent or empty.
        task: the task's fields (``name``, ``p``, ``pairs`` …) as far as they are known; the rest
            comes from the files and from the shapes of the weights.
        steps: the steps of the weights, in the order of the files; unless given, those that the
            files or their names tell.
        act: the neurons' non-linearity, which no file tells.
        overwrite: replace the run that ``out`` holds.

    Raises:
        UserError: a file cannot be read or recognized, holds code, or does not fit the others or
            the task.
    """
    paths = [Path(file) for file in files]
    config, rows = _measure(paths, task or {}, steps, act)
    run: Run | None = None
    for row, saved in zip(rows, _read_all(paths), strict=True):
        network = _trimmed(recognize(saved.state, saved.file), config.task)
        mask = Mask(network.mask) if network.mask else None
        checkpoint = Checkpoint(int(row["step"]), network.weights, mask)
        if run is None:
            run = create_run(out, config, checkpoint, overwrite=overwrite)
        else:
            write_checkpoint(run.path, checkpoint)
    assert run is not None
    write_metrics(run.path, sorted(rows, key=lambda row: row["step"]))
    return Run(run.path)


def _measure(
    paths: list[Path], given: dict[str, Any], steps: Sequence[int] | None, act: str
) -> tuple[RunConfig, list[dict[str, float]]]:
    """The configuration that the files make, and a row of metrics for each set of weights."""
    config: RunConfig | None = None
    rows, told = [], []
    for saved in _read_all(paths):
        network = recognize(saved.state, saved.file)
        if config is None:
            first, config = saved.file, _configuration(network, saved, given, act, paths)
        _check_fits(network, config.task, saved.file)
        if network.model | {"act": act} != config.model.model_dump(exclude_unset=True):
            raise UserError(
                f"{saved.file} holds another network than {first}: {network.model} instead of "
                f"{config.model.model_dump(exclude_unset=True)}."
            )
        network = _trimmed(network, config.task)
        model = make_model(config.model, config.task)
        load_weights(model, network.weights)
        if network.mask:
            apply_mask(model, Mask(network.mask))
        rows.append(evaluate(model, config.task, config.task.train, config.task.test))
        told.append(saved.step)
    if config is None:
        raise UserError("There is nothing to import: name at least one file.")
    at = _settle_steps(steps, told)
    training = config.training.model_copy(update={"steps": max(at)})
    rows = [{"step": step, **row} for step, row in zip(at, rows, strict=True)]
    return config.model_copy(update={"training": training}), rows


def _configuration(
    network: Network, saved: Saved, given: dict[str, Any], act: str, paths: list[Path]
) -> RunConfig:
    training = {key: saved.facts[key] for key in _TRAINING if key in saved.facts}
    return RunConfig.make(
        task=_task_fields(network, saved.facts, given),
        model=network.model | {"act": act},
        training=training,
        origin=ImportOrigin(files=tuple(path.name for path in paths), layout=network.layout),
    )


# --- reading files ------------------------------------------------------------------------------


def _read_all(paths: list[Path]) -> Iterator[Saved]:
    """Every state dict of every file, in order."""
    for path in paths:
        yield from read(path)


def read(path: Path) -> Iterator[Saved]:
    """The state dicts in a file, with the steps and facts that the file tells.

    Raises:
        UserError: the file is missing or damaged, holds code, or holds no tensors.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there, or is no file: name files that hold weights.")
    with path.open("rb") as opened:
        head = opened.read(9)
    is_safetensors = path.suffix == ".safetensors" or head[8:] == b"{"
    content, facts = _safetensors(path) if is_safetensors else (_pickle(path), {})
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dictionary of weights.")
    config = content.get("config")
    told = content | (config if isinstance(config, dict) else {})
    facts |= {ours: told[theirs] for theirs, ours in _FACTS.items() if theirs in told}
    many = next((content[key] for key in _MANY if isinstance(content.get(key), list)), None)
    if many:
        steps = content.get("checkpoint_epochs", content.get("epochs"))
        if not isinstance(steps, list) or len(steps) != len(many):
            steps = [None] * len(many)
        for step, state in zip(steps, many, strict=True):
            yield Saved(path, _tensors(state, path), step if isinstance(step, int) else None, facts)
        return
    state = next((content[key] for key in _ONE if isinstance(content.get(key), dict)), content)
    step = facts.pop("step", content.get("epoch", content.get("step")))
    yield Saved(path, _tensors(state, path), _step(step, path), facts)


def _safetensors(path: Path) -> tuple[State, dict[str, Any]]:
    """The tensors of a safetensors file, with the step and the task that `export` writes."""
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(
            f"{path} is truncated or no safetensors file ({error}): fetch it again."
        ) from None
    facts: dict[str, Any] = {}
    if metadata.get("step", "").isdigit():
        facts["step"] = int(metadata["step"])
    if "task" in metadata:
        try:
            facts["task"] = json.loads(metadata["task"])
        except ValueError:
            raise UserError(f"{path} names its task in no JSON: {metadata['task']!r}.") from None
    return state, facts


def _pickle(path: Path) -> Any:
    """What a PyTorch pickle holds, read by the loader that makes tensors and containers only."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = re.search(r"GLOBAL (\S+)", str(error))
        named = f" ({what[1]})" if what else ""
        raise UserError(
            f"{path} holds Python objects{named}, which can carry code, so it was not loaded: save "
            "the weights alone, torch.save(model.state_dict(), …) or safetensors."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(
            f"{path} is damaged or no PyTorch file ({first_line}): fetch it again, or convert it "
            "to safetensors."
        ) from None


def _tensors(state: Any, path: Path) -> State:
    """The tensors of a state dict in float32, less buffers that are no weights."""
    tensors = {}
    for name, value in state.items() if isinstance(state, dict) else ():
        if isinstance(name, str) and isinstance(value, Tensor) and not name.endswith(_BUFFERS):
            tensors[name] = value.float()
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    if not tensors:
        keys = list(state) if isinstance(state, dict) else type(state).__name__
        raise UserError(f"{path} holds no tensors by name but {keys}; expected is {_EXPECTED}.")
    return tensors


def _step(told: Any, path: Path) -> int | None:
    """The step that the file tells, or the last number in its name."""
    if isinstance(told, int) and told >= 0:
        return told
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else None


def _settle_steps(given: Sequence[int] | None, told: list[int | None]) -> list[int]:
    """The step of every set of weights.

    Raises:
        UserError: there are too few or too many, or two are the same, or one is not known.
    """
    if given is None and len(told) == 1 and told[0] is None:
        return [0]
    if given is not None and len(given) != len(told):
        raise UserError(f"{len(given)} steps were given for {len(told)} sets of weights.")
    steps = [step for step in (told if given is None else given) if step is not None]
    if len(set(steps)) < len(told):
        raise UserError(
            f"The files tell the steps {told}, which leaves some unknown or equal: give one for "
            "each with --steps."
        )
    return steps


# --- recognizing layouts ------------------------------------------------------------------------


def recognize(state: State, path: Path) -> Network:
    """The network that a state dict holds, in our names and orientations.

    Raises:
        UserError: its names are none of the known layouts, or its shapes do not fit together.
    """
    masks = {
        name: value
        for name, value in state.items()
        if name.endswith(("weight_mask", "_mask")) or name.startswith("mask.")
    }
    weights = {name: value for name, value in state.items() if name not in masks}
    try:
        if any(name.endswith(".attn.W_Q") for name in weights):
            return _transformer(weights, masks, path)
        if "inproj.W" in weights or {"W_in", "W_out"} <= set(weights):
            return _mlp(weights, masks, path)
        if weights and all(name.endswith(("weight", "bias")) for name in weights):
            return _linear_stack(weights, path)
    except KeyError as missing:
        raise UserError(f"{path} lacks {missing}; it holds {_listed(state)}.") from None
    raise UserError(
        f"{path} is of no known layout: it holds {_listed(state)}; expected is {_EXPECTED}."
    )


def _listed(state: State) -> str:
    shown = [f"{name} {list(value.shape)}" for name, value in list(state.items())[:8]]
    return ", ".join(shown) + (f" and {len(state) - 8} more" if len(state) > 8 else "")


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
            raise UserError(
                f"{self.path} holds shapes that do not fit together: {name} is "
                f"{list(tensor.shape)}, but the others need {list(shape)} or {list(turned)}."
            )
        return tensor


def _other(tensor: Tensor, size: int) -> int:
    """The dimension of a matrix beside the one of length ``size``."""
    rows, columns = tensor.shape[-2:]
    return columns if rows == size else rows


def _transformer(weights: State, masks: State, path: Path) -> Network:
    n_ctx, d_model = weights["pos_embed.W_pos"].shape
    n_layers = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    n_heads = weights["blocks.0.attn.W_Q"].shape[0]
    d_head = _other(weights["blocks.0.attn.W_Q"], d_model)
    d_mlp = _other(weights["blocks.0.mlp.W_in"], d_model)
    d_vocab = _other(weights["embed.W_E"], d_model)
    d_output = _other(weights["unembed.W_U"], d_model)
    old = weights["blocks.0.attn.W_O"].ndim == 2
    head, mlp = (n_heads, d_model, d_head), (d_model, d_mlp)
    shapes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (d_vocab, d_model),
        "unembed.W_U": (d_model, d_output),
    }
    for block in (f"blocks.{layer}" for layer in range(n_layers)):
        shapes |= {f"{block}.attn.{name}": head for name in ("W_Q", "W_K", "W_V")}
        shapes |= {f"{block}.attn.W_O": (n_heads, d_head, d_model)}
        shapes |= {f"{block}.mlp.W_in": mlp, f"{block}.mlp.W_out": mlp[::-1]}
    biases = {
        f"blocks.{layer}.mlp.{name}": torch.zeros(size)
        for layer in range(n_layers)
        for name, size in (("b_in", d_mlp), ("b_out", d_model))
    }
    known = {"pos_embed.W_pos", *shapes, *biases}
    _refuse_unused({name: value for name, value in weights.items() if name not in known}, path)
    # The older orientation turns every matrix but the unembedding.
    turn = {name: _Orientation(path, old and name != "unembed.W_U") for name in shapes}

    def turned(tensors: State) -> State:
        return {
            name: turn[name](name, _heads_apart(tensors[name], n_heads, name), *shapes[name])
            for name in shapes
            if name in tensors
        }

    if missing := [name for name in shapes if name not in weights]:
        raise KeyError(missing[0])
    given = {name: weights[name] for name in biases if name in weights}
    ours = turned(weights) | {"pos_embed.W_pos": weights["pos_embed.W_pos"]} | biases | given
    model = {"kind": "transformer", "d_model": d_model, "n_layers": n_layers, "n_heads": n_heads}
    model |= {"d_head": d_head, "d_mlp": d_mlp}
    layout = "transformer, " + ("older orientation" if old else "TransformerLens's orientation")
    mask = turned(_masks_by_weight(masks, weights, path))
    return Network(layout, ours, model, d_vocab, n_ctx, d_output, _masks(mask))


def _heads_apart(tensor: Tensor, n_heads: int, name: str) -> Tensor:
    """The older W_O [d_model, n_heads · d_head] with its heads apart; others as they are."""
    if not name.endswith("W_O") or tensor.ndim != 2 or tensor.shape[1] % n_heads:
        return tensor
    # One more turn is to come, which the older orientation needs and this one has had.
    return rearrange(tensor, "m (h k) -> h m k", h=n_heads)


def _mlp(weights: State, masks: State, path: Path) -> Network:
    script = {"embed.W_E": "W_E", "inproj.W": "W_in", "outproj.W": "W_out", "unembed.W_U": "W_U"}
    masks, names = _masks_by_weight(masks, weights, path), set(weights)
    weights, masks = (
        {script.get(name, name): tensor for name, tensor in part.items()}
        for part in (weights, masks)
    )
    layers = sorted(name for name in weights if name.startswith("W_hidden_"))
    embedded = "W_E" in weights
    chain = ["W_E"] * embedded + ["W_in", *layers, "W_out"] + ["W_U"] * embedded
    biases = {name for name in weights if name.startswith("b_")}
    _refuse_unused(
        {name: value for name, value in weights.items() if name not in {*chain, *biases}}, path
    )
    flipped = _chained([weights[name] for name in chain], from_script="inproj.W" in names)
    if flipped is None:
        raise UserError(
            f"{path} holds shapes that do not fit together: "
            f"{_listed({name: weights[name] for name in chain})}."
        )
    turns = dict(zip(chain, flipped, strict=True))
    ours = {name: weights[name].T.contiguous() if turns[name] else weights[name] for name in chain}
    mask = {name: kept.T.contiguous() if turns[name] else kept for name, kept in masks.items()}
    model: dict[str, Any] = {"kind": "mlp", "d_model": ours["W_in"].shape[0] if embedded else None}
    model |= {"d_mlp": ours["W_in"].shape[1], "n_layers": 1 + len(layers), "bias": bool(biases)}
    ours |= {name: weights[name] for name in biases}
    d_vocab, d_output = ours[chain[0]].shape[0], ours[chain[-1]].shape[1]
    return Network("MLP", ours, model, d_vocab, 1, d_output, _masks(mask))


def _chained(matrices: list[Tensor], *, from_script: bool) -> list[bool] | None:
    """Which matrices must be transposed for each to read what the one before it writes.

    Tried in turn: as they are, as the authors' script stores them (all but the last transposed;
    first for its names), and all transposed. None where no way fits.
    """
    n = len(matrices)
    ways = [[False] * n, [True] * (n - 1) + [False], [True] * n]
    for flipped in [ways[1], ways[0], ways[2]] if from_script else ways:
        shapes = [m.T.shape if flip else m.shape for m, flip in zip(matrices, flipped, strict=True)]
        if all(before[1] == after[0] for before, after in pairwise(shapes)):
            return flipped
    return None


def _linear_stack(weights: State, path: Path) -> Network:
    layers = [name.removesuffix("weight") for name in weights if name.endswith("weight")]
    matrices = [weights[f"{layer}weight"] for layer in layers]
    if any(m.ndim != 2 for m in matrices) or len(matrices) < 2:
        raise UserError(f"{path} holds no stack of two or more linear layers: {_listed(weights)}.")
    for (before, after), layer in zip(pairwise(matrices), layers[1:], strict=True):
        if after.shape[1] != before.shape[0]:
            raise UserError(
                f"{path} holds shapes that do not fit together: {layer}weight is "
                f"{list(after.shape)}, but the layer before it writes {before.shape[0]} numbers."
            )
    hidden = [f"hidden_{layer}" for layer in range(1, len(layers) - 1)]
    names = ["in", *hidden, "out"]
    ours = {f"W_{name}": m.T.contiguous() for name, m in zip(names, matrices, strict=True)}
    bias = any(name.endswith("bias") for name in weights)
    if bias:
        for name, layer, matrix in zip(names, layers, matrices, strict=True):
            ours[f"b_{name}"] = weights.get(f"{layer}bias", torch.zeros(len(matrix)))
    model = {"kind": "mlp", "d_model": None, "d_mlp": len(matrices[0]), "bias": bias}
    model["n_layers"] = len(layers) - 1
    d_vocab, d_output = matrices[0].shape[1], len(matrices[-1])
    return Network("stack of linear layers", ours, model, d_vocab, 1, d_output)


def _refuse_unused(unused: State, path: Path) -> None:
    """Refuse weights that our models have no place for, unless they are zero and change nothing."""
    for name, value in unused.items():
        is_bias = name.rpartition(".")[2].startswith("b_")
        if not (is_bias and not value.any()):
            raise UserError(
                f"{path} holds {name} {list(value.shape)}, which the models here have no place for "
                "(no layer norm, and no biases of attention or unembedding): it cannot be imported."
            )


def _masks_by_weight(masks: State, weights: State, path: Path) -> State:
    """Masks under the names of the weights that they stand beside."""
    named = {}
    for name, kept in masks.items():
        module = name.removesuffix("weight_mask")
        if name.startswith("mask."):
            own = [name.removeprefix("mask.")]
        elif name.endswith("weight_mask"):
            own = [w for w in weights if w.startswith(module) and "." not in w[len(module) :]]
        else:
            own = [name.removesuffix("_mask")]
        if len(own) != 1 or weights.get(own[0], kept[:0]).shape != kept.shape:
            raise UserError(
                f"{path} holds the mask {name} {list(kept.shape)}, but no one weight of its shape "
                f"beside it: it holds {_listed(weights)}."
            )
        named[own[0]] = kept
    return named


def _masks(masks: State) -> State:
    """The masks, or none where they keep everything."""
    return masks if any((kept == 0).any() for kept in masks.values()) else {}


# --- the task -----------------------------------------------------------------------------------


def _task_fields(network: Network, facts: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What was given, over what the file tells, over what the shapes tell."""
    saved = facts.get("task", {})
    operation = _OPERATIONS.get(str(facts.get("operation")), "add")
    name = given.get("name") or saved.get("name") or operation
    told: dict[str, Any] = {"name": name}
    if name in OPERATIONS.own:
        equals = network.n_ctx == 3
        told |= {"equals": equals, "p": facts.get("p", network.d_vocab - equals)}
        if network.model["kind"] == "transformer":
            told["pairs"] = "ordered"
    if "train_fraction" in facts:
        told["train_fraction"] = facts["train_fraction"]
    return told | (saved if saved.get("name") == name else {}) | given


def _check_fits(network: Network, task: Task, path: Path) -> None:
    """Refuse a task whose sizes are not those of the network."""
    tokens = "numbers" if task.input_kind == "vectors" else "tokens"
    if network.d_vocab != task.d_vocab:
        raise UserError(
            f"The network in {path} reads {network.d_vocab} different {tokens}, but {task} has "
            f"{task.d_vocab}: choose another --task or --p."
        )
    if network.model["kind"] == "transformer" and network.n_ctx != task.n_ctx:
        raise UserError(
            f"The network in {path} has {network.n_ctx} positions, but {task} has {task.n_ctx} "
            f"tokens per example: choose another --task, or --{'no-' * (network.n_ctx < 3)}equals."
        )
    if network.d_output not in (task.d_output, task.d_vocab) or network.d_output < task.d_output:
        raise UserError(
            f"The network in {path} has {network.d_output} outputs, but {task} has "
            f"{task.d_output} answers: choose another --task or --p."
        )


def _trimmed(network: Network, task: Task) -> Network:
    """The network without the outputs that are tokens but no answers ("=")."""
    last = next(name for name in ("unembed.W_U", "W_U", "W_out") if name in network.weights)

    def cut(tensors: State) -> State:
        return {
            name: tensor[:, : task.d_output].contiguous() if name == last else tensor
            for name, tensor in tensors.items()
        }

    return replace(network, weights=cut(network.weights), mask=cut(network.mask))


def doubt(run: Run) -> str | None:
    """A sentence if the last weights of an imported run do no better than chance, else None."""
    last = run.metrics.iloc[-1]
    chance = 1 / run.task.d_output
    best = max(last.train_accuracy, last.test_accuracy)
    if run.task.criterion.quantity != "accuracy" or run.task.d_output < 2 or best > 2 * chance:
        return None
    return (
        f"The weights get {best:.1%} of {run.task} right, which is chance: if they were trained, "
        "then on something else; check --task, --p, --pairs and --act."
    )
