"""Chooses, runs and prints: the command line of the benchmarks."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import attrs

from benchmarks import appends, boards, drains, memory, operating, postgres, reports
from benchmarks.figures import Figure, Setting
from benchmarks.logs import rows, write_log

BENCHMARKS: dict[str, Callable[[Setting], Iterator[Figure]]] = {
    "drain": drains.against_yardstick,
    "backlog": drains.by_backlog,
    "memory": memory.by_backlog,
    "idle": drains.idle,
    "append": appends.against_bare_inserts,
    "page": drains.by_page,
    "commit": appends.one_by_one,
    "plain": drains.without_tally,
    "tally": drains.tallying,
    "event": appends.constructing,
    "rebuild": operating.rebuilding,
    "verify": operating.verifying,
    "prune": operating.pruning,
    "board": boards.of_a_week,
    "page-of-results": boards.of_a_page,
    "report": reports.of_many_skills,
    "postgres-drain": postgres.against_statement,
    "postgres-append": postgres.against_bare_statements,
    "postgres-writers": postgres.beside_a_drain,
    "postgres-idle": postgres.idle,
    "postgres-board": postgres.board_of_a_week,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and print their figures; return 1 if a bound is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Print what this machine does; exit with 1 if a bound is broken.",
    )
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help=f"{', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument(
        "--events",
        type=int,
        default=1_000_000,
        help="events of the log; the bounds are meant for the default, %(default)s",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each time is taken (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    if options.events < 1_000 or options.rounds < 1:
        parser.error("at least 1,000 events and 1 round are needed")

    about = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "attrs": version("attrs"),
        "psycopg": version("psycopg"),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "events": options.events,
        "rounds": options.rounds,
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()), end="\n\n")
    print(_cells("benchmark", "figure", "measured", "bound", "verdict", "from"))
    print(_cells("---", "---", "--:", "---", "---", "---"), flush=True)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        setting = _prepared(Path(folder), options.events, options.rounds)
        for name in options.names or BENCHMARKS:
            for figure in BENCHMARKS[name](setting):
                figures.append(figure)
                print(_row(name, figure), flush=True)
    if options.json is not None:
        described = [
            attrs.asdict(each) | {"bound": each.bound, "verdict": each.verdict} for each in figures
        ]
        options.json.write_text(json.dumps(about | {"figures": described}, indent=2) + "\n")
    return 1 if any(figure.verdict == "over" for figure in figures) else 0


def _prepared(folder: Path, events: int, rounds: int) -> Setting:
    return Setting(
        folder=folder,
        log=write_log(folder / "log.db", rows(events)),
        tenth=write_log(folder / "tenth.db", itertools.islice(rows(events), events // 10)),
        events=events,
        rounds=rounds,
    )


def _row(benchmark: str, figure: Figure) -> str:
    measured = f"{figure.value:.2f} {figure.unit}".strip()
    return _cells(
        f"`{benchmark}`", figure.name, measured, figure.bound, figure.verdict, figure.source
    )


def _cells(benchmark: str, name: str, measured: str, bound: str, verdict: str, source: str) -> str:
    """Return a row of a table in Markdown, which ``docs/speed.md`` shows."""
    return (
        f"| {benchmark:<18} | {name:<52} | {measured:>8} | {bound:<13} | {verdict:<7} | {source} |"
    )


if __name__ == "__main__":
    sys.exit(main())
