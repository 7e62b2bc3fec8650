"""Taking a network out, as a folder for a model hub."""

import glob
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

from mechgrok.bits import pack_bits
from mechgrok.errors import UserError
from mechgrok.files import remove_abandoned, write_text
from mechgrok.global_state import in_neutral_state
from mechgrok.models import HookedModel, HookedTransformer
from mechgrok.models.making import model_class
from mechgrok.models.native import contiguous_weights, transformer_lens_config
from mechgrok.runs import Run, RunLike, open_run
from mechgrok.tensors import write_tensors
from mechgrok.training import evaluate

#: The license that hubs know as none that anybody has named.
UNKNOWN_LICENSE = "unknown"
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")


@in_neutral_state
def export(
    run: RunLike, out: str | Path, step: int = -1, *, license: str = UNKNOWN_LICENSE
) -> Path:
    """Write the network at ``step`` to a new folder, in the form that model hubs take.

    The folder holds ``model.safetensors`` (weights under TransformerLens's names, masked ones as
    zeros), ``config.json`` (the shape, in TransformerLens's words for a transformer, and under
    ``mechgrok`` what the run was) and ``README.md``, a model card with what was measured.

    Args:
        run: the run, or its folder.
        out: a folder that is absent or empty.
        step: the checkpoint; a negative one counts from the last.
        license: of the weights, as model hubs call it, for the model card.

    Raises:
        UserError: the step has no checkpoint, the folder is taken or cannot be written, or the
            license has no such name.
    """
    run = open_run(run)
    (step,) = run.select([step])
    check_license(license)
    with new_folder(out) as beside:
        write_network(run, step, beside, license)
    return Path(out)


def check_license(license: str) -> None:
    """Refuse what cannot be the name of a license on a model hub."""
    if not _LICENSE.fullmatch(license):
        raise UserError(
            f"{license!r} is no name of a license on a model hub: write mit, apache-2.0, "
            "cc-by-4.0, other or unknown."
        )


def write_network(run: Run, step: int, folder: Path, license: str = UNKNOWN_LICENSE) -> None:
    """Write the three files of one network into an existing folder."""
    model = run.model(step)
    weights, network = contiguous_weights(model), _network(run, step)
    metadata = {"format": "pt", "step": str(step), "mechgrok": json.dumps(network)}
    write_tensors(folder / "model.safetensors", weights, metadata)
    config = json.dumps(_config(run, model, step), indent=2, ensure_ascii=False)
    write_text(folder / "config.json", config + "\n")
    write_text(folder / "README.md", _card(run, model, step, license))


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A folder that is filled beside its place, and is there whole or not at all.

    Raises:
        UserError: the place is taken, or cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder: choose another one with --out.")
    remove_abandoned(out.parent, glob.escape(out.name))
    beside = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        beside.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be made ({error}).") from None
    try:
        yield beside
        os.replace(beside, out)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(
                f"{out} could not be written ({error}): free some space or choose another folder."
            ) from error
        raise


def _architecture(model: HookedModel) -> str:
    return model_class(model.config.kind).__name__


def _is_native(model: HookedModel) -> TypeGuard[HookedTransformer]:
    """Whether TransformerLens has a network that computes the same."""
    return isinstance(model, HookedTransformer) and model.config.attention_rate == 1


def _network(run: Run, step: int) -> dict[str, Any]:
    """All that it takes to have the network back: what ``import`` reads from the metadata."""
    made = run.config.model_dump(
        mode="json", include={"task", "model", "training", "seed", "origin"}
    )
    mask = run.mask_at(step)
    if mask is not None:
        made["mask"] = {name: pack_bits(kept.numpy()) for name, kept in mask.items()}
    return made


def _config(run: Run, model: HookedModel, step: int) -> dict[str, Any]:
    kind = {"architectures": [_architecture(model)]}
    shape = transformer_lens_config(model) if _is_native(model) else {}
    made = run.config.model_dump(mode="json", exclude={"format"})
    return kind | shape | {"mechgrok": {"step": step, **made}}


