"""Making a run from files of weights, measured anew at every step."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
from mechgrok.exchange.importing import groups, splits
from mechgrok.exchange.importing.facts import Facts, merge, read_facts
from mechgrok.exchange.importing.forward import check_outputs
from mechgrok.exchange.importing.layouts import Network, recognize
from mechgrok.exchange.importing.reading import EPOCHS_AS_STEPS, Saved, read, settle_steps
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
    overwrite: bool = False,
) -> Run:
    """Make a run folder from weights that were trained elsewhere, measured anew at every step.

    What neither the files nor the arguments say stays unknown: the run's ``config.training`` and
    ``config.seed`` are None, and ``config.origin`` says what is known, what had to be assumed, and
    where the split comes from. Where the split is not known, train and test are two random parts
    of all examples.

    Args:
        files: the files; each holds the weights of one step, or of several. Or one folder with
            the steps of a run in folders ``step0``, ``step1000``, …, or a git repository with such
            branches.
        out: the run's folder, absent or empty.
        task: the task's fields (``name``, ``p``, ``pairs`` …) as far as they are known; the rest
            comes from the files and from the shapes of the weights.
        steps: the steps of the weights, in the order of the files; unless given, those in the
            files or their names.
        act: the neurons' non-linearity; relu unless given or in a file.
        split: a file that holds the split, or a run that has it.
        training: settings that the weights were trained with, as far as they are known.
        overwrite: replace the run that ``out`` holds.

    Raises:
        UserError: a file cannot be read or recognized, holds code, or does not fit the others or
            the task.
    """
    paths, out = [Path(file) for file in files], Path(out)
    check_room(out, overwrite=overwrite)
    for path in [*paths, *([Path(split)] if split is not None else [])]:
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(out)):
            raise UserError(
                f"{path} lies in {out}, which the run would replace: choose another folder with "
                "--out."
            )
    user_code.allow((task or {}).get("name"))
    given = _Given(dict(task or {}), act, split, dict(training or {}), steps)
    names = tuple(path.name for path in paths)
    with TemporaryDirectory() as checked_out, new_run(out, overwrite=overwrite) as folder:
        if len(paths) == 1 and paths[0].is_dir():
            paths = files_of(paths[0], Path(checked_out))
        sources = [source for path in paths for source in _sources(path, given)]
        rows, compared = [], True
        config, at = _configuration(sources, given, names)
        for step, source in zip(at, sources, strict=True):
            network, model = _fitted(source, config)
            checkpoint = Checkpoint(step, network.weights, Mask(network.mask) or None)
            write_checkpoint(folder, checkpoint)
            examples = config.task.train, config.task.test
            rows.append({"step": step, **evaluate(model, config.task, *examples)})
            compared &= check_outputs(model, network.stored, source.file, source.order)
        write_metrics(folder, sorted(rows, key=lambda row: row["step"]))
        user_code.remember(config.task.name)
        assert config.origin is not None
        origin = config.origin.model_copy(update={"compared": compared})
        write_config(folder, config.model_copy(update={"origin": origin}))
    for note in dict.fromkeys(note for source in sources for note in source.notes):
        if steps is None or note != EPOCHS_AS_STEPS:
            warn(note)
    return Run(out)


@in_neutral_state
def chance_level_warning(run: Run) -> str | None:
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


def doubt(run: Run) -> str | None:
    """The former name of `chance_level_warning`."""
    warnings.warn("doubt is now chance_level_warning", DeprecationWarning, stacklevel=2)
    return chance_level_warning(run)


# --- files --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Given:
    """What the person says, which overrides what the files say."""

    task: dict[str, Any]
    act: str | None
    split: str | Path | None
    training: dict[str, Any]
    steps: Sequence[int] | None


@dataclass(frozen=True)
class _Source:
    """One set of weights, and what its file says."""

    file: Path
    network: Network
    facts: Facts
    step: int | None
    sides: splits.Sides | None
    notes: tuple[str, ...]

    @property
    def order(self) -> Integer[Tensor, " n"] | None:
        """Our number of each element of a group that the file numbers in its own way."""
        group = self.facts.group
        return None if group is None else torch.from_numpy(groups.places(group))


def _sources(path: Path, given: _Given) -> Iterator[_Source]:
    """Every set of weights in a file."""
    for saved in read(path):
        is_given = given.task.get("name", "group") != "group"
        facts = read_facts(saved.content, path, task_is_given=is_given)
        network = _network(saved, facts)
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
        except UserError as error:  # perhaps because something was ignored
            raise UserError(" ".join([str(error), *saved.notes])) from None
    weights = {name: t for name, t in saved.state.items() if not name.startswith("scores.")}
    masks = {name: weights.pop(name) for name in list(weights) if name.startswith("mask.")}
    mask = {name.removeprefix("mask."): kept for name, kept in masks.items()}
    ours = saved.content["mechgrok"]
    # Exported files have the mask in their metadata.
    for name, bits in (ours["mask"] if isinstance(ours.get("mask"), dict) else {}).items():
        if name not in weights:
            raise UserError(f"{saved.file} holds a mask of {name}, which it does not hold.")
        shape = weights[name].shape
        mask[name] = torch.from_numpy(unpack_bits(bits, shape.numel())).reshape(shape)
    return Network("mechgrok", weights, facts.model, mask)


def _fitted(source: _Source, config: RunConfig) -> tuple[Network, HookedModel]:
    """The network with our tokens and the task's answers, and the model that has its weights.

    Raises:
        UserError: it does not fit the task.
    """
    network, task, order = source.network, config.task, source.order
    if order is not None:
        theirs = torch.argsort(order)
        others = torch.arange(len(order), network.sizes["d_vocab"])  # "="
        network = network.select("d_vocab", torch.cat([theirs, others]))
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
                f"{other.file} holds another network than {sources[0].file}: "
                f"{other.network.model | other.network.sizes} instead of "
                f"{network.model | network.sizes}."
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
    at, steps_known = settle_steps(given.steps, [source.step for source in sources])
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
    """Refuse settings that no training can have, and fewer steps than the ``last`` of the files."""
    try:
        training = TrainingConfig(**known)
    except ValidationError as error:
        raise UserError(sentence(error, "training")) from None
    if "steps" in known and training.steps < last:
        raise UserError(
            f"Weights of step {last:,} come from no training of {training.steps:,} steps: give "
            "training.steps as it was, or the steps of the files with --steps."
        )


def _task_fields(
    source: _Source, facts: Facts, given: _Given, sides: splits.Sides | None
) -> tuple[dict[str, Any], list[str]]:
    """What was given, over what the files say, over what the shapes tell; and what was assumed."""
    sizes, told, assumed = source.network.sizes, dict(facts.task), []
    name = given.task.get("name", told.get("name"))
    if name is None:
        name = "add"
        assumed.append("task.name")
    if told.get("name") not in (name, None):
        told = {}  # the person names another task than the file
    fields: dict[str, Any] = {"name": name}
    if name in OPERATIONS.own and "d_vocab" in sizes:
        d_vocab, p = sizes["d_vocab"], given.task.get("p", told.get("p"))
        equals = sizes.get("n_ctx") == 3 or ("n_ctx" not in sizes and p == d_vocab - 1)
        fields |= {"equals": equals, "p": d_vocab - equals}
        if isinstance(p, int) and p > d_vocab:
            raise UserError(
                f"The network in {source.file} reads {d_vocab} different tokens, but p is to be "
                f"{p}: choose another --p."
            )
        pairs = None if sides is None else splits.pairs_in(sides)
        if pairs is not None:
            fields["pairs"] = pairs
        elif "pairs" not in given.task | told:
            assumed.append("task.pairs")
            if source.network.model["kind"] == "transformer":
                fields["pairs"] = "ordered"
    if name == "group":
        fields["equals"] = sizes.get("n_ctx") == 3
    is_split_given = bool({"train_fraction", "split_seed"} & given.task.keys())
    if is_split_given and given.task.get("fixed_split") is None:
        told.pop("fixed_split", None)
    return fields | told | given.task, assumed


def _check_fits(network: Network, task: Task, path: Path) -> None:
    """Refuse a task whose sizes are not those of the network."""
    sizes = network.sizes
    if not sizes:
        return
    reads_tokens, n_ctx = task.input_kind == "tokens", sizes.get("n_ctx", task.n_ctx)
    if reads_tokens and n_ctx != task.n_ctx:
        equals = bool(getattr(task, "equals", False))
        remedy = f"another --task, whose examples have {n_ctx} tokens"
        if hasattr(task, "equals") and n_ctx == task.n_ctx + (-1 if equals else 1):
            remedy = f"--{'no-' * equals}equals"
        raise UserError(
            f"The network in {path} has {n_ctx} positions, but {task} has {task.n_ctx} tokens per "
            f"example: give {remedy}."
        )
    # Some of the tokens are no answers ("=").
    widths = {task.d_output, max(task.d_output, task.d_vocab) if reads_tokens else task.d_output}
    inputs = "tokens" if reads_tokens else "numbers"
    for axis, holds, fitting in (
        ("d_vocab", f"reads {sizes['d_vocab']} different {inputs}", {task.d_vocab}),
        ("d_output", f"has {sizes['d_output']} outputs", widths),
    ):
        if sizes[axis] not in fitting:
            raise UserError(
                f"The network in {path} {holds}, but {task} has {getattr(task, axis)}: choose "
                "another --task or --p."
            )


def _with_split(
    task: Task, facts: Facts, given: _Given, sides: tuple[splits.Sides, Path] | None
) -> tuple[Task, Literal["file", "option"] | None]:
    """The task with the split that the weights were trained on, and how that is known."""
    if given.split is None and "split_seed" in given.task:
        return task, "option"
    if sides is not None:
        fields = task.model_dump(exclude={"split_seed", "train_fraction"})
        task = saved_task(**fields | {"fixed_split": splits.split_of(sides[0], task, sides[1])})
        return task, "file" if given.split is None else "option"
    told = facts.task.get("train_fraction")
    if facts.split_is_known and given.task.get("train_fraction", told) == told:
        return task, "file"
    return task, None
