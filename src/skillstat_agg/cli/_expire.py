"""``skillstat expire``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import click

from skillstat_agg import ROWS_PER_STEP, Granularity, expire, start_of
from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._durations import between
from skillstat_agg.cli._errors import when_interrupted
from skillstat_agg.cli._options import database_options, example, projection_option


def _time(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> datetime | None:
    """Return the time of ``--before``; a day begins at midnight in UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text[:100]!r} is no time: give a day such as 2026-03-01, or a time with its zone"
            " such as 2026-03-01T13:00Z"
        ) from None
    if at.tzinfo is not None:
        return at
    if len(text) > len("2026-03-01"):
        raise click.BadParameter(f"{text} has no time zone: write {text}Z for UTC")
    return at.replace(tzinfo=timezone.utc)


@click.command(
    "expire",
    epilog=example(
        "skillstat expire --db stats.db --granularity hour --keep 72h",
        "skillstat expire --db stats.db --granularity day --before 2025-01-01",
    ),
)
@database_options
@projection_option
@click.option(
    "--granularity",
    type=click.Choice([each.value for each in Granularity]),
    required=True,
    help="Which rollups.",
)
@click.option(
    "--keep",
    metavar="TIME",
    callback=between(),
    help="Keep what is younger, such as 72h or 400d.",
)
@click.option(
    "--before",
    metavar="TIME",
    callback=_time,
    help="Keep the bucket that holds this time, and those after it.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=ROWS_PER_STEP,
    show_default=True,
    help="Rows that are deleted at once, at most.",
)
def expire_rollups(
    database: Database,
    *,
    name: str | None,
    granularity: str,
    keep: timedelta | None,
    before: datetime | None,
    limit: int,
) -> None:
    """Delete old rollups for good; the totals stay.

    A bucket goes when all of it lies before the time. Events that are counted later and belong
    into such a bucket count in the totals, and as dropped. Drains may run meanwhile. It cannot
    be undone, except by counting everything again.
    """
    now = datetime.now(timezone.utc)
    if (keep is None) == (before is None):
        raise click.UsageError("give either --keep or --before")
    if keep is not None:
        before = now - keep
    assert before is not None
    if before > now:
        raise click.UsageError(
            "--before lies in the future: rollups of today would go, and be dropped from then on"
        )
    each = Granularity(granularity)
    with (
        database.opened() as db,
        when_interrupted("what has expired stays so: run it again to go on"),
    ):
        stats = db.stats(chosen_projection(db, database.what, name))
        done = expire(stats, each, before, limit=limit)
    first = start_of(done.cursor.expired[granularity], each)
    click.echo(
        f"{done.rows} rows deleted; rollups by {granularity} are kept from"
        f" {first.isoformat(' ', 'minutes')} on"
    )
