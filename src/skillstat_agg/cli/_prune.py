"""``skillstat prune``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import cast

import click

from skillstat_agg import (
    DEFAULT_SEGMENT,
    PruneReport,
    PruneStore,
    Segment,
    plan_prune,
    prune,
)
from skillstat_agg._events import position_text
from skillstat_agg.cli._database import Database
from skillstat_agg.cli._durations import between
from skillstat_agg.cli._errors import when_interrupted
from skillstat_agg.cli._options import database_options, example, json_option
from skillstat_agg.cli._output import print_json, progress

_BOUND = click.IntRange(min=1)
_LIMIT = click.IntRange(1, 1_000_000)


@click.command(
    "prune",
    epilog=example(
        "skillstat prune --db stats.db --keep 90d",
        "skillstat prune --db stats.db --keep 90d --apply",
    ),
)
@database_options
@click.option(
    "--keep",
    callback=between(),
    metavar="AGE",
    required=True,
    help="Leave what was recorded within this time, such as 90d or 12h; 0d leaves nothing.",
)
@click.option("--apply", "is_applied", is_flag=True, help="Do it, instead of saying what it does.")
@click.option(
    "--limit",
    type=_LIMIT,
    metavar="N",
    default=DEFAULT_SEGMENT,
    show_default=True,
    help="Events per segment, and so per transaction, at most.",
)
@click.option("--max-segments", type=_BOUND, metavar="N", help="Segments in all at most.")
@json_option
def prune_log(
    database: Database,
    *,
    keep: timedelta,
    is_applied: bool,
    limit: int,
    max_segments: int | None,
    as_json: bool,
) -> None:
    """Make old events small that every reader of the log has counted.

    Compacted events take their place: one for each skill, kind and hour. All numbers stay as
    they are, also those that are counted anew from the log, and a repeated event id is still
    the same event. Ids, notes and times of single events are lost.

    Without --apply no event is changed; only the list of readers learns how far the projections
    have come. Events are made small in the order of the log, up to the
    first that is not old enough, or that a reader has not counted: skillstat readers shows them.
    It can be interrupted at any time, and run beside everything else.
    """
    before = _before(keep)
    work, doing = (prune, "pruning") if is_applied else (plan_prune, "planning")
    with (
        database.opened() as db,
        when_interrupted("what was made small stays so: run it again to go on"),
    ):
        stats = [db.stats(projection) for projection in db.projections()]
        with progress(doing, total=None) as show:
            done = 0

            def note(segment: Segment) -> None:
                nonlocal done
                done += segment.events
                show(done)

            report = work(
                cast(PruneStore, db.events()),
                *stats,
                before=before,
                limit=limit,
                max_segments=max_segments,
                on_segment=note,
            )
    if as_json:
        print_json(_facts(report, is_applied=is_applied))
    else:
        click.echo(_sentence(report, is_applied=is_applied))


def _before(keep: timedelta) -> datetime | None:
    """Return the time before which events are old; None: all are."""
    return datetime.now(timezone.utc) - keep if keep else None


def _facts(report: PruneReport, *, is_applied: bool) -> dict[str, object]:
    place = report.slowest.position
    return {
        "applied": is_applied,
        "segments": report.segments,
        "events": report.events,
        "compacted_events": report.records,
        "last": None if report.last is None else str(report.last),
        "slowest_reader": report.slowest.name,
        "slowest_position": None if place is None else str(place),
    }


def _sentence(report: PruneReport, *, is_applied: bool) -> str:
    where = position_text(report.slowest.position)
    done = "became" if is_applied else "would become"
    end = "" if is_applied else "; no event was changed, --apply does it"
    return (
        f"{report.events} events {done} {report.records} compacted events, in"
        f" {report.segments} segments; the slowest reader is {report.slowest.name!r},"
        f" at {where}{end}"
    )
