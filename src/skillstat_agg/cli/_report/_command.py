"""``skillstat report``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import click

from skillstat_agg.cli._boards import read_scores
from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._errors import when_interrupted
from skillstat_agg.cli._options import database_options, example, projection_option
from skillstat_agg.cli._output import note, progress, visible
from skillstat_agg.cli._report._page import page
from skillstat_agg.cli._report._reading import Wanted, read_report
from skillstat_agg.cli._report._values import Report
from skillstat_agg.cli._report._writing import checked_target, write_whole
from skillstat_agg.cli._verify import DIFFERS

STDOUT = Path("-")


@click.command(
    "report",
    epilog=example(
        "skillstat report --db stats.db report.html",
        "skillstat report --db stats.db --days 90 --board '3*installs+downloads' report.html",
    ),
)
@database_options
@projection_option
@click.option(
    "--days",
    type=click.IntRange(1, 366),
    metavar="N",
    default=30,
    show_default=True,
    help="How many days, the last one included.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="The last day (2026-03-07), in UTC.  [default: today]",
)
@click.option(
    "--board",
    "boards",
    callback=read_scores,
    multiple=True,
    metavar="SCORE",
    help="What a leaderboard over these days is ordered by: a name, or weights as in"
    " 3*installs+downloads. Once more: one more board.  [default: one for each rollup column]",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=10_000,
    show_default=True,
    help="How many skills at most: those with the most of the first counter.",
)
@click.argument(
    "out", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), metavar="OUT.html"
)
@click.pass_context
def report_numbers(
    context: click.Context,
    database: Database,
    *,
    name: str | None,
    days: int,
    until: datetime | None,
    boards: Sequence[Mapping[str, int]],
    limit: int,
    out: Path,
) -> None:
    """Write a page that shows the numbers, day by day, and whether they are right.

    OUT.html is one file that a browser shows, also on a phone and without a network: totals,
    a chart of the days, leaderboards, every skill with its days, how far the counting is, the
    result of `skillstat verify`, and what lies in quarantine. It is written whole or not at all,
    and takes the place of an earlier page; `-` is stdout. Nothing in the database is changed.

    The page holds ids and numbers of skills, and errors and events as they were recorded: who
    may read it is for you to say. Exit code 3: the numbers differ from the log; the page is
    written, and says so.
    """
    with when_interrupted("no page was written"):
        target = None if out == STDOUT else checked_target(out)
        now = datetime.now(timezone.utc)
        wanted = Wanted(
            days=days,
            last=now if until is None else until.replace(tzinfo=timezone.utc),
            limit=limit,
            boards=boards,
        )
        with database.opened() as db:
            projection = chosen_projection(db, database.what, name)
            with progress("reading", total=None) as show:
                report = read_report(db, projection, wanted, at=now, on_progress=show)
        content = page(report).encode()
        if target is not None:
            write_whole(target, content)
    if target is None:
        click.echo(content, nl=False)
    else:
        click.echo(visible(f"{out}: {_sentence(report)}"))
    if not report.verified.is_ok:
        note("the numbers differ from the log, and the page says where")
        context.exit(DIFFERS)


def _sentence(report: Report) -> str:
    """Return what the page holds."""
    shown, count = len(report.numbers.skills), report.numbers.skill_count
    of_all = "" if shown == count else f" of {count:,}"
    return f"{shown:,}{of_all} skill{'' if count == 1 else 's'}, {report.lag}"
