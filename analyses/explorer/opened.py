"""The runs that pages show, and the fork that is being trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from mechgrok.analyses.explorer.tables import Shown
from mechgrok.analyses.explorer.training_on import Fork, constraints_of
from mechgrok.errors import UserError
from mechgrok.interventions import Intervention
from mechgrok.runs import Run
from mechgrok.runs.folder import is_run


class Opened:
    """The runs of an explorer.

    A page refers to runs by their numbers in ``known``, which only grows.

    Attributes:
        known: the runs that a page can show.
        visible: the numbers of those that the next page shows.
        fork: the newest fork; None before the first.
    """

    def __init__(self, runs: Mapping[str, Run]) -> None:
        self.known = [Shown(label, run) for label, run in runs.items()]
        self.visible = list(range(len(self.known)))
        self.fork: Fork | None = None
        self._added: Fork | None = None

    @property
    def shown(self) -> list[Shown]:
        """The visible runs."""
        return [self.known[number] for number in self.visible]

    def show(self, numbers: Sequence[int]) -> None:
        """Choose the runs of the next page.

        Raises:
            UserError: no run is chosen, or one is unknown.
        """
        if not numbers or not set(numbers) <= set(range(len(self.known))):
            raise UserError("The page shows one run or several: choose at least one.")
        self.visible = sorted(set(numbers))

    def start_fork(
        self,
        run: Run,
        step: int,
        interventions: Sequence[Intervention],
        freeze: Sequence[str],
        steps: int | None,
        settings: Mapping[str, float],
    ) -> None:
        """Start to train a fork of a run, with constraints that hold interventions.

        Raises:
            UserError: another one is being trained, the number of steps is missing, or the network
                is too large.
        """
        if self.fork is not None and not self.fork.is_over:
            raise UserError(f"{self.fork.out.name} is being trained: wait for it, or stop it.")
        if steps is None:
            raise UserError("The number of steps is missing: give one, such as 2000.")
        changed: dict[str, Any] = {"steps": steps, **settings}
        own = [str(constraint) for constraint in run.config.at(step).recipe.constraints]
        constraints, _ = constraints_of(run, step, interventions, freeze)
        if constraints != own:
            changed["constraints"] = constraints
        self.labels()  # The previous fork stays in the list.
        self.fork = Fork(run, step, changed)

    def labels(self) -> list[dict[str, object]]:
        """The options of the list of runs; a finished fork is among them."""
        fork = self.fork
        if fork is not None and fork.is_over and fork is not self._added:
            self._added = fork
            if is_run(fork.out):
                self.known.append(Shown(fork.out.name, Run(fork.out)))
        return [{"label": run.label, "value": number} for number, run in enumerate(self.known)]
