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
  that the answer for some steps is a part of the answer for all.

The first line of the module's docstring says what it asks. Modules are announced as entry points
in the group ``mechgrok.analyses``.

Answers are kept in the run's ``analysis/`` and given again while they are fresh. When a run has
grown, an analysis that is ``PER_STEP`` measures the new checkpoints only.
"""

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mechgrok import user_code
from mechgrok.errors import UserError, choices
from mechgrok.files import make_folder
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import ANALYSES, Entry, entries, find

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from mechgrok.results.provenance import Provenance
    from mechgrok.results.variables import Table
    from mechgrok.runs import Run


@dataclass(frozen=True)
class Analysis:
    """One question: how it is measured, drawn and put in words.

    ``about`` is what is said of it, ``loaded_by`` the name that `load` finds it by, ``variables``
    what it declares of its Dataset's variables and coordinates.
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
        """The analysis that a module is."""
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
        )

    @in_neutral_state
    def __call__(
        self,
        run: "Run",
        *,
        steps: Sequence[int] | None = None,
        fresh: bool = False,
        **options: Any,
    ) -> "xr.Dataset":
        """The answer for ``run``: the one that is kept where it is fresh, else measured and kept.

        A folder that cannot be written keeps nothing.

        Args:
            run: what to ask.
            steps: the checkpoints to look at; the analysis's own choice unless given.
            fresh: measure anew, whatever is kept.
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
        self, run: "Run", steps: Sequence[int] | None, options: dict[str, Any], fresh: bool
    ) -> "xr.Dataset":
        if not self.per_step:
            return self._as_a_whole(
                run, None if steps is None else run.select(steps), options, fresh
            )
        from mechgrok.runs.probes import read_probes

        probes = read_probes(run.path, self.kept_at(run, **options).stem)
        if probes is None:
            return self._step_by_step(
                run, None if steps is None else run.select(steps), options, fresh
            )
        answered = set(probes.step.to_numpy().tolist())
        chosen = run.select(steps, among=sorted({*run.steps, *answered}))
        there = [step for step in chosen if step in run.steps]
        # What is true of the whole run, such as t_gen, is what it is today.
        measured = self._step_by_step(run, there or run.steps[-1:], options, fresh)
        gone = sorted({*chosen} - {*there})
        return _merged(probes.sel(step=gone), measured).sel(step=chosen) if gone else measured

    def kept_at(self, run: "Run", *, steps: Sequence[int] | None = None, **options: Any) -> Path:
        """The file that keeps the answer: named after the analysis, and after what is unusual."""
        chosen = self._all_options(options)
        usual = self._all_options({})
        unusual: dict[str, Any] = {k: v for k, v in chosen.items() if v != usual[k]}
        if steps is not None and not self.per_step:
            unusual["steps"] = run.select(steps)
        stem = self.name
        if unusual:
            text = json.dumps(unusual, default=str, sort_keys=True)
            stem += f"-{blake2b(text.encode(), digest_size=4).hexdigest()}"
        return run.path / "analysis" / f"{stem}.parquet"

    @property
    def options_of_draw(self) -> list[str]:
        """The keyword options of its ``draw``."""
        parameters = inspect.signature(self.draw).parameters.values()
        return [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]

    def _all_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options of `measure`, those given and the defaults of the rest.

        Raises:
            UserError: there is no such option.
        """
        known = {
            name: parameter.default
            for name, parameter in inspect.signature(self.measure).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "steps"
        }
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

    def _as_a_whole(
        self, run: "Run", steps: list[int] | None, options: dict[str, Any], fresh: bool
    ) -> "xr.Dataset":
        from mechgrok.results.provenance import Provenance

        path = self.kept_at(run, steps=steps, **options)
        now = Provenance.now(run, self.module, options)
        made_from, kept = (None, None) if fresh else self._kept(path)
        if kept is not None and made_from == now:
            return kept
        return _keep(self._measured(run, steps, options), path, now)

    def _kept(self, path: Path) -> "tuple[Provenance, xr.Dataset] | tuple[None, None]":
        """The answer that is kept and what it was made from; nothing where it is damaged or
        foreign, so that it is measured anew."""
        from mechgrok.results.provenance import Provenance
        from mechgrok.runs.parquet import read_made_from, read_parquet

        try:
            made_from, kept = Provenance.from_json(read_made_from(path)), read_parquet(path)
        except (UserError, ValueError):
            return None, None
        return (made_from, kept) if self._is_answer(kept) else (None, None)

    def _is_answer(self, kept: "xr.Dataset") -> bool:
        """Whether a dataset's variables are over the dimensions that are declared of them, and its
        steps are numbers, each there once."""
        from mechgrok.results.variables import SHARED

        for name, declared in {**SHARED, **self.variables}.items():
            dims = tuple(declared.dims.split(", "))
            if name in kept.variables and "{" not in declared.dims and kept[name].dims != dims:
                return False
        if "step" not in kept.dims:
            return True
        step = kept.indexes.get("step")
        return step is not None and step.dtype.kind in "iu" and step.is_unique

    def _step_by_step(
        self, run: "Run", steps: list[int] | None, options: dict[str, Any], fresh: bool
    ) -> "xr.Dataset":
        from mechgrok.results.provenance import Provenance

        path = self.kept_at(run, **options)
        now = Provenance.now(run, self.module, options)
        made_from, kept = (None, None) if fresh else self._kept(path)
        shared = made_from.shared_steps(now, run) if made_from else set()
        if kept is not None:
            shared &= set(kept["step"].to_numpy().tolist()) if "step" in kept.dims else set()
        wanted = run.steps if steps is None else sorted(set(steps))
        missing = [step for step in wanted if step not in shared]
        if made_from and not missing and made_from.metrics != now.metrics:
            # What is true of the whole run, such as t_gen, may have changed with its metrics.
            missing = wanted[-1:]
        if kept is not None and not missing:
            return kept.sel(step=wanted)
        measured = self._measured(run, missing, options)
        if kept is not None and (old := sorted(shared - set(missing))):
            if _fit_together(kept, measured):
                measured = _merged(kept.sel(step=old), measured)
            else:  # It says of itself what it is not.
                measured = self._measured(run, wanted, options)
        stamps = {step: now.checkpoints[step] for step in measured.step.to_numpy().tolist()}
        return _keep(measured, path, replace(now, checkpoints=stamps)).sel(step=wanted)


