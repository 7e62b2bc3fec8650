"""Lottery tickets and their controls: runs derived from a run by pruning it.

A ticket is θ₀ ⊙ m, with m the mask of a trained parent, trained again: an ordinary run that starts
with a mask. Its ``config.origin`` records its parent.

Source: Minegishi et al. 2023 (arXiv 2310.19470); Frankle and Carbin 2019 (arXiv 1803.03635).
"""

from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from mechgrok import user_code
from mechgrok.configuration.keywords import checked, split_options, with_keywords
from mechgrok.configuration.origins import At, TicketOptions, TicketOrigin
from mechgrok.configuration.run_config import RunConfig
from mechgrok.configuration.training import TrainingConfig
from mechgrok.derived.children import (
    child_config,
    for_each_run,
    relative_path,
    resolve_step,
    train_child,
)
from mechgrok.errors import UserError, choices, warn
from mechgrok.global_state import in_neutral_state, threads
from mechgrok.masks import Mask, apply_mask, check_rate, prunable_weights
from mechgrok.masks.methods import SCORES, check_options, options_of, scored_weights
from mechgrok.masks.scores import is_trainable, prune
from mechgrok.models import HookedModel, Wiring, load_weights, make_model, raw_weights
from mechgrok.models.wiring import HiddenLayer
from mechgrok.runs import Run, RunLike, open_run
from mechgrok.runs.folder import check_room
from mechgrok.tasks import Task
from mechgrok.training.recorder import Shown


@for_each_run
@in_neutral_state
@with_keywords(TicketOptions, TrainingConfig)
def train_ticket(
    parent: RunLike,
    out: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    train: bool = True,
    device: str = "auto",
    progress: Shown = "auto",
    **options: Any,
) -> Run:
    """Prune a run at a step, rewind it, and train the ticket in the folder ``out``.

    With ``method="imp"``, iterative magnitude pruning, each round trains the last round's ticket,
    prunes it further and rewinds it. The earlier rounds are separate runs next to ``out``; existing
    ones are resumed.

    Args:
        parent: the run to prune; or a sweep, to make a ticket of each of its runs in ``out/NAME``.
        out: the ticket's folder; absent or empty.
        overwrite: replace the run in ``out``.
        resume: resume the run in ``out`` if it is the same ticket.
        train: False to create the run without training it (see `mechgrok.training.resume`).
        device: "auto", "cpu" or "cuda".
        progress: as for `mechgrok.train`.
        options: pruning and rewinding options, and training settings that differ from the parent's
            (until_grokked is not inherited); listed below.

    Raises:
        UserError: an option is unknown, a step has no checkpoint, the parent is unfinished and
            ``at`` is not given, the rate is outside [0, 1), nothing trainable remains, or ``out``
            cannot be used.
    """
    parent = open_run(parent)
    user_code.allow(options.get("method"))
    pruning, training = ticket_options(options)
    method = pruning.method
    check_room(Path(out), overwrite=overwrite or resume)
    if method == "imp":
        common = {"overwrite": overwrite, "device": device, "progress": progress, **training}
        parent, pruning = _earlier_rounds(parent, Path(out), pruning, common)
    has_seed = "seed" in pruning.model_fields_set
    reinit = parent.config.seed if pruning.reinit == "own" else pruning.reinit
    config = child_config(
        parent,
        training,
        origin={
            **pruning.model_dump(exclude={"at"}),
            "kind": "ticket",
            "parent": relative_path(parent, out),
            "step": _pruned_step(parent, pruning.at, method),
            "rounds": pruning.rounds or _default(method, "rounds", 1),
            "seed": pruning.seed if has_seed else _default(method, "seed", 0),
            "rewind": resolve_step(parent, pruning.rewind),
            "reinit": reinit,
        },
    )
    if reinit is not None:
        config = config.model_copy(update={"seed": reinit})
    with threads(config.recipe.threads):  # The order of a score's sums depends on the threads.
        model = _pruned(parent, config)
    return train_child(parent, out, config, model, overwrite, resume, train, device, progress)


def _earlier_rounds(
    parent: Run, out: Path, pruning: TicketOptions, common: dict[str, Any]
) -> tuple[Run, TicketOptions]:
    """Train all rounds of iterative pruning but the last.

    Returns:
        The last trained round, and the options for the ticket from it.
    """
    rounds = pruning.rounds or 3
    for done in range(1, rounds):
        parent = train_ticket(
            parent,
            out.with_name(f"{out.name}-round-{done}"),
            at=pruning.at,
            rate=1 - (1 - pruning.rate) ** (done / rounds),
            scope=pruning.scope,
            rewind=pruning.rewind,
            reinit=pruning.reinit,
            resume=True,
            **common,
        )
        # Further rounds prune the last step of the previous round and rewind to its first.
        pruning = pruning.model_copy(update={"at": None, "rewind": 0, "reinit": None})
    return parent, pruning.model_copy(update={"rounds": rounds})


