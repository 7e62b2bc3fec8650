"""Runs made from runs: lottery tickets, their controls, and edge-popup.

A ticket is θ₀ ⊙ m, m the mask of a trained parent, trained again: an ordinary run that begins with
a mask. Each function here makes one such run, trains it and returns it; what it was made from is
its ``config.origin``.

Source: Minegishi et al. 2023 (arXiv 2310.19470); Frankle and Carbin 2019 (arXiv 1803.03635).
"""

import os
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from mechgrok import own_code
from mechgrok.config import RunConfig
from mechgrok.errors import UserError
from mechgrok.keywords import checked, split_options, with_keywords
from mechgrok.masks import Mask, apply_mask, check_rate, mask_of, prunable_weights
from mechgrok.masks.config import PopupConfig
from mechgrok.masks.popup import apply_popup
from mechgrok.masks.scores import check_options, is_trainable, options_of, prune
from mechgrok.memory import check_memory
from mechgrok.models import (
    HookedModel,
    Wiring,
    load_weights,
    make_model,
    raw_weights,
)
from mechgrok.models.wiring import HiddenLayer
from mechgrok.origins import At, ImportOrigin, PopupOptions, TicketOptions, TicketOrigin
from mechgrok.runs import Checkpoint, Run
from mechgrok.runs.folder import check_room, finish_replacing, is_run
from mechgrok.tasks import Task
from mechgrok.training import loop
from mechgrok.training.config import TrainingConfig
from mechgrok.training.course import Progress, snapshot


