"""Figures in executed pages: live, and drawn by one plotly.js that lies beside the pages.

`prepare_kernels` writes an IPython profile whose start-up lets every cell that ends with a Plotly
figure show it without a copy of plotly.js; `add_plotly` gives the script to pages that hold one.
"""

import os
from pathlib import Path
from typing import Any

#: Runs in every kernel before the first cell.
_START = """
import os
import warnings
from pathlib import Path

import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

os.environ["TQDM_DISABLE"] = "1"  # a bar that runs is nothing on a page
warnings.filterwarnings("ignore", message="IProgress not found")
if not Path("data").exists():
    Path("data").symlink_to({data!r}, target_is_directory=True)


class BesidePlotly(MimetypeRenderer):
    def to_mimebundle(self, fig_dict):
        shown = pio.to_html(
            fig_dict, full_html=False, include_plotlyjs=False, auto_play=False,
            config={{"responsive": True, "displaylogo": False}},
        )
        return {{"text/html": shown}}


pio.renderers["beside"] = BesidePlotly()
pio.renderers.default = "beside"
pio.templates.default = "plotly_white"
"""


def prepare_kernels(build: Path, root: Path) -> None:
    """Let kernels that are started from now on find the shipped runs and show live figures."""
    startup = build / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "00-figures.py").write_text(_START.format(data=str(root / "data")), encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(build / "ipython")
    # Kernels are started elsewhere: what they import is this tree.
    path = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)


def copy_plotly(into: Path) -> None:
    """plotly.js, as the installed Plotly has it."""
    from plotly.offline import get_plotlyjs

    into.mkdir(parents=True, exist_ok=True)
    (into / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def add_plotly(
    app: Any, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Before the page is written: the script, ahead of the figures, where the page has any."""
    if "plotly-graph-div" in context.get("body", ""):
        path = context["pathto"]("_static/plotly.min.js", resource=True)
        context["metatags"] = context.get("metatags", "") + f'<script src="{path}"></script>'
