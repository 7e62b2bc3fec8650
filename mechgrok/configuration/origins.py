"""Derived runs: the options of tickets, edge-popup and forks, and the recorded origin."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mechgrok.errors import UserError
from mechgrok.fields import Settings
from mechgrok.masks.config import PopupConfig, Rate
from mechgrok.masks.methods import SCORES
from mechgrok.tasks.base import Seed


def as_step(value: Any) -> Any:
    """Parse a step of a run: a number, ``mem``, ``gen`` or ``last``.

    Raises:
        UserError: the text is none of these.
    """
    if not isinstance(value, str) or value in ("mem", "gen", "last"):
        return value
    try:
        return int(value)
    except ValueError:
        raise UserError(f"{value} is not a step: give a number, mem, gen or last.") from None


def as_seed(value: Any) -> Any:
    """Parse a seed: a number, or ``own``.

    Raises:
        UserError: the text is neither.
    """
    if not isinstance(value, str) or value == "own":
        return value
    try:
        return int(value)
    except ValueError:
        raise UserError(f"{value} is not a seed: give a number, or own.") from None


#: A step of a run: a number, "mem" (the first checkpoint with the whole training set memorized),
#: "gen" (the first checkpoint at or after t_gen) or "last".
At = int | Literal["mem", "gen", "last"]
_Step = BeforeValidator(as_step)


class PopupOptions(PopupConfig):
    """Options of edge-popup on a run's weights."""

    at: Annotated[At, _Step] = Field(
        default="mem", description="Step of the weights: a number, mem (θ_mem), gen or last."
    )
    width: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, description="With step 0: a fresh network, this many times as wide."
    )
    preset: Literal["paper-code", "paper-text"] | None = Field(
        default=None,
        description="Settings of the paper's code or of its text.",
    )
    split_seed: Seed | None = Field(
        default=None,
        description="Seed of a new split; the parent's weights were trained on part of its test "
        "set.",
    )


class Pruning(Settings):
    """The derivation of a ticket or a control from its parent (`mechgrok.derived.tickets`)."""

    rate: Rate = Field(default=0.6, description="Share of all matrix entries to prune.")
    method: str = Field(
        default="magnitude",
        description=f"Pruning method: {', '.join(SCORES.own)}, or your own, file.py:function; or "
        "imp, which trains, prunes and rewinds in rounds. Options after colons: synflow:rounds=50.",
    )
    scope: Literal["global", "layer"] = Field(
        default="global", description="global (one threshold) or layer (one per matrix)."
    )
    rounds: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="Rounds of imp (default: 3) or of an iterative method."
    )
    seed: Seed = Field(default=0, description="Seed of the shuffle and of random scores.")
    shuffle_mask: bool = Field(
        default=False, description="Shuffle the mask within each matrix, keeping its density."
    )
    prune_only: Literal["dead"] | None = Field(
        default=None, description="dead: prune only the edges of the mask's dead neurons."
    )
    revive: Literal["dead"] | None = Field(
        default=None, description="dead: restore the edges of the mask's dead neurons."
    )
    control: Literal["l1", "l2"] | None = Field(
        default=None,
        description="l1 or l2: instead of masking, scale all weights by r_p = ‖θ ⊙ m‖_p / ‖θ‖_p.",
    )
    options: dict[str, Any] = Field(
        default={}, description="Further options of the method, by name."
    )


class TicketOptions(Pruning):
    """Options of tickets."""

    at: Annotated[At | None, _Step] = Field(
        default=None,
        description="Step to prune: a number, mem, gen or last; default: last for methods that "
        "score trained weights, else 0.",
    )
    rewind: Annotated[At, _Step] = Field(default=0, description="The parent's step to rewind to.")
    reinit: Annotated[Seed | Literal["own"] | None, BeforeValidator(as_seed)] = Field(
        default=None,
        description="Start from fresh weights with this seed; own: with the run's seed, so that a "
        "ticket of a ticket starts from the dense network's weights.",
    )


class TicketOrigin(Pruning):
    """The origin of a ticket: its parent's folder, relative to its own, and the steps used."""

    kind: Literal["ticket"] = "ticket"
    parent: str
    step: int
    rewind: int = 0
    reinit: Seed | None = None


class PopupOrigin(Settings):
    """The origin of an edge-popup run.

    Attributes:
        parent: the parent's folder, relative to the run's.
        step: the parent's checkpoint whose weights are used.
        width: the network's width in units of the parent's; above 1 its weights are fresh.
    """

    kind: Literal["popup"] = "popup"
    parent: str
    step: int
    width: Annotated[int, Field(ge=1)] = 1


class ForkOrigin(Settings):
    """The origin of a fork: a run that continues another from one of its steps.

    Attributes:
        parent: the parent's folder, relative to the run's.
        step: the parent's checkpoint from which the fork continues. Forks of version 0.2 count
            their steps from it.
        optimizer_state: whether the optimizer's state was copied rather than initialized.
    """

    kind: Literal["fork"] = "fork"
    parent: str
    step: int
    optimizer_state: bool = False


class ImportOrigin(Settings):
    """The origin of an imported run (`mechgrok.exchange.importing`).

    Attributes:
        files: the names of the files, or of their folder.
        layout: the recognized layout.
        known: training settings given in the files or by the user.
        assumed: settings that had to be assumed, as paths into the configuration.
        split: where the split is from: the "file" or an "option"; None if unknown. Imports of
            version 0.2 may have "seed": a seed that reproduces the losses in the file.
        steps_known: whether the steps of the weights are known; otherwise they are at step 0.
        compared: whether a second forward pass on the file's tensors gave equal outputs; None in
            imports of version 0.2.
    """

    kind: Literal["import"] = "import"
    files: tuple[str, ...]
    layout: str
    known: dict[str, Any] = Field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    split: Literal["file", "option", "seed"] | None = None
    steps_known: bool = True
    compared: bool | None = None

    @property
    def caveat(self) -> str | None:
        """A caveat about results on training and test sets; None if there is none."""
        if self.split is not None:
            return None
        return "the split it was trained on is unknown: train and test are two random parts of all"
