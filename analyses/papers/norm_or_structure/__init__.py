"""Is the weight norm sufficient to explain the delay? A study of tickets at other norms."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: The metrics from which runs can be held at another run's logit scale.
_RECORDED: dict[str, Any] = {"metrics": "logit_scale+temperature"}
#: Free runs, from which tickets are made, go on for 12,000 steps after they generalize.
_FREE = _RECORDED | {"steps": 60_000, "until_grokked": 12_000}
_HELD = _RECORDED | {"steps": 30_000, "until_grokked": 0}


def _base_runs(
    add: tuple[str, dict[str, Any]], mul: tuple[str, dict[str, Any]], held_steps: dict[str, Any]
) -> BaseRuns:
    """Free runs on both tasks, runs at held norms and temperatures, and accelerated ones."""
    held = _HELD | held_steps
    return {
        "add": (add[0], _FREE | add[1]),
        "mul": (mul[0], _FREE | mul[1]),
        "norms": (add[0], held | _but_length(add[1])),
        "temperatures": (add[0], held | _but_length(add[1])),
        "parts": (add[0], held | _but_length(add[1])),
        "norms-mul": (mul[0], held | _but_length(mul[1])),
        "fast": (add[0], held | _but_length(add[1]) | {"transforms": "grokfast-ema"}),
    }


def _but_length(settings: dict[str, Any]) -> dict[str, Any]:
    length = ("steps", "until_grokked", "checkpoint_at")
    return {name: value for name, value in settings.items() if name not in length}


_TINY: dict[str, Any] = {"p": 29, "d_model": 64, "train_fraction": 0.6, "steps": 3000}
_TINY |= {"pairs": "ordered", "until_grokked": 600}

PAPER = Paper(
    package=__name__,
    title="Norm or structure? Grokked tickets at the norm and logit scale of dense networks",
    authors="mechgrok",
    published="a study of its own, with rules that were fixed before the runs that they judge",
    items=(
        *("norm-law", "scale-law", "ticket", "other-masks", "mask-timing", "norm-at-gen"),
        *("ticket-mul", "periodicity"),
    ),
    full=Size(
        _base_runs(("paper-mlp", {"checkpoint_at": [100, 1000, 5000]}), ("mul", {}), {}),
        seeds=9,
        seeds_of={"mul": 6, "norms-mul": 6},
    ),
    quick=Size(
        _base_runs(
            ("quick", _TINY | {"checkpoint_at": [50, 200, 500]}),
            ("mul", _TINY | {"d_model": 128}),
            {"steps": 2000},
        ),
        paper_steps=20,
        seeds=2,
    ),
    about=(
        "Minegishi et al. (arXiv 2310.19470) say that the weight norm does not suffice to explain "
        "why networks generalize late: a grokked ticket generalizes far earlier than a dense "
        "network of the same norm. Khanh et al. (arXiv 2606.13753, 2606.18465) hold the norm of "
        "dense networks, and say that it sets the delay, through the scale of the logits. If they "
        "are right about tickets too, a ticket held at the dense network's norm and logit scale, "
        "step by step, loses its lead, and a dense network held at the ticket's gains it.",
        "Method. A ticket (k = 0.6) is trained again under constraints that hold its weight norm, "
        "the logit scale that the softmax sees, or both, where they were in its own dense network "
        "at the same step; and the dense network at the ticket's. The effect is the position of "
        "log t_gen between that of the ticket (0) and that of the dense network (1). Beside that, "
        "the norm and the temperature of dense networks are held at fixed values.",
        "What this does not show. Holding norm and logit scale does not make a ticket a dense "
        "network: the mask also changes the number of weights, the norms of single matrices and "
        "the relative size of an optimizer's step. One architecture, two tasks.",
    ),
)
