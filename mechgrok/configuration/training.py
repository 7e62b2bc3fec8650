"""The settings of training, including those of the optimizer and of transforms."""

import itertools
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import to_jsonable_python

from mechgrok.configuration.phase import TASK_SETTINGS, Phase, make_phase, parse_phases
from mechgrok.configuration.probe import Probe, read_probes
from mechgrok.configuration.schedule import usual_interval
from mechgrok.errors import UserError, sentence
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

#: The training settings that cannot change during training.
FIXED = {
    *("steps", "until_grokked", "checkpoint_every", "checkpoint_at", "keep"),
    *("probes", "metrics", "threads", "phases"),
}
#: The training settings of version 0.1, which wrote every optimizer's options into every run.
_VERSION_0_1 = {"optimizer", "betas", "momentum", "l1", "l2", "batch_seed", "checkpoint_every"}


def _read_phases(value: Any) -> tuple[Phase, ...]:
    """Phases in order, with their settings in the form of ``config.json``.

    Raises:
        UserError: a setting is unknown or cannot change, a value is out of range, or two phases
            begin at one step.
    """
    phases = sorted(phases_in(value), key=lambda phase: phase.at)
    for earlier, later in itertools.pairwise(phases):
        if earlier.at == later.at:
            raise UserError(
                f"Two phases begin at step {later.at:,}: write their settings as one phase, "
                f"{later.at}:weight_decay=0:learning_rate=0.01."
            )
    return tuple(
        Phase(at=phase.at, **{name: _plain(name, v) for name, v in phase.settings.items()})
        for phase in phases
    )


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
        description="Conditions after every step: norm:value=30, freeze:of=W_E+W_U, rows, "
        "frequencies, logits, sphere, or your own.",
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
        description="Share of neurons switched off in each step and example.",
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
        description="Checkpoints to keep, evenly spaced in log(step); default: all.",
    )
    phases: Annotated[tuple[Phase, ...], BeforeValidator(_read_phases)] = Field(
        default=(),
        exclude_if=lambda phases: not phases,
        description="Settings that change at a step: 5000:weight_decay=0:train_fraction=0.5; "
        "repeatable.",
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
        description="CPU threads; more only help large networks on an idle machine.",
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
        own = options_of(optimizer)
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
        names -= {"name", *cls.model_fields, *optimizer_options(), *options_of(optimizer)}
        options = {key: fields[key] for key in fields if key in names}
        rest = {key: fields[key] for key in fields if key not in names}
        return rest | {"transforms": with_options(transforms, options)}

    @model_validator(mode="after")
    def _phases_end_in_time(self) -> Self:
        for phase in self.phases:
            if phase.at > self.steps:
                raise UserError(
                    f"The phase at step {phase.at:,} is beyond the last step, {self.steps:,}: let "
                    "it begin earlier, train for more --steps, or drop it with --phase none."
                )
        return self

    @property
    def last_phase(self) -> int:
        """The step at which the last phase begins; 0 without phases."""
        return self.phases[-1].at if self.phases else 0

    def changed(self, phase: Phase) -> Self:
        """The settings with those of a phase.

        Raises:
            UserError: a value is out of range, or an option belongs to no method in use.
        """
        try:
            return self.model_validate(self.model_dump(mode="json") | phase.of_training)
        except ValidationError as error:
            what = f"phase at step {phase.at:,}"
            raise UserError(sentence(error, what, training_options())) from None

    def phase_column(self, step: int) -> dict[str, int]:
        """The number of the phase, from 0, as in ``metrics.csv``; empty without phases."""
        number = sum(phase.at <= step for phase in self.phases)
        return {"phase": number} if self.phases else {}

    def next_phase(self, step: int) -> float:
        """The step after ``step`` at which a phase begins; infinity if none does."""
        return next((phase.at for phase in self.phases if phase.at > step), float("inf"))

    @property
    def method(self) -> str:
        """The transforms and the optimizer as text: ``clip:max_norm=1, adamw``."""
        return ", ".join(map(str, (*self.transforms, self.optimizer)))

    @property
    def summary(self) -> str:
        """All that shapes a step, as text: ``adamw, learning rate 0.001, …, full batch``."""
        parts = [
            self.method,
            f"learning rate {self.learning_rate:g}",
            f"weight decay {self.weight_decay:g}",
            f"dropout {self.dropout:g}" if self.dropout else "",
            f"temperature {self.temperature:g}" if self.temperature != 1 else "",
            f"batches of {self.batch_size}" if self.batch_size else "full batch",
            *(f"constraint {constraint}" for constraint in self.constraints),
            *(f"{name}: {_in_words(own)}" for name, own in self.weights.items()),
        ]
        return ", ".join(filter(None, parts))

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


def phases_in(value: Any) -> list[Phase]:
    """The phases in a text, in dictionaries, in `Phase` objects, or in a list of these.

    Raises:
        UserError: a text is no phase, or a setting cannot change during training.
    """
    fields = {*TrainingConfig.model_fields, *TASK_SETTINGS}
    known = sorted({*training_options(), *fields} - FIXED - {"name"})
    if value is None or value in ("", "none"):
        return []
    if isinstance(value, str):
        return parse_phases(value, known, {*known} - fields)
    if isinstance(value, list | tuple):
        return [phase for part in value for phase in phases_in(part)]
    if isinstance(value, Phase):
        value = {"at": value.at, **value.settings}
    if not isinstance(value, dict):
        raise UserError(f"{value!r} is not a phase: write it as 5000:weight_decay=0.")
    return [make_phase(value, known)]


def _plain(name: str, value: Any) -> Any:
    """A setting's value in the form of ``config.json``; an optimizer and so on with its options."""
    if name not in TrainingConfig.model_fields:
        return value
    try:
        training = TrainingConfig.model_validate({name: value})
    except ValidationError as error:
        raise UserError(sentence(error, "phase")) from None
    return to_jsonable_python(getattr(training, name))


def options_of(optimizer: Any) -> set[str]:
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


def _in_words(settings: WeightSettings) -> str:
    given = settings.model_dump(exclude_none=True)
    return " and ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in given.items())
