"""Analyses: questions asked of runs, found by name and answered with an xarray Dataset.

An analysis is a module with

* ``measure(run, *, …) -> xarray.Dataset``: the answer, on named dimensions with units in its
  attributes; its typed keyword options become command-line options;
* ``draw({label: dataset}, …) -> plotly.graph_objects.Figure``: the figure of one or several runs;
* ``finding(dataset) -> str``: what was seen, in a line;
* optionally ``applies(run) -> str | None``: why the question makes no sense for a run;
* optionally ``VARIABLES``: the dimensions, units and definition of each variable, from which
  `described` makes the Dataset;
* optionally ``PER_STEP = True``: without ``steps`` it measures every checkpoint, each by itself, so
  that the answer for some steps is a part of the answer for all;
* optionally ``VERSION``, a whole number (1 unless given): raise it where the module, or what it
  measures with, gives other answers, and answers on disk are measured anew.

The first line of the module's docstring says what it asks. Modules are announced as entry points
in the group ``mechgrok.analyses``.

Answers are saved in the run's ``analysis/`` and loaded while what they were made from is unchanged
(`mechgrok.results.store`). When a run has grown, an analysis that is ``PER_STEP`` measures the new
checkpoints only.
"""

import inspect
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mechgrok import user_code
from mechgrok.errors import UserError, choices
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import ANALYSES, Entry, entries, find
from mechgrok.results.store import Key, digest, load_dataset, save_dataset
from mechgrok.results.variables import SHARED
from mechgrok.runs.probes import join_steps, read_probes

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from mechgrok.results.variables import Table
    from mechgrok.runs import Run

#: Checkpoints, as `Run.select` takes them.
Steps = Sequence[int] | str | None


