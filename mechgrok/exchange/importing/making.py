"""Importing files of weights as a run, with metrics evaluated at every step."""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from jaxtyping import Integer
from pydantic import ValidationError
from torch import Tensor

from mechgrok import user_code
from mechgrok.bits import unpack_bits
from mechgrok.configuration.origins import ImportOrigin
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.training import TrainingConfig
from mechgrok.errors import UserError, sentence, warn
from mechgrok.exchange.downloading import address_of, download
from mechgrok.exchange.importing import groups, splits
from mechgrok.exchange.importing.facts import Facts, merge, read_facts
from mechgrok.exchange.importing.folding import fold_scales
from mechgrok.exchange.importing.forward import check_outputs
from mechgrok.exchange.importing.layouts import Network, recognize
from mechgrok.exchange.importing.reading import EPOCHS_AS_STEPS, Saved, read, resolve_steps
from mechgrok.exchange.revisions import files_of
from mechgrok.global_state import in_neutral_state
from mechgrok.masks import Mask, apply_mask
from mechgrok.models import HookedModel, load_weights, make_model
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.runs.folder import check_room, new_run, write_config
from mechgrok.runs.metrics import write_metrics
from mechgrok.tasks import Task, saved_task
from mechgrok.tasks.operations import OPERATIONS
from mechgrok.training import evaluate


@in_neutral_state
def import_run(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    task: Mapping[str, Any] | None = None,
    steps: Sequence[int] | None = None,
    act: str | None = None,
    split: str | Path | None = None,
    training: Mapping[str, Any] | None = None,
    fold_norm: bool = False,
    overwrite: bool = False,
    timeout: float = 300,
) -> Run:
    """Import weights trained elsewhere as a run, with metrics evaluated at every step.

    Settings in neither files nor arguments stay unknown: ``config.training`` and ``config.seed``
    are None, and ``config.origin`` records known settings, assumptions and the source of the split.
    If the split is unknown, train and test are two random parts of all examples.

    Args:
        files: files with the weights of one or several steps each; or one folder with folders
            ``step0``, ``step1000``, …, or a git repository with such branches; or one address on
            a model hub, ``hf://OWNER/REPOSITORY``, with such branches or folders, or of a file.
        out: the run's folder, absent or empty.
        task: known fields of the task (``name``, ``p``, ``pairs`` …); the rest comes from the files
            and the shapes of the weights.
        steps: steps of the weights, in the order of the files; default: from the files or their
            names.
        act: activation function; default: from the files, else relu.
        split: a file with the split, or a run with the same split.
        training: known training settings of the weights.
        fold_norm: fold the learned scales of a transformer's normalizations into the matrices that
            read them (`mechgrok.exchange.importing.folding`).
        overwrite: replace the run that ``out`` holds.
        timeout: seconds allowed for each download from a hub.

    Raises:
        UserError: a file is unreadable, unrecognized, holds code, or does not fit the others or
            the task; or a download fails.
    """
    paths, out = [Path(file) for file in files], Path(out)
    check_room(out, overwrite=overwrite)
    _check_outside(out, [*paths, *([Path(split)] if split is not None else [])])
    user_code.allow((task or {}).get("name"))
    given = _Given(dict(task or {}), act, split, dict(training or {}), steps, fold_norm)
    names = source_names(paths)
    with TemporaryDirectory() as checkout, new_run(out, overwrite=overwrite) as folder:
        if address := _single_address(paths):
            paths = [download(address, Path(checkout), timeout)]
        if len(paths) == 1 and paths[0].is_dir():
            paths = files_of(paths[0], Path(checkout))
        sources = [source for path in paths for source in _sources(path, given)]
        config, at = _configuration(sources, given, names)
        _write_checkpoints(folder, config, dict(zip(at, sources, strict=True)))
        user_code.remember(config.task.name)
    for note in dict.fromkeys(note for source in sources for note in source.notes):
        if steps is None or note != EPOCHS_AS_STEPS:
            warn(note)
    return Run(out)


