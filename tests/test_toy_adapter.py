"""A store that somebody else could have written passes the kit, with public names alone."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from skillstat_agg.testing import conformance_tests
from tests import json_files
from tests.json_files import Folder, JsonEventStore, harness
from tests.logs import NOON, download

SOURCE = Path(json_files.__file__)
PUBLIC = ("skillstat_agg", "skillstat_agg.errors", "skillstat_agg.testing")

DIES_INSIDE = """\
import os, signal, sys
from pathlib import Path
from tests.json_files import Folder, JsonEventStore
from tests.logs import NOON, download

left = int(sys.argv[2])

def io():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

JsonEventStore(Folder(Path(sys.argv[1]), io), lambda: NOON).append([download(), download()])
"""

POINTS = range(1, 8)
"""The I/O points of an append to a log that is there: its lock, its file, its draft, its name."""

test_json_files = conformance_tests(harness)


def imported(source: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of whatever of this package a file imports."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((one.name, "") for one in node.names if one.name.startswith("skillstat"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("skillstat"):
            yield from ((node.module or "", one.name) for one in node.names)


def public_names(module: str) -> set[str]:
    """Return what a public module says that it has; all of ``errors`` is public."""
    found = import_module(module)
    return set(getattr(found, "__all__", vars(found)))


def test_it_imports_public_names_only():
    """What is not public may change at any time."""
    names = list(imported(SOURCE))

    assert len(names) > 30
    assert [
        (module, name)
        for module, name in names
        if module not in PUBLIC or name not in public_names(module)
    ] == []


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_inside_an_append_leaves_all_or_nothing(tmp_path, point):
    """Its lock goes with it, and its draft is nobody's."""
    log = JsonEventStore(Folder(tmp_path), lambda: NOON)
    child = subprocess.run(
        [sys.executable, "-c", DIES_INSIDE, str(tmp_path), str(point)],
        cwd=SOURCE.parent.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    left = len(log.read(None, limit=10).events)
    log.append([download()])

    assert child.returncode == -signal.SIGKILL
    assert left in (0, 2)
    assert len(log.read(None, limit=10).events) == left + 1


def test_the_points_are_all_there_are(tmp_path):
    """One more, and an append comes to its end."""
    JsonEventStore(Folder(tmp_path), lambda: NOON)
    passed: list[None] = []
    log = JsonEventStore(Folder(tmp_path, lambda: passed.append(None)), lambda: NOON)
    log.append([download(), download()])

    assert len(passed) == len(POINTS)
