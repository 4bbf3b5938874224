"""``skillstat leaderboard`` and ``skillstat series``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone

import click

from skillstat_agg import Buckets, Granularity, Leaderboard, shown
from skillstat_agg import leaderboard as leaderboard_of
from skillstat_agg import series as series_of
from skillstat_agg.cli._database import Database, chosen_projection
from skillstat_agg.cli._errors import failure
from skillstat_agg.cli._options import (
    csv_option,
    database_options,
    example,
    json_list_option,
    projection_option,
    signed_option,
)
from skillstat_agg.cli._output import (
    Cell,
    bars,
    is_read_by_people,
    note,
    print_csv,
    print_json,
    print_table,
)

_TERM = re.compile(r"(?:(-?\d{1,19})\*)?([a-z][a-z0-9_]*)")
_FORMATS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")


def range_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that name a range of buckets."""
    for option in (
        click.option(
            "--until",
            type=click.DateTime(_FORMATS),
            metavar="DAY|TIME",
            help="The last day (2026-03-07) or hour (2026-03-07T13:00) of the range, in UTC."
            "  [default: now]",
        ),
        click.option(
            "--hours",
            type=click.IntRange(1, 24 * 36_500),
            metavar="N",
            help="The last N hours, this one included.",
        ),
        click.option(
            "--days",
            type=click.IntRange(1, 36_500),
            metavar="N",
            help="The last N days, today included.",
        ),
    ):
        command = option(command)
    return command


def _range(days: int | None, hours: int | None, until: datetime | None) -> Buckets | None:
    """Return the range that the options name; None: they name none."""
    if days is not None and hours is not None:
        raise click.UsageError("give --days or --hours, not both")
    last = datetime.now(timezone.utc) if until is None else until.replace(tzinfo=timezone.utc)
    if days is not None:
        return Buckets.last(days, Granularity.DAY, last)
    if hours is not None:
        return Buckets.last(hours, Granularity.HOUR, last)
    if until is not None:
        raise click.UsageError("--until needs --days or --hours")
    return None


def read_scores(
    _ctx: click.Context, _param: click.Parameter, values: Sequence[str]
) -> list[Mapping[str, int]]:
    """Return scores: each a name, or weights as in ``3*installs+downloads``."""
    return list(map(_score, values))


def _score(text: str) -> Mapping[str, int]:
    weights: dict[str, int] = {}
    for term in text.replace(" ", "").split("+"):
        match = _TERM.fullmatch(term)
        if match is None or match[2] in weights:
            raise click.BadParameter(
                f"{text!r} is no score: give a name, or weights as in 3*installs+downloads"
            )
        weights[match[2]] = int(match[1] or 1)
    return weights


@click.command(
    epilog=example(
        "skillstat leaderboard --db stats.db --by downloads",
        "skillstat leaderboard --db stats.db --by installs --by downloads --days 7 --limit 20",
        "skillstat leaderboard --db stats.db --by '3*installs+downloads' --days 7 --json",
    )
)
@database_options
@projection_option
@click.option(
    "--by",
    callback=read_scores,
    multiple=True,
    required=True,
    metavar="SCORE",
    help="What to order by: a name, or weights as in 3*installs+downloads. Once more: what"
    " decides where that is equal.",
)
@range_options
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=20,
    show_default=True,
    help="How many skills at most.",
)
@json_list_option
@csv_option
@signed_option
def leaderboard(
    database: Database,
    *,
    name: str | None,
    by: Sequence[Mapping[str, int]],
    days: int | None,
    hours: int | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
    as_csv: bool,
    signed: bool,
) -> None:
    """Show who has the most.

    Counters are those of all time; with --days or --hours they are rollup columns, summed over
    that range. Days and hours are those of UTC. Where everything is equal, the ids decide. Who
    has nothing above 0 to show is left out.
    """
    over = _range(days, hours, until)
    with database.opened() as db:
        stats = db.stats(chosen_projection(db, database.what, name))
        board = leaderboard_of(stats, *by, over=over, limit=limit)
    rows = _numbers(board, signed=signed)
    if as_json:
        print_json(
            [
                {
                    "rank": entry.rank,
                    "skill_id": entry.skill_id,
                    "scores": list(entry.scores),
                    "numbers": row,
                }
                for entry, row in zip(board, rows, strict=True)
            ]
        )
        return
    has_scores = any(list(key.values()) != [1] for key in by)
    scores = [f"score {number}" for number in range(1, len(by) + 1)] if has_scores else []
    names = ["rank", "skill_id", *scores, *board.order.names]
    table: list[list[Cell]] = [
        [entry.rank, entry.skill_id, *(entry.scores if has_scores else ()), *row.values()]
        for entry, row in zip(board, rows, strict=True)
    ]
    if as_csv:
        print_csv(names, table)
    else:
        print_table(names, table, text="skill_id")
        if not board:
            note("nobody has anything to show")


