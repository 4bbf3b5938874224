"""Series, ranks and published boards of a stats store in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import attrs

from skillstat_agg._boards import BoardRead, Publication, StoredBoard
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
from skillstat_agg.backends.memory._database import Stats

Boards: TypeAlias = Mapping[str, tuple[StoredBoard, ...]]
"""The versions of each board that are kept, the oldest first; replaced as a whole."""


def rollups_of(
    stats: Stats, columns: tuple[str, ...], skill_ids: Sequence[str], over: Buckets
) -> RollupsOf:
    """Return the rollups of several skills: see ``SeriesStore.rollups_of``."""
    wanted = set(skill_ids)
    there = stats.rollups[over.granularity]
    rows: dict[str, dict[int, tuple[int, ...]]] = {}
    for (bucket, skill), row in there.items():
        if skill in wanted and bucket in over.numbers:
            rows.setdefault(skill, {})[bucket] = tuple(row.get(name, 0) for name in columns)
    return RollupsOf(
        cursor=stats.cursor, first=min((bucket for bucket, _ in there), default=None), rows=rows
    )


def ranked(stats: Stats, order: Order, limit: int) -> Ranked:
    """Return the first skills in an order: see ``RankStore.ranked``."""
    return Ranked(cursor=stats.cursor, rows=order.top(_sums(stats, order), limit))


def _sums(stats: Stats, order: Order) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield each skill with its sums in the order of ``Order.names``."""
    names = order.names
    if order.over is None:
        for skill, row in stats.totals.items():
            yield skill, [row.get(name, 0) for name in names]
        return
    sums: dict[str, list[int]] = {}
    for (bucket, skill), row in stats.rollups[order.over.granularity].items():
        if bucket in order.over.numbers:
            before = sums.get(skill, [0] * len(names))
            sums[skill] = [old + row.get(name, 0) for old, name in zip(before, names, strict=True)]
    yield from sums.items()


def published(
    boards: Boards, publication: Publication, forgotten: frozenset[str], at: datetime
) -> tuple[Boards, int]:
    """Return the boards after a publication, and its version: see ``BoardStore.publish``."""
    version = 1 + max((board.version for each in boards.values() for board in each), default=0)
    after = dict(boards)
    for name, board in publication.boards.items():
        new = StoredBoard(
            version=version,
            generated_at=at,
            max_age=publication.max_age,
            seal=publication.seal,
            entries=tuple(each for each in board.entries if each.skill_id not in forgotten),
        )
        after[name] = (*boards.get(name, ()), new)[-publication.keep :]
    return after, version


def part_of(
    boards: Boards, name: str, version: int | None, after: int, limit: int, at: datetime
) -> BoardRead:
    """Return a part of a board: see ``BoardStore.board``."""
    kept = boards.get(name, ())
    latest = kept[-1].version if kept else None
    wanted = latest if version is None else version
    board = next((each for each in kept if each.version == wanted), None)
    if board is not None:
        entries = tuple(each for each in board.entries if each.rank > after)[:limit]
        board = attrs.evolve(board, entries=entries)
    return BoardRead(latest=latest, board=board, read_at=at)


def without(boards: Boards, skill_id: str) -> Boards:
    """Return the boards after a skill was forgotten."""
    return {
        name: tuple(
            attrs.evolve(
                board, entries=tuple(each for each in board.entries if each.skill_id != skill_id)
            )
            for board in kept
        )
        for name, kept in boards.items()
    }
