"""Exporting a network of a run to a folder for model hubs."""

import json
import re
from importlib.resources import files
from math import isfinite
from pathlib import Path
from string import Template
from typing import TypeGuard

from mechgrok.bits import pack_bits
from mechgrok.errors import UserError
from mechgrok.exchange.revisions import WEIGHTS
from mechgrok.files import new_folder, write_text
from mechgrok.global_state import in_neutral_state
from mechgrok.models import HookedModel, HookedTransformer
from mechgrok.models.making import model_class
from mechgrok.models.native import (
    contiguous_weights,
    is_normalized_as_natively,
    transformer_lens_config,
)
from mechgrok.runs import Run, RunLike, open_run
from mechgrok.tensors import write_tensors
from mechgrok.training import evaluate

#: The hubs' name for an unspecified license.
UNKNOWN_LICENSE = "unknown"
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")


@in_neutral_state
def export(
    run: RunLike, out: str | Path, step: int = -1, *, license: str = UNKNOWN_LICENSE
) -> Path:
    """Write the network at ``step`` to a new folder, in the format of model hubs.

    The folder holds ``model.safetensors`` (weights under TransformerLens's names, masked ones as
    zeros), ``config.json`` (the shape, under TransformerLens's names for a transformer, and the
    run's configuration under ``mechgrok``) and ``README.md``, a model card with loss and accuracy.

    Args:
        run: the run, or its folder.
        out: a folder that is absent or empty.
        step: the checkpoint; a negative one counts from the last.
        license: license of the weights, by its name on model hubs, for the model card.

    Raises:
        UserError: the step has no checkpoint, the folder is not empty or not writable, or the
            license's name is invalid.
    """
    run = open_run(run)
    (step,) = run.select([step])
    check_license(license)
    with new_folder(out) as folder:
        write_network(run, step, folder, license)
    return Path(out)


def check_license(license: str) -> None:
    """Refuse an invalid license name."""
    if not _LICENSE.fullmatch(license):
        raise UserError(
            f"{license!r} is not a license name on model hubs: write mit, apache-2.0, cc-by-4.0, "
            "other or unknown."
        )


def write_network(run: Run, step: int, folder: Path, license: str = UNKNOWN_LICENSE) -> None:
    """Write the three files of a network into an existing folder."""
    model, mask = run.model(step), run.mask_at(step)
    # An import restores the network from these.
    parts = {"task", "model", "training", "seed", "origin"}
    network = run.config.model_dump(mode="json", include=parts)
    if mask is not None:
        network["mask"] = {name: pack_bits(bits.numpy()) for name, bits in mask.items()}
    metadata = {"format": "pt", "step": str(step), "mechgrok": json.dumps(network)}
    write_tensors(folder / WEIGHTS, contiguous_weights(model), metadata)
    config = {"architectures": [model_class(model.config.kind).__name__]}
    config |= transformer_lens_config(model) if _is_native(model) else {}
    fields = {"step": step, **run.config.model_dump(mode="json", exclude={"format"})}
    text = json.dumps(config | {"mechgrok": fields}, indent=2, ensure_ascii=False)
    write_text(folder / "config.json", text + "\n")
    write_text(folder / "README.md", _model_card(run, model, step, license))


def _is_native(model: HookedModel) -> TypeGuard[HookedTransformer]:
    """Whether TransformerLens has an equivalent model."""
    return (
        isinstance(model, HookedTransformer)
        and model.config.attention_rate == 1
        and is_normalized_as_natively(model.config)
    )


def _model_card(run: Run, model: HookedModel, step: int, license: str) -> str:
    """The model card: the network, its origin, its measurements, and how to load it."""
    imported, mask = run.imported, run.mask_at(step)
    library = "transformer-lens" if _is_native(model) else "mechgrok"
    templates = files(__package__).joinpath("model_card")
    origin = "A network trained with mechgrok"
    if imported is not None:
        names = ", ".join(f"`{file}`" for file in imported.files)
        origin = f"A network trained elsewhere and imported into mechgrok from {names}"
    rows = [f"| `{name}` | {list(w.shape)} |" for name, w in contiguous_weights(model).items()]
    return Template(templates.joinpath("README.md").read_text("utf-8")).substitute(
        library=library,
        license=license,
        task=run.task,
        architecture=model_class(model.config.kind).__name__,
        at_step=f" at step {step:,}" if imported is None or imported.steps_known else "",
        made_by=origin,
        n_parameters=f"{model.n_parameters():,}",
        density=f" Of the masked weights {mask.density:.1%} are kept." if mask else "",
        facts="\n".join(f"- {fact}" for fact in _facts(run)),
        measured=_measured(run, model),
        weights="\n".join(rows),
        loading=templates.joinpath(f"{library}.md").read_text("utf-8").rstrip(),
    )


def _facts(run: Run) -> list[str]:
    """The known facts of the task, the model and the training."""
    config, training, imported = run.config, run.config.training, run.imported
    task = run.task.model_dump_json(
        exclude={"train_fraction", "split_seed"} if run.caveat else {"fixed_split"}
    )
    is_start_unknown = imported is not None and "model.init_scale" in imported.assumed
    model = config.model.model_dump_json(
        exclude={"init", "init_scale"} if is_start_unknown else None
    )
    seeded = "" if config.seed is None else f", weights seeded with {config.seed}"
    facts = [f"Task: `{task}`", f"Model: `{model}`{seeded}"]
    if training is None:
        known = {n: v for n, v in (imported.known if imported else {}).items() if v is not None}
        settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known.items())
        return facts + [f"Training, as far as known: {settings}"] * bool(settings)
    steps = ", ".join(
        f"{name} {'not reached' if at is None else f'{at:,}'}"
        for name, at in {"t_mem": run.t_mem, "t_gen": run.t_gen}.items()
    )
    steps += "" if run.diverged is None else f", diverged at step {run.diverged:,}"
    return [
        *facts,
        f"Training: {training.summary}, {training.steps:,} steps ({steps})",
    ]


def _measured(run: Run, model: HookedModel) -> str:
    """The table of losses and accuracies, on both sides of a known split."""
    task, sides = run.task, {"train": "train", "test": "test"}
    examples = task.train, task.test
    if run.caveat is not None:
        sides, examples = {"all examples": "train"}, (task.examples, task.examples)
    row = evaluate(model, task, *examples)
    lines = [f"| | {' | '.join(sides)} |", f"| --- |{' --- |' * len(sides)}"]
    for quantity in ("loss", "accuracy"):
        values = [row[f"{side}_{quantity}"] for side in sides.values()]
        texts = [f"{value:.4g}" if isfinite(value) else "not finite" for value in values]
        lines.append(f"| {quantity} | {' | '.join(texts)} |")
    return "\n".join(lines)
