"""The shape of the package: who may import whom, and what it shows.

Imports are read from syntax trees, so that nothing has to be installed to be judged.
"""

from __future__ import annotations

import ast
import doctest
import graphlib
import importlib
import inspect
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import skillstat_agg

ROOT = Path(skillstat_agg.__file__).parent

# From left to right, also within a row: a module imports only from its left. A folder is
# one entry; "skillstat_agg" is the package's own list of public names.
LAYERS = (
    ("errors", "_buckets", "_events"),
    ("_tallies",),
    ("_effects", "_projections", "_deltas", "_adjusting"),
    ("_commits", "_quarantine", "_notes", "_pages", "_compacting"),
    ("_stores", "_appending", "_badges", "_generations"),
    (
        "_folding",
        "_pruning",
        "_retention",
        "_rebuilding",
        "_verifying",
        "_sampling",
        "_scheduling",
        "_signals",
        "_ranges",
        "_series",
        "_leaderboards",
        "_boards",
        "_owners",
        "_lag",
        "_fresh",
        "_correcting",
        "_adopting",
        "_hydrating",
        "aio",
        "skillstat_agg",
    ),
    ("backends",),
    ("testing",),
    ("cli",),
)
ORDER = [name for row in LAYERS for name in row]
CORE = [name for row in LAYERS[:6] for name in row]

# What may be imported beside the standard library and this package: an extra of its own each.
OF_THE_CORE = frozenset({"attrs", "typing_extensions"})
OTHERS = {
    "backends.postgres": OF_THE_CORE | {"psycopg"},
    "testing._pytest": OF_THE_CORE | {"pytest"},
    "testing._schedules": OF_THE_CORE | {"hypothesis"},
    "cli": OF_THE_CORE | {"click", "rich"},
    "cli._report._page": OF_THE_CORE | {"jinja2", "markupsafe"},
    "cli._report._texts": OF_THE_CORE | {"markupsafe"},
    "cli._report._command": OF_THE_CORE | {"click"},
    "cli._report": OF_THE_CORE,
    "cli._server": OF_THE_CORE | {"psycopg"},
}

# The doors to extras may say which extra is missing; nobody else tries an import.
MAY_TRY = frozenset(
    {"skillstat_agg.cli", "skillstat_agg.testing._tests", "skillstat_agg.testing._random"}
)


@attrs.frozen
class Import:
    """One imported module, by its full name, and where the statement stands.

    Attributes:
        module: The module.
        where: ``"top"``, ``"try"`` (a ``try`` that stands at the top) or ``"inside"``.
    """

    module: str
    where: str


def imports_in(source: str) -> Iterator[Import]:
    """Return what *source* imports, wherever the statement stands."""
    tree = ast.parse(source)
    tried = [inner for node in tree.body if isinstance(node, ast.Try) for inner in node.body]
    for node in ast.walk(tree):
        where = "top" if node in tree.body else "try" if node in tried else "inside"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, where)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            module = node.module or ""
            for alias in node.names:
                full_name = f"{module}.{alias.name}"
                yield Import(full_name if full_name in MODULES else module, where)


