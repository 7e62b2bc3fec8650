"""Redraw the figures of docs/analyses: python docs/figures/make.py BASE TICKET [NAME …]

BASE is a default run (`mechgrok train`), TICKET its ticket (`mechgrok ticket ckpts/
--until-grokked`). clusters.png, heads.png and terms.png are of the imported network of Nanda et
al., drawn by `mechgrok analyze NAME RUN --png`. Needs the extra mechgrok[png].
"""

import sys
from pathlib import Path

from mechgrok.analyses.drawing.browser import one_browser
from mechgrok.analyses.drawing.export import without_menus
from mechgrok.analyses.drawing.layouts import fitted
from mechgrok.results.analysis import Analysis
from mechgrok.runs import Run

HERE = Path(__file__).parent
#: Pixels across.
_WIDTH = 1000
#: Figures of both runs, and figures of the base run alone.
BOTH = ("accuracy", "careers", "dead-neurons", "entropy", "fourier", "graph", "lottery")
BOTH += ("commutator", "complexity", "homology", "kernel", "landscape", "norms", "periodicity")
BOTH += ("readout", "spectra", "stability", "synergy", "trajectory", "weights")
BASE = (
    "activations",
    "algorithm",
    "embedding",
    "llc",
    "pairs",
    "patching",
    "progress",
    "similarity",
    "singular-values",
)


def draw(name: str, runs: dict[str, Run]) -> None:
    """Write NAME.png of the runs to this folder."""
    analysis = Analysis.load(name)
    measured = {label: analysis(run) for label, run in runs.items()}
    figure, file = without_menus(fitted(analysis.draw(measured), _WIDTH)), HERE / f"{name}.png"
    # At double resolution the figures would take 8 MB.
    with one_browser() as browser:
        height = figure.layout.height or 800
        file.write_bytes(browser.draw(figure, "png", width=_WIDTH, height=height))
    print(file, flush=True)


if __name__ == "__main__":
    base, ticket, *names = sys.argv[1:]
    both = {"base": Run(base), "ticket": Run(ticket)}
    with one_browser():
        for name in names or BOTH + BASE:
            draw(name, both if name in BOTH else {"base": both["base"]})
