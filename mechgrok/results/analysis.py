"""Analysis: a named measurement of runs that returns an xarray Dataset.

An analysis is a module with

* ``measure(run, *, …) -> xarray.Dataset``: the answer, with named dimensions, and units in its
  attributes; typed keyword options become command-line options;
* ``draw({label: dataset}, …) -> plotly.graph_objects.Figure``: the figure of one or several runs;
* ``finding(dataset) -> str``: the result in one line;
* optionally ``applies(run) -> str | None``: why the analysis does not apply to a run;
* optionally ``VARIABLES``: the dimensions, units and definition of each variable, for `described`;
* optionally ``PER_STEP = True``: ``measure`` treats every checkpoint independently, and measures
  all without ``steps``, so that the answer for some steps is a part of the answer for all;
* optionally ``SCALARS``: numbers per step that summarize variables with further dimensions, by
  name; a variable with the dimension ``step`` alone is one without a declaration;
* optionally ``USES_TEST_LABELS``: the names of variables over steps, and of ``SCALARS``, that use
  labels of the test set (default: none);
* optionally ``USES_LATER_STEPS``: the names of those that use later checkpoints of the run, such as
  its last, and so cannot be known at their step (default: none);
* optionally ``VERSION``, a whole number (default: 1): raise it when the module's answers change, so
  that answers on disk are measured again.

The first line of the module's docstring describes the analysis. Modules register as entry points in
the group ``mechgrok.analyses``.

Answers are saved in the run's ``analysis/`` and reused while their inputs are unchanged
(`mechgrok.results.store`). When a run has grown, a ``PER_STEP`` analysis measures the new
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
from mechgrok.fields import as_plain
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import ANALYSES, Entry, entries, find
from mechgrok.results.store import Key, digest, load_dataset, save_dataset
from mechgrok.results.variables import SHARED, Scalar
from mechgrok.runs.probes import join_steps, read_probes

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from mechgrok.results.variables import Table
    from mechgrok.runs import Run

#: A selection of checkpoints for `Run.select`.
Steps = Sequence[int] | str | None


@dataclass(frozen=True)
class Analysis:
    """An analysis: its functions and metadata.

    ``about`` is its documentation, ``loaded_by`` its name for `load`, ``variables`` the table of
    its variables and coordinates, ``version`` the version of its code, ``scalars`` its numbers per
    step, and ``uses_test_labels`` and ``uses_later_steps`` the names of those that do.
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
    scalars: Mapping[str, Scalar] = field(default_factory=dict)
    uses_test_labels: frozenset[str] = frozenset()
    uses_later_steps: frozenset[str] = frozenset()

    @classmethod
    def load(cls, name: "str | ModuleType") -> "Analysis":
        """Import an analysis.

        Args:
            name: the name of an installed analysis; or user code, which must be allowed
                (`mechgrok.user_code.allow`): a file (``sharpness.py``), the name of a module with a
                colon at the end (``my_package.sharpness:``), or the module itself.

        Raises:
            UserError: there is no such analysis, or its module lacks one of the three functions.
        """
        if isinstance(name, ModuleType):
            installed = {entry.module: entry.name for entry in analyses().values()}
            if name.__name__ in installed:
                return cls.load(installed[name.__name__])
            # Only its file identifies a module that was loaded from a file without an import.
            source = name.__name__ if name.__name__ in sys.modules else str(name.__file__)
            return cls._of(name, name.__name__.rpartition(".")[2], source, f"{source}:")
        if user_code.is_own(own := user_code.analysis_name(name)):
            source = own.rpartition(":")[0]
            module = user_code.load_module(own, "analysis")
            last = Path(source).stem if source.endswith(".py") else source.rpartition(".")[2]
            return cls._of(module, last, source, own)
        entry = find(ANALYSES, name)
        return cls._of(entry.load(), name, entry.module, name, entry.description)

    @classmethod
    def _of(
        cls, module: ModuleType, name: str, source: str, key: str, description: str | None = None
    ) -> "Analysis":
        """Make an analysis of a module; user code has no ``description``."""
        version = getattr(module, "VERSION", 1)
        file = getattr(module, "__file__", None)
        if description is None and file and not hasattr(module, "VERSION"):
            # User code changes between measurements, so its content is its version.
            version = digest(Path(file).read_bytes())
        missing = [part for part in ("measure", "draw", "finding") if not hasattr(module, part)]
        if missing:
            raise UserError(f"The analysis {name} in {source} lacks {' and '.join(missing)}().")
        if description is None:
            description = (module.__doc__ or "").partition("\n")[0].rstrip(".")
        guarded = user_code.reraise_as_user_error(key)
        table = getattr(module, "VARIABLES", {})
        over_steps = {n: Scalar(n) for n, variable in table.items() if variable.dims == "step"}
        return cls(
            name,
            description,
            source,
            in_neutral_state(guarded(module.measure)),
            in_neutral_state(guarded(module.draw)),
            in_neutral_state(_with_caveat(guarded(module.finding))),
            in_neutral_state(guarded(getattr(module, "applies", lambda run: None))),
            getattr(module, "PER_STEP", False),
            inspect.getdoc(module) or description,
            key,
            table,
            version,
            over_steps | getattr(module, "SCALARS", {}),
            frozenset(getattr(module, "USES_TEST_LABELS", ())),
            frozenset(getattr(module, "USES_LATER_STEPS", ())),
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
        """Load the answer for ``run`` if its inputs are unchanged; otherwise measure and save it.

        The answer's ``encoding["source"]`` is its file. It is not saved in a read-only folder.

        Args:
            run: the run to analyze.
            steps: the checkpoints to measure; default: the analysis's own choice.
            fresh: measure again instead of loading.
            options: options of `measure`.

        Raises:
            UserError: the analysis does not apply to this run, or has no such option.
        """
        if reason := self.applies(run):
            raise UserError(f"The analysis {self.name} does not apply to {run.path}: {reason}")
        options = self._all_options(options)
        answer = self._answer(run, steps, options, fresh)
        answer = answer.assign_attrs(run=run.name)  # The folder may have been renamed.
        if run.caveat is not None and _depends_on_split(answer):
            return answer.assign_attrs(caveat=run.caveat)
        return answer

    def _answer(
        self, run: "Run", steps: Steps, options: dict[str, Any], fresh: bool
    ) -> "xr.Dataset":
        """The answer for checkpoints and for the steps of probes."""
        probes = self._probes(run, options)
        chosen = self._chosen_steps(run, steps, options)
        if probes is None:
            return self._stored(run, chosen, options, fresh)
        selected = sorted({*run.steps, *_steps_of(probes)}) if chosen is None else chosen
        saved = [step for step in selected if step in run.steps]
        # Measuring at least one checkpoint updates attributes of the run, such as t_gen.
        part = None if saved == run.steps else saved or run.steps[-1:]
        measured = self._stored(run, part, options, fresh)
        if not (probed := sorted({*selected} - {*saved})):
            return measured
        return join_steps([probes.sel(step=probed), measured]).sel(step=selected)

    def _probes(self, run: "Run", options: Mapping[str, Any]) -> "xr.Dataset | None":
        return read_probes(run.path, self._stem(options)) if self.per_step else None

    def _chosen_steps(
        self, run: "Run", steps: Steps, options: Mapping[str, Any]
    ) -> list[int] | None:
        """The selected steps of checkpoints and probes; None for the full answer."""
        if steps is None:
            return None
        probes = self._probes(run, options)
        available = run.steps if probes is None else sorted({*run.steps, *_steps_of(probes)})
        chosen = run.select(steps, among=available)
        return None if self.per_step and chosen == available else chosen

    def cache_path(self, run: "Run", *, steps: Steps = None, **options: Any) -> Path:
        """The file of an answer: ``analysis/NAME.parquet``, or with a digest of non-default options
        and steps ``analysis/NAME-DIGEST.parquet``."""
        options = self._all_options(options)
        stem = self._stem(options, self._chosen_steps(run, steps, options))
        return run.path / "analysis" / f"{stem}.parquet"

    def _stem(self, options: Mapping[str, Any], steps: Sequence[int] | None = None) -> str:
        defaults = self._all_options({})
        changed = {name: value for name, value in options.items() if value != defaults[name]}
        return stem_of(self.name, changed | ({} if steps is None else {"steps": steps}))

    def question(
        self,
        runs: "Iterable[Run]",
        steps: Steps,
        options: Mapping[str, Any],
        drawing: Mapping[str, Any] | None = None,
    ) -> str:
        """The stem of a figure's file: `name`, with a digest of non-default options and steps.

        Args:
            runs: the runs in the figure.
            steps: the checkpoints.
            options: options of ``measure``.
            drawing: options of ``draw``.
        """
        stems = sorted({self.cache_path(run, steps=steps, **options).stem for run in runs})
        defaults = _keyword_options(self.draw)
        changed = {k: value for k, value in (drawing or {}).items() if value != defaults[k]}
        if len(stems) == 1 and not changed:
            return stems[0]
        return stem_of(self.name, {**changed, "answers": stems})

    def kept_at(self, run: "Run", *, steps: Steps = None, **options: Any) -> Path:
        """The old name of `cache_path`."""
        warnings.warn("Analysis.kept_at is now cache_path.", DeprecationWarning, stacklevel=2)
        return self.cache_path(run, steps=steps, **options)

    @property
    def options_of_draw(self) -> list[str]:
        """The keyword options of ``draw``."""
        return list(_keyword_options(self.draw))

    def _all_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in the defaults of `measure`; arrays become lists.

        Raises:
            UserError: there is no such option.
        """
        defaults = _keyword_options(self.measure)
        defaults.pop("steps", None)
        if unknown := [name for name in options if name not in defaults]:
            remedy = f"choose {choices(defaults)}" if defaults else "it has none"
            raise UserError(f"The analysis {self.name} has no option {unknown[0]!r}: {remedy}.")
        return defaults | {name: as_plain(value) for name, value in options.items()}

    def _measured(
        self, run: "Run", steps: list[int] | None, options: dict[str, Any]
    ) -> "xr.Dataset":
        """Measure, and store the names of analysis and run in the attributes."""
        measured = self.measure(run, steps=steps, **options)
        if not hasattr(measured, "assign_attrs"):
            raise UserError(
                f"The measure of {self.name} returned a {type(measured).__name__}: return an "
                "xarray.Dataset."
            )
        return measured.assign_attrs(analysis=self.loaded_by, run=run.name)

    def _stored(
        self, run: "Run", steps: list[int] | None, options: dict[str, Any], fresh: bool
    ) -> "xr.Dataset":
        """The answer for checkpoints: loaded if it is up to date, otherwise measured and saved.

        For a ``per_step`` analysis, an answer for some steps can be a part of the saved full
        answer. It never replaces the full answer.
        """
        key = Key.of_run(run, self.version, options)
        folder = run.path / "analysis"
        path = folder / f"{self._stem(options, steps)}.parquet"
        full = folder / f"{self._stem(options)}.parquet"
        files = [] if fresh else [full, path] if self.per_step else [path]
        loaded = {file: entry for file in files if (entry := self._load(file))}
        selected = run.steps if self.per_step and steps is None else steps
        for made_from, answer in loaded.values():
            if made_from == key and not self.per_step:
                return answer
            if made_from == key and {*(selected or ())} <= {*_steps_of(answer)}:
                return answer.sel(step=selected)
        if self.per_step and steps is None and full in loaded:
            measured = self._extended(run, options, key, *loaded[full])
        else:
            measured = self._measured(run, selected, options)
        return save_dataset(path, key, measured)

    def _extended(
        self, run: "Run", options: dict[str, Any], key: Key, made_from: Key, before: "xr.Dataset"
    ) -> "xr.Dataset":
        """The full answer, which reuses the unchanged steps of an earlier one."""
        unchanged = key.unchanged_steps(made_from, run) & {*_steps_of(before)}
        missing = [step for step in run.steps if step not in unchanged]
        # Attributes of the run, such as t_gen, may have changed with its metrics.
        missing = missing or run.steps[-1:]
        measured = self._measured(run, missing, options)
        if not (reused := sorted(unchanged - {*missing})):
            return measured
        if not _can_join(before, measured):  # The steps are not independent despite PER_STEP.
            return self._measured(run, run.steps, options)
        return join_steps([before.sel(step=reused), measured])

    def _load(self, path: Path) -> "tuple[Key, xr.Dataset] | None":
        """The answer in a file and its key; None if the file is missing, damaged or foreign."""
        loaded = load_dataset(path)
        return loaded if loaded and self._is_answer(loaded[1]) else None

    def _is_answer(self, dataset: "xr.Dataset") -> bool:
        """Whether a dataset's variables have their declared dimensions, and its steps are unique
        whole numbers."""
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


def _can_join(before: "xr.Dataset", measured: "xr.Dataset") -> bool:
    """Whether two answers for different steps have the same variables and dimensions."""

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
    """The stem of a file: the name, and a digest of the options, if any.

    >>> stem_of("fourier", {}), stem_of("fourier", {"path": "direct"})
    ('fourier', 'fourier-9e28c468')
    """
    if not options:
        return name
    text = json.dumps(dict(options), default=str, sort_keys=True)
    return f"{name}-{blake2b(text.encode(), digest_size=4).hexdigest()}"


def _depends_on_split(dataset: "xr.Dataset") -> bool:
    """Whether an answer contains values of the training or test set alone."""
    names = [*map(str, dataset.variables), *map(str, dataset.dims)]
    return any(name == "side" or name.startswith(("train_", "test_")) for name in names)


def _with_caveat(finding: Callable[["xr.Dataset"], str]) -> Callable[["xr.Dataset"], str]:
    """Append the run's caveat, if any, to a finding."""

    def finding_with_caveat(dataset: "xr.Dataset") -> str:
        caveat = dataset.attrs.get("caveat")
        return f"{finding(dataset)} ({caveat})" if caveat else finding(dataset)

    return finding_with_caveat


def analyses() -> Mapping[str, Entry]:
    """All installed analyses by name; none is imported."""
    return entries(ANALYSES)


def named(name: "str | ModuleType") -> Analysis:
    """Load an analysis that the user named, and allow user code of that name."""
    if isinstance(name, str):
        user_code.allow(user_code.analysis_name(name))
    return Analysis.load(name)