def module_name(path: Path) -> str:
    """Return the full name of the module in a file of the package."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
CORE_MODULES = [name if name == "skillstat_agg" else f"skillstat_agg.{name}" for name in CORE]

each_module = pytest.mark.parametrize("module", MODULES)


def imports_of(module: str) -> list[Import]:
    return list(imports_in(MODULES[module].read_text(encoding="utf-8")))


def layer(module: str) -> str:
    """Return the entry of the table that a module of the package belongs to."""
    return module if module == "skillstat_agg" else module.split(".")[1]


def is_ours(module: str) -> bool:
    return module.split(".")[0] == "skillstat_agg"


def may_import(module: str, imported: str) -> bool:
    """Return whether the table lets one module of the package import another."""
    here, there = ORDER.index(layer(module)), ORDER.index(layer(imported))
    return there < here or (there == here and module != imported)


def allowed_others(module: str) -> frozenset[str]:
    """Return what a module may import from outside; the longest entry counts."""
    name = module.removeprefix("skillstat_agg.")
    parts = name.split(".")
    names = (".".join(parts[:size]) for size in range(len(parts), 0, -1))
    return next((OTHERS[each] for each in names if each in OTHERS), OF_THE_CORE)


@each_module
def test_every_module_has_a_place_in_the_table(module):
    """A new module is put somewhere before it is used."""
    assert layer(module) in ORDER


def test_every_place_in_the_core_is_taken():
    """The table names no core module that is not there."""
    assert set(CORE_MODULES) <= MODULES.keys()


@each_module
def test_a_module_imports_only_from_its_left(module):
    """The table of ``design.md`` is true; in particular the core imports no backend."""
    ours = [each.module for each in imports_of(module) if is_ours(each.module)]

    assert [each for each in ours if not may_import(module, each)] == []


@each_module
def test_imports_stand_at_the_top(module):
    """No import hides in a function or a condition, and hardly any in a ``try``."""
    allowed = {"top", "try"} if module in MAY_TRY else {"top"}

    assert [each for each in imports_of(module) if each.where not in allowed] == []


@each_module
def test_only_declared_packages_are_imported(module):
    """The core needs attrs and typing-extensions, and each extra only what it names."""
    outside = {
        name
        for each in imports_of(module)
        if (name := each.module.split(".")[0]) not in sys.stdlib_module_names
        and not is_ours(each.module)
        and (module, name) != ("skillstat_agg.cli.__main__", "skillstat_command")
    }

    assert outside <= allowed_others(module)


def test_no_module_imports_itself_through_others():
    """There is no circle, not even within a folder."""
    graph = {
        module: {each.module for each in imports_of(module) if is_ours(each.module)}
        for module in MODULES
    }

    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_backends_do_not_import_each_other():
    """Each database stands alone; they share the clock, and how a record stands in a row."""
    for module in MODULES:
        of_backends = [
            each.module.split(".")[2]
            for each in imports_of(module)
            if each.module.startswith("skillstat_agg.backends.")
        ]
        if module.startswith("skillstat_agg.backends."):
            assert set(of_backends) <= {"_clocks", "_records", module.split(".")[2]}


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("skillstat_agg._events", "skillstat_agg._tallies"),
        ("skillstat_agg.errors", "skillstat_agg._events"),
        ("skillstat_agg._stores", "skillstat_agg._appending"),
        ("skillstat_agg._folding", "skillstat_agg"),
        ("skillstat_agg", "skillstat_agg.backends.memory"),
        ("skillstat_agg.aio", "skillstat_agg.backends"),
        ("skillstat_agg.backends.memory", "skillstat_agg.testing"),
        ("skillstat_agg.testing.gallery", "skillstat_agg.cli"),
        ("skillstat_agg._events", "skillstat_agg._events"),
    ],
)
def test_an_import_from_the_right_is_seen(module, imported):
    """The check can fail, and its opposite passes."""
    assert not may_import(module, imported)
    assert module == imported or may_import(imported, module)


def test_a_hidden_import_is_seen():
    """Imports are found wherever they stand."""
    source = "import a.b\nfrom skillstat_agg import errors\n"
    hidden = "def f():\n    import c\ntry:\n    from d import e\nexcept E:\n    import f\n"

    found = set(imports_in(source + hidden))

    assert found == {
        Import("a.b", "top"),
        Import("skillstat_agg.errors", "top"),
        Import("c", "inside"),
        Import("d", "try"),
        Import("f", "inside"),
    }


# What the package shows


def test_all_lists_what_the_package_exports():
    """``__all__`` is exactly the public names, sorted, and none of them is a module."""
    public = {
        name
        for name, value in vars(skillstat_agg).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert set(skillstat_agg.__all__) == public
    assert len(set(skillstat_agg.__all__)) == len(skillstat_agg.__all__)


def documented_constants(source: str) -> set[str]:
    """Return the names that are assigned at the top and followed by a string."""
    body = ast.parse(source).body
    return {
        target.id
        for statement, following in itertools.pairwise(body)
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (
            statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        )
        if isinstance(target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
        and isinstance(following.value.value, str)
    }


@pytest.mark.parametrize("name", skillstat_agg.__all__)
def test_every_public_name_has_a_docstring(name):
    """A class, a function and a constant each say what they are."""
    value = getattr(skillstat_agg, name)
    constants = {
        constant
        for module in CORE_MODULES
        for constant in documented_constants(MODULES[module].read_text(encoding="utf-8"))
    }

    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__
        assert not value.__doc__.startswith(f"{name}(")  # as attrs or NamedTuple would write it
    else:
        assert name in constants


@pytest.mark.parametrize("module", [name for name in MODULES if layer(name) in (*CORE, "backends")])
def test_the_examples_in_docstrings_are_true(module):
    """Every doctest of the core and the backends passes."""
    results = doctest.testmod(importlib.import_module(module))

    assert results.failed == 0


def test_there_are_examples():
    """The doctests are found where they stand."""
    found = doctest.DocTestFinder().find(importlib.import_module("skillstat_agg._buckets"))

    assert any(test.examples for test in found)
