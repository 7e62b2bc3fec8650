"""What is known of an imported run, in words: what is not known is called so."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mechgrok.runs import Run

UNKNOWN = "unknown"


def facts_of_import(run: "Run") -> dict[str, str]:
    """The headings of `mechgrok.runs.facts.facts` under which an import tells less than a run."""
    return {
        "split": split_in_words(run),
        "training": training_in_words(run.imported.known if run.imported else {}),
        "checkpoints": checkpoints_in_words(run),
        "assumed": assumed_in_words(run),
        "t_mem": _milestone(run, "train", run.t_mem),
        "t_gen": _milestone(run, "test", run.t_gen),
    }


def split_in_words(run: "Run") -> str:
    """How many examples are on each side, and how that is known."""
    origin, task = run.imported, run.task
    assert origin is not None
    how = {
        "file": "as the files tell",
        "option": "as was given",
        "seed": "found by the seed in the files, with the losses that they tell",
        None: "unknown; train and test are two random parts of all examples",
    }[origin.split]
    n_train, n_test = task.n_sides
    sides = f"{n_train:,} train, {n_test:,} test"
    return f"{how} ({sides})" if origin.split is None else f"{sides}, {how}"


def training_in_words(known: dict[str, Any]) -> str:
    """The settings of the training, and which are unknown."""
    optimizer = known.get("optimizer")
    name = optimizer.get("name", UNKNOWN) if isinstance(optimizer, dict) else optimizer
    words = [f"optimizer {name or UNKNOWN}"]
    for key in ("learning_rate", "weight_decay", "betas", "momentum", "l1", "l2"):
        value = known.get(key)
        if value is not None or key in ("learning_rate", "weight_decay"):
            words.append(f"{key.replace('_', ' ')} {_shown(value)}")
    if "batch_size" not in known:
        words.append(f"batch {UNKNOWN}")
    else:
        size = known["batch_size"]
        words.append(f"batches of {size}" if size else "full batch")
    return ", ".join(words)


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return (
        UNKNOWN if value is None else f"{value:g}" if isinstance(value, int | float) else f"{value}"
    )


def checkpoints_in_words(run: "Run") -> str:
    """How many there are, and at which steps, as far as that is known."""
    origin = run.imported
    assert origin is not None
    if not origin.steps_known:
        return f"{len(run.steps)}, at a step that is unknown (kept as {run.steps[0]})"
    if len(run.steps) == 1:
        return f"1, step {run.steps[0]:,}"
    return f"{len(run.steps)}, steps {run.steps[0]:,} to {run.steps[-1]:,}"


def assumed_in_words(run: "Run") -> str:
    """What nothing tells and was chosen all the same, with the choices."""
    origin = run.imported
    assert origin is not None
    chosen = []
    for path in origin.assumed:
        part, _, name = path.partition(".")
        chosen.append(f"{path} = {getattr(getattr(run.config, part, None), name, UNKNOWN)}")
    return ", ".join(chosen) or "nothing"


def _milestone(run: "Run", side: str, step: int | None) -> str:
    """When a side was learned: a step, "not reached", or "unknown"."""
    if step is not None:
        return f"{step:,}"
    quantity, level = run.task.train_criterion if side == "train" else run.task.criterion
    last = run.metrics[f"{side}_{quantity}"].iloc[-1] if len(run.metrics) else None
    learned = last is not None and (last >= level if quantity == "accuracy" else last <= level)
    return UNKNOWN if run.caveat or learned else "not reached"
