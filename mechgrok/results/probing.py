"""Probes: analyses measured while a run trains, at steps whose checkpoints are not kept."""

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
class _Measured:
    """One probe, and its answers since they were written last."""

    probe: Probe
    analysis: Analysis
    answers: "list[xr.Dataset]" = field(default_factory=list)

    def stem(self, run: Run) -> str:
        """The name of the answers' folder: that of the file that holds the analysis's own."""
        options: dict[str, Any] = dict(self.probe.options)
        return self.analysis.cache_path(run, **options).stem


class Probing:
    """The probes of a run on its way.

    Args:
        run: the run.
        probes: what is measured.
    """

    def __init__(self, run: Run, probes: Sequence[Probe]) -> None:
        self._run = run
        self._probes = [_Measured(probe, Analysis.load(probe.name)) for probe in probes]

    def measure(self, step: int, last: bool) -> None:
        """Measure what is due at a step, whose checkpoint and metrics are on disk.

        An analysis that fails is reported and stopped; the training goes on.

        Args:
            step: the step.
            last: whether it is the run's last, at which all are due.
        """
        for each in list(self._probes):
            probe = each.probe
            if step % probe.every and not last:
                continue
            try:
                answer = each.analysis.measure(self._run.refreshed(), steps=[step], **probe.options)
            except Exception as error:
                reason = in_a_sentence(error)
                warn(f"The probe {probe} failed at step {step} and was stopped: {reason}")
                self._probes.remove(each)
                continue
            named = {"analysis": each.analysis.loaded_by, "run": self._run.name}
            each.answers.append(answer.assign_attrs(named))

    def write(self, step: int) -> None:
        """Save what was measured since the last time, up to ``step``."""
        for each in self._probes:
            if each.answers:
                folder = self._run.path / FOLDER / each.stem(self._run)
                write_probes(each.answers, folder / f"{step:08d}.parquet")
                each.answers.clear()


def check_probes(run: Run) -> None:
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
        _Measured(probe, analysis).stem(run)  # which knows the options
