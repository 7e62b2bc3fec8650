"""Runs whose weights are written by hand, so that the answer is known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mechgrok.configuration.run_config import RunConfig
from mechgrok.runs import Checkpoint, Run
from mechgrok.runs.checkpoint import write_checkpoint
from mechgrok.training import create_run


def handmade_run(path: Path, W_in: Tensor, W_out: Tensor, **task: Any) -> Run:
    """An MLP ReLU(x W_in) W_out without embeddings, on a modular task, with one checkpoint."""
    weights = {"W_in": W_in.float(), "W_out": W_out.float()}
    return run_of(path, weights, {"kind": "mlp", "d_model": None, "d_mlp": W_in.shape[1]}, task)


def handmade_steps(path: Path, weights: Sequence[tuple[Tensor, Tensor]], **task: Any) -> Run:
    """A `handmade_run` with these W_in and W_out at steps 0, 10, 20, …"""
    run = handmade_run(path, *weights[0], **task)
    for at, (W_in, W_out) in enumerate(weights[1:], 1):
        saved = {"W_in": W_in.float(), "W_out": W_out.float()}
        write_checkpoint(path, Checkpoint(10 * at, saved))
    return Run(run.path)


def run_of(
    path: Path, weights: dict[str, Tensor], model: Mapping[str, Any], task: Mapping[str, Any]
) -> Run:
    """A run with these weights at step 0."""
    config = RunConfig.make(task=dict(task), model=dict(model), training={"steps": 0})
    return create_run(path, config, Checkpoint(0, weights))


def waves(n: int, frequencies: list[int], phases: list[float]) -> Tensor:
    """A column cos(2π k x / n − φ) for each frequency and phase."""
    x = torch.arange(n, dtype=torch.float64)[:, None]
    return (2 * torch.pi * torch.tensor(frequencies) * x / n - torch.tensor(phases)).cos()
