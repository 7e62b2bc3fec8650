"""Live figures in pages, which share one copy of plotly.js.

`prepare_kernels` writes an IPython profile that shows Plotly figures without a copy of plotly.js;
`PackedFigure` shows a saved figure; `add_plotly` adds the script to pages with figures.
"""

import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

#: How `plotly.io.to_html` writes a figure into a page.
_HTML = {
    **{"full_html": False, "include_plotlyjs": False, "auto_play": False},
    "config": {"responsive": True, "displaylogo": False},
}

#: Start-up code of every kernel.
_START = """
import os
import warnings
from pathlib import Path

import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

os.environ["TQDM_DISABLE"] = "1"  # no progress bars on pages
warnings.filterwarnings("ignore", message="IProgress not found")
if not Path("data").exists():
    Path("data").symlink_to({data!r}, target_is_directory=True)


class BesidePlotly(MimetypeRenderer):
    def to_mimebundle(self, fig_dict):
        return {{"text/html": pio.to_html(fig_dict, **{html!r})}}


pio.renderers["beside"] = BesidePlotly()
pio.renderers.default = "beside"
pio.templates.default = "plotly_white"
"""


def prepare_kernels(build: Path, root: Path) -> None:
    """Configure new kernels to find the shipped runs and show live figures."""
    startup = build / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    code = _START.format(data=str(root / "data"), html=_HTML)
    (startup / "00-figures.py").write_text(code, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(build / "ipython")
    # Kernels start in other folders but import this tree.
    path = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)


class PackedFigure(SphinxDirective):
    """A figure in a file written by `mechgrok.reports.packing.pack`, by its path from the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The figure as HTML."""
        from plotly.io import to_html

        from mechgrok.reports.packing import unpack

        relative, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        figure = unpack(Path(path).read_text(encoding="ascii"))
        return [nodes.raw("", to_html(figure, validate=False, **_HTML), format="html")]


def copy_scripts(into: Path) -> None:
    """Copy plotly.js from the installed Plotly, and the script and style of reports' figures."""
    from plotly.offline import get_plotlyjs

    from mechgrok.reports.packing import script, style

    into.mkdir(parents=True, exist_ok=True)
    (into / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
    (into / "figure.js").write_text(script(), encoding="utf-8")
    (into / "figure.css").write_text(style(), encoding="utf-8")


def add_plotly(
    app: Any, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Sphinx event: add the script to a page with figures."""
    if "plotly-graph-div" in context.get("body", ""):
        path = context["pathto"]("_static/plotly.min.js", resource=True)
        context["metatags"] = context.get("metatags", "") + f'<script src="{path}"></script>'