def _pruned(parent: Run, config: RunConfig) -> HookedModel:
    """The initial network of a ticket or of a control."""
    origin = config.origin
    assert isinstance(origin, TicketOrigin)
    mask = ticket_mask(parent, origin)
    model = make_model(config.model, config.task, config.seed or 0)
    if origin.reinit is None:
        load_weights(model, parent.checkpoint(origin.rewind).weights)
    if origin.control is not None:
        scale_to_norm(model, mask, origin.control)
        return model
    with torch.no_grad():
        for name, weight in prunable_weights(model).items():
            weight.mul_(mask[name])
    apply_mask(model, mask)
    _check_trainable(model, config.task, mask, origin)
    return model


def ticket_options(given: dict[str, Any]) -> tuple[TicketOptions, dict[str, Any]]:
    """Split the keywords of `train_ticket` into pruning options and training settings.

    Raises:
        UserError: an option is unknown or out of range, or the method has no such option or is
            user code that is not trusted.
    """
    named = SCORES.describe(given.get("method", TicketOptions.model_fields["method"].default))
    method = named.pop("name")
    given, known = named | given | {"method": method}, options_of(_score(method))
    further = {n: v for n, v in given.items() if n in known and n not in ("rounds", "seed")}
    rest = {name: value for name, value in given.items() if name not in further}
    own, training = split_options(rest, TicketOptions, "A ticket")
    check_rate(own.get("rate", 0.6))
    own["options"] = further | own.get("options", {})
    pruning = checked(TicketOptions, own, "ticket")
    check_options(_score(method), pruning.options)
    if pruning.rounds is not None and method != "imp" and "rounds" not in known:
        iterative = ["imp", *(name for name in SCORES.own if "rounds" in options_of(name))]
        raise UserError(
            f"The pruning method {method} has no rounds: choose {choices(iterative)}, or omit "
            "the rounds."
        )
    return pruning, training


def _score(method: str) -> str:
    """The score of a pruning method: magnitude for iterative magnitude pruning."""
    return "magnitude" if method == "imp" else method


def _default(method: str, option: str, fallback: int) -> int:
    """The method's own default of an option, or the fallback."""
    default = options_of(_score(method)).get(option)
    return default if type(default) is int else fallback


# --- masks --------------------------------------------------------------------------------------


def ticket_mask(parent: Run, origin: TicketOrigin) -> Mask:
    """The mask described by ``origin``, from the weights of ``parent``.

    Raises:
        UserError: no neuron is dead, or dead neurons are both pruned and revived.
    """
    method = _score(origin.method)
    options = {"rounds": origin.rounds, "seed": origin.seed} | origin.options
    mask = prune(
        parent.model(origin.step),
        parent.task,
        origin.rate,
        method,
        scope=origin.scope,
        **{name: options[name] for name in options_of(method) if name in options},
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
    """The edges of dead neurons, which are neurons without an input edge in the mask.

    Returns:
        A mask over the same weights, True on these edges alone, pruned or not.
    """
    edges = {name: torch.zeros_like(entries) for name, entries in mask.items()}
    for layer in wiring.hidden:
        dead = dead_neurons(mask, layer)
        for name in layer.reads:
            edges[name][:, dead] = True
        for name in layer.writes:
            edges[name][dead] = True
    return Mask(edges)


def dead_neurons(mask: Mask, layer: HiddenLayer) -> Bool[Tensor, " d_mlp"]:
    """Whether each neuron of a hidden layer has no input edge in the mask."""
    return layer.incoming(mask) == 0


def _pruned_step(parent: Run, at: At | None, method: str) -> int:
    if at is not None:
        return resolve_step(parent, at)
    if scored_weights(_score(method)) == "initial":
        return resolve_step(parent, 0)
    if parent.diverged is not None and not parent.finished:
        raise UserError(
            f"{parent.path} diverged at step {parent.diverged}, so it has no last step to prune: "
            "choose a step with --at."
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
    """Multiply all weights by r_p = ‖θ ⊙ m‖_p / ‖θ‖_p, for the ticket's norm without its mask."""
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
    """Raise an error if a ticket cannot learn; warn if it lost a whole matrix."""
    empty = [name for name, density in mask.densities.items() if density == 0]
    if not is_trainable(model, task):
        effect = f"empties {', '.join(empty)}" if empty else "cuts every path from input to output"
        raise UserError(
            f"A prune rate of {origin.rate} ({origin.method}, {origin.scope}) {effect}, so nothing "
            "can be trained: choose a lower rate, or --scope layer."
        )
    if empty:
        warn(
            f"A prune rate of {origin.rate} ({origin.method}, {origin.scope}) empties "
            f"{', '.join(empty)}."
        )
