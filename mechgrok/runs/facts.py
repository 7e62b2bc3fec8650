"""A description of a run, for ``mechgrok show`` and the head of a report."""

from math import isfinite, isnan
from typing import TYPE_CHECKING

from mechgrok.formatting import norm
from mechgrok.grammar import show_value

if TYPE_CHECKING:
    import pandas as pd

    from mechgrok.configuration.training import TrainingConfig
    from mechgrok.runs import Run


#: Fields of an import's origin that have headings of their own.
_OWN_HEADINGS = ("known", "assumed", "split", "steps_known")


def facts(run: "Run", at_accuracy: float | None = None) -> dict[str, str]:
    """A description of a run, by heading, with t_mem and t_gen at ``at_accuracy``."""
    from mechgrok.runs.imported import facts_of_import

    task, training, model = run.task, run.config.training, run.config.model
    seed = "" if run.config.seed is None else f" (seed {run.config.seed})"
    metrics = run.metrics
    n_train, n_test = task.n_sides
    quantity, level = ("accuracy", at_accuracy) if at_accuracy is not None else task.criterion
    reached = {} if metrics.empty else run.milestones_at(at_accuracy)
    facts = {
        "task": f"{task}",
        "split": f"{n_train:,} train, {n_test:,} test (seed {task.split_seed})"
        + (f"; {task.label_noise:.3g} of the train labels replaced" if task.label_noise else ""),
        "model": ", ".join(
            f"{key} {value}" for key, value in model.model_dump().items() if value is not None
        ),
        "weights": f"{run.n_parameters:,}{seed}"
        + (f", start {run.config.start}" if run.config.start is not None else ""),
    }
    facts |= facts_of_import(run) if training is None else _training(run, training)
    for name in ("origin", "popup"):
        if (source := getattr(run.config, name)) is not None:
            kind = getattr(source, "kind", "edge-popup")
            facts[name] = ", ".join(
                f"{key} {value}"
                for key, value in ({"kind": kind} | source.model_dump(mode="json")).items()
                if key not in _OWN_HEADINGS and value not in (None, False)
            )
    if (density := run.density) is not None:
        facts["density"] = f"{density:.3f}"
    for name in ("t_mem", "t_gen"):
        facts.setdefault(name, f"{reached[name]:,}" if name in reached else "not reached")
    if run.phases:
        since, begin = run.since_last_phase(at_accuracy), run.phases[-1].at
        for name in ("t_mem", "t_gen"):
            shown = f"{since[name]:,}" if name in since else "not reached"
            facts[f"{name} from {begin:,} on"] = shown
    facts |= _collapses(run, at_accuracy)
    facts["τ_grok"] = f"{reached['tau_grok']:,.1f}" if "tau_grok" in reached else "—"
    facts["criterion"] = f"{quantity} {'≥' if quantity == 'accuracy' else '≤'} {level:g}"
    if metrics.empty:
        return facts
    if run.diverged is not None:
        facts["diverged"] = f"at step {run.diverged:,}, where the loss is not finite"
        metrics = metrics[metrics.step < run.diverged]
    return facts if metrics.empty else facts | _start_and_end(metrics, run.diverged is not None)


def _collapses(run: "Run", at_accuracy: float | None) -> dict[str, str]:
    """The collapses of a run, and the step from which on there is none; empty without any."""
    test = run.learned("test", at_accuracy)
    if not test.collapses:
        return {}
    intervals = ", ".join(
        f"{step:,} to {'the end' if recovery is None else f'{recovery:,}'}"
        for step, recovery in test.collapses
    )
    sustained = "not reached" if test.sustained is None else f"{test.sustained:,}"
    return {
        "t_gen, sustained": sustained,
        "collapses": f"{intervals}; {test.collapsed_share:.1%} of the evaluations after t_gen",
    }


def row_of(run: "Run", at_accuracy: float | None = None) -> "pd.DataFrame":
    """A one-row table of a run's settings by path, milestones and last evaluation."""
    import pandas as pd

    from mechgrok.configuration.settings import flatten
    from mechgrok.runs.comparison import milestones_and_accuracies

    row = flatten(run.config.model_dump(mode="json"), ("versions", "format"))
    row |= {"n_parameters": run.n_parameters, "density": run.density}
    row["checkpoints"] = len(run.steps)
    if not run.metrics.empty:
        row |= milestones_and_accuracies(run, at_accuracy)
        if run.phases:
            since = run.since_last_phase(at_accuracy)
            row |= {f"{mark}_since_phase": since.get(mark) for mark in ("t_mem", "t_gen")}
        row |= {str(name): value for name, value in run.metrics.iloc[-1].items()}
    row["step"] = run.steps[-1] if run.steps else None
    return pd.DataFrame([row], index=pd.Index([run.name], name="run"))


def _training(run: "Run", training: "TrainingConfig") -> dict[str, str]:
    unfinished = "" if run.finished or run.diverged is not None else " (unfinished)"
    return {
        "training": training.summary
        + (f", {training.threads} threads" if training.threads > 1 else ""),
        **_phases(run, training),
        "checkpoints": f"{len(run.steps)}, steps {run.steps[0]:,} to {run.steps[-1]:,} "
        f"of {training.steps:,}{unfinished}",
    }


def _phases(run: "Run", training: "TrainingConfig") -> dict[str, str]:
    """The settings of each phase, by its first step."""
    facts = {}
    for phase in training.phases:
        config = run.config.at(phase.at)
        values = []
        for name, given in phase.settings.items():
            value = getattr(config.recipe, name, getattr(config.task, name, given))
            several = isinstance(value, tuple)
            shown = (", ".join(map(str, value)) or "none") if several else show_value(value)
            values.append(f"{name.replace('_', ' ')} {shown}")
        facts[f"from step {phase.at:,}"] = ", ".join(values)
    return facts


def _start_and_end(metrics: "pd.DataFrame", diverged: bool) -> dict[str, str]:
    """Accuracy, loss and norms; a diverged run ends at its last finite evaluation."""
    facts = {}
    first, last = metrics.iloc[0], metrics.iloc[-1]
    end = f"at step {int(last.step):,}" if diverged else "at the end"
    for side in ("train", "test"):
        accuracy, loss = last[f"{side}_accuracy"], last[f"{side}_loss"]
        parts = [] if isnan(accuracy) else [f"accuracy {accuracy:.2%}"]
        parts.append(f"loss {loss:.3g}" if isfinite(loss) else "no finite loss")
        facts[f"{side} {end}"] = ", ".join(parts)
    for name in ("l1", "l2"):
        facts[name.upper()] = f"{norm(first[name])} at the start, {norm(last[name])} {end}"
        if len(metrics) == 1:
            facts[name.upper()] = norm(last[name])
    return facts
