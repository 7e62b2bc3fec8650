"""Everything that is needed to make a run again."""

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
from mechgrok.configuration.training import TrainingConfig, training_options
from mechgrok.errors import UserError, sentence
from mechgrok.fields import Settings
from mechgrok.masks.config import PopupConfig
from mechgrok.models.config import MLPConfig
from mechgrok.models.making import ModelConfig
from mechgrok.tasks.base import Seed, Task
from mechgrok.tasks.making import make_task, saved_task

#: The version of the run folder's layout; a folder with a higher one was made by newer code.
FORMAT = 1


def _as_task(value: Any) -> Any:
    return saved_task(**{"name": None, **value}) if isinstance(value, dict) else value


def _versions() -> dict[str, str]:
    """Of the packages that make runs here, looked up once: it takes milliseconds."""
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
        training: the loop's settings; None for weights that were trained elsewhere.
        seed: seeds the initial weights; None where they came from elsewhere and no seed is known.
        popup: edge-popup's settings, where scores for edges are trained.
        origin: the run, or the files, that this one was made from, and how.
        versions: of the packages that made the run.
    """

    format: int = FORMAT
    task: Annotated[SerializeAsAny[Task], BeforeValidator(_as_task)] = Field(
        default_factory=lambda: make_task("add")
    )
    model: ModelConfig = MLPConfig()
    training: TrainingConfig | None = Field(default_factory=TrainingConfig)
    seed: Seed | None = Field(default=0, description="Seed of the initial weights.")
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
        """Forget the settings and the seed that were made up where files told nothing."""
        origin = fields.get("origin")
        if isinstance(origin, dict) and origin.get("kind") == "import" and "known" not in origin:
            return fields | {"training": None, "seed": None}
        return fields

    @model_validator(mode="after")
    def _trained_somewhere(self) -> Self:
        if (self.training is None) != isinstance(self.origin, ImportOrigin):
            raise UserError(
                "A run has settings of its training unless it was imported, and then it has none."
            )
        if self.seed is None and self.origin is None:
            raise UserError("A run whose weights come from no other run or file needs a seed.")
        return self

    @model_validator(mode="after")
    def _split_has_two_sides(self) -> Self:
        with user_code.reraise_as_user_error(self.task.name):
            _ = self.task.n_train
            _ = self.task.training_objective, self.task.d_output
        return self

    def user_code(self) -> set[str]:
        """The names of a person's own code that the run is made with."""
        saved = self.model_dump(mode="json")
        return set(_own_names(saved))

    @property
    def recipe(self) -> TrainingConfig:
        """The settings of the training, where it was one of ours.

        Raises:
            UserError: the weights were trained elsewhere.
        """
        if self.training is None:
            raise UserError(
                "The run was imported: how its weights were trained is not known well enough to "
                "train on."
            )
        return self.training

    def inherited_training(self) -> dict[str, Any]:
        """The settings that a run made from this one begins with: of an import, those known."""
        if self.training is not None:
            return self.training.model_dump(mode="json")
        assert isinstance(self.origin, ImportOrigin)
        return dict(self.origin.known)

    @classmethod
    def preset(cls, name: str = presets.DEFAULT, /, **settings: Any) -> "RunConfig":
        """The configuration of a preset, with other settings over the preset's.

        Args:
            name: of the preset; `mechgrok.configuration.presets.names` tells all.
            settings: by their names, as flags and sweeps have them, or by their paths in
                ``config.json`` (in a dictionary, ``**{"task.label_seed": 3}``).

        Raises:
            UserError: there is no such preset or setting, or a value is out of range.

        Example:
            >>> RunConfig.preset("quick", weight_decay=3, p=23).training.weight_decay
            3.0
        """
        return _over(presets.load(name), settings)

    @classmethod
    def make(cls, **fields: Any) -> Self:
        """A configuration from plain values, as the command line and ``config.json`` hold them.

        Raises:
            UserError: a value is unknown, out of range, or does not fit the others.
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
            raise UserError(
                sentence(error, "configuration", [*_options(cls), *training_options()])
            ) from None


def resolve_config(config: RunConfig | str | None, settings: Mapping[str, Any]) -> RunConfig:
    """What a person asks for in Python: a configuration, or a preset's, with settings over it.

    Args:
        config: a whole configuration, or the name of a preset; the default preset unless given.
        settings: by name, as of `RunConfig.preset`.

    Raises:
        UserError: a setting is none, or a value is out of range.
    """
    if not isinstance(config, RunConfig):
        return RunConfig.preset(presets.DEFAULT if config is None else config, **settings)
    if not settings:
        return config
    return _over(config.model_dump(mode="json"), settings)


def _over(fields: dict[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """A configuration from fields, with settings of a person's over them."""
    from mechgrok.configuration.settings import nest, trust_and_normalize

    given = {name: trust_and_normalize(name, value) for name, value in settings.items()}
    return RunConfig.make(**presets.merge(fields, nest(given)))


#: The settings whose value names code.
_NAMING = {"name", "operations", "objective", "kind", "method", "metrics"}


def _own_names(saved: Any, naming: bool = False) -> Iterator[str]:
    if isinstance(saved, dict):
        for key, value in saved.items():
            yield from _own_names(value, key in _NAMING)
    elif isinstance(saved, list):
        for value in saved:
            yield from _own_names(value, naming)
    elif naming and user_code.is_own(saved):
        yield saved


def _options(part: Any) -> set[str]:
    """The names of a configuration's options, those of its parts too."""
    names = set(part.model_fields)
    for field in part.model_fields.values():
        for each in (field.annotation, *get_args(field.annotation)):
            if isinstance(each, type) and issubclass(each, BaseModel):
                names |= _options(each)
    return names
