"""``skillstat quarantine``."""

from __future__ import annotations

import click

from skillstat_agg import ParkedEvent
from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._options import database_options, example, json_option, projection_option
from skillstat_agg.cli._output import note, print_json, print_table

_COLUMNS = ("position", "skill_id", "kind", "occurred_at", "event_id", "reason")


@click.command(
    epilog=example(
        "skillstat quarantine --db stats.db",
        "skillstat quarantine --db stats.db --limit 1000 --json",
    )
)
@database_options
@projection_option
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=100,
    show_default=True,
    help="Events at most; the first come first.",
)
@json_option
def quarantine(database: Database, *, name: str | None, limit: int, as_json: bool) -> None:
    """Show the events that were set aside, since the projection cannot count them.

    They are counted by the first drain, or the first init, with a projection that can: one
    that knows their kind, or says that it counts nothing. A single event that is wrong stays,
    and is made up for by another one.
    """
    with database.opened() as db:
        found = db.stats(chosen_projection(db, database.what, name)).quarantine(limit=limit)
    rows = [_fields(parked) for parked in found.parked]
    if as_json:
        print_json(
            {
                "projection": found.cursor.projection,
                "parked": found.cursor.parked,
                "events": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
            }
        )
        return
    print_table(_COLUMNS, [[each or "" for each in row] for row in rows])
    if len(rows) < found.cursor.parked:
        note(f"{len(rows)} of {found.cursor.parked} events in quarantine; --limit shows more")
    elif not rows:
        note("nothing lies in quarantine")


def _fields(parked: ParkedEvent) -> tuple[str | None, ...]:
    recorded, event = parked.recorded, parked.recorded.event
    return (
        str(recorded.position),
        event.skill_id,
        event.kind,
        event.occurred_at.isoformat(),
        event.event_id,
        parked.reason,
    )
