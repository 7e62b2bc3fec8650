"""Everything that is needed to make a run again."""

import platform
from importlib.metadata import version
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from mechgrok.errors import UserError, sentence
from mechgrok.models.config import MLPConfig
from mechgrok.models.making import ModelConfig
from mechgrok.tasks import Task, make_task, saved_task
from mechgrok.training.schedule import usual_interval

#: The version of the run folder's layout; a folder with a higher one was made by newer code.
FORMAT = 1


class TrainingConfig(BaseModel):
    """How the weights are trained.

    Attributes:
        steps: optimizer steps; with the full batch one step is one epoch.
        batch_size: examples per step; None for the full batch.
        optimizer: AdamW, Adam (weight decay added to the gradient), or SGD.
        learning_rate: the step size.
        weight_decay: decoupled for AdamW (θ ← θ − lr · weight_decay · θ), else added to the
            gradient.
        betas: decay rates of Adam's moments.
        momentum: of SGD.
        l1: adds l1 · Σ|θ| to the loss.
        l2: adds l2 · Σθ² to the loss.
        batch_seed: seeds the order of mini-batches.
        until_grokked: stop this many steps after t_gen; None to use all steps.
        checkpoint_every: steps between checkpoints (four times as many in the first five
            intervals); about a 300th of all steps unless given.
        checkpoint_at: further steps to save.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[int, Field(ge=0)] = 30_000
    batch_size: Annotated[int, Field(ge=1)] | None = None
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.98,
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    l1: Annotated[float, Field(ge=0)] = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0
    batch_seed: Annotated[int, Field(ge=0)] = 0
    until_grokked: Annotated[int, Field(ge=0)] | None = None
    checkpoint_every: Annotated[int, Field(ge=1)] = 100
    checkpoint_at: tuple[Annotated[int, Field(ge=0)], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _usual_checkpoints(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("checkpoint_every") is None:
            steps = fields.get("steps", cls.model_fields["steps"].default)
            if isinstance(steps, int) and steps >= 0:
                fields = fields | {"checkpoint_every": usual_interval(steps)}
        return fields


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
    score_seed: Annotated[int, Field(ge=0)] = 0


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
    method: Literal["magnitude", "random", "snip", "grasp", "synflow", "imp"] = "magnitude"
    rate: Annotated[float, Field(ge=0, lt=1)] = 0.6
    scope: Literal["global", "layer"] = "global"
    rounds: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    rewind: int = 0
    reinit: Annotated[int, Field(ge=0)] | None = None
    shuffle_mask: bool = False
    prune_only: Literal["dead"] | None = None
    revive: Literal["dead"] | None = None
    control: Literal["l1", "l2"] | None = None


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

    The run's training settings are those that the files tell, and defaults where they tell
    nothing; the split is not the one that the weights were trained on.

    Attributes:
        files: the names of the files.
        layout: the layout that was recognized in them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["import"] = "import"
    files: tuple[str, ...]
    layout: str


def _as_task(value: Any) -> Any:
    return saved_task(**{"name": None, **value}) if isinstance(value, dict) else value


class RunConfig(BaseModel):
    """A run's ``config.json``: task, model, training, seeds and the versions it was made with.

    Attributes:
        format: version of the folder's layout.
        task: the data, with its split and the split's seed.
        model: the network's shape and the scale of its initial weights.
        training: the loop's settings.
        seed: seeds the initial weights.
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
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    seed: Annotated[int, Field(ge=0)] = 0
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

    @model_validator(mode="after")
    def _split_has_two_sides(self) -> Self:
        _ = self.task.n_train
        return self

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
            raise UserError(sentence(error, "configuration")) from None
