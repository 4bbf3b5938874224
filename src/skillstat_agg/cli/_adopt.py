"""``skillstat adopt``."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from skillstat_agg import adopt, check_adoptable, correctable, opening_events
from skillstat_agg._adjusting import CORRECTIONS
from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._errors import failure, when_interrupted
from skillstat_agg.cli._options import database_options, example, projection_option

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "adopt",
    epilog=example(
        "skillstat adopt --db stats.db --name counters totals.json",
        "skillstat adopt --db stats.db --name counters --daily days.csv totals.csv",
    ),
)
@database_options
@projection_option
@click.option(
    "--name",
    "source",
    metavar="TEXT",
    required=True,
    help="What the counts are taken over from; part of their ids.",
)
@click.option("--daily", type=_FILE, metavar="FILE", help="Counts by day, beside the totals.")
@click.argument("totals", type=_FILE, metavar="TOTALS")
def adopt_counts(
    database: Database, *, name: str | None, source: str, daily: Path | None, totals: Path
) -> None:
    """Take over the counts of another mechanism, before the first event that counts.

    TOTALS is JSON, {"pdf": {"downloads": 803}}, as skillstat totals --json --signed prints it,
    or CSV with the columns skill_id, downloads, ... in a file whose name ends in .csv. Counts by
    day are {"pdf": {"2026-03-01": {"downloads": 31}}}, or CSV with a column day as well. Days
    are those of UTC, and are no part of the totals: a download of a day is in both.

    They become events, all in one append; drain counts them. To run it again with the same
    counts does nothing; with others, or where events are counted already, it is refused. The
    projection gets the kinds that opening balances and corrections have.
    """
    counts, days = _totals(totals), {} if daily is None else _days(daily)
    with database.opened() as db, when_interrupted("run it again: it is done once, or not yet"):
        projection = correctable(chosen_projection(db, database.what, name))
        now = datetime.now(timezone.utc)
        # First what can be refused: once the projection has more kinds, older programs are.
        opening_events(projection, source, counts, days, at=now)
        check_adoptable(db.events(), db.stats(projection))
        db.create(projection)
        done = adopt(db.events(), db.stats(projection), source, counts, days, at=now)
    click.echo(f"{done.new} events appended, {done.events - done.new} were there already")


def _totals(path: Path) -> dict[str, Mapping[str, int]]:
    if path.suffix == ".csv":
        return {row.pop("skill_id"): _numbers(path, row) for row in _rows(path, "skill_id")}
    return {skill: _numbers(path, row) for skill, row in _object(path, _json(path)).items()}


def _days(path: Path) -> dict[tuple[str, datetime], Mapping[str, int]]:
    if path.suffix == ".csv":
        return {
            (row.pop("skill_id"), _start(path, row.pop("day"))): _numbers(path, row)
            for row in _rows(path, "skill_id", "day")
        }
    return {
        (skill, _start(path, day)): _numbers(path, row)
        for skill, days in _object(path, _json(path)).items()
        for day, row in _object(path, days).items()
    }


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise failure(f"{path} is no JSON: {error}; nothing was stored") from error


def _object(path: Path, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise failure(f"{path}: an object is needed, not {str(value)[:100]!r}; nothing was stored")
    return value


def _rows(path: Path, *keys: str) -> list[dict[str, str]]:
    """Return the rows of a table, each key once."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [dict(row) for row in csv.DictReader(file, restkey="", restval="")]
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows, 2):
        if not all(row.get(key) for key in keys) or "" in row:
            raise failure(
                f"{path}, row {number}: it needs {' and '.join(keys)}, and as many cells as there"
                " are names; nothing was stored"
            )
        key = tuple(row[key] for key in keys)
        if key in seen:
            raise failure(f"{path}, row {number}: {key} is there twice; nothing was stored")
        seen.add(key)
    return rows


def _numbers(path: Path, row: object) -> dict[str, int]:
    """Return whole numbers by name, from JSON or from cells."""
    numbers: dict[str, int] = {}
    for name, value in _object(path, row).items():
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if type(number) is not int:
            raise failure(
                f"{path}: {name} must be a whole number, not {str(value)[:100]!r}; nothing was"
                " stored"
            )
        if name != CORRECTIONS:  # they are no count of the other mechanism
            numbers[name] = number
    return numbers


def _start(path: Path, day: str) -> datetime:
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError:
        raise failure(
            f"{path}: {day[:100]!r} is no day such as 2026-03-01; nothing was stored"
        ) from None
