"""Comparing the measures of runs that generalize with those of runs that do not."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Integer

from mechgrok.analyses.measures.precursors import (
    Chance,
    auroc,
    false_alarms,
    onset,
    permutation_test,
    rank_correlation,
)
from mechgrok.analyses.precursors.curves import METRICS, Curve, Measured, measure_sweep
from mechgrok.errors import UserError
from mechgrok.files import ensure_writable, write_text, write_whole
from mechgrok.global_state import in_neutral_state
from mechgrok.registry import ANALYSES, find
from mechgrok.reports.report import Progress
from mechgrok.results.analysis import analyses
from mechgrok.runs import Run
from mechgrok.runs.labels import truncate
from mechgrok.sweeps import Sweep
from mechgrok.sweeps.folder import setting_names

#: The shares of the horizon at which measures are compared.
SHARES = (0.01, 0.03, 0.1, 0.3)
#: The share that sorts the table.
SORTED_AT = 0.1
#: What a measure should surpass, because it costs nothing.
BASELINES = tuple(f"{METRICS}.{name}" for name in ("train_loss", "l2", "l2_slope"))
#: The setting that forms the strata by default.
_STRATUM = "plan"


@dataclass(frozen=True)
class Outcomes:
    """Which runs generalize within the horizon.

    Attributes:
        horizon: the step up to which outcomes count.
        names: the runs with a known outcome.
        generalizes: whether each generalizes by the horizon.
        t_gen: the step; NaN for a run that does not by the horizon.
        strata: the number of each run's stratum.
        excluded: the runs without a known outcome, with the reason.
        within: the settings that form the strata.
    """

    horizon: int
    names: list[str]
    generalizes: Bool[np.ndarray, " run"]
    t_gen: Float[np.ndarray, " run"]
    strata: Integer[np.ndarray, " run"]
    excluded: Mapping[str, str]
    within: Sequence[str]


@dataclass(frozen=True)
class Precursors:
    """The comparison of all measures.

    Attributes:
        path: the page; beside it are the table as Parquet and as CSV, with the same stem.
        table: a row for each measure and share of the horizon, most informative measures first.
        outcomes: the runs and whether they generalize.
        chance: the comparison with permuted outcomes at a tenth of the horizon.
        summary: sentences on runs, multiple comparisons and baselines.
        skipped: why analyses do not apply to runs, a sentence each.
        failures: which measurements failed, a sentence each.
    """

    path: Path
    table: pd.DataFrame
    outcomes: Outcomes
    chance: Chance
    summary: list[str]
    skipped: list[str]
    failures: list[str]

    def top(self, n: int = 10, share: float = SORTED_AT) -> pd.DataFrame:
        """The rows of the ``n`` most informative measures at a share of the horizon."""
        return self.table[self.table.share == share].head(n).reset_index(drop=True)


@in_neutral_state
def precursors(
    sweep: "Sweep | str | Path",
    *,
    only: Sequence[str] | None = None,
    horizon: int | None = None,
    within: Sequence[str] | str | None = None,
    top: int = 10,
    out: str | Path | None = None,
    fresh: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Precursors:
    """Compare all measures of a sweep's runs as precursors of generalization, and write a page.

    Args:
        sweep: a sweep, or its folder, with runs that generalize and runs that do not.
        only: the analyses to measure; default: all. Columns of metrics.csv are always compared.
        horizon: the step within which a run generalizes or not; default: the last step of the
            shortest finished run that does not generalize.
        within: the settings whose values runs must share to be compared; default: ``plan`` if the
            sweep has several named plans, else none.
        top: the number of measures in the page's figure.
        out: the page; default: ``analysis/precursors.html`` in the sweep's folder.
        fresh: measure again instead of loading.
        workers: the number of processes; default: one per core, at most eight.
        progress: called after every measurement.

    Raises:
        UserError: the folder holds no sweep, fewer than two runs have an outcome, all have the same
            one, or there is no such analysis or setting.
    """
    from mechgrok.analyses.precursors.page import write_precursors

    sweep = sweep if isinstance(sweep, Sweep) else Sweep(sweep)
    names = [find(ANALYSES, name).name for name in (analyses() if only is None else only)]
    outcomes = find_outcomes(sweep, horizon, within)
    stem = truncate("-".join(["precursors", *(names if only else ())]))
    page = Path(out) if out else sweep.path / "analysis" / f"{stem}.html"
    ensure_writable(page)
    runs: dict[str, Run] = {name: sweep.runs[name] for name in outcomes.names}
    measured = measure_sweep(
        sweep.path / "analysis",
        runs,
        names,
        fresh=fresh,
        workers=workers or min(os.cpu_count() or 1, 8),
        progress=progress or (lambda done, total, text: None),
    )
    table, chance = compare_measures(measured, outcomes)
    result = Precursors(
        page,
        table,
        outcomes,
        chance,
        _summary(table, outcomes, chance),
        _sentences(measured.skipped, "does not apply to"),
        _sentences(measured.failed, "failed on"),
    )
    write_text(page.with_suffix(".csv"), table.to_csv(index=False, lineterminator="\n"))
    write_whole(page.with_suffix(".parquet"), lambda file: table.to_parquet(file, index=False))
    write_precursors(result, measured, top)
    return result


def find_outcomes(
    sweep: Sweep, horizon: int | None = None, within: Sequence[str] | str | None = None
) -> Outcomes:
    """Which runs of a sweep generalize within the horizon, and which have no known outcome.

    Raises:
        UserError: as for `precursors`.
    """
    table = sweep.table
    t_gen, last = table["t_gen"].astype(float), table["step"].astype(float)
    if horizon is None:
        ends = last[t_gen.isna() & (table["status"] == "finished")]
        horizon = int(ends.min()) if len(ends) else None
    if horizon is None:
        raise UserError(
            f"{sweep.path} has no finished run that does not generalize, so there is nothing to "
            "tell apart: add such runs, or count late ones as such with a horizon."
        )
    generalizes = t_gen <= horizon
    is_known = generalizes | (last >= horizon)
    excluded = {
        str(name): f"{table.status[name]}, and not trained to step {horizon:,}"
        for name in table.index[~is_known]
    }
    if within is None:
        within = [_STRATUM] if _STRATUM in sweep.dims else []
    by = sweep.grouping(within) if within else []
    group_of = {run: i for i, runs in enumerate(sweep.groups(by).values()) for run in runs}
    names = [str(name) for name in table.index[is_known]]
    if generalizes[names].nunique() < 2:
        outcome = "all" if len(names) and generalizes[names].all() else "none"
        raise UserError(
            f"Of {len(names)} runs in {sweep.path}, {outcome} generalize within {horizon:,} steps: "
            "choose another horizon, or a sweep with both outcomes."
        )
    return Outcomes(
        horizon,
        names,
        generalizes[names].to_numpy(bool),
        t_gen.where(generalizes)[names].to_numpy(float),
        np.array([group_of[name] for name in names]),
        excluded,
        setting_names(by),
    )


def compare_measures(measured: Measured, outcomes: Outcomes) -> tuple[pd.DataFrame, Chance]:
    """A row for each measure and share of the horizon, and the comparison with chance.

    At a share, only runs that have not yet generalized are compared: otherwise a measure would
    tell what has already happened.
    """
    names = list(measured.measures)
    values = {share: _values_at(measured, outcomes, share) for share in SHARES}
    chances = {share: _compare_with_chance(measured, outcomes, values[share]) for share in SHARES}
    rows: list[dict[str, Any]] = []
    for column, name in enumerate(names):
        measure = measured.measures[name]
        about = {
            "measure": name,
            "definition": measure.definition,
            "uses_test_labels": measure.uses_test_labels,
            "hindsight": measure.hindsight,
            "baseline": name in BASELINES,
            "seconds": float(np.median(measured.seconds.get(name.partition(".")[0], math.nan))),
            **_onsets(measured.curves[name], outcomes),
        }
        for share in SHARES:
            statistics = _statistics(measured, outcomes, values[share], column, share)
            p = {"p": chances[share].p[column], "p_family": chances[share].p_family[column]}
            rows.append(about | statistics | p)
    table = pd.DataFrame(rows)
    table["information"] = (table.auroc - 0.5).abs()
    at = table[table.share == SORTED_AT].set_index("measure").information
    order = table.assign(at=table.measure.map(at).fillna(-1))
    # Sort measures with hindsight last: they are no precursors.
    order = order.sort_values(["hindsight", "at"], ascending=[True, False], kind="stable")
    return order.drop(columns="at").reset_index(drop=True), chances[SORTED_AT]


def _values_at(
    measured: Measured, outcomes: Outcomes, share: float
) -> Float[np.ndarray, "run measure"]:
    """The last values at or before a share of the horizon; NaN for runs that have generalized."""
    step = share * outcomes.horizon
    at_risk = ~(outcomes.t_gen <= step)
    return np.array(
        [
            [
                curves[run].at(step) if is_at_risk and run in curves else math.nan
                for curves in measured.curves.values()
            ]
            for run, is_at_risk in zip(outcomes.names, at_risk, strict=True)
        ]
    )


def _compare_with_chance(
    measured: Measured, outcomes: Outcomes, values: Float[np.ndarray, "run measure"]
) -> Chance:
    """The permutation test over the runs at risk; measures with hindsight are left out."""
    hindsight = np.array([measure.hindsight for measure in measured.measures.values()])
    at_risk = ~np.isnan(values).all(1)
    return permutation_test(
        np.where(hindsight, math.nan, values)[at_risk],
        outcomes.generalizes[at_risk],
        outcomes.strata[at_risk],
    )


def _statistics(
    measured: Measured,
    outcomes: Outcomes,
    values: Float[np.ndarray, "run measure"],
    column: int,
    share: float,
) -> dict[str, Any]:
    """AUROC and rank correlations of one measure at one share."""
    now, strata, generalizes = values[:, column], outcomes.strata, outcomes.generalizes
    l2 = values[:, list(measured.measures).index(f"{METRICS}.l2")]
    area = auroc(now, generalizes, strata)
    late = np.log10(np.maximum(outcomes.t_gen, 1))
    return {
        "share": share,
        "auroc": area.value,
        "low": area.low,
        "high": area.high,
        "n_generalize": area.positive,
        "n_not": area.negative,
        "outcome_given_l2": rank_correlation(now, generalizes.astype(float), strata, given=l2),
        "rho": rank_correlation(now, late, strata),
        "rho_given_l2": rank_correlation(now, late, strata, given=l2),
    }


def _onsets(curves: Mapping[str, Curve], outcomes: Outcomes) -> dict[str, float]:
    """How often and how early the curves of both outcomes leave their own past."""
    early, others, alarms = [], [], []
    leads, log_leads = [], []
    for run, generalizes, t_gen in zip(
        outcomes.names, outcomes.generalizes, outcomes.t_gen, strict=True
    ):
        if run not in curves:
            continue
        within = curves[run].steps <= outcomes.horizon
        curve = curves[run].values[within]
        at = onset(curve)
        alarms.append(false_alarms(curve))
        step = None if at is None else int(curves[run].steps[within][at])
        if not generalizes:
            others.append(step is not None)
            continue
        early.append(step is not None and step < t_gen)
        if step is not None:
            leads.append(t_gen - step)
            log_leads.append(math.log10(t_gen / max(step, 1)))
    return {
        "onset_before_t_gen": _mean(early),
        "onset_without": _mean(others),
        "lead": float(np.median(leads)) if leads else math.nan,
        "log10_lead": float(np.median(log_leads)) if leads else math.nan,
        "n_leads": len(leads),
        "false_alarms": _mean(alarms),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _summary(table: pd.DataFrame, outcomes: Outcomes, chance: Chance) -> list[str]:
    """Sentences on the runs, the number of measures that pass, and the baselines."""
    n, positive = len(outcomes.names), int(outcomes.generalizes.sum())
    within = f", compared within {' and '.join(outcomes.within)}" if outcomes.within else ""
    now = table[(table.share == SORTED_AT) & ~table.hindsight]
    tested = now[now.p.notna()]
    best = now[now.baseline].information.max()
    above = now[~now.baseline & (now.information > best)]
    at = f"At {SORTED_AT:.0%} of the horizon"
    return [
        f"{positive} of {n} runs generalize within {outcomes.horizon:,} steps; the others are "
        f"censored there{within}.",
        f"{at}, {int((tested.p <= 0.05).sum())} of {len(tested)} measures tell the outcomes apart "
        f"at p ≤ 0.05, and {int((tested.p_family <= 0.05).sum())} do after correction for their "
        f"number. By chance {chance.expected:.1f} would, and {chance.at_most} or fewer in 95 % of "
        "permutations of the outcomes.",
        f"{at}, {len(above)} measures tell more than the best baseline (train loss, L2 and its "
        f"slope), which has an AUROC {best:.2f} away from one half.",
    ]


def _sentences(reasons: Mapping[str, Mapping[str, str]], verb: str) -> list[str]:
    """A sentence for each analysis and reason, with its runs."""
    sentences = []
    for name, by_run in reasons.items():
        for reason in dict.fromkeys(by_run.values()):
            runs = [run for run, other in by_run.items() if other == reason]
            more = f" and {len(runs) - 1} more runs" if len(runs) > 1 else ""
            sentences.append(f"{name} {verb} {runs[0]}{more}: {reason}")
    return sentences
