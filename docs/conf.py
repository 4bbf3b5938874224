"""How Sphinx builds these pages. Nothing is fetched: the build works offline."""

import inspect
import re
import sys
from importlib.metadata import version as version_of

import attrs
import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from skillstat_agg.cli import main

project = "skillstat-agg"
author = "The skillstat-agg developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx asks for this name
release = version = version_of("skillstat-agg")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"skillstat-agg {version}"
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Clock": "Clock"}
python_maximum_signature_line_length = 80
napoleon_attr_annotations = False
napoleon_custom_sections = [("Laws", "params_style")]
napoleon_numpy_docstring = False

# `Name` in a docstring links to that name of ours. Without intersphinx no other name can
# be found, so only references into this package are checked.
default_role = "py:obj"
nitpick_ignore_regex = [
    (r"py:.*", r"(?!skillstat_agg\b).*"),
    # A type variable, and what the kit's own checks are handed: neither is for users.
    (r"py:class", r"skillstat_agg\.testing\._(harness\.S|cases\.Case)"),
    # Two protocols in one, which the text of a function names one by one; a type variable.
    (r"py:class", r"skillstat_agg\..*\.(RebuildableStore|SummedStore|MeasuredLog)"),
    (r"py:class", r"skillstat_agg\._owners\.Owner"),
]


class CommandLine(SphinxDirective):
    """``command-line``: the help text of each command, as the program prints it."""

    def run(self) -> list[nodes.Node]:
        """Return one section per command."""
        commands: dict[str, click.Command] = {"skillstat": main}
        for name, each in main.commands.items():
            commands[f"skillstat {name}"] = each
            if isinstance(each, click.Group):
                commands |= {f"skillstat {name} {one}": sub for one, sub in each.commands.items()}
        return [_section(name, command) for name, command in commands.items()]


def _section(name: str, command: click.Command) -> nodes.section:
    section = nodes.section(ids=[nodes.make_id(name)], names=[name])
    section += nodes.title("", "", nodes.literal(text=name))
    context = click.Context(command, info_name=name, terminal_width=80)
    section += nodes.literal_block(text=command.get_help(context), language="none")
    return section


def as_written(
    _app: Sphinx, what: str, name: str, obj: object, _options: object, lines: list[str]
) -> None:
    """Show the docstring of a property or constant as it stands in its module.

    Napoleon takes what precedes a colon there for a type, and autodoc finds the docstring of
    a constant only in the module that defines it.
    """
    if what == "property":
        lines[:] = (inspect.getdoc(obj) or "").splitlines()
    elif what == "data":
        key = ("", name.rpartition(".")[2])
        modules = sorted(each for each in sys.modules if each.startswith("skillstat_agg."))
        docs = (ModuleAnalyzer.for_module(module).find_attr_docs() for module in modules)
        lines[:] = next((found[key] for found in docs if key in found), lines)


def readable(
    _app: Sphinx,
    _what: str,
    _name: str,
    obj: object,
    _options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Show defaults as they are written, also those of values that attrs makes."""
    if signature is not None:
        signature = signature.replace("Ellipsis", "...").replace("<function utc_now>", "utc_now")
        if isinstance(obj, type) and attrs.has(obj):
            fields = {field.name.lstrip("_"): field for field in attrs.fields(obj)}
            signature = re.sub(
                r"attr_dict\['_?(\w+)'\]\.default",
                lambda found: repr(fields[found[1]].default),
                signature,
            ).replace("NOTHING", "...")
    return signature, returns


def setup(app: Sphinx) -> None:
    """Make the directive known, and put the hook for docstrings behind that of Napoleon."""
    app.add_directive("command-line", CommandLine)
    app.connect("autodoc-process-signature", readable)
    app.connect("autodoc-process-docstring", as_written, priority=600)
