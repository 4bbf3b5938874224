"""``skillstat verify``."""

from __future__ import annotations

import secrets

import click

from skillstat_agg import (
    BUILDING_PAGE,
    MOST_DIFFERENCES,
    Difference,
    Projection,
    VerifyReport,
    verify,
    verify_fully,
    verify_sample,
)
from skillstat_agg.cli._database import Database, Opened, chosen_projection
from skillstat_agg.cli._options import (
    database_options,
    example,
    json_option,
    page_option,
    projection_option,
)
from skillstat_agg.cli._output import Cell, note, print_json, print_table, progress

DIFFERS = 3
"""The exit code where a difference was found."""


@click.command(
    "verify",
    epilog=example(
        "skillstat verify --db stats.db",
        "skillstat verify --db stats.db --full",
        "skillstat verify --db stats.db --sample 100",
    ),
)
@database_options
@projection_option
@click.option(
    "--full", "is_full", is_flag=True, help="Count everything anew, and compare each number."
)
@click.option(
    "--sample",
    "size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Count N skills anew, taken at random, and compare each of their numbers.",
)
@page_option(BUILDING_PAGE)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=MOST_DIFFERENCES,
    show_default=True,
    help="Differences to list at most.",
)
@json_option
@click.pass_context
def verify_numbers(
    context: click.Context,
    database: Database,
    *,
    name: str | None,
    is_full: bool,
    size: int | None,
    page: int,
    limit: int,
    as_json: bool,
) -> None:
    """Compare what is shown with the log, and list what differs.

    By itself it compares sums: number and checksum of the events up to the cursor, and each
    counter's sum over all skills. With --full it counts everything anew, in tables of its own
    that it drops in the end, and compares each number; on PostgreSQL run that as the owner of
    the tables. With --sample it reads the log as well, and compares some skills; it makes no
    tables. Nothing that is shown is changed, and workers go on. Exit code 3: something
    differs; `skillstat rebuild` makes it right.
    """
    if is_full and size is not None:
        raise click.UsageError("--full compares every skill: leave out --sample")
    with database.opened() as db:
        projection = chosen_projection(db, database.what, name)
        if is_full:
            report = _fully(db, projection, page, limit)
        elif size is not None:
            report = _sampled(db, projection, size, page, limit)
        else:
            report = verify(db.events(), db.stats(projection))
    _show(report, limit=limit, as_json=as_json)
    if not report.is_ok:
        context.exit(DIFFERS)


def _fully(db: Opened, projection: Projection, page: int, limit: int) -> VerifyReport:
    stats = db.stats(projection)
    total = stats.cursor().count
    with progress("verifying", total=total or None) as show:
        try:
            return verify_fully(db.events(), stats, page=page, limit=limit, on_progress=show)
        except KeyboardInterrupt:  # what was built is dropped by then
            raise click.ClickException(
                "interrupted; what is shown is as it was, and nothing was compared"
            ) from None


def _sampled(db: Opened, projection: Projection, size: int, page: int, limit: int) -> VerifyReport:
    stats = db.stats(projection)
    total = stats.cursor().count
    with progress("verifying", total=total or None) as show:
        return verify_sample(
            db.events(),
            stats,
            size=size,
            seed=secrets.randbits(32),
            page=page,
            limit=limit,
            on_progress=show,
        )


def _show(report: VerifyReport, *, limit: int, as_json: bool) -> None:
    listed = report.differences[:limit]
    is_complete = report.is_complete and len(listed) == len(report.differences)
    place = report.cursor.place
    if as_json:
        print_json(
            {
                "projection": report.cursor.projection,
                "count": report.cursor.count,
                "position": None if place is None else str(place.position),
                "differences": [_fields(one) for one in listed],
                "is_complete": is_complete,
            }
        )
        return
    if listed:
        print_table(["what", "skill", "since", "expected", "actual"], map(_cells, listed))
    click.echo(f"{report.cursor.count} events verified: {_found(len(listed))}")
    if not is_complete:
        note("there are more differences: raise --limit to list them")


def _found(count: int) -> str:
    return {0: "no difference", 1: "1 difference"}.get(count, f"{count} differences")


def _fields(one: Difference) -> dict[str, object]:
    return {
        "name": one.name,
        "skill_id": one.skill_id,
        "start": None if one.start is None else one.start.isoformat(),
        "expected": one.expected,
        "actual": one.actual,
    }


def _cells(one: Difference) -> list[Cell]:
    start = "" if one.start is None else f"{one.start:%Y-%m-%d %H:%M}"
    numbers = ("none" if each is None else each for each in (one.expected, one.actual))
    return [one.name, one.skill_id or "", start, *numbers]
