"""No two texts of a figure overlap, and none leaves it, at any width of a page."""

from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import pytest

from mechgrok.analyses.drawing.export import for_print
from mechgrok.analyses.drawing.layouts import fitted
from mechgrok.results.analysis import Analysis, analyses
from mechgrok.runs import Run
from tests.analyses.drawing.overlaps import opened_page, text_faults
from tests.analyses.test_variables import FEW

pytestmark = pytest.mark.browser

#: Pixels of a phone, of a column of the docs, and of a screen.
SCREENS = (390, 736, 1280)
#: Layout pixels of a printed column of 8.5 cm.
COLUMN = 428


@pytest.fixture(scope="module")
def page(needs_browser: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with opened_page(needs_browser, tmp_path_factory.mktemp("page")) as opened:
        yield opened


@pytest.mark.parametrize("name", analyses())
def test_texts_stay_apart_and_on_the_page(
    name: str, page: Any, tiny_run: Run, masked_run: Run, tiny_transformer_run: Run
) -> None:
    analysis = Analysis.load(name)
    pairs = ({"base": tiny_run, "ticket": masked_run}, {"transformer": tiny_transformer_run})
    for runs in pairs:
        measured = {
            label: analysis.measure(run, **FEW.get(name, {}))
            for label, run in runs.items()
            if not analysis.applies(run)
        }
        if not measured:
            continue
        figure = analysis.draw(measured)
        figure.frames = []
        shown = dict.fromkeys(SCREENS, figure)
        shown[COLUMN] = for_print(fitted(figure, COLUMN))
        faults = {width: text_faults(page, each, width) for width, each in shown.items()}
        assert not any(faults.values()), faults


def test_faults_are_seen(page: Any) -> None:
    """A figure whose texts overlap or leave it fails."""
    note = {"showarrow": False, "xref": "paper", "yref": "paper", "y": 0.5}
    notes = [{"text": "some text", "x": 0.5}, {"text": "another text", "x": 0.52}]
    notes.append({"text": "far to the right", "x": 1.6, "xanchor": "left"})
    figure = go.Figure(go.Scatter(y=[1]), {"annotations": [each | note for each in notes]})
    faults = text_faults(page, figure, 500)
    assert "'some text' and 'another text' overlap" in faults
    assert "'far to the right' leaves the figure" in faults
