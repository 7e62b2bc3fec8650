"""Bridging Lottery Ticket and Grokking: figures, tables and claims of arXiv 2310.19470."""

from typing import Any

from mechgrok.analyses.papers.paper import Paper
from mechgrok.analyses.papers.scale import BaseRuns, Size

#: Base runs end 12,000 steps (transformers: 2,000) after they generalize, or at the last step.
_LONG: dict[str, Any] = {"steps": 60_000, "until_grokked": 12_000}
_ATTENTION: dict[str, Any] = {"steps": 40_000, "until_grokked": 2_000}
#: The shape in the authors' code, which differs from the text's.
_AUTHORS: dict[str, Any] = {"positions": False, "bias": False}
_FULL: BaseRuns = {
    "add": ("paper-mlp", _LONG | {"checkpoint_every": 1000, "checkpoint_at": [400]}),
    "half": ("paper-mlp", {"train_fraction": 0.5, "steps": 12_000, "checkpoint_at": [1000]}),
    # Only for θ₀, from which wide networks are made.
    "start": ("paper-mlp", {"train_fraction": 0.5, "steps": 10}),
    "transformer": ("paper-transformer", _ATTENTION),
    "narrow-transformer": ("paper-transformer", _ATTENTION | {"d_model": 128}),
    "authors-transformer": ("paper-transformer", _ATTENTION | _AUTHORS | {"d_model": 128}),
    "sub": ("sub", _LONG),
    "mul": ("mul", _LONG),
    "x2y2": ("x2y2", _LONG),
    "random": ("random", {}),
    "parity": ("parity", {"checkpoint_every": 100}),
    "polynomial": ("polynomial", {"checkpoint_every": 200}),
    "mnist": ("mnist", {}),
}
#: Networks that learn modular addition.
_ADDITION = ("add", "half", "start", "transformer", "narrow-transformer", "authors-transformer")
_SMALL = {"p": 31, "d_model": 64, "weight_decay": 3.0, "steps": 1200}
_GROKS: dict[str, Any] = {"d_model": 256, "weight_decay": 2.0, "checkpoint_at": [40]}
_ENDS = {"train_fraction": 0.45, "steps": 2400, "until_grokked": 480, "checkpoint_every": 100}
_TRANSFORMER = {"p": 23, "pairs": "ordered", "d_model": 32, "d_mlp": 64, "steps": 600}
_QUICK: BaseRuns = {
    "add": ("quick", _GROKS | _ENDS),
    "half": ("quick", _GROKS | {"train_fraction": 0.5, "steps": 600}),
    "start": ("quick", {"train_fraction": 0.5, "steps": 10}),
    "transformer": ("paper-transformer", _TRANSFORMER),
    "narrow-transformer": ("paper-transformer", _TRANSFORMER | {"d_model": 16}),
    "authors-transformer": ("paper-transformer", _TRANSFORMER | _AUTHORS | {"d_model": 16}),
    "sub": ("sub", _SMALL),
    "mul": ("mul", _SMALL),
    "x2y2": ("x2y2", _SMALL),
    "random": ("random", _SMALL),
    "parity": ("parity", {"steps": 1000, "checkpoint_every": 50}),
    "polynomial": ("polynomial", {"d_mlp": 20, "steps": 1000, "checkpoint_every": 50}),
    "mnist": ("digits", {"steps": 1000}),
}

PAPER = Paper(
    package=__name__,
    title="Bridging Lottery Ticket and Grokking",
    authors="Minegishi, Iwasawa and Matsuo",
    arxiv="2310.19470",
    published="versions 2 and 3, TMLR 2025",
    items=(
        *("v2-fig4", "v2-fig5", "v2-fig6", "v2-fig7", "v2-fig13", "v2-table1"),
        *("v3-fig2a", "v3-fig2b", "v3-fig3", "v3-fig5a", "v3-fig5b", "v3-fig7", "v3-fig9"),
        *("v3-fig10", "v3-fig12", "v3-fig18", "v3-table1"),
    ),
    full=Size(_FULL, seeds_of=dict.fromkeys(_ADDITION, 9)),
    quick=Size(_QUICK, paper_steps=25, seeds=2),
)
