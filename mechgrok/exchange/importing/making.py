"""Making a run of files of weights, measured anew at every step."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from pydantic import ValidationError

from mechgrok import user_code
from mechgrok.bits import unpack_bits
from mechgrok.configuration.origins import ImportOrigin
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.training import TrainingConfig
from mechgrok.errors import UserError, sentence, warn
from mechgrok.exchange.importing import splits
from mechgrok.exchange.importing.facts import Facts, merged, read_facts
from mechgrok.exchange.importing.forward import check_outputs
from mechgrok.exchange.importing.groups import renumbered
from mechgrok.exchange.importing.layouts import Network, State, recognize
from mechgrok.exchange.importing.reading import EPOCHS_AS_STEPS, Saved, read, settle_steps
from mechgrok.exchange.revisions import files_of
from mechgrok.global_state import in_neutral_state
from mechgrok.masks import Mask, apply_mask
from mechgrok.models import load_weights, make_model
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.runs.folder import check_room, new_run, write_config
from mechgrok.runs.metrics import write_metrics
from mechgrok.tasks import Task, saved_task
from mechgrok.tasks.operations import OPERATIONS
from mechgrok.tasks.split import Split
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
    """Make a run folder of weights that were trained elsewhere, measured anew at every step.

    What neither the files nor the arguments tell stays unknown: the run's ``config.training`` and
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
        steps: the steps of the weights, in the order of the files; unless given, those that the
            files or their names tell.
        act: the neurons' non-linearity; relu unless given or told by a file.
        split: a file that holds the split, or a run that has it.
        training: settings that the weights were trained with, as far as they are known.
        overwrite: replace the run that ``out`` holds.

    Raises:
        UserError: a file cannot be read or recognized, holds code, or does not fit the others or
            the task.
    """
    paths, out = [Path(file) for file in files], Path(out)
    check_room(out, overwrite=overwrite)
    for needed in [*paths, *([Path(split)] if split is not None else [])]:
        if Path(os.path.realpath(needed)).is_relative_to(os.path.realpath(out)):
            raise UserError(
                f"{needed} lies in {out}, which the run would replace: choose another folder with "
                "--out."
            )
    user_code.allow((task or {}).get("name"))
    names = tuple(path.name for path in paths)
    given = _Given(names, dict(task or {}), act, split, dict(training or {}))
    with TemporaryDirectory() as taken_out, new_run(out, overwrite=overwrite) as making:
        if len(paths) == 1 and paths[0].is_dir():
            paths = files_of(paths[0], Path(taken_out))
        described = _describe(paths, given, steps)
        config, rows, compared = described.config, [], True
        fields = config.model.model_dump(mode="json")
        for step, source in zip(described.steps, _sources(paths, given), strict=True):
            compared &= check_outputs(source.network, fields, source.saved.file)
            network = _trimmed(renumbered(source.network, source.facts.group), config.task)
            rows.append({"step": step, **_measured(config, network, source.saved.file)})
            mask = Mask(network.mask) if network.mask else None
            write_checkpoint(making, Checkpoint(step, network.weights, mask))
        write_metrics(making, sorted(rows, key=lambda row: row["step"]))
        user_code.remember(config.task.name)
        assert isinstance(config.origin, ImportOrigin)
        origin = config.origin.model_copy(update={"compared": compared})
        write_config(making, config.model_copy(update={"origin": origin}))
    for note in described.notes:
        warn(note)
    return Run(out)


@in_neutral_state
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


# --- what is known ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Given:
    """What a person says, which counts more than what a file says."""

    files: tuple[str, ...]
    task: dict[str, Any]
    act: str | None
    split: str | Path | None
    training: dict[str, Any]


@dataclass(frozen=True)
class _Description:
    """The configuration that the files make, and the step of each set of weights."""

    config: RunConfig
    steps: list[int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """One set of weights with what its file tells."""

    saved: Saved
    network: Network
    facts: Facts


def _sources(paths: Sequence[Path], given: _Given) -> Iterator[_Source]:
    """Every set of weights of every file, in order."""
    for path in paths:
        for saved in read(path):
            other = given.task.get("name", "group") != "group"
            facts = read_facts(saved.content, path, task_is_given=other)
            own = "kind" in facts.model
            network = _of_our_own(saved, facts) if own else _recognized(saved)
            yield _Source(saved, network, facts)


def _recognized(saved: Saved) -> Network:
    try:
        return recognize(saved.state, saved.file, ordered=saved.ordered)
    except UserError as error:  # perhaps for want of what could not be read
        raise UserError(" ".join([str(error), *saved.notes])) from None


def _of_our_own(saved: Saved, facts: Facts) -> Network:
    """Weights of ours beside the configuration of their model, whatever kind it is."""
    tensors = {name: t for name, t in saved.state.items() if not name.startswith("scores.")}
    ours = saved.content["mechgrok"]
    packed = ours.get("mask") if isinstance(ours, dict) else None
    mask = {
        name.removeprefix("mask."): t for name, t in tensors.items() if name.startswith("mask.")
    }
    if isinstance(packed, dict):
        mask = _unpacked(packed, tensors, saved.file)
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("mask.")}
    return Network("mechgrok", weights, facts.model, None, None, None, mask)


def _unpacked(packed: dict[str, Any], weights: State, path: Path) -> State:
    """The masks that an exported file keeps in its metadata."""
    masks = {}
    for name, bits in packed.items():
        if name not in weights:
            raise UserError(f"{path} holds a mask of {name}, which it does not hold.")
        shape = weights[name].shape
        masks[name] = torch.from_numpy(unpack_bits(bits, shape.numel())).reshape(shape)
    return masks


def _describe(paths: Sequence[Path], given: _Given, steps: Sequence[int] | None) -> _Description:
    """What the files and the person tell together, with what had to be assumed."""
    first: _Source | None = None
    sides: tuple[splits.Sides, Path] | None = None
    told: list[int | None] = []
    all_facts: list[Facts] = []
    notes: list[str] = []
    for source in _sources(paths, given):
        first = first or source
        _check_same(first, source)
        told.append(source.saved.step)
        all_facts.append(source.facts)
        notes += [*source.saved.notes, *source.network.notes]
        try:
            if sides is None and (held := splits.sides_in(source.saved.content, source.saved.file)):
                sides = held, source.saved.file
        except UserError as error:
            notes.append(str(error))
    if first is None:
        raise UserError("There is nothing to import: name at least one file.")
    if given.split is not None:
        sides = splits.sides_of(Path(given.split)), Path(given.split)
    facts = merged(all_facts)
    fields, assumed = _task_fields(first, facts, given, sides)
    task = saved_task(**fields)
    _check_fits(first.network, task, first.saved.file)
    model, of_model = _model_fields(first.network, facts, given)
    task, split = _with_split(task, facts, given, sides)
    known = facts.training | given.training
    if steps is not None:
        notes = [note for note in notes if note != EPOCHS_AS_STEPS]
    at, steps_known = settle_steps(None if steps is None else list(steps), told)
    _check_training(known, max(at) if steps_known else 0)
    origin = ImportOrigin(
        files=given.files,
        layout=first.network.layout,
        known=known,
        assumed=tuple(dict.fromkeys([*facts.assumed, *assumed, *of_model])),
        split=split,
        steps_known=steps_known,
    )
    config = RunConfig.make(task=task, model=model, training=None, seed=facts.seed, origin=origin)
    return _Description(config, at, tuple(dict.fromkeys([*facts.notes, *notes])))


def _check_training(known: dict[str, Any], last: int) -> None:
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


def _check_same(first: _Source, other: _Source) -> None:
    """Refuse files of networks of different shapes."""
    a, b = first.network, other.network
    if (a.model, a.d_vocab, a.d_output) != (b.model, b.d_vocab, b.d_output):
        raise UserError(
            f"{other.saved.file} holds another network than {first.saved.file}: {b.model} instead "
            f"of {a.model}."
        )


# --- the task -----------------------------------------------------------------------------------


def _task_fields(
    source: _Source, facts: Facts, given: _Given, sides: tuple[splits.Sides, Path] | None
) -> tuple[dict[str, Any], list[str]]:
    """What was given, over what the files tell, over what the shapes tell; and what was assumed."""
    network, told, assumed = source.network, dict(facts.task), []
    name = given.task.get("name", told.get("name"))
    if name is None:
        name = "add"
        assumed.append("task.name")
    if told.get("name") not in (name, None):
        told = {}  # the person names another task than the file
    fields: dict[str, Any] = {"name": name}
    if name in OPERATIONS.own and network.d_vocab is not None:
        p = given.task.get("p", told.get("p"))
        equals = network.n_ctx == 3 or (network.n_ctx is None and p == network.d_vocab - 1)
        fields |= {"equals": equals, "p": network.d_vocab - equals}
        if isinstance(p, int) and p > network.d_vocab:
            raise UserError(
                f"The network in {source.saved.file} reads {network.d_vocab} different tokens, but "
                f"p is to be {p}: choose another --p."
            )
        pairs = splits.usual_pairs(sides[0]) if sides is not None else None
        if pairs is not None:
            fields["pairs"] = pairs
        elif "pairs" not in given.task | told:
            assumed.append("task.pairs")
            if network.model["kind"] == "transformer":
                fields["pairs"] = "ordered"
    if name == "group":
        fields["equals"] = network.n_ctx == 3
    if (
        given.task.get("fixed_split") is None
        and {"train_fraction", "split_seed"} & given.task.keys()
    ):
        told.pop("fixed_split", None)
    return fields | told | given.task, assumed


def _check_fits(network: Network, task: Task, path: Path) -> None:
    """Refuse a task whose sizes are not those of the network."""
    if network.d_vocab is None or network.d_output is None:
        return
    reads_tokens = task.input_kind == "tokens"
    if reads_tokens and network.n_ctx not in (None, task.n_ctx):
        equals = bool(getattr(task, "equals", False))
        other = f"--{'no-' * equals}equals"
        fits = hasattr(task, "equals") and network.n_ctx == task.n_ctx + (-1 if equals else 1)
        remedy = other if fits else f"--task, whose examples have {network.n_ctx} tokens"
        raise UserError(
            f"The network in {path} has {network.n_ctx} positions, but {task} has {task.n_ctx} "
            f"tokens per example: give {remedy if fits else f'another {remedy}'}."
        )
    tokens = "tokens" if reads_tokens else "numbers"
    if network.d_vocab != task.d_vocab:
        raise UserError(
            f"The network in {path} reads {network.d_vocab} different {tokens}, but {task} has "
            f"{task.d_vocab}: choose another --task or --p."
        )
    if network.d_output not in (task.d_output, task.d_vocab) or network.d_output < task.d_output:
        raise UserError(
            f"The network in {path} has {network.d_output} outputs, but {task} has "
            f"{task.d_output} answers: choose another --task or --p."
        )


def _with_split(
    task: Task, facts: Facts, given: _Given, sides: tuple[splits.Sides, Path] | None
) -> tuple[Task, Literal["file", "option"] | None]:
    """The task with the split that the weights were trained on, and how that is known."""
    if given.split is not None:
        assert sides is not None
        return _split(task, splits.split_of(sides[0], task, sides[1])), "option"
    if "split_seed" in given.task:
        return task, "option"
    if sides is not None:
        return _split(task, splits.split_of(sides[0], task, sides[1])), "file"
    told = facts.task.get("train_fraction")
    if facts.split_is_known and given.task.get("train_fraction", told) == told:
        return task, "file"
    return task, None


def _split(task: Task, split: Split) -> Task:
    return saved_task(
        **task.model_dump(exclude={"split_seed", "train_fraction"}), fixed_split=split
    )


# --- the network --------------------------------------------------------------------------------


def _model_fields(
    network: Network, facts: Facts, given: _Given
) -> tuple[dict[str, Any], list[str]]:
    """The fields of the model's configuration, and those that were assumed."""
    told = network.model | facts.model | ({"act": given.act} if given.act else {})
    assumed = [f"model.{name}" for name in ("act", "init_scale") if name not in told]
    return {"act": "relu"} | told, assumed


def _measured(config: RunConfig, network: Network, path: Path) -> dict[str, float]:
    """Losses, accuracies and norms of a network on the two sides of its task."""
    model = make_model(config.model, config.task)
    try:
        load_weights(model, network.weights)
        if network.mask:
            apply_mask(model, Mask(network.mask))
    except UserError as error:
        raise UserError(
            f"The network in {path} does not fit {config.task}, so choose another --task or --p: "
            f"{error}"
        ) from None
    return evaluate(model, config.task, config.task.train, config.task.test)


def _trimmed(network: Network, task: Task) -> Network:
    """The network without the outputs that are tokens but no answers ("="), with positions."""
    if network.d_output is None:
        return network
    last = next(name for name in ("unembed.W_U", "W_U", "W_out") if name in network.weights)

    def cut(tensors: State) -> State:
        return {
            name: tensor[:, : task.d_output].contiguous() if name == last else tensor
            for name, tensor in tensors.items()
        }

    weights = cut(network.weights)
    if network.model["kind"] == "transformer" and "pos_embed.W_pos" not in weights:
        weights["pos_embed.W_pos"] = torch.zeros(task.n_ctx, network.model["d_model"])
    return replace(network, weights=weights, mask=cut(network.mask))
