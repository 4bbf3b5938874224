"""``skillstat status``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TypeAlias

import click

from skillstat_agg import Lag, Note, lag
from skillstat_agg._events import position_text
from skillstat_agg.cli._database import Database, chosen_projections
from skillstat_agg.cli._options import database_options, example, json_option, projection_option
from skillstat_agg.cli._output import Cell, print_json, print_table

Facts: TypeAlias = dict[str, object]

POSITIONS = ("position", "frontier")


@click.command(
    epilog=example("skillstat status --db stats.db", "skillstat status --db stats.db --json")
)
@database_options
@projection_option
@json_option
def status(database: Database, *, name: str | None, as_json: bool) -> None:
    """Show how far the counting has come, and what is amiss, of one projection or of all.

    Count and position are those of the cursor: how many events are counted, and the place of
    the last of them. The frontier is the place of the last event of the log that can be read.
    Lag is how many events lie between the two, counted up to 100,000. Events that are
    waiting lie beyond the frontier: on PostgreSQL, for transactions that began before theirs
    and are still open, and these are named. Age is that of the first event that is not counted.

    Updated at says when the numbers last changed; a drain that finds nothing writes nothing.
    Dropped events were left out of something, by reason; parked ones lie in quarantine. The
    last error is kept when a later run succeeds: compare the times.
    """
    now = datetime.now(timezone.utc)
    with database.opened() as db:
        log, holders = db.events(), db.holders()
        found: list[Facts] = []
        for projection in chosen_projections(db, database.what, name):
            stats = db.stats(projection)
            found.append(_facts(lag(log, stats), stats.last_error(), now, holders))
    if as_json:
        print_json(found[0] if len(found) == 1 else found)
    else:
        print_table(*_table(found))


def _facts(lag: Lag, error: Note | None, now: datetime, holders: Sequence[str] | None) -> Facts:
    """Return what there is to say of one projection."""
    cursor, age = lag.cursor, lag.age(now)
    position, frontier = cursor.place and cursor.place.position, lag.backlog.frontier
    return {
        "projection": cursor.projection,
        "count": cursor.count,
        "position": None if position is None else str(position),
        "frontier": None if frontier is None else str(frontier),
        "at_frontier": lag.events == 0,
        "lag": lag.events,
        "waiting": lag.waiting,
        "is_capped": lag.is_capped,
        "age_seconds": None if age is None else age.total_seconds(),
        **({} if holders is None else {"held_back_by": list(holders)}),
        "updated_at": cursor.updated_at.isoformat(),
        "last_error": error and {"at": error.at.isoformat(), "text": error.text},
        "dropped": dict(cursor.dropped),
        "parked": cursor.parked,
        "checksum": f"{cursor.checksum:016x}",
    }


def _table(found: Sequence[Facts]) -> tuple[list[str], list[list[Cell]]]:
    """Return names and rows of the table: a column for each projection."""
    limits = [facts["is_capped"] for facts in found]
    shown = [
        {
            _label(name): _cell(fact) if name not in POSITIONS else str(fact or position_text(None))
            for name, fact in facts.items()
            if name != "is_capped"
        }
        for facts in found
    ]
    for facts, is_capped in zip(shown, limits, strict=True):
        if is_capped:
            facts["lag"] = f"{facts['lag']} or more"
    names, *labels = shown[0]
    return (
        [names, *(str(facts[names]) for facts in shown)],
        [[label, *(facts[label] for facts in shown)] for label in labels],
    )


def _label(name: str) -> str:
    return name.removesuffix("_seconds").replace("_", " ")


def _cell(fact: object) -> Cell:
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    if isinstance(fact, float):
        return str(timedelta(seconds=int(fact)))
    if isinstance(fact, list):
        return "; ".join(fact) or "none"
    if isinstance(fact, Mapping):
        if "text" in fact:
            return f"{fact['at']}: {fact['text']}"
        return ", ".join(f"{number} {reason}" for reason, number in fact.items()) or 0
    return fact if isinstance(fact, int) else str(fact or "none")