def _card(run: Run, model: HookedModel, step: int, license: str) -> str:
    """The model card: what it is, how it was made as far as known, what it does, how to load it."""
    task = run.task
    mask = run.mask_at(step)
    weights = "\n".join(
        f"| `{name}` | {list(weight.shape)} |" for name, weight in contiguous_weights(model).items()
    )
    density = f" Of the masked weights {mask.density:.1%} are kept." if mask else ""
    library, load = (
        ("transformer-lens", _LOAD_TRANSFORMER)
        if _is_native(model)
        else ("mechgrok", _LOAD_WITH_MECHGROK)
    )
    at = f" at step {step:,}" if run.imported is None or run.imported.steps_known else ""
    seeded = "" if run.config.seed is None else f", weights seeded with {run.config.seed}"
    facts = [
        f"- Task: `{task.model_dump_json(exclude=_unknown_of_task(run))}`",
        f"- Model: `{run.config.model.model_dump_json(exclude=_unknown_of_model(run))}`{seeded}",
        *_training(run),
    ]
    return f"""---
library_name: {library}
license: {license}
tags:
- grokking
- mechanistic-interpretability
---

# {task}: {_architecture(model)}{at}

{_made_by(run)}, {model.n_parameters():,}
weights.{density}

{"".join(f"{fact}{chr(10)}" for fact in facts)}
{_measured(run, model)}

## Weights

| name | shape |
| --- | --- |
{weights}

## Loading

{load}"""


def _made_by(run: Run) -> str:
    if run.imported is None:
        return "A network from a run of mechgrok"
    files = ", ".join(f"`{file}`" for file in run.imported.files)
    return f"A network that was trained elsewhere and imported to mechgrok from {files}"


def _unknown_of_task(run: Run) -> set[str]:
    """The fields of the task that say nothing of how the network was trained."""
    return {"train_fraction", "split_seed"} if run.caveat else {"fixed_split"}


def _unknown_of_model(run: Run) -> set[str]:
    """The fields of the model's configuration on how weights began, where nothing tells it."""
    drawn = {"init", "init_scale"}
    return drawn if run.imported and "model.init_scale" in run.imported.assumed else set()


def _training(run: Run) -> list[str]:
    """The lines on how it was trained, with what is known and nothing else."""
    training = run.config.training
    if training is None:
        known = run.imported.known if run.imported else {}
        settings = ", ".join(
            f"{name.replace('_', ' ')} {value}"
            for name, value in known.items()
            if value is not None
        )
        return [f"- Training, as far as known: {settings}"] * bool(settings)
    batch = f"batches of {training.batch_size}" if training.batch_size else "full batch"
    steps = ", ".join(
        f"{name} {'not reached' if at is None else f'{at:,}'}"
        for name, at in {"t_mem": run.t_mem, "t_gen": run.t_gen}.items()
    )
    steps += "" if run.diverged is None else f", diverged at step {run.diverged:,}"
    return [
        f"- Training: {training.method}, learning rate {training.learning_rate:g}, weight decay "
        f"{training.weight_decay:g}, {batch}, {training.steps:,} steps ({steps})"
    ]


def _measured(run: Run, model: HookedModel) -> str:
    """The table of what was measured: on both sides of the split where it is known."""
    task = run.task
    if run.caveat is None:
        row = evaluate(model, task, task.train, task.test)
        sides = {side: (row[f"{side}_loss"], row[f"{side}_accuracy"]) for side in ("train", "test")}
    else:
        row = evaluate(model, task, task.examples, task.examples)
        sides = {"all examples": (row["train_loss"], row["train_accuracy"])}
    lines = [
        f"| | {' | '.join(sides)} |",
        f"| --- |{' --- |' * len(sides)}",
        f"| loss | {' | '.join(_figure(loss) for loss, _ in sides.values())} |",
        f"| accuracy | {' | '.join(_figure(right) for _, right in sides.values())} |",
    ]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:.4g}" if isfinite(value) else "not finite"


_LOAD_TRANSFORMER = """```python
import json

from safetensors.torch import load_file
from transformer_lens import TransformerBridge, TransformerBridgeConfig
from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

fields = json.load(open("config.json"))
shape = {key: fields[key] for key in fields if key not in ("architectures", "mechgrok")}
config = TransformerBridgeConfig(**shape, architecture="TransformerLensNative")
model = TransformerBridge.boot_native(config)
blank = {name: 0 * value for name, value in model.state_dict().items()}  # biases that are not used
weights = convert_tl_checkpoint(load_file("model.safetensors"), config)
model.load_state_dict(blank | weights)
```

The answer is read at the last position.
"""

_LOAD_WITH_MECHGROK = """```python
from mechgrok.exchange.importing import import_run

run = import_run(["model.safetensors"], "run")  # a folder for it
model = run.model()
```
"""
