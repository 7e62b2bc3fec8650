"""Format numbers for findings and figures."""

import math
from typing import SupportsFloat

import numpy as np
import xarray as xr


def format_number(value: SupportsFloat, form: str = ".3g") -> str:
    """A number in a Python format; "undefined" for NaN and infinity.

    >>> format_number(1234.5, ",.0f"), format_number(-0.001, ".2f"), format_number(math.nan)
    ('1,234', '0.00', 'undefined')
    """
    value = float(value)
    if not math.isfinite(value):
        return "undefined"
    text = f"{value:{form}}"
    # Write −0.00 without the sign.
    return text if any(digit in text for digit in "123456789") else text.replace("-", "")


def format_percent(share: SupportsFloat) -> str:
    """A share in percent.

    >>> format_percent(0.953)
    '95%'
    """
    return format_number(share, ".0%")


def format_change(values: xr.DataArray, form: str = ".3g") -> str:
    """The first and the last finite value of a curve; a single value if both look the same.

    >>> format_change(xr.DataArray([0.5, np.nan, 0.7]), ".1f"), format_change(xr.DataArray([2, 2]))
    ('0.5 → 0.7', '2')
    """
    finite = values.to_numpy()[np.isfinite(values.to_numpy())]
    ends = [format_number(value, form) for value in finite[[0, -1]]] if len(finite) else []
    return " → ".join(dict.fromkeys(ends)) or "undefined"


def format_course(curve: xr.DataArray, form: str = ".3g") -> str:
    """The first, the highest and the last finite value of a curve over training.

    Omits the highest if it is at an end.

    >>> format_course(xr.DataArray([1.0, 5.0, 2.0], {"step": [0, 1000, 2000]}))
    '1 → 5 (step 1,000) → 2'
    """
    finite = curve[np.isfinite(curve.to_numpy())]
    at = int(finite.to_numpy().argmax()) if finite.size else 0
    if at in (0, finite.size - 1):
        return format_change(curve, form)
    first, top, last = (format_number(finite[place], form) for place in (0, at, -1))
    return f"{first} → {top} (step {int(finite.step[at]):,}) → {last}"


def format_steps(dataset: xr.Dataset) -> str:
    """The first and the last step of a dataset, or the only step.

    >>> format_steps(xr.Dataset(coords={"step": [0, 30_000]}))
    'from step 0 to 30,000'
    """
    first, last = (int(dataset.step[at]) for at in (0, -1))
    return f"at step {last:,}" if first == last else f"from step {first:,} to {last:,}"


def with_skipped_note(finding: str, dataset: xr.Dataset) -> str:
    """A finding, followed by the number of checkpoints that were not measured, if any.

    Args:
        finding: the text.
        dataset: a dataset with the attributes of `mechgrok.analyses.measures.finite`.

    >>> with_skipped_note("rising", xr.Dataset(attrs={"left_out": [40, 60]}))
    'rising; 2 steps from 40 on skipped, where weights are not finite'
    >>> with_skipped_note("rising", xr.Dataset({"step": [1, 2]}, attrs={"of_checkpoints": 9}))
    'rising (2 of 9 checkpoints)'
    """
    measured, of = dataset.sizes.get("step", 0), dataset.attrs.get("of_checkpoints", 0)
    missing = dataset.attrs.get("left_out", [])
    if measured < of:
        finding += f" ({measured} of {of:,} checkpoints)"
    if len(missing):
        count = "1 step" if len(missing) == 1 else f"{len(missing)} steps"
        finding += f"; {count} from {int(missing[0]):,} on skipped, where weights are not finite"
    return finding
