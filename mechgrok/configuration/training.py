"""The settings of training, including those of the optimizer and of transforms."""

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
from mechgrok.optimization.weight_settings import WeightSettings, read_weight_settings
from mechgrok.tasks.base import Seed

#: The training settings of version 0.1, which wrote every optimizer's options into every run.
_VERSION_0_1 = {"optimizer", "betas", "momentum", "l1", "l2", "batch_seed", "checkpoint_every"}


class TrainingConfig(Settings):
    """Settings of training.

    Options of the optimizer and of transforms may be given like the others:
    ``TrainingConfig(optimizer="sgd", momentum=0.9, transforms="clip", max_norm=0.5)``.
    """

    steps: Annotated[int, Field(ge=0, le=10**8)] = Field(
        default=30_000, description="Optimizer steps (epochs, with the full batch)."
    )
    batch_size: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Examples per step; default: all."
    )
    batch_seed: Seed = Field(default=0, description="Seed of the mini-batches.")
    optimizer: Annotated[SerializeAsAny[Optimizer], BeforeValidator(choose_optimizer)] = Field(
        default=AdamW(),
        description=f"Optimizer: {', '.join(OPTIMIZERS.own)}, or your own, file.py:Name. Options "
        "after colons: sgd:momentum=0.9.",
    )
    transforms: Annotated[
        tuple[SerializeAsAny[Transform], ...], BeforeValidator(read_transforms)
    ] = Field(
        default=(),
        exclude_if=lambda transforms: not transforms,
        description=f"Gradient transforms, in order: {', '.join(TRANSFORMS.own)}, or your own: "
        "grokfast-ema:lamb=5,clip:max_norm=1.",
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
        default=1e-3, description="Learning rate."
    )
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=1.0, description="Weight decay; decoupled for adamw, else added to the gradient."
    )
    weights: Annotated[dict[str, WeightSettings], BeforeValidator(read_weight_settings)] = Field(
        default={},
        exclude_if=lambda weights: not weights,
        description="Settings of single weights: W_E:learning_rate=1e-4,biases:weight_decay=0.",
    )
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1.0,
        exclude_if=lambda temperature: temperature == 1,
        description="Temperature of the softmax, which divides the logits.",
    )
    l1: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="Penalty l1·Σ|θ| on the loss."
    )
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="Penalty l2·Σθ² on the loss."
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        exclude_if=lambda rate: not rate,
        description="Share of neurons switched off in each step, independently per example.",
    )
    dropout_seed: Seed = Field(
        default=0, exclude_if=lambda seed: not seed, description="Seed of dropout."
    )
    until_grokked: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Stop this many steps after t_gen; default: train all steps."
    )
    checkpoint_every: Annotated[int, Field(ge=1)] = Field(
        default=100,
        description="Steps between checkpoints, four times as dense in the first five intervals; "
        "default: about 300 checkpoints.",
    )
    checkpoint_at: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(), description="Further steps to save, such as 7,13."
    )
    keep: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        exclude_if=lambda keep: keep is None,
        description="Number of checkpoints to keep, evenly spaced in log(step), with the first and "
        "the last; default: all.",
    )
    probes: Annotated[tuple[Probe, ...], BeforeValidator(read_probes)] = Field(
        default=(),
        exclude_if=lambda probes: not probes,
        description="Analyses to measure at an interval of steps, without keeping checkpoints: "
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
        description="CPU threads. More can speed up large networks on an idle machine, but slow "
        "everything down on a busy one.",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_checkpoint_every(cls, fields: Any) -> Any:
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
    def _gather_optimizer_options(cls, fields: Any) -> Any:
        """Move options of the optimizer into the optimizer's field."""
        if not isinstance(fields, dict):
            return fields
        optimizer = fields.get("optimizer", cls.model_fields["optimizer"].default)
        own = _options_of(optimizer)
        names = {*optimizer_options(), *own} - {"name", *cls.model_fields}
        options = {key: fields[key] for key in fields if key in names}
        if fields.keys() >= _VERSION_0_1:
            options = {key: value for key, value in options.items() if key in own}
        rest = {key: fields[key] for key in fields if key not in names}
        if isinstance(optimizer, Optimizer):
            changed = optimizer.model_dump() | options if options else optimizer
        else:
            changed = OPTIMIZERS.describe(optimizer) | options
        return rest | {"optimizer": changed}

    @model_validator(mode="before")
    @classmethod
    def _gather_transform_options(cls, fields: Any) -> Any:
        """Move options of transforms into the transforms' field."""
        if not isinstance(fields, dict):
            return fields
        transforms = read_transforms(fields.get("transforms"))
        names = {*transform_options(), *(n for t in transforms for n in type(t).model_fields)}
        optimizer = fields.get("optimizer", cls.model_fields["optimizer"].default)
        names -= {"name", *cls.model_fields, *optimizer_options(), *_options_of(optimizer)}
        options = {key: fields[key] for key in fields if key in names}
        rest = {key: fields[key] for key in fields if key not in names}
        return rest | {"transforms": with_options(transforms, options)}

    @property
    def method(self) -> str:
        """The transforms and the optimizer as text: ``clip:max_norm=1, adamw``."""
        return ", ".join(map(str, (*self.transforms, self.optimizer)))

    @property
    def separable(self) -> bool:
        """Whether a weight's update depends only on its own gradient and state.

        Then networks that train together share one optimizer.
        """
        alone = self.optimizer.separable and all(map(is_separable, self.transforms))
        return alone and not self.constraints

    @property
    def looks_ahead(self) -> bool:
        """Whether a step takes a second gradient at shifted weights."""
        return any(overrides(transform, "lookahead") for transform in self.transforms)


def _options_of(optimizer: Any) -> set[str]:
    """The fields of an optimizer, given by name, as a dictionary, or as an object."""
    if isinstance(optimizer, Optimizer):
        return set(type(optimizer).model_fields)
    kind = OPTIMIZERS.load(OPTIMIZERS.describe(optimizer)["name"])
    return set(getattr(kind, "model_fields", ()))  # Anything but an optimizer raises later.


def optimizer_options() -> list[str]:
    """The names of the built-in optimizers' options."""
    return [
        option
        for name in OPTIMIZERS.own
        for option in OPTIMIZERS.load(name).model_fields
        if option != "name"
    ]


def training_options() -> list[str]:
    """The names of all training settings, including options of optimizers and transforms."""
    further = [*optimizer_options(), *transform_options()]
    return list(dict.fromkeys([*TrainingConfig.model_fields, *further]))
