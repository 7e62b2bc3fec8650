"""Analyses that promise to measure each checkpoint by itself keep the promise."""

import numpy as np
import pytest
import xarray as xr

from mechgrok.results.analysis import Analysis, analyses
from mechgrok.runs import Run

PROMISED = [name for name in analyses() if Analysis.load(name).per_step]


def test_some_promise() -> None:
    assert {"entropy", "fourier", "norms"} <= set(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
@pytest.mark.parametrize("which", ["tiny_run", "tiny_transformer_run", "masked_run"])
def test_the_answer_for_some_steps_is_a_part_of_the_answer_for_all(
    name: str, which: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(which)
    analysis = Analysis.load(name)
    if analysis.applies(run):
        pytest.skip(f"{name} does not apply to {which}")
    whole, some = analysis.measure(run), run.steps[1::2]
    assert whole.step.to_numpy().tolist() == run.steps
    part = analysis.measure(run, steps=some)
    xr.testing.assert_allclose(part, whole.sel(step=some), rtol=1e-5, atol=1e-6)
    assert part.attrs == whole.attrs
    for variable in whole.data_vars.values():
        assert variable.dtype != np.dtype(object)
