"""The explorer's slider dragged through 300 checkpoints: milliseconds until a step is drawn."""

from collections.abc import Iterator
from statistics import median, quantiles
from time import perf_counter, process_time

import pytest

pytest.importorskip("dash", reason="the extra mechgrok[explore] is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from mechgrok.analyses.explorer import explore
from mechgrok.analyses.explorer.server import Explorer
from mechgrok.analyses.explorer.tables import Shown
from mechgrok.configuration.run_config import RunConfig
from mechgrok.interventions import Ablate
from mechgrok.runs import Run
from mechgrok.training import train
from tests.analyses.explorer.conftest import browser as browser
from tests.analyses.explorer.conftest import open_page
from tests.benchmarks.conftest import report

pytestmark = pytest.mark.benchmark

#: Moves the slider a step at each frame, as a hand does, and says what each step took: until the
#: canvases are drawn, and until the browser shows the next frame.
DRAG = """async () => {
  const slider = document.getElementById("step"), drawn = [], shown = [];
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  for (let at = 0; at < 300; at++) {
    const began = performance.now();
    set.call(slider, Math.round(1e5 * Math.log1p(at / 10) / Math.log1p(30)));
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    drawn.push(performance.now() - began);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    shown.push(performance.now() - began);
  }
  return [drawn, shown];
}"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The default network with 301 checkpoints."""
    training = {"steps": 300, "checkpoint_every": 1}
    return train(tmp_path_factory.mktemp("run") / "run", RunConfig.make(training=training))


@pytest.fixture(scope="module")
def explorer(run: Run) -> Iterator[Explorer]:
    explorer = explore(run)
    explorer.start()
    yield explorer
    explorer.close()


def test_a_step_is_drawn_in_milliseconds(explorer: Explorer, browser) -> None:
    began = perf_counter()
    tab = open_page(browser, explorer)
    report(f"explorer: the page is ready after {perf_counter() - began:.2f} s")
    tab.page.get_by_role("button", name="Over training").click()
    tab.page.wait_for_selector("progress[value='1']")
    report(f"explorer: all rows are fetched after {perf_counter() - began:.2f} s")
    for what, took in zip(("drawn", "shown"), tab.page.evaluate(DRAG), strict=True):
        report(
            f"explorer: of 300 steps one is {what} in {median(took):.1f} ms (median), "
            f"{quantiles(took, n=20)[-1]:.1f} ms (95th percentile)"
        )
        if what == "drawn":
            assert median(took) < 50
    tab.page.close()


def test_interventions_at_one_checkpoint_are_measured_in_milliseconds(run: Run) -> None:
    shown = Shown("run", run)
    took = []
    for step in run.steps[:20]:
        began = process_time()
        shown.row(step, [Ablate(neurons=[1, 2])], 0)
        took.append(process_time() - began)
    report(
        f"explorer: a row with interventions takes {1000 * median(took):.0f} ms of processor time"
    )
    assert median(took) < 0.15
