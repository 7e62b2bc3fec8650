"""Draw the figures of docs/analyses anew: python docs/figures/make.py BASE TICKET [NAME …]

BASE is a default run (`mechgrok train`), TICKET its ticket (`mechgrok ticket ckpts/`). Needs the
extra mechgrok[png].
"""

import sys
from pathlib import Path

from analyses.drawing import write_png
from mechgrok.results.analysis import Analysis
from mechgrok.runs import Run

HERE = Path(__file__).parent
#: Each figure's runs: both, or the base run alone where two would crowd it.
BOTH = ("accuracy", "dead-neurons", "entropy", "fourier", "graph", "norms", "periodicity")
BOTH += ("trajectory", "weights")
BASE = ("activations", "embedding", "progress", "similarity")


def draw(name: str, runs: dict[str, Run]) -> None:
    """Write NAME.png of the runs beside this file."""
    analysis = Analysis.load(name)
    measured = {label: analysis(run) for label, run in runs.items()}
    write_png(analysis.draw(measured), HERE / f"{name}.png", width=1000)
    print(HERE / f"{name}.png", flush=True)


if __name__ == "__main__":
    base, ticket, *names = sys.argv[1:]
    both = {"base": Run(base), "ticket": Run(ticket)}
    for name in names or BOTH + BASE:
        draw(name, both if name in BOTH else {"base": both["base"]})
