"""Everything that is needed to make a run again."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from mechgrok import own_code
from mechgrok.errors import UserError, sentence
from mechgrok.models.config import MLPConfig
from mechgrok.models.making import ModelConfig
from mechgrok.tasks.base import Seed, Task
from mechgrok.tasks.making import make_task, saved_task
from mechgrok.training.optimizers import OPTIMIZERS, AdamW, Optimizer, choose_optimizer
from mechgrok.training.schedule import usual_interval

#: The version of the run folder's layout; a folder with a higher one was made by newer code.
FORMAT = 1


#: The training settings of version 0.1, which wrote every optimizer's options into every run.
_VERSION_0_1 = {"optimizer", "betas", "momentum", "l1", "l2", "batch_seed", "checkpoint_every"}


class TrainingConfig(BaseModel):
    """How the weights are trained.

    An optimizer's own options may stand beside the others: ``TrainingConfig(optimizer="sgd",
    momentum=0.9)``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[int, Field(ge=0, le=10**8)] = Field(
        default=30_000, description="Optimizer steps; with the full batch, epochs."
    )
    batch_size: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Examples per step; all unless given."
    )
    batch_seed: Seed = Field(default=0, description="Seed of the mini-batches' order.")
    optimizer: Annotated[SerializeAsAny[Optimizer], BeforeValidator(choose_optimizer)] = Field(
        default=AdamW(), description="adamw, adam, sgd, or your own: file.py:Name."
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
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="Threads. More help large networks on an idle machine, and hurt everything on "
        "a busy one.",
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_checkpoints(cls, fields: dict[str, Any]) -> dict[str, Any]:
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
    def _optimizer_s_options(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Gather the optimizer's options, wherever they stand."""
        chosen = fields.get("optimizer", cls.model_fields["optimizer"].default)
        options = {"name": chosen} if isinstance(chosen, str) else chosen
        if isinstance(options, Optimizer):
            options = options.model_dump()
        if not isinstance(options, dict) or not isinstance(options.get("name"), str):
            return fields
        own = OPTIMIZERS.load(options["name"])
        of_some = {name for each in OPTIMIZERS.own for name in OPTIMIZERS.load(each).model_fields}
        of_some |= set(getattr(own, "model_fields", {}))
        beside = {key: fields[key] for key in fields if key in of_some - set(cls.model_fields)}
        if fields.keys() >= _VERSION_0_1:
            beside = {key: value for key, value in beside.items() if key in own.model_fields}
        kept = {key: fields[key] for key in fields if key not in of_some - set(cls.model_fields)}
        return kept | {"optimizer": options | beside}


class PopupConfig(BaseModel):
    """Edge-popup: which edges are on is trained, by a score for each (`mechgrok.masks.popup`).

    Attributes:
        rate: the share of each weight's edges that is off.
        train_weights: train the weights too, instead of freezing them.
        score_weight_decay: weight decay on the scores.
        score_seed: seeds the scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Annotated[float, Field(ge=0, lt=1)] = 0.6
    train_weights: bool = False
    score_weight_decay: Annotated[float, Field(ge=0)] = 0.0
    score_seed: Seed = 0


class TicketOrigin(BaseModel):
    """How a ticket, or a control for one, was taken from its parent (`mechgrok.runs.tickets`).

    Attributes:
        parent: the parent's folder, relative to the ticket's.
        step: of the parent's checkpoint that was pruned.
        method: how its weights were scored.
        rate: the share of the entries of all matrices that was pruned.
        scope: whether weights compete for being kept with all others or within their own matrix.
        rounds: of an iterative method.
        seed: of random scores and of the shuffle.
        rewind: the step of the parent whose weights the ticket starts from.
        reinit: seeds fresh weights to start from instead.
        shuffle_mask: each weight's mask was shuffled: same density, other places.
        prune_only: "dead": the edges of the mask's dead neurons were pruned, and nothing else.
        revive: "dead": the edges of the mask's dead neurons were put back.
        control: no mask; instead all weights times r_p = ‖θ ⊙ m‖_p / ‖θ‖_p, p = 1 or 2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ticket"] = "ticket"
    parent: str
    step: int
    method: str = "magnitude"
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.6
    scope: Literal["global", "layer"] = "global"
    rounds: Annotated[int, Field(ge=1)] = 1
    seed: Seed = 0
    rewind: int = 0
    reinit: Seed | None = None
    shuffle_mask: bool = False
    prune_only: Literal["dead"] | None = None
    revive: Literal["dead"] | None = None
    control: Literal["l1", "l2"] | None = None
    options: dict[str, Any] = Field(default={}, description="Further options of the method.")


class PopupOrigin(BaseModel):
    """Where the weights came from in which edge-popup looks for a network.

    Attributes:
        parent: the parent's folder, relative to the run's.
        step: of the parent's checkpoint whose weights were taken.
        width: how many times wider than the parent the network is; then its weights are fresh.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["popup"] = "popup"
    parent: str
    step: int
    width: Annotated[int, Field(ge=1)] = 1


class ImportOrigin(BaseModel):
    """Where weights that were trained elsewhere came from (`mechgrok.runs.importing`).

    Attributes:
        files: the names of the files.
        layout: the layout that was recognized in them.
        known: the training settings that the files, or the person who imported them, tell.
        assumed: what nothing tells and was chosen all the same, as paths into the configuration.
        split: how the split is known: "file" holds it, a person gave it as an "option", or it was
            found by its "seed" and has the losses that the file tells; None where it is unknown.
        steps_known: whether the steps of the weights are; else they stand at step 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["import"] = "import"
    files: tuple[str, ...]
    layout: str
    known: dict[str, Any] = Field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    split: Literal["file", "option", "seed"] | None = None
    steps_known: bool = True

    @property
    def caveat(self) -> str | None:
        """What to bear in mind where training and test set are told apart; None for nothing."""
        if self.split is not None:
            return None
        return "the split it was trained on is unknown: train and test are two random parts of all"


def _as_task(value: Any) -> Any:
    return saved_task(**{"name": None, **value}) if isinstance(value, dict) else value


class RunConfig(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    task: Annotated[SerializeAsAny[Task], BeforeValidator(_as_task)] = Field(
        default_factory=lambda: make_task("add")
    )
    model: ModelConfig = MLPConfig()
    training: TrainingConfig | None = Field(default_factory=TrainingConfig)
    seed: Seed | None = 0
    popup: PopupConfig | None = None
    origin: (
        Annotated[TicketOrigin | PopupOrigin | ImportOrigin, Field(discriminator="kind")] | None
    ) = None
    versions: dict[str, str] = Field(
        default_factory=lambda: {
            "python": platform.python_version(),
            **{name: version(name) for name in ("mechgrok", "torch", "transformer-lens")},
        }
    )

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
        _ = self.task.n_train
        return self

    def own_code(self) -> set[str]:
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
    def make(cls, **fields: Any) -> Self:
        """A configuration from plain values, as the command line and ``config.json`` hold them.

        Raises:
            UserError: a value is unknown, out of range, or does not fit the others.
        """
        newest = fields.get("format", FORMAT)
        if isinstance(newest, int) and newest > FORMAT:
            made_by = fields.get("versions", {}).get("mechgrok", "a newer version")
            raise UserError(
                f"The run was made by mechgrok {made_by} in layout {newest}, but this version "
                f"reads layouts up to {FORMAT}: update mechgrok."
            )
        try:
            return cls(**fields)
        except ValidationError as error:
            raise UserError(sentence(error, "configuration", _options(cls))) from None


#: The settings whose value names code.
_NAMING = {"name", "operations", "objective", "kind", "method"}


def _own_names(saved: Any, naming: bool = False) -> Iterator[str]:
    if isinstance(saved, dict):
        for key, value in saved.items():
            yield from _own_names(value, key in _NAMING)
    elif isinstance(saved, list):
        for value in saved:
            yield from _own_names(value, naming)
    elif naming and own_code.is_own(saved):
        yield saved


def _options(part: Any) -> set[str]:
    """The names of a configuration's options, those of its parts too."""
    names = set(part.model_fields)
    for field in part.model_fields.values():
        for each in (field.annotation, *get_args(field.annotation)):
            if isinstance(each, type) and issubclass(each, BaseModel):
                names |= _options(each)
    return names
