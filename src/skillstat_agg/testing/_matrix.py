"""Tries every check on every broken store, and writes down which fail: ``nox -s gallery``.

That takes a quarter of an hour, so what comes of it is kept: in a file that diagnoses read, and as
a page of the documentation. Whether it is still so takes half of that, since of stores on files
only the checks are tried that are written down as failing.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from skillstat_agg.testing._cases import Level
from skillstat_agg.testing._checks import Check
from skillstat_agg.testing._diagnosis import Row, matrix
from skillstat_agg.testing._gallery_page import page
from skillstat_agg.testing._running import run_check
from skillstat_agg.testing._wiring import declared
from skillstat_agg.testing.checks import CHECKS
from skillstat_agg.testing.gallery import BROKEN_STORES, BrokenStore

MATRIX = Path(__file__).parent / "gallery" / "matrix.json"

NEEDS = sorted(frozenset().union(*(check.needs for check in CHECKS)))


def row_of(store: BrokenStore, checks: Iterable[Check] = CHECKS) -> Row:
    """Try the checks on a store."""
    has = declared(store.harness)
    results = [run_check(check, store.harness, Level.QUICK, has) for check in checks]
    return Row(
        tuple(result.check.id for result in results if result.failure is not None),
        tuple(need for need in NEEDS if need not in has),
    )


def _row_at(index: int) -> Row:
    return row_of(BROKEN_STORES[index])


def _row_anew(ids: Collection[str], index: int) -> Row:
    """Return the row of a store, in which only these checks are tried where one is known."""
    store = BROKEN_STORES[index]
    known = matrix().get(store.name)
    if known is None:
        return row_of(store)
    tried = row_of(store, [check for check in CHECKS if check.id in ids])
    fails = {*tried.fails, *(one for one in known.fails if one not in ids)}
    return Row(tuple(check.id for check in CHECKS if check.id in fails), tried.without)


def _row_again(index: int) -> Row:
    """Return the row of a store; what passed on a file is not tried again."""
    store = BROKEN_STORES[index]
    known = matrix().get(store.name)
    if known is None or not is_on_file(store):
        return row_of(store)
    return row_of(store, [check for check in CHECKS if check.id in known.fails])


def is_on_file(store: BrokenStore) -> bool:
    """Return whether a store keeps its events in a file, where a case takes ten times as long."""
    return store.harness.joins  # in memory an open append is an object of its own


def written(rows: Mapping[str, Row]) -> str:
    """Return the text of the file: a line for each store."""
    lines = ",\n".join(
        f"  {json.dumps(name)}: "
        + json.dumps({"fails": list(row.fails), "without": list(row.without)})
        for name, row in rows.items()
    )
    return f"{{\n{lines}\n}}\n"


def main() -> int:
    """Try everything, and write both files anew."""
    parser = argparse.ArgumentParser(prog="nox -s gallery --", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they would change")
    parser.add_argument(
        "--only",
        nargs="+",
        default=(),
        metavar="CHECK",
        choices=[check.id for check in CHECKS],
        help="try these checks: what is written down of the others stays",
    )
    parser.add_argument(
        "--page-only", action="store_true", help="try nothing: the page of what is written down"
    )
    parser.add_argument(
        "--page", type=Path, default=Path("docs", "gallery.md"), help="where the page is"
    )
    asked = parser.parse_args()
    row_at = partial(_row_anew, asked.only) if asked.only else _row_at
    rows = matrix() if asked.page_only else _tried(_row_again if asked.check else row_at)
    files = {MATRIX: written(rows), asked.page: page(BROKEN_STORES, CHECKS, rows)}
    old = {path: _text(path) for path, text in files.items() if _text(path) != text}
    for path, text in old.items():
        if asked.check:
            sys.stdout.writelines(_difference(path, text, files[path]))
        else:
            sys.stdout.write(f"{path} is written anew\n")
            path.write_text(files[path], encoding="utf-8", newline="\n")
    return int(asked.check and bool(old))


def _tried(row_at: Callable[[int], Row]) -> Mapping[str, Row]:
    """Return the row of each broken store; all processors are at work."""
    found: dict[str, Row] = {}
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        rows = pool.map(row_at, range(len(BROKEN_STORES)))
        for store, row in zip(BROKEN_STORES, rows, strict=True):
            found[store.name] = row
            sys.stderr.write(f"{len(found)}/{len(BROKEN_STORES)}  {store.name}\n")
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _difference(path: Path, old: str, new: str) -> Iterable[str]:
    """Return what is out of date, line by line."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    return difflib.unified_diff(before, after, str(path), "as it is now", n=0)


if __name__ == "__main__":
    sys.exit(main())
