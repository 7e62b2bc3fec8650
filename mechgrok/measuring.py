"""Analyses of one run, of several and of sweeps: their answers, and the one figure of all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.results.analysis import Analysis, named

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from mechgrok.runs import Run
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.family import Family


@dataclass(frozen=True)
class Asked:
    """A question that was asked of runs.

    Attributes:
        analysis: the question.
        family: the runs.
        measured: the answers, by the runs' labels.
        tables: the files that keep the answers, likewise; some may not be there.
        figure: of all answers.
    """

    analysis: Analysis
    family: "Family"
    measured: "Mapping[str, xr.Dataset]"
    tables: Mapping[str, Path]
    figure: "go.Figure"

    def beside(self, out: Path | None) -> Path:
        """The path of what is written about it, without an ending: in ``out``, or at the runs."""
        if out is not None:
            return out / self.analysis.name
        return self.family.path / self.family.stem(self.analysis.name)


@in_neutral_state
def ask(
    analysis: Analysis,
    family: "Family",
    *,
    steps: str | Sequence[int] | None = None,
    fresh: bool = False,
    measuring: Mapping[str, Any] | None = None,
    drawing: Mapping[str, Any] | None = None,
    waiting: Callable[[str], AbstractContextManager[None]] = lambda words: nullcontext(),
) -> Asked:
    """Ask all runs of a family.

    Args:
        analysis: the question.
        family: the runs, in groups or not.
        steps: the checkpoints to look at, as `Run.select` takes them; the analysis's own choice
            unless given.
        fresh: measure anew, whatever is kept.
        measuring: options of ``measure``.
        drawing: options of ``draw``.
        waiting: entered with what is being measured, while it is.
    """
    measured, tables = {}, {}
    for label, run in family.runs.items():
        chosen = None if steps is None else run.select(steps)
        with waiting(f"measuring {analysis.name} on {label}"):
            measured[label] = analysis(run, steps=chosen, fresh=fresh, **(measuring or {}))
        tables[label] = analysis.kept_at(run, steps=chosen, **(measuring or {}))
    figure = analysis.draw(family.grouped(measured), **(drawing or {}))
    return Asked(analysis, family, measured, tables, figure)


@in_neutral_state
def analyze(
    run: "Run | Sweep | str | Path",
    name: "str | ModuleType",
    *,
    steps: Sequence[int] | None = None,
    fresh: bool = False,
    **options: Any,
) -> "xr.Dataset":
    """Ask ``run`` the question called ``name``; an answer that is kept and fresh is given again.

    All runs of a sweep are asked, and what was varied between them are the first dimensions of the
    answer: ``[weight_decay, seed, step, …]``, NaN where a run has no value.

    Args:
        run: a run or a sweep, or the folder of one.
        name: an analysis; ``mechgrok analyze --list`` describes them. One of your own is a file,
            ``sharpness.py`` (which is imported), or a module.
        steps: the checkpoints to look at; the analysis's own choice unless given.
        fresh: measure anew, whatever is kept.
        options: further keyword options of its ``measure``.
    """
    from mechgrok.runs import Run
    from mechgrok.sweeps import Sweep

    analysis = named(name)
    if not isinstance(run, Run | Sweep):
        run = Sweep(run) if Sweep.is_at(run) else Run(run)
    if isinstance(run, Run):
        return analysis(run, steps=steps, fresh=fresh, **options)
    if not run.runs:
        raise UserError(f"{run.path} holds no run yet: make them with mechgrok sweep.")
    answers = {
        label: analysis(each, steps=steps, fresh=fresh, **options)
        for label, each in run.runs.items()
    }
    return run.stack(answers).assign_attrs(analysis=analysis.loaded_by, sweep=run.name)


@in_neutral_state
def draw(
    what: "xr.Dataset | Mapping[str, xr.Dataset] | Run | Sweep | str | Path | Sequence[Any]",
    name: "str | ModuleType | None" = None,
    *,
    by: str | Sequence[str] | None = None,
    steps: str | Sequence[int] | None = None,
    **options: Any,
) -> "go.Figure":
    """The figure of an analysis, which a notebook shows and ``write_html`` keeps.

    Args:
        what: answers of `analyze`: one, or several by their labels. Or runs and sweeps, or their
            folders, which are asked as `analyze` does; what is kept is not measured again.
        name: of the analysis; an answer knows it.
        by: group runs by settings, as ``weight_decay`` or ``["weight_decay", "p"]``; those of a
            sweep by all that vary but the seeds unless given.
        steps: the checkpoints to look at, of runs.
        options: of the analysis's ``measure`` (for runs) and of its ``draw``.

    Raises:
        UserError: the answers are of different questions, or there is no such analysis or option.

    Example:
        >>> import mechgrok
        >>> spectra = mechgrok.analyze("data/base", "fourier", steps=[0, 30_000])
        >>> mechgrok.draw(spectra).layout.title.text
        'Neurons become periodic: each holds its power in one frequency'
    """
    import xarray as xr

    if isinstance(what, xr.Dataset):
        return _of_answers({what.attrs.get("run", "run"): what}, name, by, steps, options)
    if isinstance(what, Mapping):
        return _of_answers(dict(what), name, by, steps, options)
    if name is None:
        raise UserError("Runs are drawn with the name of an analysis: draw(runs, 'fourier').")
    if not isinstance(name, str | ModuleType):
        raise UserError(f"{name!r} names no analysis: the runs come first, draw(runs, 'fourier').")
    analysis = named(name)
    measuring, drawing = _apart(analysis, options)
    family = _family(what, by)
    return ask(analysis, family, steps=steps, measuring=measuring, drawing=drawing).figure


def _of_answers(
    answers: "dict[Any, xr.Dataset]",
    name: "str | ModuleType | None",
    by: object,
    steps: object,
    options: dict[str, Any],
) -> "go.Figure":
    asked = {str(answer.attrs.get("analysis", "")) for answer in answers.values()}
    if name is None and (len(asked) != 1 or "" in asked):
        raise UserError(
            "These are not answers to one question that is known: give the analysis's name."
        )
    if any("sweep" in answer.attrs for answer in answers.values()):
        raise UserError("The answer is a whole sweep's: draw the sweep, draw(sweep, 'fourier').")
    if by is not None or steps is not None:
        raise UserError("Answers are drawn as they are: give by and steps with runs.")
    analysis = Analysis.load(asked.pop()) if name is None else named(name)
    measuring, drawing = _apart(analysis, options)
    if measuring:
        raise UserError(
            f"{next(iter(measuring))} is settled in an answer: give it to mechgrok.analyze."
        )
    return analysis.draw(answers, **drawing)


def _apart(analysis: Analysis, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of ``measure`` and those of ``draw``.

    Raises:
        UserError: one is neither's.
    """
    of_draw = analysis.options_of_draw
    drawing = {name: value for name, value in options.items() if name in of_draw}
    return {name: value for name, value in options.items() if name not in of_draw}, drawing


def _family(what: Any, by: str | Sequence[str] | None) -> "Family":
    from mechgrok.runs import Run
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.family import Family

    if isinstance(what, Sweep):
        return Family.of_sweep(what, by)
    several = [what] if isinstance(what, Run | str | Path) else list(what)
    if not several:
        raise UserError("There is nothing to draw: name at least one run.")
    paths = [each.path if isinstance(each, Run | Sweep) else each for each in several]
    return Family.open(paths, by)
