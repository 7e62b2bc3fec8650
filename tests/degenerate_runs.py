"""Runs that hold nothing, too much, or no numbers, as a person may make them, and all commands."""

import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mechgrok.results.analysis import analyses
from mechgrok.runs import Run
from mechgrok.runs.checkpoint import Checkpoint, write_checkpoint
from mechgrok.runs.metrics import write_metrics
from tests.bad_options import end_of

Weights = dict[str, Tensor]

_SHAPE = "--d-mlp 8 --set model.d_model=12"
_SHORT = "--steps 60 --checkpoint-every 20"
_USUAL = f"--p 13 {_SHAPE} {_SHORT}"
_TRANSFORMER = "--model transformer --checkpoint-every 20 --steps 60"
#: What is trained, by name. Those that diverge are runs, too.
TRAINED = {
    "usual": _USUAL,
    "diverges": f"{_USUAL} --lr 1e6",
    "diverges with sgd": f"{_USUAL} --optimizer sgd --lr 1e4",
    "diverges by decay": f"{_USUAL} --weight-decay 999 --lr 0.1",
    "begins with overflow": f"{_USUAL} --init-scale 1e30",
    "begins with next to nothing": f"{_USUAL} --init-scale 1e-30",
    "decays to nothing": f"{_USUAL} --weight-decay 1000",
    "penalized to nothing": f"{_USUAL} --l1 1e6",
    "p = 2": f"--p 2 --train-fraction 0.5 {_SHAPE} {_SHORT}",
    "p = 2, ordered": f"--p 2 --pairs ordered --train-fraction 0.5 {_SHAPE} {_SHORT}",
    "products modulo 2": f"--task mul --p 2 --train-fraction 0.5 {_SHAPE} {_SHORT}",
    "p = 3": f"--p 3 --train-fraction 0.5 {_SHAPE} {_SHORT}",
    "p = 4": f"--p 4 --train-fraction 0.5 {_SHAPE} {_SHORT}",
    "one neuron": f"--p 13 --d-mlp 1 --set model.d_model=12 {_SHORT}",
    "one dimension": f"--p 13 --d-mlp 8 --set model.d_model=1 {_SHORT}",
    "one of both": f"--p 13 --d-mlp 1 --set model.d_model=1 {_SHORT}",
    "no embedding": f"--p 13 --d-mlp 8 --d-model none {_SHORT}",
    "no embedding, one neuron": f"--p 2 --train-fraction 0.5 --d-mlp 1 --d-model none {_SHORT}",
    "one to learn from": f"{_USUAL} --train-fraction 0.0111",
    "one to be tested on": f"{_USUAL} --train-fraction 0.989",
    "no step": f"--p 13 {_SHAPE} --steps 0",
    "one step": f"--p 13 {_SHAPE} --steps 1",
    "three layers": f"{_USUAL} --n-layers 3",
    "biases": f"{_USUAL} --bias",
    "stopped": f"{_USUAL} --until-grokked --margin 0",
    "division": f"--task div --p 7 {_SHAPE} {_SHORT}",
    "random labels": f"--task random {_USUAL}",
    "an = token": f"{_USUAL} --equals",
    "subtraction": f"--task sub {_USUAL}",
    "a modulus that is not prime": f"--task mul --p 12 {_SHAPE} {_SHORT}",
    "transformer": f"--p 7 {_TRANSFORMER} {_SHAPE} --n-heads 2",
    "two blocks": f"--p 7 {_TRANSFORMER} --n-layers 2 --d-mlp 4 --set model.d_model=4",
    "transformer diverges": f"--p 7 {_TRANSFORMER} {_SHAPE} --lr 1e9",
    "transformer of ones": f"--p 2 --train-fraction 0.5 {_TRANSFORMER} --d-mlp 1 --d-model 1",
    "group": f"--task group --group S3 --model positional-mlp {_SHAPE} {_SHORT}",
    "group of two": f"--task group --group C2 --train-fraction 0.5 {_SHAPE} {_SHORT}",
    "group, transformer": f"--task group --group Q8 {_TRANSFORMER} {_SHAPE}",
    "a sum of three": f"--task sum --p 5 {_SHAPE} {_SHORT}",
    "an expression": f"--task expression --p 7 --model transformer {_SHAPE} {_SHORT}",
    "several operations": f"multitask --p 7 {_SHORT} --d-mlp 8 --set model.d_model=16",
    "parity": f"parity --set task.n=8 --set task.samples=100 --d-mlp 8 {_SHORT}",
    "parity of one bit": f"parity --set task.n=1 --k 1 --set task.samples=2 --d-mlp 1 {_SHORT}",
    "polynomial": f"polynomial --dimension 1 --set task.samples=10 --d-mlp 2 {_SHORT}",
    "polynomial diverges": f"polynomial --lr 1e20 --d-mlp 4 --set task.samples=50 {_SHORT}",
    "digits": "digits --d-mlp 4 --steps 40 --checkpoint-every 20",
}


