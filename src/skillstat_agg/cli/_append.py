"""``skillstat append``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import click

from skillstat_agg.cli._database import Database
from skillstat_agg.cli._errors import when_interrupted
from skillstat_agg.cli._inputs import Format, readable_twice
from skillstat_agg.cli._options import database_options, example
from skillstat_agg.cli._rules import Rules
from skillstat_agg.cli._storing import Skipped, check, refuse, store


def _names(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Sequence[str]:
    """Return the names that commas divide."""
    names = [] if text is None else [name.strip() for name in text.split(",")]
    if "" in names:
        raise click.BadParameter("a name is empty")
    return names


@click.command(
    epilog=example(
        "skillstat append --db stats.db --default-kind download log.csv.gz",
        "skillstat append --db stats.db --id-columns occurred_at,skill_id,user log.csv",
        "my-exporter | skillstat append --db stats.db --format jsonl",
    )
)
@database_options
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["csv", "jsonl"]),
    help="Format of all inputs; otherwise names in .jsonl or .ndjson tell, and the rest is CSV.",
)
@click.option("--default-kind", metavar="KIND", help="The kind of events that name none.")
@click.option(
    "--id-columns",
    metavar="A,B",
    callback=_names,
    help="Make the event id from these columns instead of event_id.",
)
@click.option("--skip-bad", is_flag=True, help="Leave bad lines out and store the rest.")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
def append(
    database: Database,
    *,
    format_name: Format | None,
    default_kind: str | None,
    id_columns: Sequence[str],
    skip_bad: bool,
    inputs: Sequence[str],
) -> None:
    """Store the events of CSV or JSON Lines, all or none.

    INPUT is a file, or - for standard input, which is also read where none is named;
    what gzip has compressed is read as it is. Columns or keys: skill_id, occurred_at (ISO
    8601 with a time zone), kind, event_id, deltas (a JSON object) and note; others are
    ignored.

    A line that is no event, or that a projection of the database cannot count, is named, and
    nothing is stored. An event whose event_id is stored already, with the same skill, kind
    and deltas, is the same event and is not stored again. With --id-columns the values of
    these columns are the identity of an event: the same log stored twice counts once, and so
    do two lines of one log that agree in all of them.

    A file or schema that is not there yet is made for the seven kinds of skill statistics.
    """
    rules = Rules(default_kind, id_columns)
    skipped = Skipped()
    with ExitStack() as stack:
        with when_interrupted("nothing was stored"):
            sources = stack.enter_context(readable_twice(inputs, format_name))
            check(database, sources, rules, Skipped().add if skip_bad else refuse)
        counts = store(database, sources, rules, skipped.add if skip_bad else refuse)
    skipped.report()
    result = f"{counts.new} events appended, {counts.taken - counts.new} were there already"
    click.echo(f"{result}, {skipped.count} skipped" if skip_bad else result)
