"""What a run is made from: the choices of a person, and the origin that ``config.json`` keeps."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mechgrok.errors import UserError
from mechgrok.fields import Settings
from mechgrok.masks.config import PopupConfig, Rate
from mechgrok.masks.methods import SCORES
from mechgrok.tasks.base import Seed


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


class PopupOptions(PopupConfig):
    """What may be chosen when edge-popup looks for a network inside a run's weights."""

    at: Annotated[At, _Step] = Field(
        default="mem", description="Step of the weights: a number, mem (θ_mem), gen or last."
    )
    width: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, description="With step 0: a fresh network, so many times as wide."
    )
    preset: Literal["paper-code", "paper-text"] | None = Field(
        default=None,
        description="The settings that the paper's authors run, or those that their text has.",
    )
    split_seed: Seed | None = Field(
        default=None,
        description="Another split than the parent's: its weights have seen a part of this test "
        "set.",
    )


class Pruning(Settings):
    """How a ticket, or a control for one, is taken from its parent (`mechgrok.derived.tickets`)."""

    rate: Rate = Field(
        default=0.6, description="Share of the entries of all matrices that is removed."
    )
    method: str = Field(
        default="magnitude",
        description=f"How weights are scored: {', '.join(SCORES.own)}, or your own, "
        "file.py:function; or imp, which trains, prunes and rewinds in rounds. Options after "
        "colons: synflow:rounds=50.",
    )
    scope: Literal["global", "layer"] = Field(
        default="global", description="global (one threshold) or layer (the rate in each matrix)."
    )
    rounds: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="Rounds of imp (3 unless given), or of a method that has them."
    )
    seed: Seed = Field(
        default=0, description="Seed of the shuffle, and of a method that draws its scores."
    )
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
        default={}, description="Further options of the method, by name."
    )


class TicketOptions(Pruning):
    """What may be chosen when a ticket is taken."""

    at: Annotated[At | None, _Step] = Field(
        default=None,
        description="Step to prune: a number, mem, gen or last; unless given, last for a method "
        "that scores trained weights, else 0.",
    )
    rewind: Annotated[At, _Step] = Field(default=0, description="The parent's step to rewind to.")


class TicketOrigin(Pruning):
    """How a ticket was taken: the parent's folder, relative to its own, and the steps in it."""

    kind: Literal["ticket"] = "ticket"
    parent: str
    step: int
    rewind: int = 0


class PopupOrigin(Settings):
    """Where the weights came from in which edge-popup looks for a network.

    Attributes:
        parent: the parent's folder, relative to the run's.
        step: of the parent's checkpoint whose weights were taken.
        width: how many times wider than the parent the network is; then its weights are fresh.
    """

    kind: Literal["popup"] = "popup"
    parent: str
    step: int
    width: Annotated[int, Field(ge=1)] = 1


class ForkOrigin(Settings):
    """A run that goes on from a step of another, with other settings.

    Attributes:
        parent: the parent's folder, relative to the run's.
        step: of the parent's checkpoint that is the fork's step 0.
        optimizer_state: whether the optimizer's moments were taken along; else they began anew.
    """

    kind: Literal["fork"] = "fork"
    parent: str
    step: int
    optimizer_state: bool = False


class ImportOrigin(Settings):
    """Where weights that were trained elsewhere came from (`mechgrok.exchange.importing`).

    Attributes:
        files: the names of the files, or of the folder that held them.
        layout: the layout that was recognized in them.
        known: the training settings that the files, or the person who imported them, tell.
        assumed: what nothing tells and was chosen all the same, as paths into the configuration.
        split: how the split is known: "file" holds it, or a person gave it as an "option"; None
            where it is unknown. Imports of version 0.2 may have it by its "seed", as the losses in
            the file prove.
        steps_known: whether the steps of the weights are; else they stand at step 0.
        compared: whether the outputs were compared with the file's own forward pass, which they
            equal then; None in imports of version 0.2.
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
        """What to bear in mind where training and test set are told apart; None for nothing."""
        if self.split is not None:
            return None
        return "the split it was trained on is unknown: train and test are two random parts of all"
