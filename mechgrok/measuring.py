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
    from mechgrok.sweeps.groups import RunGroups


@dataclass(frozen=True)
class AnalysisResult:
    """An analysis of several runs.

    Attributes:
        analysis: the question.
        groups: the runs.
        measured: the answers, by the runs' labels.
        figure: of all answers.
        question: the analysis's name, with a digest of the steps and options behind it where they
            are not the default ones.
    """

    analysis: Analysis
    groups: "RunGroups"
    measured: "Mapping[str, xr.Dataset]"
    figure: "go.Figure"
    question: str

    def output_stem(self, out: Path | None) -> Path:
        """The path of what is written about it, without an ending: in ``out``, or at the runs."""
        if out is not None:
            return out / self.question
        return self.groups.path / self.groups.stem(self.question)


@in_neutral_state
def measure_all(
    analysis: Analysis,
    groups: "RunGroups",
    *,
    steps: str | Sequence[int] | None = None,
    fresh: bool = False,
    measuring: Mapping[str, Any] | None = None,
    drawing: Mapping[str, Any] | None = None,
    status: Callable[[str], AbstractContextManager[None]] = lambda text: nullcontext(),
) -> AnalysisResult:
    """Measure an analysis on several runs, and draw them in one figure.

    Args:
        analysis: the question.
        groups: the runs, in groups or not.
        steps: the checkpoints to measure, as `Run.select` takes them; the analysis's own choice
            unless given.
        fresh: measure anew, whatever is on disk.
        measuring: options of ``measure``.
        drawing: options of ``draw``.
        status: entered with a text for every run while it is measured.
    """
    options, measured = dict(measuring or {}), {}
    for label, run in groups.runs.items():
        with status(f"measuring {analysis.name} on {label}"):
            measured[label] = analysis(run, steps=steps, fresh=fresh, **options)
    figure = analysis.draw(groups.grouped(measured), **(drawing or {}))
    question = analysis.question(groups.runs.values(), steps, options, drawing)
    return AnalysisResult(analysis, groups, measured, figure, question)


@in_neutral_state
def analyze(
    run: "Run | Sweep | str | Path",
    name: "str | ModuleType",
    *,
    steps: Sequence[int] | None = None,
    fresh: bool = False,
    **options: Any,
) -> "xr.Dataset":
    """The answer of the analysis called ``name`` for a run, loaded where it is on disk.

    All runs of a sweep are measured, and what was varied between them are the first dimensions of
    the answer: ``[weight_decay, seed, step, …]``, NaN where a run has no value.

    Args:
        run: a run or a sweep, or the folder of one.
        name: an analysis; ``mechgrok analyze --list`` describes them. One of your own is a file,
            ``sharpness.py`` (which is imported), or a module.
        steps: the checkpoints to measure; the analysis's own choice unless given.
        fresh: measure anew, whatever is on disk.
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
            folders, which are measured as by `analyze`.
        name: of the analysis; an answer knows it.
        by: group runs by settings, as ``weight_decay`` or ``["weight_decay", "p"]``; those of a
            sweep by all that vary but the seeds unless given.
        steps: the checkpoints to measure, of runs.
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
    measuring, drawing = _split_options(analysis, options)
    groups = _groups(what, by)
    return measure_all(analysis, groups, steps=steps, measuring=measuring, drawing=drawing).figure


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
    measuring, drawing = _split_options(analysis, options)
    if measuring:
        raise UserError(
            f"{next(iter(measuring))} is fixed in an answer: pass it to mechgrok.analyze."
        )
    return analysis.draw(answers, **drawing)


def _split_options(
    analysis: Analysis, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of ``measure`` and those of ``draw``.

    Raises:
        UserError: one is neither's.
    """
    of_draw = analysis.options_of_draw
    drawing = {name: value for name, value in options.items() if name in of_draw}
    return {name: value for name, value in options.items() if name not in of_draw}, drawing


def _groups(what: Any, by: str | Sequence[str] | None) -> "RunGroups":
    from mechgrok.runs import Run
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.groups import RunGroups

    if isinstance(what, Sweep):
        return RunGroups.of_sweep(what, by)
    several = [what] if isinstance(what, Run | str | Path) else list(what)
    if not several:
        raise UserError("There is nothing to draw: name at least one run.")
    paths = [each.path if isinstance(each, Run | Sweep) else each for each in several]
    return RunGroups.open(paths, by)