def source_names(paths: Iterable[Path]) -> tuple[str, ...]:
    """The names of imported files, or their folder or address, as a run records them."""
    return tuple(address_of(path) or path.name for path in paths)


def _single_address(paths: Sequence[Path]) -> str | None:
    """The address of a source on a hub; None for local files.

    Raises:
        UserError: it stands beside other sources.
    """
    addresses = [address for path in paths if (address := address_of(path))]
    if addresses and len(paths) > 1:
        raise UserError(f"{addresses[0]} is imported alone: omit the other files.")
    return addresses[0] if addresses else None


def _check_outside(out: Path, paths: Sequence[Path]) -> None:
    """Refuse files inside the folder that the import would replace."""
    for path in paths:
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(out)):
            raise UserError(
                f"{path} is inside {out}, which the import would replace: choose another folder "
                "with --out."
            )


def _write_checkpoints(folder: Path, config: RunConfig, sources: "Mapping[int, _Source]") -> None:
    """Write the network and the metrics of every step, and the configuration."""
    rows, compared = [], True
    for step, source in sorted(sources.items()):
        network, model = _fit_to_task(source, config)
        write_checkpoint(folder, Checkpoint(step, network.weights, Mask(network.mask) or None))
        rows.append(
            {"step": step, **evaluate(model, config.task, config.task.train, config.task.test)}
        )
        compared &= check_outputs(model, network.stored, source.file, source.order)
    write_metrics(folder, rows)
    assert config.origin is not None
    origin = config.origin.model_copy(update={"compared": compared})
    write_config(folder, config.model_copy(update={"origin": origin}))


@in_neutral_state
def chance_level_warning(run: Run) -> str | None:
    """A warning if the last weights of an imported run are at chance level, else None."""
    last = run.metrics.iloc[-1]
    chance = 1 / run.task.d_output
    best = max(last.train_accuracy, last.test_accuracy)
    if run.task.criterion.quantity != "accuracy" or run.task.d_output < 2 or best > 2 * chance:
        return None
    return (
        f"The accuracy on {run.task} is {best:.1%}, which is chance level: unless the weights are "
        "untrained, check --task, --p, --pairs and --act."
    )


def doubt(run: Run) -> str | None:
    """The former name of `chance_level_warning`."""
    warnings.warn("doubt is now chance_level_warning", DeprecationWarning, stacklevel=2)
    return chance_level_warning(run)


# --- files --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Given:
    """The user's settings, which override those of the files."""

    task: dict[str, Any]
    act: str | None
    split: str | Path | None
    training: dict[str, Any]
    steps: Sequence[int] | None
    fold_norm: bool


@dataclass(frozen=True)
class _Source:
    """One set of weights, and its file's metadata."""

    file: Path
    network: Network
    facts: Facts
    step: int | None
    sides: splits.Sides | None
    notes: tuple[str, ...]

    @property
    def order(self) -> Integer[Tensor, " n"] | None:
        """Our index of each group element, if the file has another order."""
        group = self.facts.group
        return None if group is None else torch.from_numpy(groups.places(group))


def _sources(path: Path, given: _Given) -> Iterator[_Source]:
    """Every set of weights in a file."""
    for saved in read(path):
        is_given = given.task.get("name", "group") != "group"
        facts = read_facts(saved.content, path, task_is_given=is_given)
        network = _network(saved, facts)
        if given.fold_norm:
            network = fold_scales(network, path)
        notes, sides = [*saved.notes, *network.notes, *facts.notes], None
        try:
            sides = splits.sides_in(saved.content, path)
        except UserError as error:
            notes.append(str(error))
        yield _Source(path, network, facts, saved.step, sides, tuple(notes))


