"""Series, ranks and published boards on PostgreSQL: the statements, and their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from skillstat_agg._boards import BoardRead, Publication, StoredBoard, entry_of, entry_text
from skillstat_agg._buckets import from_microseconds, microseconds
from skillstat_agg._commits import check_readable
from skillstat_agg._events import MAX_INTEGER
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._projections import Projection
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
from skillstat_agg.backends._records import stored_start
from skillstat_agg.backends.postgres._arrays import texts
from skillstat_agg.backends.postgres._names import Names, Query, quoted
from skillstat_agg.backends.postgres._schema import BEGIN, COMMIT, Steps
from skillstat_agg.backends.postgres._stats import (
    _answering,
    _forgotten,
    _record,
    bucket_at,
    bucket_number,
    cursor,
    locked,
)

# Series


def rollups_of(
    names: Names, projection: Projection, skill_ids: Sequence[str], over: Buckets
) -> Steps[RollupsOf]:
    """Return the rollups of several skills: see ``SeriesStore.rollups_of``."""
    columns, bucket = projection.columns, over.granularity.value
    number = bucket_number(over.granularity)
    table = names.rollups(projection.name, over.granularity)
    # The number of a bucket is an expression over its column: here the first one's.
    first = f", 'first', (SELECT {number} FROM {table} ORDER BY {bucket} LIMIT 1)"
    rows = ""
    values: tuple[object, ...] = ()
    if columns and over.numbers:
        start = bucket_at(over.granularity)
        rows = (
            f", 'rows', (SELECT json_agg(json_build_array(skill_id, {number}, _row))"
            f" FROM {table} AS _row WHERE skill_id = ANY(%s::text[])"
            f" AND {bucket} BETWEEN {start} AND {start})"
        )
        values = (texts(skill_ids), over.numbers[0], over.numbers[-1])
    answer = yield Query(
        _answering(names, first + rows), (projection.name, names.building, *values)
    )
    record = _record(names, answer, projection)
    check_readable(record, projection)
    found: dict[str, dict[int, tuple[int, ...]]] = {}
    for skill, at, row in answer.get("rows") or ():
        # Of a row as JSON, what the table has not got yet is simply not there.
        found.setdefault(skill, {})[at] = tuple(row.get(name, 0) for name in columns)
    first_there = answer["first"]
    if first_there is not None:
        stored_start(first_there, over.granularity)
    return RollupsOf(cursor=record, first=first_there, rows=found)


# Ranks


def ranking(names: Names, projection: Projection, order: Order, limit: int) -> Steps[Ranked]:
    """Return the first skills in an order: see ``RankStore.ranked``.

    The sums of the database are exact, of any size.
    """
    while True:
        before = yield from cursor(names, projection)
        stored = check_readable(before, projection)
        if order.over is not None and not order.over.numbers:
            return Ranked(cursor=before, rows=())
        answer = yield _ranks(names, projection, stored, order, limit)
        record = _record(names, answer, projection)
        if record.table == before.table:  # nobody has taken the stats over in between
            return Ranked(
                cursor=record,
                rows=tuple((skill, tuple(row)) for skill, *row in answer["rows"] or ()),
            )


def _ranks(
    names: Names, projection: Projection, stored: Projection, order: Order, limit: int
) -> Query:
    """Return the statement for the first skills; what *stored* does not count is 0."""
    over = order.over
    there = stored.counters if over is None else stored.columns
    columns = {name: quoted(name) if name in there else "0" for name in order.names}
    sums = columns if over is None else {name: f"sum({each})" for name, each in columns.items()}
    is_shown = " OR ".join(f"{each} > 0" for each in sums.values())
    values: tuple[int, ...] = ()
    if over is None:
        source = f"{names.totals(projection.name)} WHERE {is_shown}"
    else:
        start = bucket_at(over.granularity)
        source = (
            f"{names.rollups(projection.name, over.granularity)}"
            f" WHERE {over.granularity.value} BETWEEN {start} AND {start}"
            f" GROUP BY skill_id HAVING {is_shown}"
        )
        values = (over.numbers[0], over.numbers[-1])
    # No counter and no column begins with an underscore.
    aliases = {name: f"_{number}" for number, name in enumerate(sums)}
    selected = ", ".join(f"{each} AS {aliases[name]}" for name, each in sums.items())
    return Query(
        _answering(
            names,
            ", 'rows', (SELECT json_agg(json_build_array(skill_id,"
            f" {', '.join(aliases.values())}) ORDER BY {_by(order, aliases)})"
            f" FROM (SELECT skill_id, {selected} FROM {source}"
            f" ORDER BY {_by(order, sums)} LIMIT %s) AS _first)",
        ),
        (projection.name, names.building, *values, min(limit, MAX_INTEGER)),
    )


def _by(order: Order, sums: Mapping[str, str]) -> str:
    """Return what to order by, from the expression for each sum."""
    scores = (
        " + ".join(
            f"greatest(0, {sums[name]})" + ("" if weight == 1 else f"::numeric * {weight}")
            if len(key) == 1
            else f"greatest(0, {sums[name]})::numeric * {weight}"
            for name, weight in key.items()
        )
        for key in order.keys
    )
    return ", ".join([*(f"{score} DESC" for score in scores), "skill_id"])


# Published boards


def publishing(
    names: Names, projection: Projection, publication: Publication, at: datetime
) -> Steps[int]:
    """Store the boards, and return their version: see ``BoardStore.publish``."""
    boards, entries = names["skillstat_boards"], names["skillstat_board_entries"]
    yield BEGIN
    # Nobody else publishes here, and nobody forgets a skill, until this transaction ends.
    yield from locked(names, projection)
    (version,) = yield Query(
        f"SELECT json_build_array(coalesce(max(version), 0) + 1)::text FROM {boards}"
        " WHERE projection = %s",
        (projection.name,),
    )
    age = publication.max_age
    max_age_us = None if age is None else age // timedelta(microseconds=1)
    for name, board in publication.boards.items():
        key = (projection.name, name, version)
        yield Query(
            f"INSERT INTO {boards} (projection, board, version, generated_at_us, max_age_us, seal)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (*key, microseconds(at), max_age_us, publication.seal),
        )
        forgotten = yield from _forgotten(names, [each.skill_id for each in board.entries])
        rows = [
            (each.rank, each.skill_id, entry_text(each))
            for each in board.entries
            if each.skill_id not in forgotten
        ]
        yield Query(
            f"INSERT INTO {entries} (projection, board, version, rank, skill_id, numbers)"
            " SELECT %s, %s, %s, (entry->>0)::bigint, entry->>1, entry->>2"
            " FROM json_array_elements(%s::json) AS given (entry)",
            (*key, json.dumps(rows)),
        )
        for table in (entries, boards):  # in this order: the second says which are kept
            yield Query(
                f"DELETE FROM {table} WHERE projection = %s AND board = %s AND version <= ("
                f"SELECT version FROM {boards} WHERE projection = %s AND board = %s"
                " ORDER BY version DESC LIMIT 1 OFFSET %s)",
                (*key[:2], *key[:2], min(publication.keep, MAX_INTEGER)),
            )
    yield COMMIT
    return int(version)


def part_of(
    names: Names,
    projection: Projection,
    name: str,
    part: tuple[int | None, int, int],
    at: datetime,
) -> Steps[BoardRead]:
    """Return a part of a board: see ``BoardStore.board``.

    Args:
        names: The tables.
        projection: Whose board it is.
        name: Its name.
        part: Version (None: the latest), rank after which the part begins, number of entries.
        at: Time of the store.
    """
    version, after, limit = part
    boards, entries = names["skillstat_boards"], names["skillstat_board_entries"]
    key = (projection.name, name)
    answer = yield Query(
        _answering(
            names,
            f", 'latest', (SELECT max(version) FROM {boards}"
            " WHERE projection = %s AND board = %s), 'board', (SELECT json_build_array("
            "version, generated_at_us, max_age_us, seal, (SELECT json_agg(json_build_array("
            "rank, skill_id, numbers) ORDER BY rank) FROM (SELECT rank, skill_id, numbers"
            f" FROM {entries} AS entry WHERE (entry.projection, entry.board, entry.version)"
            " = (board.projection, board.board, board.version)"
            " AND rank > %s ORDER BY rank LIMIT %s) AS part))"
            f" FROM {boards} AS board WHERE projection = %s AND board = %s AND version ="
            f" coalesce(%s::bigint, (SELECT max(version) FROM {boards}"
            " WHERE projection = %s AND board = %s)))",
        ),
        (
            projection.name,
            names.building,
            *key,
            after,
            min(limit, MAX_INTEGER),
            *key,
            version,
            *key,
        ),
    )
    _record(names, answer, projection)
    board = None
    if answer["board"] is not None:
        found, generated_at_us, max_age_us, seal, rows = answer["board"]
        board = StoredBoard(
            version=found,
            generated_at=from_microseconds(generated_at_us),
            max_age=None if max_age_us is None else timedelta(microseconds=max_age_us),
            seal=seal,
            entries=tuple(entry_of(*row) for row in rows or ()),
        )
    return BoardRead(latest=answer["latest"], board=board, read_at=at)
