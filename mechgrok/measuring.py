"""Measuring and drawing analyses of runs and sweeps."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import Entry
from mechgrok.results.analysis import Analysis, named

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from mechgrok.sweeps.groups import RunGroups, RunsLike


@dataclass(frozen=True)
class AnalysisResult:
    """The answers and the figure of an analysis of several runs.

    Attributes:
        analysis: the analysis.
        groups: the runs.
        measured: the answers, by the runs' labels.
        figure: the figure of all answers.
        question: the analysis's name, with a digest of non-default steps and options.
    """

    analysis: Analysis
    groups: "RunGroups"
    measured: "Mapping[str, xr.Dataset]"
    figure: "go.Figure"
    question: str

    def output_stem(self, out: Path | None) -> Path:
        """The path of its files without an extension, in ``out`` or the runs' own folder."""
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
        analysis: the analysis.
        groups: the runs.
        steps: the checkpoints to measure, in a form of `Run.select`; default: the analysis's own
            choice.
        fresh: measure again instead of loading.
        measuring: options of ``measure``.
        drawing: options of ``draw``.
        status: a context manager that shows a text while a run is measured.
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
    run: "RunsLike",
    name: "str | ModuleType",
    *,
    steps: Sequence[int] | None = None,
    fresh: bool = False,
    **options: Any,
) -> "xr.Dataset":
    """Measure an analysis of a run or a sweep, or load its answer from disk.

    For a sweep, the swept settings are the first dimensions of the answer: ``[weight_decay, seed,
    step, …]``, with NaN where a run has no value.

    Args:
        run: a run or a sweep, or the folder of one.
        name: an analysis from ``mechgrok analyze --list``; or your own, as a file to import
            (``sharpness.py``) or a module.
        steps: the checkpoints to measure; default: the analysis's own choice.
        fresh: measure again instead of loading.
        options: options of the analysis's ``measure``.
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
        label: analysis(member, steps=steps, fresh=fresh, **options)
        for label, member in run.runs.items()
    }
    return run.stack(answers).assign_attrs(analysis=analysis.loaded_by, sweep=run.name)


@in_neutral_state
def draw(
    what: "xr.Dataset | Mapping[str, xr.Dataset] | RunsLike | Sequence[RunsLike]",
    name: "str | ModuleType | None" = None,
    *,
    by: str | Sequence[str] | None = None,
    steps: str | Sequence[int] | None = None,
    **options: Any,
) -> "go.Figure":
    """Draw the figure of an analysis.

    Args:
        what: one answer of `analyze` or `intervene`, or several by label; or runs and sweeps, or
            their folders, to measure.
        name: the analysis; required for runs, not for answers.
        by: settings to group runs by, ``weight_decay`` or ``["weight_decay", "p"]``; default: for a
            sweep, all swept settings but the seeds.
        steps: the checkpoints of runs to measure.
        options: options of the analysis's ``draw``, and for runs of its ``measure``.

    Raises:
        UserError: the answers belong to different analyses, or there is no such analysis or option.

    Example:
        >>> import mechgrok
        >>> spectra = mechgrok.analyze("data/base", "fourier", steps=[0, 30_000])
        >>> mechgrok.draw(spectra).layout.title.text
        'Fourier spectra of the weights over training'
    """
    import xarray as xr

    if isinstance(what, xr.Dataset):
        return _of_answers({what.attrs.get("run", "run"): what}, name, by, steps, options)
    if isinstance(what, Mapping):
        return _of_answers(dict(what), name, by, steps, options)
    if name is None:
        raise UserError("To draw runs, name an analysis: draw(runs, 'fourier').")
    if not isinstance(name, str | ModuleType):
        raise UserError(f"{name!r} is not an analysis: give the runs first, draw(runs, 'fourier').")
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
    names = {str(answer.attrs.get("analysis", "")) for answer in answers.values()}
    if name is None and names == {""} and all("interventions" in a.attrs for a in answers.values()):
        return _of_interventions(answers, options)
    if name is None and (len(names) != 1 or "" in names):
        raise UserError(
            "The answers belong to several analyses or an unknown one: give the analysis's name."
        )
    if any("sweep" in answer.attrs for answer in answers.values()):
        raise UserError("This is the answer of a sweep: draw the sweep, draw(sweep, 'fourier').")
    if by is not None or steps is not None:
        raise UserError("by and steps do not apply to answers: give them with runs.")
    analysis = Analysis.load(names.pop()) if name is None else named(name)
    measuring, drawing = _split_options(analysis, options)
    if measuring:
        raise UserError(
            f"{next(iter(measuring))} is not an option of draw: pass it to mechgrok.analyze."
        )
    return analysis.draw(answers, **drawing)


def _of_interventions(answers: "dict[Any, xr.Dataset]", options: dict[str, Any]) -> "go.Figure":
    """The figure of answers of `mechgrok.intervene`, a curve for each run of a sweep."""
    curves = {}
    for label, answer in answers.items():
        swept = [dim for dim in answer.dims if dim not in ("step", "side", "state")]
        for values in product(*(answer[dim].values for dim in swept)):
            settings = dict(zip(swept, values, strict=True))
            name = ", ".join(f"{dim}={value}" for dim, value in settings.items()) or label
            curves[name] = answer.sel(settings)
    module = "mechgrok.analyses.explorer.over_training"  # a layer above, so imported by its name
    return Entry("interventions", module, "draw").load()(curves, **options)


def _split_options(
    analysis: Analysis, options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate the options of ``measure`` from those of ``draw``."""
    names = analysis.options_of_draw
    drawing = {name: value for name, value in options.items() if name in names}
    return {name: value for name, value in options.items() if name not in names}, drawing


def _groups(what: Any, by: str | Sequence[str] | None) -> "RunGroups":
    from mechgrok.runs import Run
    from mechgrok.sweeps import Sweep
    from mechgrok.sweeps.groups import RunGroups

    if isinstance(what, Sweep):
        return RunGroups.of_sweep(what, by)
    sources = [what] if isinstance(what, Run | str | Path) else list(what)
    if not sources:
        raise UserError("There is nothing to draw: name at least one run.")
    return RunGroups.open([s.path if isinstance(s, Run | Sweep) else s for s in sources], by)