@dataclass(frozen=True)
class Analysis:
    """One question: how it is measured, drawn and put in words.

    ``about`` is what is said of it, ``loaded_by`` the name that `load` finds it by, ``variables``
    what it declares of its Dataset's variables and coordinates, ``version`` that of its code.
    """

    name: str
    description: str
    module: str
    measure: Callable[..., "xr.Dataset"]
    draw: Callable[..., "go.Figure"]
    finding: Callable[["xr.Dataset"], str]
    applies: Callable[["Run"], str | None]
    per_step: bool = False
    about: str = ""
    loaded_by: str = ""
    variables: "Table" = field(default_factory=dict)
    version: int | str = 1

    @classmethod
    def load(cls, name: "str | ModuleType") -> "Analysis":
        """The analysis called ``name``, imported.

        Args:
            name: of one that is installed; or one of a person's own, that they have named
                (`mechgrok.user_code.allow`): a file (``sharpness.py``), a module's name with a
                colon behind it (``my_package.sharpness:``), or the module itself.

        Raises:
            UserError: there is none, or its module lacks one of the three functions.
        """
        if isinstance(name, ModuleType):
            installed = {entry.module: entry.name for entry in analyses().values()}
            if name.__name__ in installed:
                return cls.load(installed[name.__name__])
            # A module that was loaded from a file by hand is found by its file alone.
            where = name.__name__ if name.__name__ in sys.modules else str(name.__file__)
            return cls._of(name, name.__name__.rpartition(".")[2], where, f"{where}:")
        if user_code.is_own(own := user_code.analysis_name(name)):
            where = own.rpartition(":")[0]
            module = user_code.load_module(own, "analysis")
            last = Path(where).stem if where.endswith(".py") else where.rpartition(".")[2]
            return cls._of(module, last, where, own)
        entry = find(ANALYSES, name)
        return cls._of(entry.load(), name, entry.module, name, entry.description)

    @classmethod
    def _of(
        cls, module: ModuleType, name: str, where: str, by: str, description: str | None = None
    ) -> "Analysis":
        """The analysis that a module is; without a description it is a person's own."""
        version = getattr(module, "VERSION", 1)
        file = getattr(module, "__file__", None)
        if description is None and file and not hasattr(module, "VERSION"):
            # Its author edits it between one question and the next.
            version = digest(Path(file).read_bytes())
        lacking = [part for part in ("measure", "draw", "finding") if not hasattr(module, part)]
        if lacking:
            raise UserError(f"The analysis {name} in {where} lacks {' and '.join(lacking)}().")
        if description is None:
            description = (module.__doc__ or "").partition("\n")[0].rstrip(".")
        return cls(
            name,
            description,
            where,
            in_neutral_state(module.measure),
            in_neutral_state(module.draw),
            in_neutral_state(_with_caveat(module.finding)),
            in_neutral_state(getattr(module, "applies", lambda run: None)),
            getattr(module, "PER_STEP", False),
            inspect.getdoc(module) or description,
            by,
            getattr(module, "VARIABLES", {}),
            version,
        )

    @in_neutral_state
    def __call__(
        self,
        run: "Run",
        *,
        steps: Steps = None,
        fresh: bool = False,
        **options: Any,
    ) -> "xr.Dataset":
        """The answer for ``run``, loaded where nothing that it was made from has changed, else
        measured, and saved where the folder can be written.

        ``encoding["source"]`` of the answer is the file that holds it.

        Args:
            run: what to analyze.
            steps: the checkpoints to measure; the analysis's own choice unless given.
            fresh: measure anew, whatever is on disk.
            options: of `measure`.

        Raises:
            UserError: the question makes no sense for this run, or has no such option.
        """
        if reason := self.applies(run):
            raise UserError(f"The analysis {self.name} does not apply to {run.path}: {reason}")
        options = self._all_options(options)
        answer = self._answer(run, steps, options, fresh)
        answer = answer.assign_attrs(run=run.name)  # The folder may have been renamed.
        if run.caveat is not None and _tells_sides_apart(answer):
            return answer.assign_attrs(caveat=run.caveat)
        return answer

    def _answer(
        self, run: "Run", steps: Steps, options: dict[str, Any], fresh: bool
    ) -> "xr.Dataset":
        """The answer for checkpoints, and for what probes measured at steps without one."""
        probes = self._probes(run, options)
        chosen = self._chosen_steps(run, steps, options)
        if probes is None:
            return self._stored(run, chosen, options, fresh)
        wanted = sorted({*run.steps, *_steps_of(probes)}) if chosen is None else chosen
        saved = [step for step in wanted if step in run.steps]
        # What is true of the whole run, such as t_gen, is what it is today.
        part = None if saved == run.steps else saved or run.steps[-1:]
        measured = self._stored(run, part, options, fresh)
        gone = sorted({*wanted} - {*saved})
        return join_steps([probes.sel(step=gone), measured]).sel(step=wanted) if gone else measured

    def _probes(self, run: "Run", options: Mapping[str, Any]) -> "xr.Dataset | None":
        return read_probes(run.path, self._stem(options)) if self.per_step else None

    def _chosen_steps(
        self, run: "Run", steps: Steps, options: Mapping[str, Any]
    ) -> list[int] | None:
        """Chosen checkpoints and steps of probes; None where they make the full question."""
        if steps is None:
            return None
        probes = self._probes(run, options)
        known = run.steps if probes is None else sorted({*run.steps, *_steps_of(probes)})
        chosen = run.select(steps, among=known)
        return None if self.per_step and chosen == known else chosen

    def cache_path(self, run: "Run", *, steps: Steps = None, **options: Any) -> Path:
        """The file of an answer: ``analysis/NAME.parquet`` for the full question with the defaults,
        with a digest of the options and steps behind the name for any other."""
        options = self._all_options(options)
        stem = self._stem(options, self._chosen_steps(run, steps, options))
        return run.path / "analysis" / f"{stem}.parquet"

    def _stem(self, options: Mapping[str, Any], steps: Sequence[int] | None = None) -> str:
        usual = self._all_options({})
        unusual = {name: value for name, value in options.items() if value != usual[name]}
        return stem_of(self.name, unusual | ({} if steps is None else {"steps": steps}))

    def question(
        self,
        runs: "Iterable[Run]",
        steps: Steps,
        options: Mapping[str, Any],
        drawing: Mapping[str, Any] | None = None,
    ) -> str:
        """The name of a figure's file, without its ending: `name` alone for the full question, with
        a digest behind it where options or steps are not the default ones.

        Args:
            runs: that are drawn.
            steps: the checkpoints.
            options: of ``measure``.
            drawing: options of ``draw``.
        """
        stems = sorted({self.cache_path(run, steps=steps, **options).stem for run in runs})
        usual = _keyword_options(self.draw)
        drawn = {name: value for name, value in (drawing or {}).items() if value != usual[name]}
        if len(stems) == 1 and not drawn:
            return stems[0]
        return stem_of(self.name, {**drawn, "answers": stems})

    def kept_at(self, run: "Run", *, steps: Steps = None, **options: Any) -> Path:
        """The old name of `cache_path`."""
        warnings.warn("Analysis.kept_at is now cache_path.", DeprecationWarning, stacklevel=2)
        return self.cache_path(run, steps=steps, **options)

    @property
    def options_of_draw(self) -> list[str]:
        """The keyword options of its ``draw``."""
        return list(_keyword_options(self.draw))

    def _all_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options of `measure`, those given and the defaults of the rest.

        Raises:
            UserError: there is no such option.
        """
        known = _keyword_options(self.measure)
        known.pop("steps", None)
        if unknown := [name for name in given if name not in known]:
            has = f"choose {choices(known)}" if known else "it has none"
            raise UserError(f"The analysis {self.name} has no option {unknown[0]!r}: {has}.")
        return known | dict(given)

    def _measured(
        self, run: "Run", steps: list[int] | None, options: dict[str, Any]
    ) -> "xr.Dataset":
        """The answer, which knows its question and its run."""
        measured = self.measure(run, steps=steps, **options)
        return measured.assign_attrs(analysis=self.loaded_by, run=run.name)

    def _stored(
        self, run: "Run", steps: list[int] | None, options: dict[str, Any], fresh: bool
    ) -> "xr.Dataset":
        """The answer for checkpoints: loaded where it may be, else measured and saved.

        Of an analysis that is ``per_step``, an answer for some steps is a part of the full answer
        where that holds them. It never takes the full answer's place.
        """
        key = Key.of_run(run, self.version, options)
        folder = run.path / "analysis"
        path, full = (folder / f"{self._stem(options, each)}.parquet" for each in (steps, None))
        places = [] if fresh else [full, path] if self.per_step else [path]
        loaded = {place: entry for place in places if (entry := self._load(place))}
        wanted = run.steps if self.per_step and steps is None else steps
        for made_from, answer in loaded.values():
            if made_from == key and not self.per_step:
                return answer
            if made_from == key and {*(wanted or ())} <= {*_steps_of(answer)}:
                return answer.sel(step=wanted)
        if self.per_step and steps is None and full in loaded:
            measured = self._extended(run, options, key, *loaded[full])
        else:
            measured = self._measured(run, wanted, options)
        return save_dataset(path, key, measured)

    def _extended(
        self, run: "Run", options: dict[str, Any], key: Key, made_from: Key, before: "xr.Dataset"
    ) -> "xr.Dataset":
        """The full answer, measured where an earlier one does not hold the run as it is now."""
        unchanged = key.unchanged_steps(made_from, run) & {*_steps_of(before)}
        missing = [step for step in run.steps if step not in unchanged]
        # What is true of the whole run, such as t_gen, may have changed with its metrics.
        missing = missing or run.steps[-1:]
        measured = self._measured(run, missing, options)
        if not (rest := sorted(unchanged - {*missing})):
            return measured
        if not _fit_together(before, measured):  # PER_STEP promises what does not hold.
            return self._measured(run, run.steps, options)
        return join_steps([before.sel(step=rest), measured])

    def _load(self, path: Path) -> "tuple[Key, xr.Dataset] | None":
        """The answer in a file and what it was made from; None where it is damaged or foreign."""
        loaded = load_dataset(path)
        return loaded if loaded and self._is_answer(loaded[1]) else None

    def _is_answer(self, dataset: "xr.Dataset") -> bool:
        """Whether a dataset's variables are over the dimensions that are declared of them, and its
        steps are numbers, each there once."""
        for name, declared in {**SHARED, **self.variables}.items():
            dims = tuple(declared.dims.split(", "))
            if (
                name in dataset.variables
                and "{" not in declared.dims
                and dataset[name].dims != dims
            ):
                return False
        if "step" not in dataset.dims:
            return True
        step = dataset.indexes.get("step")
        return step is not None and step.dtype.kind in "iu" and step.is_unique


def _fit_together(before: "xr.Dataset", measured: "xr.Dataset") -> bool:
    """Whether two answers for different steps have the same variables over the same dimensions."""

    def shape(answer: "xr.Dataset") -> dict[Any, Any]:
        return {
            name: (variable.dims, variable.dtype.kind in "biuf")
            for name, variable in answer.variables.items()
        }

    return shape(before) == shape(measured) and all(
        before.sizes[dim] == size
        and (dim not in measured.indexes or before.indexes[dim].equals(measured.indexes[dim]))
        for dim, size in measured.sizes.items()
        if dim != "step"
    )


def _keyword_options(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of a function, with their defaults."""
    parameters = inspect.signature(function).parameters.items()
    return {n: p.default for n, p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _steps_of(answer: "xr.Dataset") -> list[int]:
    return answer["step"].to_numpy().tolist() if "step" in answer.dims else []


def stem_of(name: str, options: Mapping[str, Any]) -> str:
    """A file name, without its ending, that holds a digest of options where there are any.

    >>> stem_of("fourier", {}), stem_of("fourier", {"path": "direct"})
    ('fourier', 'fourier-9e28c468')
    """
    if not options:
        return name
    text = json.dumps(dict(options), default=str, sort_keys=True)
    return f"{name}-{blake2b(text.encode(), digest_size=4).hexdigest()}"


def _tells_sides_apart(dataset: "xr.Dataset") -> bool:
    """Whether an answer holds something of the training or the test set alone."""
    names = [*map(str, dataset.variables), *map(str, dataset.dims)]
    return any(name == "side" or name.startswith(("train_", "test_")) for name in names)


def _with_caveat(finding: Callable[["xr.Dataset"], str]) -> Callable[["xr.Dataset"], str]:
    """What was found, with what is to be borne in mind about the run."""

    def said(dataset: "xr.Dataset") -> str:
        caveat = dataset.attrs.get("caveat")
        return f"{finding(dataset)} ({caveat})" if caveat else finding(dataset)

    return said


def analyses() -> Mapping[str, Entry]:
    """Every analysis that is installed, by name, without importing any."""
    return entries(ANALYSES)


def named(name: "str | ModuleType") -> Analysis:
    """The analysis that a person named: one of their own may be imported from then on."""
    if isinstance(name, str):
        user_code.allow(user_code.analysis_name(name))
    return Analysis.load(name)
