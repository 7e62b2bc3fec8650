"""Which runs of a sweep generalize within a horizon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from mechgrok.errors import UserError
from mechgrok.sweeps import Sweep
from mechgrok.sweeps.folder import setting_names

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
