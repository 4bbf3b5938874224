"""``skillstat rebuild``."""

from __future__ import annotations

import click

from skillstat_agg import BUILDING_PAGE, RebuildReport, Uncountable, rebuild
from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._errors import failure, when_interrupted
from skillstat_agg.cli._options import database_options, example, page_option, projection_option
from skillstat_agg.cli._output import progress
from skillstat_agg.errors import UncountableEventError, UnreadableEventError


@click.command(
    "rebuild",
    epilog=example(
        "skillstat rebuild --db stats.db",
        "skillstat rebuild --db stats.db --projection skill_stats --page 50000",
    ),
)
@database_options
@projection_option
@page_option(BUILDING_PAGE)
@click.option("--park", is_flag=True, help="Set aside what the projection cannot count, and go on.")
def rebuild_numbers(database: Database, *, name: str | None, page: int, park: bool) -> None:
    """Count the whole log anew, and put the result in the place of what is shown.

    What is shown stays as it is meanwhile, and workers go on. In the end the new numbers take
    its place at once. A rebuild that was interrupted goes on where it was when it is started
    again; several at once share the work. On PostgreSQL it makes tables: run it as their owner.
    """
    with (
        database.opened() as db,
        when_interrupted("what is shown is as it was: run it again to go on"),
    ):
        stats = db.stats(chosen_projection(db, database.what, name))
        total = stats.cursor().count
        with progress("rebuilding", total=total or None) as show:
            try:
                report = rebuild(
                    db.events(),
                    stats,
                    page=page,
                    uncountable=Uncountable.PARK if park else Uncountable.HALT,
                    on_progress=show,
                )
            except (UncountableEventError, UnreadableEventError) as error:
                raise failure(f"{error}; what is shown is as it was") from error
    click.echo(_sentence(report))


def _sentence(report: RebuildReport) -> str:
    joined = " (an earlier start had begun)" if report.joined else ""
    by = "" if report.finished_by == "this" else ", finished by another rebuild"
    return (
        f"{report.events} events counted anew{joined}; generation {report.after.generation} is"
        f" shown, with {report.after.count} events{by}"
    )