def _network(saved: Saved, facts: Facts) -> Network:
    """The network of a state dict: one of ours if the file has its configuration."""
    if "kind" not in facts.model:
        try:
            return recognize(saved.state, saved.file, ordered=saved.ordered)
        except UserError as error:  # perhaps because of ignored entries
            raise UserError(" ".join([str(error), *saved.notes])) from None
    weights = {name: t for name, t in saved.state.items() if not name.startswith("scores.")}
    masks = {name: weights.pop(name) for name in list(weights) if name.startswith("mask.")}
    mask = {name.removeprefix("mask."): bits for name, bits in masks.items()}
    ours = saved.content["mechgrok"]
    # Exports have the mask in their metadata.
    for name, bits in (ours["mask"] if isinstance(ours.get("mask"), dict) else {}).items():
        if name not in weights:
            raise UserError(f"{saved.file} holds a mask of {name}, but not {name} itself.")
        shape = weights[name].shape
        mask[name] = torch.from_numpy(unpack_bits(bits, shape.numel())).reshape(shape)
    return Network("mechgrok", weights, facts.model, mask)


def _fit_to_task(source: _Source, config: RunConfig) -> tuple[Network, HookedModel]:
    """The network with our tokens and outputs, and a model with its weights.

    Raises:
        UserError: the network does not fit the task.
    """
    network, task, order = source.network, config.task, source.order
    if order is not None:
        theirs = torch.argsort(order)
        rest = torch.arange(len(order), network.sizes["d_vocab"])  # "="
        network = network.select("d_vocab", torch.cat([theirs, rest]))
        network = network.select("d_output", theirs)
    elif network.sizes:
        network = network.select("d_output", torch.arange(task.d_output))
    model = make_model(config.model, task)
    weights = dict(network.weights)
    if config.model.kind == "transformer" and network.axes:
        weights = {"pos_embed.W_pos": torch.zeros(task.n_ctx, network.sizes["d_model"])} | weights
    try:
        load_weights(model, weights)
        if network.mask:
            apply_mask(model, Mask(network.mask))
    except UserError as error:
        raise UserError(
            f"The network in {source.file} does not fit {task}, so choose another --task or --p: "
            f"{error}"
        ) from None
    return replace(network, weights=weights), model


# --- configuration ------------------------------------------------------------------------------


def _configuration(
    sources: Sequence[_Source], given: _Given, files: tuple[str, ...]
) -> tuple[RunConfig, list[int]]:
    """The run's configuration, and the step of each set of weights."""
    if not sources:
        raise UserError("There is nothing to import: name at least one file.")
    network, facts = sources[0].network, merge([source.facts for source in sources])
    for other in sources:
        if (other.network.model, other.network.sizes) != (network.model, network.sizes):
            raise UserError(
                f"{other.file} and {sources[0].file} hold different networks: "
                f"{other.network.model | other.network.sizes} and {network.model | network.sizes}."
            )
    sides = next(((source.sides, source.file) for source in sources if source.sides), None)
    if given.split is not None:
        sides = splits.read_sides(Path(given.split)), Path(given.split)
    fields, assumed = _task_fields(sources[0], facts, given, sides and sides[0])
    task = saved_task(**fields)
    _check_fits(network, task, sources[0].file)
    task, split = _with_split(task, facts, given, sides)
    model = network.model | facts.model | ({"act": given.act} if given.act else {})
    assumed += [f"model.{name}" for name in ("act", "init_scale") if name not in model]
    at, steps_known = resolve_steps(given.steps, [source.step for source in sources])
    training = facts.training | given.training
    _check_training(training, max(at) if steps_known else 0)
    origin = ImportOrigin(
        files=files,
        layout=network.layout,
        known=training,
        assumed=tuple(dict.fromkeys([*facts.assumed, *assumed])),
        split=split,
        steps_known=steps_known,
    )
    model = {"act": "relu"} | model
    config = RunConfig.make(task=task, model=model, training=None, seed=facts.seed, origin=origin)
    return config, at


def _check_training(known: Mapping[str, Any], last: int) -> None:
    """Refuse invalid training settings, and fewer steps than the ``last`` of the files."""
    try:
        training = TrainingConfig(**known)
    except ValidationError as error:
        raise UserError(sentence(error, "training")) from None
    if "steps" in known and training.steps < last:
        raise UserError(
            f"Weights of step {last:,} cannot come from a training of {training.steps:,} steps: "
            "correct training.steps, or give the steps of the files with --steps."
        )