def _all(change: Callable[[Tensor], object]) -> Callable[[Weights], None]:
    def apply(weights: Weights) -> None:
        for weight in weights.values():
            change(weight)

    return apply


def _never_active(weights: Weights) -> None:
    weights["W_E"].abs_()
    weights["W_in"].abs_().neg_()


def _fill(name: str, value: float, where: Any = ...) -> Callable[[Weights], None]:
    def apply(weights: Weights) -> None:
        weights[name][where] = value

    return apply


#: What becomes of the weights of the usual run, at every step.
EDITED: dict[str, Callable[[Weights], None]] = {
    "all 0": _all(lambda weight: weight.zero_()),
    "all 1": _all(lambda weight: weight.fill_(1)),
    "below the normal": _all(lambda weight: weight.mul_(1e-41)),
    "all the same": _all(lambda w: w.copy_(torch.arange(w.numel()).view_as(w).float())),
    "never active": _never_active,
    "one that reads": _fill("W_in", 0, (slice(None), slice(1, None))),
    "nobody reads": _fill("W_in", 0),
    "nobody answers": _fill("W_U", 0),
    "one that is no number": _fill("W_in", torch.nan, (0, 0)),
    "one overflow": _fill("W_in", torch.inf, (0, 0)),
    "masks all 0": lambda weights: None,
}
#: A run of version 0.1, which went on with numbers that were none.
WENT_ON = "went on after its divergence"
NAMES = [*TRAINED, *EDITED, WENT_ON]

#: Every command that reads a run; RUN stands for it and NEW for a folder that is to be made.
COMMANDS = [
    *(f"analyze {name} RUN" for name in analyses()),
    "info RUN",
    "verify RUN",
    "compare RUN",
    "export RUN --out NEW",
    "ticket RUN --out NEW --steps 5 -q",
    "ticket RUN --out NEW --steps 5 -q --at mem",
    "ticket RUN --out NEW --steps 5 -q --control l2",
    *(f"ticket RUN --out NEW --steps 5 -q --method {m}" for m in ("snip", "grasp", "synflow")),
    "popup RUN --out NEW --steps 5 -q --at 0",
    "fork RUN --out NEW -q --at 0 --lr 1e-3 --steps 5",
]
_NO_NUMBER = re.compile(r"\bnan\b|\binf\b|-0\.0+\b|nan%", re.IGNORECASE)


def make(name: str, folder: Path) -> Path:
    """The run called ``name``, in ``folder``."""
    path = folder / re.sub(r"\W+", "-", name)
    if name in TRAINED:
        code, why = end_of(["train", *TRAINED[name].split(), "-q", "--out", str(path)])
        assert code in (0, 1), (code, why)
        return path
    usual = folder / "usual"
    if not usual.exists():
        make("usual", folder)
    shutil.copytree(usual, path, ignore=shutil.ignore_patterns("analysis"))
    _edit(Run(path), name)
    return path


def _edit(run: Run, name: str) -> None:
    from mechgrok.masks import Mask

    for step in run.steps:
        saved = run.checkpoint(step)
        weights = {n: w.clone() for n, w in saved.weights.items()}
        if name == WENT_ON:
            for weight in weights.values() if step else ():
                weight.fill_(torch.nan)
        else:
            EDITED[name](weights)
        mask = ~Mask.full(weights) if name == "masks all 0" else None
        write_checkpoint(run.path, Checkpoint(step, weights, mask))
    if name == WENT_ON:
        gone = {"train_loss": torch.nan, "test_loss": torch.nan, "l1": torch.nan, "l2": torch.nan}
        guessed = {"train_accuracy": 1 / 13, "test_accuracy": 1 / 13}
        rows = run.metrics.to_dict("records")
        write_metrics(run.path, [row | gone | guessed if row["step"] else row for row in rows])


def complaints(run: Path, command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is wrong with how a command ended on a run; nothing where all is well."""
    new = run.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    places = {"RUN": str(run), "NEW": str(new)}
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        code, raised = end_of([places.get(word, word) for word in command.split()])
    said = capsys.readouterr()
    wrong = [] if code in (0, 1, 2) else [f"exit {code} {raised}"]
    wrong += [f"it warned: {warning.message}" for warning in warned]
    wrong += [f"it said {line!r}" for line in said.out.splitlines() if _NO_NUMBER.search(line)]
    lines = said.err.strip().splitlines()
    if code in (1, 2) and not (lines and all(line.startswith("mechgrok: ") for line in lines)):
        wrong.append(f"it said {said.err[:300]!r}")
    return wrong
