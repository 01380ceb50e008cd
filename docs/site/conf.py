"""Sphinx's configuration of the site; ``python docs/site/build.py`` stages its pages and runs it."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # what is documented is this tree, whatever else is installed

import weit_rl  # noqa: E402

project = "weit_rl"
version = release = weit_rl.__version__
author = "the weit_rl authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]

# Pages are where they are in the repository, so that a link works there as well as here.
include_patterns = ["index.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**.md", "benchmarks/**.md"]
include_patterns += ["verbs/**.md", "api/**.md"]
exclude_patterns = ["docs/_*"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_all_links_external = False
suppress_warnings = ["myst.header"]  # tables that scripts write begin with a second-level heading
suppress_warnings += ["ref.python"]  # a type's short name may be that of two classes

smartquotes_action = "D"  # dashes; quotes stay as they are typed

autodoc_mock_imports = ["diffusers"]  # large, and only a base class here
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "weit_rl"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_show_sourcelink = False
templates_path = ["templates"]
html_sidebars = {"**": ["sidebar-pages.html"]}
html_math_renderer = "mathml"
html_theme_options = {
    "navbar_center": [],  # the sidebar has all pages
    "search_bar_text": "Search these pages",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def prepared(app, name, source):
    """Give a page a title if it has none, and remove links to folders."""
    here = Path(app.env.doc2path(name)).parent
    text = re.sub(
        r"\[([^\]]*)\]\(([\w./-]+)\)", lambda link: link[1] if (here / link[2]).is_dir() else link[0], source[0]
    )
    titled = re.search(r"^#", text, re.MULTILINE)
    source[0] = text if titled else f"# {Path(name).name.replace('_', ' ').capitalize()}\n\n{text}"


def without_fields(app, what, name, obj, skip, options):
    """Skip the fields of a named tuple: the class's docstring has them."""
    return skip or str(getattr(obj, "__doc__", "")).startswith("Alias for field number")


def setup(app):
    app.connect("source-read", prepared)
    app.connect("autodoc-skip-member", without_fields)
