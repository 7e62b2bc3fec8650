"""Taking a network out, as a folder for a model hub."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from mechgrok.errors import UserError
from mechgrok.models import HookedModel, HookedTransformer
from mechgrok.models.making import model_class
from mechgrok.models.native import contiguous_weights, transformer_lens_config
from mechgrok.runs import Run
from mechgrok.training import evaluate


def export(run: Run, out: str | Path, step: int = -1) -> Path:
    """Write the network at ``step`` to a new folder, in the form that model hubs take.

    The folder holds ``model.safetensors`` (weights under TransformerLens's names, masked ones as
    zeros), ``config.json`` (the shape, in TransformerLens's words for a transformer, and under
    ``mechgrok`` what the run was) and ``README.md``, a model card with what was measured.

    Args:
        run: the run.
        out: a folder that is absent or empty.
        step: the checkpoint; a negative one counts from the last.

    Raises:
        UserError: the step has no checkpoint, or the folder is taken or cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder: choose another one with --out.")
    (step,) = run.select([step])
    model = run.model(step)
    task = run.task.model_dump_json()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise UserError(f"The folder {out} cannot be made ({error}).") from None
    try:
        metadata = {"format": "pt", "step": str(step), "task": task}
        save_file(contiguous_weights(model), beside / "model.safetensors", metadata=metadata)
        config = json.dumps(_config(run, model, step), indent=2, ensure_ascii=False)
        (beside / "config.json").write_text(config + "\n", encoding="utf-8")
        (beside / "README.md").write_text(_card(run, model, step), encoding="utf-8")
        beside.chmod(0o755)
        os.replace(beside, out)
    except Exception as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise UserError(
                f"{out} could not be written ({error}): free some space or choose another folder."
            ) from error
        raise
    return out


def _architecture(model: HookedModel) -> str:
    # A masked model is of a class of its own, which torch.nn.utils.parametrize made.
    return model_class(model.config.kind).__name__


def _config(run: Run, model: HookedModel, step: int) -> dict[str, Any]:
    kind = {"architectures": [_architecture(model)]}
    shape = transformer_lens_config(model) if isinstance(model, HookedTransformer) else {}
    made = run.config.model_dump(mode="json", exclude={"format"})
    return kind | shape | {"mechgrok": {"step": step, **made}}


def _card(run: Run, model: HookedModel, step: int) -> str:
    """The model card: what it is, how it was made, what it can do, how to load it."""
    training, task = run.config.training, run.task
    row = evaluate(model, task, task.train, task.test)
    mask = run.mask_at(step)
    weights = "\n".join(
        f"| `{name}` | {list(weight.shape)} |" for name, weight in contiguous_weights(model).items()
    )
    batch = f"batches of {training.batch_size}" if training.batch_size else "full batch"
    density = f" Of the masked weights {mask.density:.1%} are kept." if mask else ""
    reached = {"t_mem": run.t_mem, "t_gen": run.t_gen}
    steps = ", ".join(
        f"{name} {'not reached' if at is None else f'{at:,}'}" for name, at in reached.items()
    )
    load = _LOAD_TRANSFORMER if isinstance(model, HookedTransformer) else _LOAD_MLP
    return f"""---
library_name: transformer-lens
tags:
- grokking
- mechanistic-interpretability
---

# {task}: {_architecture(model)} at step {step:,}

A network from a run of mechgrok, {model.n_parameters():,}
weights.{density}

- Task: `{task.model_dump_json()}`
- Model: `{run.config.model.model_dump_json()}`, weights seeded with {run.config.seed}
- Training: {training.optimizer}, learning rate {training.learning_rate:g}, weight decay
  {training.weight_decay:g}, {batch}, {training.steps:,} steps ({steps})

| | train | test |
| --- | --- | --- |
| loss | {row["train_loss"]:.4g} | {row["test_loss"]:.4g} |
| accuracy | {row["train_accuracy"]:.4g} | {row["test_accuracy"]:.4g} |

## Weights

| name | shape |
| --- | --- |
{weights}

## Loading

{load}"""


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

_LOAD_MLP = """```python
import json

from safetensors.torch import load_file
from mechgrok import RunConfig
from mechgrok.models import load_weights, make_model

fields = json.load(open("config.json"))["mechgrok"]
fields.pop("step")
config = RunConfig.make(**fields)
model = make_model(config.model, config.task)
load_weights(model, load_file("model.safetensors"))
```
"""