@with_keywords(TicketOptions, TrainingConfig)
def train_ticket(
    parent: Run,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Prune a run at a step, rewind it, and train the ticket, into the folder ``out``.

    With ``method="imp"``, iterative magnitude pruning, each round trains the last round's ticket,
    prunes it further and rewinds it. The rounds before the last are runs of their own beside
    ``out``; those that are there already, finished or not, are gone on with.

    Args:
        parent: the run to take it from.
        out: the ticket's folder; absent or empty.
        overwrite: replace the run that ``out`` holds.
        resume: go on with the run that ``out`` holds if it is this very ticket.
        device: "auto", "cpu" or "cuda".
        progress: called after every evaluation with its row of the metrics.
        options: how it is pruned and rewound, and settings of the training that differ from the
            parent's (until_grokked is not inherited); listed below.

    Raises:
        UserError: an option is unknown, a step has no checkpoint, the parent is unfinished and
            ``at`` not given, the rate is outside [0, 1), or nothing that is kept could be trained;
            ``out`` is taken.
    """
    own_code.allow(options.get("method"))
    how, training = ticket_options(options)
    at, rate, method, rounds = how.at, how.rate, how.method, how.rounds
    rewind, reinit = how.rewind, how.reinit
    check_room(Path(out), overwrite=overwrite or resume)
    common = {"overwrite": overwrite, "device": device, "progress": progress, **training}
    if method == "imp":
        rounds = rounds or 3
        for done in range(1, rounds):
            parent = train_ticket(
                parent,
                Path(out).with_name(f"{Path(out).name}-round-{done}"),
                at=at,
                rate=1 - (1 - rate) ** (done / rounds),
                scope=how.scope,
                rewind=rewind,
                reinit=reinit,
                resume=True,
                **common,
            )
            at, rewind, reinit = None, 0, None
    config = _config(
        parent,
        training,
        origin={
            **how.model_dump(exclude={"at"}),
            "kind": "ticket",
            "parent": _relative(parent, out),
            "step": _pruned_step(parent, at, method),
            "rounds": rounds or (100 if method == "synflow" else 1),
            "rewind": resolve_step(parent, rewind),
            "reinit": reinit,
        },
    )
    origin = config.origin
    assert isinstance(origin, TicketOrigin)
    mask = ticket_mask(parent, origin)
    if reinit is not None:
        config = config.model_copy(update={"seed": reinit})
    model = make_model(config.model, config.task, config.seed or 0)
    if reinit is None:
        load_weights(model, parent.checkpoint(origin.rewind).weights)
    if how.control is not None:
        scale_to_norm(model, mask, how.control)
    else:
        with torch.no_grad():
            for name, weight in prunable_weights(model).items():
                weight.mul_(mask[name])
        apply_mask(model, mask)
        _check_trainable(model, config.task, mask, origin)
    return _train(parent, out, config, model, overwrite, resume, device, progress)


@with_keywords(PopupOptions, TrainingConfig)
def train_popup(
    parent: Run,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Look for a generalizing network inside a run's weights with edge-popup, into ``out``.

    Args:
        parent: the run whose weights are taken.
        out: the new run's folder; absent or empty.
        overwrite, resume, device, progress: as in `train_ticket`.
        options: where and how it looks, and settings of the training that differ from the
            parent's; listed below. ``seed`` is another word for score_seed.

    Raises:
        UserError: the parent never memorized (for "mem"), the step has no checkpoint, the rate is
            outside [0, 1) or empties a weight, or a wider network was asked for at another step
            than 0.
    """
    how, training = popup_options(options)
    step, rate, width = resolve_step(parent, how.at), how.rate, how.width
    if width != 1 and step != 0:
        raise UserError(
            f"A network {width} times as wide has no weights of {parent.path} at step {step}: take "
            "fresh ones, with --from-init."
        )
    config = _config(
        parent,
        training,
        origin={
            "kind": "popup",
            "parent": _relative(parent, out),
            "step": step,
            "width": width,
        },
        popup=how.model_dump(include=set(PopupConfig.model_fields)),
    )
    config = config.model_copy(update={"model": config.model.widened(width)})
    if width != 1 and config.seed is None:  # weights are drawn, whatever the parent's came from
        config = config.model_copy(update={"seed": 0})
    check_memory(config)
    model = make_model(config.model, config.task, config.seed or 0)
    if width == 1:
        load_weights(model, parent.checkpoint(step).weights)
    assert config.popup is not None
    apply_popup(model, config.popup)
    for name, density in (mask_of(model) or Mask({})).densities.items():
        if density == 0:
            raise UserError(
                f"A prune rate of {rate} leaves {name} without an edge, so that nothing passes "
                "through it: choose a lower --rate."
            )
    return _train(parent, out, config, model, overwrite, resume, device, progress)


def ticket_options(given: dict[str, Any]) -> tuple[TicketOptions, dict[str, Any]]:
    """The choices of a ticket and those of its training, from the keywords of `train_ticket`.

    Raises:
        UserError: one is unknown, out of range, or not an option of the method; or the method is
            code that no person has named here.
    """
    method = given.get("method", "magnitude")
    scored_by = options_of("magnitude" if method == "imp" else method)
    further = {n: v for n, v in given.items() if n in scored_by and n not in ("rounds", "seed")}
    rest = {name: value for name, value in given.items() if name not in further}
    own, training = split_options(rest, TicketOptions, "A ticket")
    check_rate(own.get("rate", 0.6))
    own["options"] = further | own.get("options", {})
    how = checked(TicketOptions, own, "ticket")
    check_options(method if method != "imp" else "magnitude", how.options)
    if how.rounds is not None and method != "imp" and "rounds" not in scored_by:
        raise UserError(
            f"The pruning method {method} has no rounds: choose imp or synflow, or leave them out."
        )
    return how, training


def popup_options(given: dict[str, Any]) -> tuple[PopupOptions, dict[str, Any]]:
    """The choices of edge-popup and those of its training, from the keywords of `train_popup`.

    Raises:
        UserError: one is unknown or out of range.
    """
    named = {"score_seed" if name == "seed" else name: value for name, value in given.items()}
    own, training = split_options(named, PopupOptions, "Edge-popup")
    check_rate(own.get("rate", 0.6))
    return checked(PopupOptions, own, "edge-popup"), training


# --- masks and steps ----------------------------------------------------------------------------


def ticket_mask(parent: Run, origin: TicketOrigin) -> Mask:
    """The mask that ``origin`` describes, taken from ``parent``.

    Raises:
        UserError: dead neurons are asked for and there is none, or in two ways at once.
    """
    method = "magnitude" if origin.method == "imp" else origin.method
    settled = {"rounds": origin.rounds, "seed": origin.seed} | origin.options
    mask = prune(
        parent.model(origin.step),
        parent.task,
        origin.rate,
        method,
        scope=origin.scope,
        **{name: settled[name] for name in options_of(method) if name in settled},
    )
    if origin.shuffle_mask:
        mask = mask.shuffled(origin.seed)
    if not (origin.prune_only or origin.revive):
        return mask
    if origin.prune_only and origin.revive:
        raise UserError("Dead neurons can be pruned only or revived, not both: choose one.")
    dead = dead_edges(mask, parent.wiring)
    if not dead.n_kept:
        raise UserError(
            f"No neuron of {parent.path} is dead at step {origin.step} and prune rate "
            f"{origin.rate}: choose a higher --rate."
        )
    return ~dead if origin.prune_only else mask | dead


def dead_edges(mask: Mask, wiring: Wiring) -> Mask:
    """The edges from and to dead neurons: those of which the mask keeps no input edge.

    Returns:
        A mask over the same weights that is True on these edges alone, pruned ones included.
    """
    edges = {name: torch.zeros_like(kept) for name, kept in mask.items()}
    for layer in wiring.hidden:
        dead = dead_neurons(mask, layer)
        edges[layer.reads][:, dead] = True
        edges[layer.writes][dead] = True
    return Mask(edges)


def dead_neurons(mask: Mask, layer: HiddenLayer) -> Bool[Tensor, " d_mlp"]:
    """Which neurons of a hidden layer the mask leaves without any input edge."""
    return ~mask[layer.reads].any(0)


def resolve_step(run: Run, at: At) -> int:
    """The step of the checkpoint that ``at`` names.

    Raises:
        UserError: that step has no checkpoint (the nearest is named), or was never reached.
    """
    if isinstance(at, int):
        if at == 0 and run.imported is not None:
            _check_start_is_known(run, run.imported)
        return run.select([at])[0]
    if at == "last":
        return run.select([-1])[0]
    if run.caveat is not None:
        raise UserError(
            f"When {run.path} memorized and generalized is not known, because {run.caveat}: name a "
            "step with --at."
        )
    reached = _fully_memorized(run) if at == "mem" else run.t_gen
    later = [step for step in run.steps if reached is not None and step >= reached]
    if not later:
        what = "memorized its training set" if at == "mem" else "generalized"
        raise UserError(
            f"{run.path} never {what} up to its last checkpoint at step {run.steps[-1]}: train it "
            "for longer, or name a step with --at."
        )
    return later[0]


def _check_start_is_known(run: Run, origin: ImportOrigin) -> None:
    """Refuse the initial weights of a run that was imported without them."""
    if 0 in run.steps and origin.steps_known:
        return
    lacking = (
        f"its checkpoints begin at step {run.steps[0]}"
        if origin.steps_known
        else "the step of its weights is not known"
    )
    raise UserError(
        f"{run.path} was imported without its initial weights, {lacking}: import the file of step "
        "0 too, begin at a step that is there (--rewind), or from fresh weights (--reinit)."
    )


def _fully_memorized(run: Run) -> int | None:
    """The first evaluated step with every training example right; t_mem where loss decides."""
    if run.task.train_criterion.quantity != "accuracy":
        return run.t_mem
    all_right = run.metrics.step[run.metrics.train_accuracy == 1]
    return None if all_right.empty else int(all_right.iloc[0])


def _pruned_step(parent: Run, at: At | None, method: str) -> int:
    if at is not None:
        return resolve_step(parent, at)
    if method not in ("magnitude", "imp"):
        return resolve_step(parent, 0)
    if parent.diverged is not None and not parent.finished:
        raise UserError(
            f"{parent.path} diverged at step {parent.diverged} and has no end that could be "
            "pruned: choose a step with --at."
        )
    if not parent.finished:
        last = parent.steps[-1] if parent.steps else 0
        raise UserError(
            f"{parent.path} is unfinished (step {last} of {parent.config.recipe.steps}): finish "
            "it with mechgrok train --resume, or choose a step to prune with --at."
        )
    return resolve_step(parent, "last")


# --- making the run -----------------------------------------------------------------------------


def scale_to_norm(model: HookedModel, mask: Mask, norm: Literal["l1", "l2"]) -> None:
    """Multiply all weights by r_p = ‖θ ⊙ m‖_p / ‖θ‖_p: the norm of the ticket, without its mask."""
    p = 1 if norm == "l1" else 2
    weights = {name: weight.detach().double() for name, weight in raw_weights(model).items()}
    pruned = {name: w * mask[name] if name in mask else w for name, w in weights.items()}
    dense_norm, ticket_norm = (
        torch.cat([weight.flatten() for weight in side.values()]).norm(p)
        for side in (weights, pruned)
    )
    with torch.no_grad():
        for weight in raw_weights(model).values():
            weight.mul_(ticket_norm / dense_norm)


def _check_trainable(model: HookedModel, task: Task, mask: Mask, origin: TicketOrigin) -> None:
    """Refuse a ticket that cannot learn; warn of one that lost a whole matrix."""
    empty = [name for name, density in mask.densities.items() if density == 0]
    if not is_trainable(model, task):
        what = f"empties {', '.join(empty)}" if empty else "cuts every path from input to output"
        raise UserError(
            f"A prune rate of {origin.rate} ({origin.method}, {origin.scope}) {what}, so that "
            "nothing can be trained: choose a lower rate, or --scope layer."
        )
    if empty:
        warnings.warn(
            f"A prune rate of {origin.rate} ({origin.method}, {origin.scope}) empties "
            f"{', '.join(empty)}.",
            stacklevel=3,
        )


def _config(parent: Run, training: dict[str, Any], **fields: Any) -> RunConfig:
    """The parent's configuration with other training settings and an origin."""
    inherited = changed_training(parent, training)
    kept = parent.config.model_dump(mode="json", include={"task", "model", "seed"})
    config = RunConfig.make(**kept, training=inherited, **fields)
    if parent.config.training is None:
        _tell_what_is_assumed(parent, config, inherited)
    return config


def changed_training(parent: Run, training: dict[str, Any]) -> dict[str, Any]:
    """The training settings of a run that is made from ``parent``, with others for some.

    What stopped the parent early does not stop this run.
    """
    inherited = parent.config.inherited_training()
    inherited.pop("until_grokked", None)
    if "steps" in training:  # as many checkpoints as a run of that length has by itself
        inherited.pop("checkpoint_every", None)
    return inherited | training


def _tell_what_is_assumed(parent: Run, config: RunConfig, known: dict[str, Any]) -> None:
    """Say which settings of a run that is made from an imported one are defaults of ours."""
    decisive = ("optimizer", "learning_rate", "weight_decay", "batch_size", "steps")
    assumed = {name: getattr(config.recipe, name) for name in decisive if name not in known}
    if assumed:
        told = ", ".join(
            f"{name.replace('_', ' ')} {'all' if value is None else value}"
            for name, value in assumed.items()
        )
        warnings.warn(
            f"{parent.path} was imported, and not all is known of how it was trained; assumed are "
            f"{told}.",
            stacklevel=4,
        )
    if parent.caveat is not None:
        warnings.warn(
            f"{parent.path} was imported, and {parent.caveat}: its weights, and a mask made of "
            "them, may have seen what is the test set here.",
            stacklevel=4,
        )


def _relative(parent: Run, out: str | Path) -> str:
    return os.path.relpath(parent.path.resolve(), Path(out).resolve())


def _train(
    parent: Run,
    out: str | Path,
    config: RunConfig,
    model: HookedModel,
    overwrite: bool,
    resume: bool,
    device: str,
    progress: Progress | None,
) -> Run:
    path, start = Path(out), snapshot(model, 0)
    if path.resolve() == parent.path.resolve():
        raise UserError(f"{out} is the parent itself: choose another folder with --out.")
    if resume:
        finish_replacing(path)
        if is_run(path) and _is_same(Run(path), config, start):
            return loop.resume(path, device=device, progress=progress)
        if is_run(path) and not overwrite:
            raise UserError(
                f"{out} holds another run than the one asked for, so it cannot be resumed as that: "
                "replace it (--overwrite), or choose another folder with --out."
            )
    return loop.train(
        path, config, start=start, overwrite=overwrite, device=device, progress=progress
    )


def _is_same(run: Run, config: RunConfig, start: Checkpoint) -> bool:
    """Whether a run is the one that ``config`` and ``start`` make, finished or not."""
    settings = (each.model_dump_json(exclude={"versions"}) for each in (run.config, config))
    if len(set(settings)) > 1 or 0 not in run.steps:
        return False
    saved = run.checkpoint(0)
    parts = ((saved.weights, start.weights), (saved.scores, start.scores))
    return saved.mask == start.mask and all(
        ours.keys() == theirs.keys()
        and all(torch.equal(tensor, theirs[name].cpu()) for name, tensor in ours.items())
        for ours, theirs in parts
    )
