"""``skillstat status``."""

from __future__ import annotations

import click

from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._options import database_options, example, json_option, projection_option
from skillstat_agg.cli._output import Cell, print_json, print_table


@click.command(
    epilog=example("skillstat status --db stats.db", "skillstat status --db stats.db --json")
)
@database_options
@projection_option
@json_option
def status(database: Database, *, name: str | None, as_json: bool) -> None:
    """Show how far the counting has come.

    Count and position are those of the cursor: how many events are counted, and the place
    of the last of them. The frontier is the place of the last event of the log that can be
    read. On PostgreSQL events may wait behind it, for transactions that began before theirs
    and are still open: these are named.
    """
    with database.opened() as db:
        cursor = db.stats(chosen_projection(db, database.what, name)).cursor()
        page = db.events().read(cursor.place, limit=1)
        waiting = db.waiting()
    facts: dict[str, object] = {
        "count": cursor.count,
        "position": None if cursor.place is None else str(cursor.place.position),
        "frontier": None if page.frontier is None else str(page.frontier),
        "at_frontier": not page.events,
        "checksum": f"{cursor.checksum:016x}",
        "updated_at": cursor.updated_at.isoformat(),
        **waiting,
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
    if isinstance(fact, list):
        return "; ".join(fact) or "none"
    return fact if isinstance(fact, int) else str(fact or "none")
