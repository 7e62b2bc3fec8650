"""Everything that is needed to make a run again."""

import inspect
import platform
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

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
from mechgrok.errors import UserError, near, sentence
from mechgrok.models.config import MLPConfig
from mechgrok.models.making import ModelConfig
from mechgrok.tasks.base import Seed, Task
from mechgrok.tasks.making import make_task, saved_task
from mechgrok.training.optimizers import OPTIMIZERS, AdamW, Optimizer, choose_optimizer
from mechgrok.training.schedule import usual_interval

Choices = TypeVar("Choices", bound=BaseModel)
Function = TypeVar("Function", bound=Callable[..., Any])

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
        options = {"name": chosen} if isinstance(chosen, str) else chosen
        own: type[BaseModel] = type(chosen)
        if isinstance(options, dict) and isinstance(options.get("name"), str):
            own = OPTIMIZERS.load(options["name"])
        elif not isinstance(chosen, Optimizer):
            return fields
        of_some = {*training_options(), *own.model_fields} - {"name", *cls.model_fields}
        beside = {key: fields[key] for key in fields if key in of_some}
        if fields.keys() >= _VERSION_0_1:
            beside = {key: value for key, value in beside.items() if key in own.model_fields}
        if isinstance(chosen, Optimizer) and not beside:
            return fields
        if isinstance(chosen, Optimizer):
            options = chosen.model_dump()
        kept = {key: fields[key] for key in fields if key not in of_some}
        return kept | {"optimizer": options | beside}


def as_step(value: Any) -> Any:
    """A step of a run from its words: a number, or ``mem``, ``gen`` or ``last``.

    Raises:
        UserError: the words are none of these.
    """
    if not isinstance(value, str) or value in ("mem", "gen", "last"):
        return value
    try:
        return int(value)
    except ValueError:
        raise UserError(f"{value} is no step: give a number, mem, gen or last.") from None


#: A step of a run: a number, or "mem" (the first checkpoint that has memorized all of the training
#: set), "gen" (the first at or after t_gen) or "last".
At = int | Literal["mem", "gen", "last"]
_Step = BeforeValidator(as_step)
#: A share that is removed, in [0, 1).
Rate = Annotated[float, Field(ge=0, lt=1)]


class PopupConfig(BaseModel):
    """Edge-popup: which edges are on is trained, by a score for each (`mechgrok.masks.popup`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Rate = Field(default=0.6, description="Share of each weight's edges that is off.")
    train_weights: bool = Field(
        default=False, description="Train the weights too, instead of freezing them."
    )
    score_weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="Weight decay on the scores; the parent's own is on the weights."
    )
    score_seed: Seed = Field(default=0, description="Seed of the scores.")


class PopupOptions(PopupConfig):
    """What may be chosen when edge-popup looks for a network inside a run's weights."""

    at: Annotated[At, _Step] = Field(
        default="mem", description="Step of the weights: a number, mem (θ_mem), gen or last."
    )
    width: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, description="With step 0: a fresh network, so many times as wide."
    )


