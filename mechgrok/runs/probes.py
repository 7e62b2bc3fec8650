"""Probes: analyses that are asked while a run trains, of checkpoints that are not kept.

The answers are the run's own, under ``probes/<analysis>/``: a file for all of them between two
checkpoints, named after the later one. They are written before the state that a run is resumed
from, and what is newer than that is made again, so that a run that was killed ends with the same.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechgrok.configuration.probe import Probe
from mechgrok.errors import UserError, in_a_sentence
from mechgrok.files import make_folder
from mechgrok.results.analysis import Analysis

if TYPE_CHECKING:
    import xarray as xr

    from mechgrok.runs import Run

FOLDER = "probes"


@dataclass
class _Asked:
    """One probe, and its answers since they were written last."""

    probe: Probe
    analysis: Analysis
    answers: "list[xr.Dataset]" = field(default_factory=list)

    def stem(self, run: "Run") -> str:
        """What the answers' folder is called: as the file that keeps the analysis's own answer."""
        options: dict[str, Any] = dict(self.probe.options)
        return self.analysis.kept_at(run, **options).stem


class Probing:
    """The probes of a run on its way.

    Args:
        run: the run.
        probes: what it is asked.
    """

    def __init__(self, run: "Run", probes: Sequence[Probe]) -> None:
        self._run = run
        self._asked = [_Asked(probe, Analysis.load(probe.name)) for probe in probes]

    def measure(self, step: int, last: bool) -> None:
        """Ask what is due at a step, whose checkpoint and metrics are there.

        An analysis that fails is told of and asked no more; the training goes on.

        Args:
            step: the step.
            last: whether it is the run's last, at which all are due.
        """
        for each in list(self._asked):
            probe = each.probe
            if step % probe.every and not last:
                continue
            try:
                answer = each.analysis.measure(self._run.reopened(), steps=[step], **probe.options)
            except Exception as error:
                words = str(error) if isinstance(error, UserError) else in_a_sentence(error)
                warnings.warn(
                    f"The probe {probe} failed at step {step} and is asked no more: {words}",
                    stacklevel=2,
                )
                self._asked.remove(each)
                continue
            named = {"analysis": each.analysis.loaded_by, "run": self._run.name}
            each.answers.append(answer.assign_attrs(named))

    def write(self, step: int) -> None:
        """Save what was measured since the last time, up to ``step``."""
        for each in self._asked:
            if each.answers:
                folder = self._run.path / FOLDER / each.stem(self._run)
                _write(each.answers, folder / f"{step:08d}.parquet")
                each.answers.clear()


def _write(answers: "list[xr.Dataset]", path: Path) -> None:
    from mechgrok.runs.parquet import read_parquet, write_parquet

    make_folder(path.parent)
    if path.exists():  # A run that goes on looks at its newest checkpoint again.
        before, again = read_parquet(path), {int(answer.step[0]) for answer in answers}
        answers = [before.sel(step=[s for s in before.step.to_numpy() if s not in again]), *answers]
    write_parquet(_joined(answers), path)


def _joined(answers: "Sequence[xr.Dataset]") -> "xr.Dataset":
    """Answers for different steps as one; what is not per step is the last one's."""
    import xarray as xr

    last = answers[-1]
    both = xr.concat(
        answers, "step", data_vars="minimal", coords="minimal", compat="override", join="exact"
    ).sortby("step")
    fixed = {name: v for name, v in last.data_vars.items() if "step" not in v.dims}
    return both.assign(fixed).assign_attrs(last.attrs)


def check_probes(run: "Run") -> None:
    """Refuse probes that could not be answered, before a step is taken.

    Args:
        run: at its first step.

    Raises:
        UserError: there is no such analysis, it has no such option, it does not measure each step
            by itself, or it does not apply to the run.
    """
    training = run.config.training
    for probe in training.probes if training else ():
        analysis = Analysis.load(probe.name)
        if not analysis.per_step:
            raise UserError(
                f"The analysis {analysis.name} looks at several checkpoints at once, so that it "
                "cannot be a probe: keep checkpoints for it, or choose one that measures each step "
                "by itself, such as entropy, fourier or norms (PER_STEP = True in its module)."
            )
        if reason := analysis.applies(run):
            raise UserError(f"The probe {analysis.name} does not apply: {reason}")
        _Asked(probe, analysis).stem(run)  # which knows the options


def probe_files(folder: Path) -> list[Path]:
    """The files of all probes of the run in ``folder``, each named after a step."""
    return sorted(f for f in (folder / FOLDER).glob("*/*.parquet") if f.stem.isdecimal())


def drop_probes_after(folder: Path, step: int) -> None:
    """Delete answers that are newer than the state to go on from; they will be measured again."""
    for file in probe_files(folder):
        if int(file.stem) > step:
            file.unlink()


def probed(run: "Run", stem: str) -> "xr.Dataset | None":
    """What a probe has answered so far; None where there is none.

    Args:
        run: the run.
        stem: the analysis, as its kept answer's file is called.

    Raises:
        UserError: a file of it is damaged.
    """
    from mechgrok.runs.parquet import read_parquet

    files = [file for file in probe_files(run.path) if file.parent.name == stem]
    return _joined([read_parquet(file) for file in files]) if files else None
