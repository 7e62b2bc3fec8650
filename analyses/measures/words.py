"""How a finding says what changed: from a first value to a last, where a run has more than one."""

import xarray as xr


def ends(first: str, last: str) -> str:
    """Two values as they are shown; one where they are shown alike.

    >>> ends("0.5", "0.7"), ends("0.5", "0.5")
    ('0.5 → 0.7', '0.5')
    """
    return first if first == last else f"{first} → {last}"


def between_steps(dataset: xr.Dataset) -> str:
    """The first and the last step of an answer, or the only one.

    >>> between_steps(xr.Dataset(coords={"step": [0, 30_000]}))
    'from step 0 to 30,000'
    """
    first, last = (int(dataset.step[at]) for at in (0, -1))
    return f"at step {last:,}" if first == last else f"from step {first:,} to {last:,}"
