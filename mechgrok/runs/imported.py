"""A description of an imported run; missing information is "unknown"."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mechgrok.runs import Run

UNKNOWN = "unknown"


def facts_of_import(run: "Run") -> dict[str, str]:
    """The entries of `mechgrok.runs.facts.facts` that differ for an imported run."""
    return {
        "split": split_in_words(run),
        "training": training_in_words(run.imported.known if run.imported else {}),
        "checkpoints": checkpoints_in_words(run),
        "assumed": assumed_in_words(run),
        "t_mem": _milestone(run, "train", run.t_mem),
        "t_gen": _milestone(run, "test", run.t_gen),
    }


def split_in_words(run: "Run") -> str:
    """The sizes of the training and test sets, and the source of the split."""
    origin, task = run.imported, run.task
    assert origin is not None
    source = {
        "file": "from the files",
        "option": "from the command line",
        "seed": "from the seed in the files; it reproduces their losses",
        None: "unknown; train and test are two random parts of all examples",
    }[origin.split]
    n_train, n_test = task.n_sides
    sides = f"{n_train:,} train, {n_test:,} test"
    return f"{source} ({sides})" if origin.split is None else f"{sides}, {source}"


def training_in_words(known: dict[str, Any]) -> str:
    """The training settings, known and unknown."""
    optimizer = known.get("optimizer")
    name = optimizer.get("name", UNKNOWN) if isinstance(optimizer, dict) else optimizer
    settings = [f"optimizer {name or UNKNOWN}"]
    for key in ("learning_rate", "weight_decay", "betas", "momentum", "l1", "l2"):
        value = known.get(key)
        if value is not None or key in ("learning_rate", "weight_decay"):
            settings.append(f"{key.replace('_', ' ')} {_format(value)}")
    if "batch_size" not in known:
        settings.append(f"batch {UNKNOWN}")
    else:
        size = known["batch_size"]
        settings.append(f"batches of {size}" if size else "full batch")
    return ", ".join(settings)


def _format(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return (
        UNKNOWN if value is None else f"{value:g}" if isinstance(value, int | float) else f"{value}"
    )


def checkpoints_in_words(run: "Run") -> str:
    """The number of checkpoints and their steps, where known."""
    origin = run.imported
    assert origin is not None
    if not origin.steps_known:
        return f"{len(run.steps)}, at an unknown step (stored as {run.steps[0]})"
    if len(run.steps) == 1:
        return f"1, step {run.steps[0]:,}"
    return f"{len(run.steps)}, steps {run.steps[0]:,} to {run.steps[-1]:,}"


def assumed_in_words(run: "Run") -> str:
    """The assumed settings with their values; the files do not contain them."""
    origin = run.imported
    assert origin is not None
    assumptions = []
    for path in origin.assumed:
        part, _, name = path.partition(".")
        assumptions.append(f"{path} = {getattr(getattr(run.config, part, None), name, UNKNOWN)}")
    return ", ".join(assumptions) or "nothing"


def _milestone(run: "Run", side: str, step: int | None) -> str:
    """The step at which a side was learned, or "not reached" or "unknown"."""
    if step is not None:
        return f"{step:,}"
    quantity, level = run.task.train_criterion if side == "train" else run.task.criterion
    last = run.metrics[f"{side}_{quantity}"].iloc[-1] if len(run.metrics) else None
    learned = last is not None and (last >= level if quantity == "accuracy" else last <= level)
    return UNKNOWN if run.caveat or learned else "not reached"
