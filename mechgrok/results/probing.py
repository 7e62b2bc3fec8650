"""Measuring probes: analyses during training, without checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mechgrok.configuration.probe import Probe
from mechgrok.errors import UserError, in_a_sentence, warn
from mechgrok.results.analysis import Analysis
from mechgrok.runs import Run
from mechgrok.runs.probes import FOLDER, write_probes

if TYPE_CHECKING:
    import xarray as xr


@dataclass
class _ActiveProbe:
    """A probe, its analysis, and its unsaved answers."""

    probe: Probe
    analysis: Analysis
    answers: "list[xr.Dataset]" = field(default_factory=list)

    def stem(self, run: Run) -> str:
        """The name of the answers' folder: the stem of the analysis's own answer file."""
        options: dict[str, Any] = dict(self.probe.options)
        return self.analysis.cache_path(run, **options).stem


class Probing:
    """Measures and saves the probes of a run during training.

    Args:
        run: the run.
        probes: the probes to measure.
    """

    def __init__(self, run: Run, probes: Sequence[Probe]) -> None:
        self._run = run
        self._probes = [_ActiveProbe(probe, Analysis.load(probe.name)) for probe in probes]

    def measure(self, step: int, last: bool) -> None:
        """Measure the probes due at a step; its checkpoint and metrics must be on disk.

        A probe that fails is stopped with a warning; training continues.

        Args:
            step: the step.
            last: whether it is the run's last step, at which all probes are due.
        """
        for active in list(self._probes):
            probe, analysis = active.probe, active.analysis
            if step % probe.every and not last:
                continue
            try:
                answer = analysis.measure(self._run.refreshed(), steps=[step], **probe.options)
            except Exception as error:
                reason = in_a_sentence(error)
                warn(f"The probe {probe} failed at step {step} and was stopped: {reason}")
                self._probes.remove(active)
                continue
            attrs = {"analysis": analysis.loaded_by, "run": self._run.name}
            active.answers.append(answer.assign_attrs(attrs))

    def write(self, step: int) -> None:
        """Save the unsaved answers in the files of ``step``."""
        for active in self._probes:
            if active.answers:
                folder = self._run.path / FOLDER / active.stem(self._run)
                write_probes(active.answers, folder / f"{step:08d}.parquet")
                active.answers.clear()


def check_probes(run: Run) -> None:
    """Check a run's probes before training.

    Args:
        run: the run at its first step.

    Raises:
        UserError: there is no such analysis, it has no such option, it does not measure steps
            independently, or it does not apply to the run.
    """
    training = run.config.training
    for probe in training.probes if training else ():
        analysis = Analysis.load(probe.name)
        if not analysis.per_step:
            raise UserError(
                f"The analysis {analysis.name} uses several checkpoints at once, so it cannot be a "
                "probe: keep checkpoints for it, or choose one that measures steps independently, "
                "such as entropy, fourier or norms (PER_STEP = True in its module)."
            )
        if reason := analysis.applies(run):
            raise UserError(f"The probe {analysis.name} does not apply: {reason}")
        _ActiveProbe(probe, analysis).stem(run)  # raises an error for an unknown option
