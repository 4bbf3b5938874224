"""``skillstat drain``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from skillstat_agg import DEFAULT_PAGE, TRANSIENT, FoldReport, NoteStore, Uncountable, drain
from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._errors import failure, when_interrupted
from skillstat_agg.cli._options import database_options, example, page_option, projection_option
from skillstat_agg.cli._output import progress
from skillstat_agg.errors import (
    OutOfRangeError,
    SkillstatError,
    UncountableEventError,
    UnreadableEventError,
)

BOUND = click.IntRange(min=1)
HALTING = (UncountableEventError, UnreadableEventError, OutOfRangeError)


@click.command(
    "drain",
    epilog=example(
        "skillstat drain --db stats.db",
        "skillstat drain --db stats.db --page 500 --max-events 100000",
        "skillstat drain --db stats.db --park",
    ),
)
@database_options
@projection_option
@page_option(DEFAULT_PAGE)
@click.option("--max-events", type=BOUND, metavar="N", help="Events in all at most.")
@click.option("--max-skills", type=BOUND, metavar="N", help="Skills per commit at most.")
@click.option("--park", is_flag=True, help="Set aside what the projection cannot count, and go on.")
def drain_file(
    database: Database,
    name: str | None,
    page: int,
    max_events: int | None,
    max_skills: int | None,
    *,
    park: bool,
) -> None:
    """Count the events that are not counted yet.

    It goes on to the frontier of the log, or to a bound; each page is one commit. Any
    number of drains may run at once, and each may be killed at any time: every event counts
    once. An event that the projection cannot count stops the drain, when everything before
    it is committed; with --park it goes into quarantine instead.
    """
    with (
        database.opened() as db,
        when_interrupted("what is committed stays: run it again to go on"),
    ):
        stats = db.stats(chosen_projection(db, database.what, name))
        with progress("draining", total=None) as show:
            try:
                with noting(stats):
                    report = drain(
                        db.events(),
                        stats,
                        page=page,
                        max_events=max_events,
                        max_skills=max_skills,
                        uncountable=Uncountable.PARK if park else Uncountable.HALT,
                        on_commit=lambda _changed: show(stats.cursor().count),
                    )
            except HALTING as error:
                raise failure(f"{error}; everything before it is committed") from error
    click.echo(sentence(report))


@contextmanager
def noting(stats: NoteStore) -> Iterator[None]:
    """Leave a note of what goes wrong inside, for ``skillstat status``."""
    try:
        yield
    except SkillstatError as error:
        if not isinstance(error, TRANSIENT):  # where nobody can write, nobody can note
            with suppress(SkillstatError):
                stats.note_error(str(error))
        raise


def sentence(report: FoldReport) -> str:
    """Return what a drain did."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.dropped.items() if count)
    dropped = f"{sum(report.dropped.values())} dropped" + (f" ({reasons})" if reasons else "")
    end = "the frontier is reached" if report.at_frontier else "more events remain"
    aside = "".join(
        f" {number} {what},"
        for number, what in ((report.parked, "parked"), (report.taught, "taught"))
        if number
    )
    return (
        f"{report.events} events folded, {report.rows} rows written,{aside} {dropped},"
        f" {report.conflicts} conflicts; {end}"
    )