def _numbers(board: Leaderboard, *, signed: bool) -> list[Mapping[str, int]]:
    return [entry.sums if signed else shown(entry.sums) for entry in board]


@click.command(
    epilog=example(
        "skillstat series --db stats.db pdf --days 30",
        "skillstat series --db stats.db pdf weather --hours 24 --csv",
    )
)
@database_options
@projection_option
@range_options
@click.option(
    "--bar",
    "column",
    metavar="NAME",
    help="Which rollup column the bars show.  [default: the first]",
)
@json_list_option
@csv_option
@signed_option
@click.argument("skills", nargs=-1, required=True, metavar="SKILL...")
def series(
    database: Database,
    *,
    name: str | None,
    days: int | None,
    hours: int | None,
    until: datetime | None,
    column: str | None,
    as_json: bool,
    as_csv: bool,
    signed: bool,
    skills: Sequence[str],
) -> None:
    """Show what skills had, day by day or hour by hour; without a range, the last 30 days.

    Days and hours are those of UTC, and none is left out. Since when there are rollups, and when
    events were counted last, is said on stderr, and in JSON: zeros outside mean that nothing
    is known.
    """
    over = _range(days, hours, until) or Buckets.last(
        30, Granularity.DAY, datetime.now(timezone.utc)
    )
    with database.opened() as db:
        stats = db.stats(chosen_projection(db, database.what, name))
        columns = stats.projection.columns
        if not columns:
            raise failure(f"projection {stats.projection.name!r} has no rollups")
        if column is not None and column not in columns:
            raise failure(f"there is no rollup column {column!r}; there are {', '.join(columns)}")
        found = series_of(stats, skills, over)
    bucket = over.granularity.value
    starts = [_text(start, over.granularity) for start in found.starts]
    first = None if found.first is None else _text(found.first, over.granularity)
    numbers = {
        skill: {
            each: [value if signed else max(0, value) for value in found[skill][each]]
            for each in columns
        }
        for skill in found
    }
    if as_json:
        print_json(
            [
                {
                    "skill_id": skill,
                    "first": first,
                    "counted_at": found.counted_at.isoformat(),
                    "points": [
                        {bucket: start, **{each: rows[each][index] for each in columns}}
                        for index, start in enumerate(starts)
                    ],
                }
                for skill, rows in numbers.items()
            ]
        )
        return
    is_one = len(numbers) == 1
    names = [*([] if is_one and not as_csv else ["skill_id"]), bucket, *columns]
    table: list[list[Cell]] = [
        [
            *([skill] if "skill_id" in names else []),
            start,
            *(rows[each][index] for each in columns),
        ]
        for skill, rows in numbers.items()
        for index, start in enumerate(starts)
    ]
    if as_csv:
        print_csv(names, table)
        return
    if is_read_by_people():
        drawn = bars([value for rows in numbers.values() for value in rows[column or columns[0]]])
        names.append("")
        table = [[*row, bar] for row, bar in zip(table, drawn, strict=True)]
    print_table(names, table)
    since = "there are no rollups yet" if first is None else f"there are rollups since {first}"
    note(f"{since}; counted last at {found.counted_at:%Y-%m-%d %H:%M} UTC")


def _text(start: datetime, granularity: Granularity) -> str:
    """Return the start of a bucket as the tables name it."""
    return start.isoformat(" ")[: 10 if granularity is Granularity.DAY else 16]