def _task_fields(
    source: _Source, facts: Facts, given: _Given, sides: splits.Sides | None
) -> tuple[dict[str, Any], list[str]]:
    """The task's fields (from the user, else the files, else the shapes), and the assumed ones."""
    sizes, stored, assumed = source.network.sizes, dict(facts.task), []
    name = given.task.get("name", stored.get("name"))
    if name is None:
        name = "add"
        assumed.append("task.name")
    if stored.get("name") not in (name, None):
        stored = {}  # the user names another task than the file
    fields: dict[str, Any] = {"name": name}
    if name in OPERATIONS.own and "d_vocab" in sizes:
        d_vocab, p = sizes["d_vocab"], given.task.get("p", stored.get("p"))
        equals = sizes.get("n_ctx") == 3 or ("n_ctx" not in sizes and p == d_vocab - 1)
        fields |= {"equals": equals, "p": d_vocab - equals}
        if isinstance(p, int) and p > d_vocab:
            raise UserError(
                f"The network in {source.file} has {d_vocab} different tokens, fewer than p = {p}: "
                "choose another --p."
            )
        pairs = None if sides is None else splits.pairs_in(sides)
        if pairs is not None:
            fields["pairs"] = pairs
        elif "pairs" not in given.task | stored:
            assumed.append("task.pairs")
            if source.network.model["kind"] == "transformer":
                fields["pairs"] = "ordered"
    if name == "group":
        fields["equals"] = sizes.get("n_ctx") == 3
    is_split_given = bool({"train_fraction", "split_seed"} & given.task.keys())
    if is_split_given and given.task.get("fixed_split") is None:
        stored.pop("fixed_split", None)
    return fields | stored | given.task, assumed


def _check_fits(network: Network, task: Task, path: Path) -> None:
    """Refuse a task whose sizes differ from the network's."""
    sizes = network.sizes
    if not sizes:
        return
    reads_tokens, n_ctx = task.input_kind == "tokens", sizes.get("n_ctx", task.n_ctx)
    if reads_tokens and n_ctx != task.n_ctx:
        equals = bool(getattr(task, "equals", False))
        remedy = f"another --task, with {n_ctx} tokens per example"
        if hasattr(task, "equals") and n_ctx == task.n_ctx + (-1 if equals else 1):
            remedy = f"--{'no-' * equals}equals"
        raise UserError(
            f"The network in {path} has {n_ctx} positions, but {task} has {task.n_ctx} tokens per "
            f"example: give {remedy}."
        )
    # Some tokens are not answers ("=").
    widths = {task.d_output, max(task.d_output, task.d_vocab) if reads_tokens else task.d_output}
    inputs = "tokens" if reads_tokens else "numbers"
    for axis, fact, fitting in (
        ("d_vocab", f"reads {sizes['d_vocab']} different {inputs}", {task.d_vocab}),
        ("d_output", f"has {sizes['d_output']} outputs", widths),
    ):
        if sizes[axis] not in fitting:
            raise UserError(
                f"The network in {path} {fact}, but {task} has {getattr(task, axis)}: choose "
                "another --task or --p."
            )


def _with_split(
    task: Task, facts: Facts, given: _Given, sides: tuple[splits.Sides, Path] | None
) -> tuple[Task, Literal["file", "option"] | None]:
    """The task with the training split of the weights, and the split's source."""
    if given.split is None and "split_seed" in given.task:
        return task, "option"
    if sides is not None:
        fields = task.model_dump(exclude={"split_seed", "train_fraction"})
        task = saved_task(**fields | {"fixed_split": splits.split_of(sides[0], task, sides[1])})
        return task, "file" if given.split is None else "option"
    fraction = facts.task.get("train_fraction")
    if facts.split_is_known and given.task.get("train_fraction", fraction) == fraction:
        return task, "file"
    return task, None
