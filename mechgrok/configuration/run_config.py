"""The configuration of a run: all that is needed to reproduce it."""

import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from mechgrok import user_code
from mechgrok.configuration import presets
from mechgrok.configuration.origins import ForkOrigin, ImportOrigin, PopupOrigin, TicketOrigin
from mechgrok.configuration.phase import Phase
from mechgrok.configuration.training import TrainingConfig, options_of, training_options
from mechgrok.errors import UserError, sentence
from mechgrok.fields import Settings
from mechgrok.masks.config import PopupConfig
from mechgrok.models.config import MLPConfig
from mechgrok.models.making import ModelConfig
from mechgrok.starts.base import Start
from mechgrok.starts.reading import read_start
from mechgrok.tasks.base import Seed, Task
from mechgrok.tasks.making import make_task, saved_task

#: The version of the run folder's layout.
FORMAT = 1


def _as_task(value: Any) -> Any:
    return saved_task(**{"name": None, **value}) if isinstance(value, dict) else value


def _versions() -> dict[str, str]:
    """The versions of the relevant packages, cached because the look-up takes milliseconds."""
    return dict(_known_versions())


@cache
def _known_versions() -> dict[str, str]:
    names = ("mechgrok", "torch", "transformer-lens")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


class RunConfig(Settings):
    """A run's ``config.json``: task, model, training, seeds and the versions it was made with.

    Attributes:
        format: version of the folder's layout.
        task: the data, with its split and the split's seed.
        model: the network's shape and the scale of its initial weights.
        training: training settings; None for imported weights.
        seed: seed of the initial weights; None if unknown.
        start: what replaces drawn initial weights, if anything.
        popup: edge-popup's settings, if used.
        origin: the derivation from another run or from files, if any.
        versions: versions of the packages that made the run.
    """

    format: int = FORMAT
    task: Annotated[SerializeAsAny[Task], BeforeValidator(_as_task)] = Field(
        default_factory=lambda: make_task("add")
    )
    model: ModelConfig = MLPConfig()
    training: TrainingConfig | None = Field(default_factory=TrainingConfig)
    seed: Seed | None = Field(default=0, description="Seed of the initial weights.")
    start: Annotated[SerializeAsAny[Start] | None, BeforeValidator(read_start)] = Field(
        default=None,
        exclude_if=lambda start: start is None,
        description="Initial weights: run:ckpts@30000:weights=W_E, low-rank, waves, planted, or "
        "your own; default: drawn.",
    )
    popup: PopupConfig | None = None
    origin: (
        Annotated[
            TicketOrigin | PopupOrigin | ForkOrigin | ImportOrigin, Field(discriminator="kind")
        ]
        | None
    ) = None
    versions: dict[str, str] = Field(default_factory=_versions)

    @model_validator(mode="before")
    @classmethod
    def _imports_of_version_0_1(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Drop the settings and the seed that version 0.1 assumed for imports."""
        origin = fields.get("origin")
        if isinstance(origin, dict) and origin.get("kind") == "import" and "known" not in origin:
            return fields | {"training": None, "seed": None}
        return fields

    @model_validator(mode="after")
    def _check_origin(self) -> Self:
        if (self.training is None) != isinstance(self.origin, ImportOrigin):
            raise UserError(
                "Every run except an imported one has training settings, and an imported one has "
                "none."
            )
        if self.seed is None and self.origin is None:
            raise UserError("A run with fresh weights needs a seed.")
        return self

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        with user_code.reraise_as_user_error(self.task.name):
            _ = self.task.n_train
            _ = self.task.training_objective, self.task.d_output
        return self

    @model_validator(mode="after")
    def _check_phases(self) -> Self:
        for phase in self.training.phases if self.training else ():
            self.at(phase.at)
        return self

    def at(self, step: int) -> Self:
        """The configuration in force at a step: with the settings of all phases that have begun.

        Raises:
            UserError: the run was imported, or a phase has an invalid setting.
        """
        if self.training is None or not self.training.phases:
            return self
        fields = {**dict(self), "training": self.training.model_copy(update={"phases": ()})}
        for phase in self.training.phases:
            if phase.at <= step:
                fields["training"] = fields["training"].changed(phase)
                if phase.of_task:
                    fields["task"] = _other_split(fields["task"], phase)
        return self.make(**fields)

    @model_validator(mode="after")
    def _check_temperature(self) -> Self:
        has_temperature = self.training is not None and self.training.temperature != 1
        if has_temperature and (reason := self.task.no_softmax):
            raise UserError(
                f"A temperature divides the logits of a softmax, but {reason}: omit the "
                "temperature or choose --objective cross-entropy."
            )
        return self

    def user_code(self) -> set[str]:
        """The names of the user code in the configuration."""
        return set(_user_code_names(self.model_dump(mode="json")))

    @property
    def recipe(self) -> TrainingConfig:
        """The training settings.

        Raises:
            UserError: the run was imported.
        """
        if self.training is None:
            raise UserError(
                "The run was imported, so its training settings are not fully known and it cannot "
                "be trained further."
            )
        return self.training

    def inherited_training(self) -> dict[str, Any]:
        """The training settings that a derived run inherits: for an import, the known ones."""
        if self.training is not None:
            return self.training.model_dump(mode="json")
        assert isinstance(self.origin, ImportOrigin)
        return dict(self.origin.known)

    @classmethod
    def preset(cls, name: str = presets.DEFAULT, /, **settings: Any) -> "RunConfig":
        """The configuration of a preset, with settings that override it.

        Args:
            name: the preset, one of `mechgrok.configuration.presets.names`, or a TOML file of one.
            settings: settings by name, as in flags and sweeps, or by path in ``config.json``
                (``**{"task.label_seed": 3}``).

        Raises:
            UserError: the preset or a setting is unknown, or a value is out of range.

        Example:
            >>> RunConfig.preset("quick", weight_decay=3, p=23).training.weight_decay
            3.0
        """
        return _over(presets.load(name), settings)

    @classmethod
    def make(cls, **fields: Any) -> Self:
        """A configuration from plain values, as in ``config.json``.

        Raises:
            UserError: a value is unknown, out of range, or inconsistent with others.
        """
        newest = fields.get("format", FORMAT)
        if isinstance(newest, int) and newest > FORMAT:
            versions = fields.get("versions")
            made_by = versions.get("mechgrok") if isinstance(versions, dict) else None
            made_by = made_by or "a newer version"
            raise UserError(
                f"The run was made by mechgrok {made_by} in layout {newest}, but this version "
                f"reads layouts up to {FORMAT}: update mechgrok."
            )
        try:
            return cls(**fields)
        except ValidationError as error:
            raise UserError(sentence(error, "configuration", _known_options(fields))) from None


def _other_split(task: Task, phase: Phase) -> Task:
    """A task with a phase's settings.

    Raises:
        UserError: the split is fixed row by row, or a setting is out of range.
    """
    if task.fixed_split is not None and {"train_fraction", "split_seed"} & phase.of_task.keys():
        raise UserError(
            f"The phase at step {phase.at:,} cannot change the training set of {task.name}, whose "
            "split was imported row by row: drop train_fraction and split_seed."
        )
    return saved_task(**task.model_dump(mode="json") | phase.of_task)


def resolve_config(config: RunConfig | str | None, settings: Mapping[str, Any]) -> RunConfig:
    """A configuration, or a preset's, with settings that override it.

    Args:
        config: a configuration, or a preset by name or file; default: the default preset.
        settings: settings by name, as for `RunConfig.preset`.

    Raises:
        UserError: a setting is unknown, or a value is out of range.
    """
    if not isinstance(config, RunConfig):
        return RunConfig.preset(presets.DEFAULT if config is None else config, **settings)
    if not settings:
        return config
    return _over(config.model_dump(mode="json"), settings)


def _over(fields: dict[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """A configuration from fields, with settings by name that override them."""
    from mechgrok.configuration.settings import nest, trust_and_normalize

    normalized = {name: trust_and_normalize(name, value) for name, value in settings.items()}
    return RunConfig.make(**presets.merge(fields, nest(normalized)))


#: The settings whose value may name user code.
_NAMING_CODE = {"name", "operations", "objective", "kind", "method", "metrics"}


def _user_code_names(saved: Any, naming: bool = False) -> Iterator[str]:
    if isinstance(saved, dict):
        for key, value in saved.items():
            yield from _user_code_names(value, key in _NAMING_CODE)
    elif isinstance(saved, list):
        for value in saved:
            yield from _user_code_names(value, naming)
    elif naming and user_code.is_own(saved):
        yield saved


def _known_options(fields: Mapping[str, Any]) -> Iterator[str]:
    """The names of all settings, including the options of these fields' optimizer."""
    yield from _options(RunConfig)
    yield from training_options()
    training = fields.get("training")
    if isinstance(training, Mapping) and "optimizer" in training:
        yield from options_of(training["optimizer"])


def _options(part: Any) -> set[str]:
    """The names of a configuration's options, nested ones included."""
    names = set(part.model_fields)
    for field in part.model_fields.values():
        for type_ in (field.annotation, *get_args(field.annotation)):
            if isinstance(type_, type) and issubclass(type_, BaseModel):
                names |= _options(type_)
    return names