class Pruning(BaseModel):
    """How a ticket, or a control for one, is taken from its parent (`mechgrok.runs.tickets`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Rate = Field(
        default=0.6, description="Share of the entries of all matrices that is removed."
    )
    method: str = Field(
        default="magnitude",
        description="How weights are scored: magnitude, random, snip, grasp, synflow, or your own, "
        "file.py:function; or imp, which trains, prunes and rewinds in rounds.",
    )
    scope: Literal["global", "layer"] = Field(
        default="global", description="global (one threshold) or layer (the rate in each matrix)."
    )
    rounds: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="Of imp (3 unless given) and synflow (100)."
    )
    seed: Seed = Field(default=0, description="Seed of random pruning and of the shuffle.")
    shuffle_mask: bool = Field(
        default=False, description="Shuffle each matrix's mask: same density, other places."
    )
    prune_only: Literal["dead"] | None = Field(
        default=None, description="dead: prune the edges of the mask's dead neurons, nothing else."
    )
    revive: Literal["dead"] | None = Field(
        default=None, description="dead: put the edges of the mask's dead neurons back."
    )
    control: Literal["l1", "l2"] | None = Field(
        default=None,
        description="l1 or l2: no mask; all weights times r_p = ‖θ ⊙ m‖_p / ‖θ‖_p instead.",
    )
    reinit: Seed | None = Field(
        default=None, description="Start from fresh weights with this seed instead."
    )
    options: dict[str, Any] = Field(
        default={}, description="Further options of the method: temperature of grasp."
    )


class TicketOptions(Pruning):
    """What may be chosen when a ticket is taken."""

    at: Annotated[At | None, _Step] = Field(
        default=None,
        description="Step to prune: a number, mem, gen or last; unless given, last for magnitude "
        "and imp, else 0.",
    )
    rewind: Annotated[At, _Step] = Field(default=0, description="The parent's step to rewind to.")


class TicketOrigin(Pruning):
    """How a ticket was taken: the parent's folder, relative to its own, and the steps in it."""

    kind: Literal["ticket"] = "ticket"
    parent: str
    step: int
    rewind: int = 0


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


class ForkOrigin(BaseModel):
    """A run that goes on from a step of another, with other settings.

    Attributes:
        parent: the parent's folder, relative to the run's.
        step: of the parent's checkpoint that is the fork's step 0.
        optimizer_state: whether the optimizer's moments were taken along; else they began anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["fork"] = "fork"
    parent: str
    step: int
    optimizer_state: bool = False


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
    seed: Seed | None = Field(default=0, description="Seed of the initial weights.")
    popup: PopupConfig | None = None
    origin: (
        Annotated[
            TicketOrigin | PopupOrigin | ForkOrigin | ImportOrigin, Field(discriminator="kind")
        ]
        | None
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
            raise UserError(
                sentence(error, "configuration", [*_options(cls), *training_options()])
            ) from None


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


def split_options(
    given: Mapping[str, Any], choices: type[BaseModel], what: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of a function that makes a run from a run, apart: its own, and the training's.

    Args:
        given: the keywords.
        choices: the class whose fields are the function's own.
        what: the function, in words.

    Raises:
        UserError: a keyword belongs to neither; one like it is offered.
    """
    own = {name: value for name, value in given.items() if name in choices.model_fields}
    training = {name: value for name, value in given.items() if name not in own}
    known = training_options()
    for name in training:
        if name not in known:
            raise UserError(
                f"{what} has no option {name!r}{near(name, [*choices.model_fields, *known])}."
            )
    return own, training


def training_options() -> list[str]:
    """The names of all settings of the training, those of optimizers too."""
    of_optimizers = [name for each in OPTIMIZERS.own for name in OPTIMIZERS.load(each).model_fields]
    return list(dict.fromkeys([*TrainingConfig.model_fields, *of_optimizers]))


def checked(choices: type[Choices], given: Mapping[str, Any], what: str) -> Choices:
    """A configuration of the class ``choices``.

    Raises:
        UserError: a value is out of range.
    """
    try:
        return choices(**given)
    except ValidationError as error:
        raise UserError(sentence(error, what, choices.model_fields)) from None


def with_keywords(*choices: type[BaseModel]) -> Callable[[Function], Function]:
    """Decorator: a function's ``**options`` are the fields of these classes, and are shown so.

    They appear in its signature, for completion in a notebook, and in its docstring.
    """

    def describe(function: Function) -> Function:
        own = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        fields = {
            name: field
            for each in choices
            for name, field in each.model_fields.items()
            if field.description
        }
        keywords = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.annotation,
            )
            for name, field in fields.items()
        ]
        function.__signature__ = inspect.Signature([*own, *keywords])  # type: ignore[attr-defined]
        lines = (f"    {name}: {field.description}" for name, field in fields.items())
        function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Options:", *lines])
        return function

    return describe