def _fit_together(kept: "xr.Dataset", measured: "xr.Dataset") -> bool:
    """Whether two answers for different steps have the same variables over the same dimensions."""

    def shape(answer: "xr.Dataset") -> dict[Any, Any]:
        return {
            name: (variable.dims, variable.dtype.kind in "biuf")
            for name, variable in answer.variables.items()
        }

    return shape(kept) == shape(measured) and all(
        kept.sizes[dim] == size
        and (dim not in measured.indexes or kept.indexes[dim].equals(measured.indexes[dim]))
        for dim, size in measured.sizes.items()
        if dim != "step"
    )


def _keep(measured: "xr.Dataset", path: Path, made_from: "Provenance") -> "xr.Dataset":
    """The dataset as it will be read back from ``path``, or as it is where it cannot be kept."""
    from mechgrok.runs.parquet import read_parquet, write_parquet

    try:
        make_folder(path.parent)
        write_parquet(measured, path, made_from.as_json())
    except (OSError, UserError):
        return measured
    return read_parquet(path)


def _merged(kept: "xr.Dataset", measured: "xr.Dataset") -> "xr.Dataset":
    """Two answers for different steps as one; what is not per step is the newer answer's."""
    import xarray as xr

    both = xr.concat(
        [kept, measured],
        "step",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="exact",
    ).sortby("step")
    fixed = {name: v for name, v in measured.data_vars.items() if "step" not in v.dims}
    return both.assign(fixed).assign_attrs(measured.attrs)


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
