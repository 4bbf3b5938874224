"""``skillstat readers``."""

from __future__ import annotations

from typing import cast

import click

from skillstat_agg import PruneStore
from skillstat_agg._events import position_text
from skillstat_agg._verifying import VERIFY
from skillstat_agg.cli._database import Database, Opened
from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._options import database_options, example, json_option
from skillstat_agg.cli._output import note, print_json, print_table


@click.command(
    epilog=example(
        "skillstat readers --db stats.db",
        "skillstat readers --db stats.db --retire old_stats",
    )
)
@database_options
@click.option("--retire", "retired", metavar="NAME", help="Strike this reader off the list.")
@json_option
def readers(database: Database, *, retired: str | None, as_json: bool) -> None:
    """Show who reads the log, and how far each has come.

    A reader is a projection that was drained once, or a rebuild or full verify of one that has
    not ended (NAME/rebuild/2, NAME/verify-1f2e3d4c/3). What one of them has not counted is not
    made small by skillstat prune. Its position is what it has reported last; it may have come
    farther. One that will never come back is struck off with --retire: if it does come back, it
    is refused where it cannot go on. With a full verify that was killed go the numbers that it
    has left.
    """
    with database.opened() as db:
        log = cast(PruneStore, db.events())
        if retired is not None:
            if not log.retire(retired):
                raise failure(f"the log has no reader {retired!r}; skillstat readers shows them")
            _drop_verified(db, retired)
        found = log.readers()
    if as_json:
        print_json(
            {
                reader.name: {
                    "position": None if reader.position is None else str(reader.position),
                    "reported_at": reader.reported_at.isoformat(),
                }
                for reader in found
            }
        )
        return
    for reader in found:
        if _verified(reader.name) is not None:
            note(
                f"{reader.name} is a full verify that runs, or was killed; --retire drops what one"
                " that was killed has left"
            )
    print_table(
        ["reader", "position", "reported at"],
        [
            (
                reader.name,
                position_text(reader.position),
                reader.reported_at.isoformat(),
            )
            for reader in found
        ],
    )


def _verified(reader: str) -> tuple[str, str] | None:
    """Return the projection and the numbers of a full verify; None: the reader is none.

    The number of the generation behind them does not matter: no two verifies share a name.
    """
    projection, _, built = reader.partition("/")
    name, _, _ = built.rpartition("/")
    return (projection, name) if name.startswith(VERIFY) else None


def _drop_verified(db: Opened, reader: str) -> None:
    """Drop the numbers that a full verify has left, if the reader is one."""
    verified = _verified(reader)
    if verified is not None:
        name, built = verified
        for projection in db.projections():
            if projection.name == name:
                db.stats(projection).discard(built)
