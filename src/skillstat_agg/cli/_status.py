"""``skillstat status``."""

from __future__ import annotations

from pathlib import Path

import click

from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore
from skillstat_agg.cli._database import chosen_projection, opened
from skillstat_agg.cli._options import db_option, example, json_option, projection_option
from skillstat_agg.cli._output import Cell, print_json, print_table


@click.command(
    epilog=example("skillstat status --db stats.db", "skillstat status --db stats.db --json")
)
@db_option
@projection_option
@json_option
def status(path: Path, *, name: str | None, as_json: bool) -> None:
    """Show how far the counting has come.

    Count and position are those of the cursor: how many events are counted, and the place
    of the last of them. The frontier is the place of the last event of the log.
    """
    with opened(path) as db:
        stats = SQLiteStatsStore(db, chosen_projection(db, name))
        cursor = stats.cursor()
        page = SQLiteEventStore(db).read(cursor.place, limit=1)
    facts: dict[str, object] = {
        "count": cursor.count,
        "position": None if cursor.place is None else str(cursor.place.position),
        "frontier": None if page.frontier is None else str(page.frontier),
        "at_frontier": not page.events,
        "checksum": f"{cursor.checksum:016x}",
        "updated_at": cursor.updated_at.isoformat(),
    }
    if as_json:
        print_json({"projection": cursor.projection, **facts})
    else:
        print_table(
            ["projection", cursor.projection],
            [(name.replace("_", " "), _cell(fact)) for name, fact in facts.items()],
        )


def _cell(fact: object) -> Cell:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return fact if isinstance(fact, int) else str(fact or "none")
