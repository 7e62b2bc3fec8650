"""How the weights are trained: the settings of the loop, an optimizer's among them."""

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    model_validator,
)

from mechgrok.configuration.probe import Probe, read_probes
from mechgrok.configuration.schedule import usual_interval
from mechgrok.fields import Settings
from mechgrok.metrics import read_metric_names
from mechgrok.optimization.constraints.base import Constraint
from mechgrok.optimization.constraints.reading import read_constraints
from mechgrok.optimization.optimizers import OPTIMIZERS, AdamW, Optimizer, choose_optimizer
from mechgrok.optimization.transforms import TRANSFORMS
from mechgrok.optimization.transforms.base import Transform, is_separable, overrides
from mechgrok.optimization.transforms.reading import (
    read_transforms,
    transform_options,
    with_options,
)
from mechgrok.tasks.base import Seed

#: The training settings of version 0.1, which wrote every optimizer's options into every run.
_VERSION_0_1 = {"optimizer", "betas", "momentum", "l1", "l2", "batch_seed", "checkpoint_every"}


class TrainingConfig(Settings):
    """How the weights are trained.

    The options of the optimizer and of transforms may stand beside the others:
    ``TrainingConfig(optimizer="sgd", momentum=0.9, transforms="clip", max_norm=0.5)``.
    """

    steps: Annotated[int, Field(ge=0, le=10**8)] = Field(
        default=30_000, description="Optimizer steps; with the full batch, epochs."
    )
    batch_size: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Examples per step; all unless given."
    )
    batch_seed: Seed = Field(default=0, description="Seed of the mini-batches' order.")
    optimizer: Annotated[SerializeAsAny[Optimizer], BeforeValidator(choose_optimizer)] = Field(
        default=AdamW(),
        description=f"{', '.join(OPTIMIZERS.own)}, or your own, file.py:Name. Options after "
        "colons: sgd:momentum=0.9.",
    )
    transforms: Annotated[
        tuple[SerializeAsAny[Transform], ...], BeforeValidator(read_transforms)
    ] = Field(
        default=(),
        exclude_if=lambda transforms: not transforms,
        description="Changes to the gradients before the optimizer uses them, in order: "
        f"{', '.join(TRANSFORMS.own)}, or your own: grokfast-ema:lamb=5,clip:max_norm=1.",
    )
    constraints: Annotated[
        tuple[SerializeAsAny[Constraint], ...], BeforeValidator(read_constraints)
    ] = Field(
        default=(),
        exclude_if=lambda constraints: not constraints,
        description="Conditions on the weights after every step, in order: "
        "norm:value=30, norm:of=each:times=1, rows:of=W_U:max=1, freeze:of=W_E+W_U, "
        "frequencies:of=W_E:keep=1+3+16, or your own.",
    )
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1e-3, description="Step size."
    )
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=1.0, description="Weight decay; decoupled for adamw, else added to the gradient."
    )
    l1: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="Adds l1·Σ|θ| to the loss."
    )
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="Adds l2·Σθ² to the loss."
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        exclude_if=lambda rate: not rate,
        description="Share of neurons that are off in a step, for each example by itself.",
    )
    dropout_seed: Seed = Field(
        default=0, exclude_if=lambda seed: not seed, description="Seed of dropout."
    )
    until_grokked: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Stop this many steps after t_gen; none to use all steps."
    )
    checkpoint_every: Annotated[int, Field(ge=1)] = Field(
        default=100,
        description="Steps between checkpoints (a quarter of it in the first five intervals); "
        "a 300th of all, rounded, unless given.",
    )
    checkpoint_at: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(), description="Further steps to save: 7,13."
    )
    keep: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        exclude_if=lambda keep: keep is None,
        description="Keep so many checkpoints, evenly spaced in log(step), first and last among "
        "them; all unless given.",
    )
    probes: Annotated[tuple[Probe, ...], BeforeValidator(read_probes)] = Field(
        default=(),
        exclude_if=lambda probes: not probes,
        description="Analyses to ask every so many steps, without keeping checkpoints: "
        "entropy:100. Options after colons: fourier:50:path=direct.",
    )
    metrics: Annotated[tuple[str, ...], BeforeValidator(read_metric_names)] = Field(
        default=(),
        exclude_if=lambda metrics: not metrics,
        description="Further columns of metrics.csv: gradient_norm, logit_scale, or your own: "
        "file.py:name.",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="Threads. More help large networks on an idle machine, and hurt everything on "
        "a busy one.",
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_checkpoints(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        if fields.get("checkpoint_every") is None:
            try:
                steps = int(fields.get("steps", cls.model_fields["steps"].default))
            except (TypeError, ValueError):
                return fields
            if 0 <= steps <= 10**8:
                fields = fields | {"checkpoint_every": usual_interval(steps)}
        return fields

    @model_validator(mode="before")
    @classmethod
    def _optimizer_s_options(cls, fields: Any) -> Any:
        """Gather the optimizer's options, wherever they stand."""
        if not isinstance(fields, dict):
            return fields
        chosen = fields.get("optimizer", cls.model_fields["optimizer"].default)
        own = _options_of(chosen)
        of_some = {*optimizer_options(), *own} - {"name", *cls.model_fields}
        beside = {key: fields[key] for key in fields if key in of_some}
        if fields.keys() >= _VERSION_0_1:
            beside = {key: value for key, value in beside.items() if key in own}
        made = isinstance(chosen, Optimizer)
        options = chosen.model_dump() if made else OPTIMIZERS.describe(chosen)
        kept = {key: fields[key] for key in fields if key not in of_some}
        return kept | {"optimizer": options | beside if beside or not made else chosen}

    @model_validator(mode="before")
    @classmethod
    def _transforms_options(cls, fields: Any) -> Any:
        """Gather the transforms' options, wherever they stand."""
        if not isinstance(fields, dict):
            return fields
        transforms = read_transforms(fields.get("transforms"))
        of_some = {*transform_options(), *(n for t in transforms for n in type(t).model_fields)}
        chosen = fields.get("optimizer", cls.model_fields["optimizer"].default)
        of_some -= {"name", *cls.model_fields, *optimizer_options()}
        of_some -= _options_of(chosen)
        beside = {key: fields[key] for key in fields if key in of_some}
        kept = {key: fields[key] for key in fields if key not in of_some}
        return kept | {"transforms": with_options(transforms, beside)}

    @property
    def method(self) -> str:
        """What the gradients go through, in words: ``clip:max_norm=1, adamw``."""
        return ", ".join(map(str, (*self.transforms, self.optimizer)))

    @property
    def separable(self) -> bool:
        """Whether a step changes each weight by its own gradient and state alone: then one
        optimizer serves many networks."""
        alone = self.optimizer.separable and all(map(is_separable, self.transforms))
        return alone and not self.constraints

    @property
    def looks_ahead(self) -> bool:
        """Whether a step takes two gradients, the second elsewhere."""
        return any(overrides(each, "lookahead") for each in self.transforms)


def _options_of(chosen: Any) -> set[str]:
    """The fields of an optimizer that is chosen by name, by a dictionary, or is there already."""
    if isinstance(chosen, Optimizer):
        return set(type(chosen).model_fields)
    named = OPTIMIZERS.load(OPTIMIZERS.describe(chosen)["name"])
    return set(getattr(named, "model_fields", ()))  # What is no optimizer is refused later.


def optimizer_options() -> list[str]:
    """The names of the options of the project's optimizers."""
    return [
        name
        for each in OPTIMIZERS.own
        for name in OPTIMIZERS.load(each).model_fields
        if name != "name"
    ]


def training_options() -> list[str]:
    """The names of all settings of the training, those of optimizers and transforms too."""
    further = [*optimizer_options(), *transform_options()]
    return list(dict.fromkeys([*TrainingConfig.model_fields, *further]))
