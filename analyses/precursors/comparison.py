"""Comparing the measures of runs that generalize with those of runs that do not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from mechgrok.analyses.measures.precursors import (
    Chance,
    auroc,
    false_alarms,
    onset,
    permutation_test,
    stratified_rank_correlation,
)
from mechgrok.analyses.precursors.curves import METRICS, Curve, Measured
from mechgrok.analyses.precursors.experiments import Experiment, experiments
from mechgrok.analyses.precursors.outcomes import Outcomes

#: The shares of the horizon at which measures are compared.
SHARES = (0.01, 0.03, 0.1, 0.3)
#: The share that sorts the table.
SORTED_AT = 0.1
#: What a measure should surpass, because it costs nothing.
BASELINES = tuple(f"{METRICS}.{name}" for name in ("train_loss", "l2", "l2_slope"))


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


def compare_measures(measured: Measured, outcomes: Outcomes) -> tuple[pd.DataFrame, Chance]:
    """A row for each measure and share of the horizon, and the comparison with chance.

    At a share, only runs that have not yet generalized are compared: otherwise a measure would
    tell what has already happened.
    """
    names = list(measured.measures)
    values = {share: _values_at(measured, outcomes, share) for share in SHARES}
    chances = {share: _compare_with_chance(measured, outcomes, values[share]) for share in SHARES}
    rows: list[dict[str, Any]] = []
    causes = experiments()
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
            **causes.get(name, Experiment("", ""))._asdict(),
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
        "outcome_given_l2": stratified_rank_correlation(
            now, generalizes.astype(float), strata, given=l2
        ),
        "rho": stratified_rank_correlation(now, late, strata),
        "rho_given_l2": stratified_rank_correlation(now, late, strata, given=l2),
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


def summarize(table: pd.DataFrame, outcomes: Outcomes, chance: Chance) -> list[str]:
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
