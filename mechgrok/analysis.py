"""Analyses: questions asked of runs, found by name and answered with an xarray Dataset.

An analysis is a module with

* ``measure(run, *, …) -> xarray.Dataset``: the answer, on named dimensions with units in its
  attributes; its typed keyword options become command-line options;
* ``draw({label: dataset}, …) -> plotly.graph_objects.Figure``: the figure of one or several runs;
* ``finding(dataset) -> str``: what was seen, in a line;
* optionally ``applies(run) -> str | None``: why the question makes no sense for a run.

The first line of the module's docstring says what it asks. Modules are announced as entry points
in the group ``mechgrok.analyses``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError
from mechgrok.registry import Entry, entries, find

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from mechgrok.runs import Run

GROUP = "mechgrok.analyses"


@dataclass(frozen=True)
class Analysis:
    """One question: how it is measured, drawn and put in words."""

    name: str
    description: str
    module: str
    measure: Callable[..., "xr.Dataset"]
    draw: Callable[..., "go.Figure"]
    finding: Callable[["xr.Dataset"], str]
    applies: Callable[["Run"], str | None]

    @classmethod
    def load(cls, name: str) -> "Analysis":
        """The analysis called ``name``, imported.

        Raises:
            UserError: there is none, or its module lacks one of the three functions.
        """
        entry = find(GROUP, name)
        module = entry.load()
        lacking = [part for part in ("measure", "draw", "finding") if not hasattr(module, part)]
        if lacking:
            raise UserError(
                f"The analysis {name} in {entry.module} lacks {' and '.join(lacking)}()."
            )
        return cls(
            name,
            entry.description,
            entry.module,
            module.measure,
            module.draw,
            module.finding,
            getattr(module, "applies", lambda run: None),
        )

    def __call__(self, run: "Run", **options: Any) -> "xr.Dataset":
        """Measure ``run``.

        Raises:
            UserError: the question makes no sense for this run.
        """
        if reason := self.applies(run):
            raise UserError(f"The analysis {self.name} does not apply to {run.path}: {reason}")
        return self.measure(run, **options)


def analyses() -> Mapping[str, Entry]:
    """Every analysis that is installed, by name, without importing any."""
    return entries(GROUP)


def analyze(run: "Run | str | Path", name: str, **options: Any) -> "xr.Dataset":
    """Ask ``run`` the question called ``name``.

    Args:
        run: a run, or its folder.
        name: an analysis; ``mechgrok analyze --list`` describes them.
        options: keyword options of its ``measure``.
    """
    from mechgrok.runs import Run

    return Analysis.load(name)(run if isinstance(run, Run) else Run(run), **options)
