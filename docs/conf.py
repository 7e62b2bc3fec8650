"""Sphinx configuration: `make docs` writes docs/_build/html/index.html.

Pages with code cells are executed in folders of their own, in which ``data/`` holds the shipped
runs; ``_build/.jupyter_cache`` caches their outputs. The pages in ``reference/`` about commands,
names and variables are generated from the code.
"""

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT, BUILD = HERE.parent, HERE / "_build"
sys.path[:0] = [str(ROOT), str(HERE)]

from site_pages import api, commands, figures, notebooks, variables  # noqa: E402

project, author, copyright = "mechgrok", "the authors of mechgrok", "the authors of mechgrok"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "figures/*.py", "site_pages", "tutorials/*.ipynb"]
html_theme = "furo"
html_title = "mechgrok"
html_static_path = ["_static", "_build/static"]
html_css_files = ["figure.css", "site.css"]
html_js_files = ["figure.js", "site.js"]
_FONTS = "Helvetica, Arial, sans-serif"  # as in reports
html_theme_options = {
    "sidebar_hide_name": False,
    "light_css_variables": {"font-stack": _FONTS, "color-brand-primary": "#0072B2"}
    | {"color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#6cb6e6", "color-brand-content": "#6cb6e6"},
}
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "attrs_inline", "attrs_block"]
# Formulas are in Unicode, so that pages work offline.
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / ".jupyter_cache")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_merge_streams = True
copybutton_exclude = ".linenos, .gp, .go"

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 90


def setup(app: Any) -> None:
    """Generate pages before Sphinx collects them, and connect events."""
    api.write(HERE / "reference" / "api")
    commands.write(HERE / "reference")
    variables.write(HERE / "reference")
    figures.copy_scripts(BUILD / "static")
    figures.prepare_kernels(BUILD, ROOT)
    app.add_directive("packed-figure", figures.PackedFigure)
    app.connect("source-read", notebooks.show_exercises)
    app.connect("source-read", variables.link)
    app.connect("html-page-context", figures.add_plotly)
    app.connect("autodoc-process-docstring", api.escape_bars)
