"""
Sphinx builds these pages: ``sphinx-build -W -n docs docs/_build``.

Neither the build nor a reader needs a network: formulas are MathML, which browsers draw by themselves.
"""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

from hetglm import __version__

project = "hetglm"
author = "The hetglm developers"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
nitpicky = True

# the reference: docstrings have the types, so signatures need not
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
autodoc_mock_imports = ["marginaleffects", "polars"]
autosummary_generate = True
numpydoc_show_class_members = False

# the few names of other projects that are linked to, in Sphinx's text format: a build asks no server
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.inv"),
    "patsy": ("https://patsy.readthedocs.io/en/latest/", "inventories/patsy.inv"),
    "scipy": ("https://docs.scipy.org/doc/scipy/", "inventories/scipy.inv"),
    "statsmodels": ("https://www.statsmodels.org/stable/", "inventories/statsmodels.inv"),
}

html_theme = "alabaster"
html_math_renderer = "mathml"
html_theme_options = {
    "description": "Models for the mean and the dispersion of a response",
    "page_width": "1080px",
    "fixed_sidebar": True,
}


def _mathml(tex, as_block=False):
    """Return a formula as MathML; docutils wants braces around a digit where TeX does not."""
    math = tex2mathml(re.sub(r"frac(\d)(\d)", r"frac{\1}{\2}", tex), as_block=as_block)
    # browsers leave no room after the name of a function
    return math.replace("<mo>&ApplyFunction;</mo>", '<mspace width="0.17em"/>')


def _inline(writer, node):
    writer.body.append(_mathml(node.astext()))
    raise nodes.SkipNode


def _block(writer, node):
    writer.body.append(f'<div class="math">{_mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    """Have formulas drawn by the functions above."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
