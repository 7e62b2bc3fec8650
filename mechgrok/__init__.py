"""Train networks that grok, keep every checkpoint, and ask the sequence questions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mechgrok.analysis import analyze
    from mechgrok.comparison import compare
    from mechgrok.config import RunConfig, TrainingConfig
    from mechgrok.errors import UserError
    from mechgrok.masks import Mask, apply_mask
    from mechgrok.models import HookedMLP, HookedTransformer, MLPConfig, TransformerConfig
    from mechgrok.pruning import prune
    from mechgrok.runs import Run
    from mechgrok.tasks import Regression, Task, make_task, task
    from mechgrok.tickets import train_popup, train_ticket
    from mechgrok.training import resume, train

#: Public names and where they live; each is imported when it is first used, so that
#: ``import mechgrok`` and the command line's help do not wait for torch.
_HOME = {
    "HookedMLP": "models",
    "HookedTransformer": "models",
    "MLPConfig": "models",
    "Mask": "masks",
    "Regression": "tasks",
    "Run": "runs",
    "RunConfig": "config",
    "Task": "tasks",
    "TrainingConfig": "config",
    "TransformerConfig": "models",
    "UserError": "errors",
    "analyze": "analysis",
    "apply_mask": "masks",
    "compare": "comparison",
    "make_task": "tasks",
    "prune": "pruning",
    "resume": "training",
    "task": "tasks",
    "train": "training",
    "train_popup": "tickets",
    "train_ticket": "tickets",
}

__all__ = [
    "HookedMLP",
    "HookedTransformer",
    "MLPConfig",
    "Mask",
    "Regression",
    "Run",
    "RunConfig",
    "Task",
    "TrainingConfig",
    "TransformerConfig",
    "UserError",
    "analyze",
    "apply_mask",
    "compare",
    "make_task",
    "prune",
    "resume",
    "task",
    "train",
    "train_popup",
    "train_ticket",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mechgrok' has no attribute {name!r}")
    return getattr(import_module(f"mechgrok.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
