"""How Sphinx builds these pages. Nothing is fetched: the build works offline."""

from importlib.metadata import version as version_of

project = "skillstat-agg"
author = "The skillstat-agg developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx asks for this name
release = version = version_of("skillstat-agg")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"skillstat-agg {version}"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False

# `Name` in a docstring links to that name of ours. Without intersphinx no other name can
# be found, so only references into this package are checked.
default_role = "py:obj"
nitpick_ignore_regex = [(r"py:.*", r"(?!skillstat_agg\b).*")]
