"""The stats: a stats store in memory."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import attrs

from skillstat_agg._boards import BoardRead, Publication
from skillstat_agg._buckets import Granularity, buckets_between, start_of
from skillstat_agg._commits import Commit, CommitResult, Cursor, check_readable, stored_projection
from skillstat_agg._events import (
    MAX_INTEGER,
    MIN_INTEGER,
    check_skill_id,
    checked_skill_ids,
    events_in,
)
from skillstat_agg._generations import (
    Comparison,
    Difference,
    Sums,
    begin_building,
    check_building,
    row_differences,
    swapped,
)
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._notes import Note, storable
from skillstat_agg._pages import check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Quarantine
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
from skillstat_agg._stores import Counters, Expired, Rollups, Totals
from skillstat_agg.backends._clocks import Clock, utc_now
from skillstat_agg.backends.memory import _reading
from skillstat_agg.backends.memory._database import MemoryDatabase, Stats
from skillstat_agg.errors import (
    CursorConflictError,
    NotBuildingError,
    OutOfRangeError,
)


class MemoryStatsStore:
    """A stats store in memory, for any number of threads.

    Args:
        projection: The projection whose stats these are.
        database: Where they live; None: alone in a new one.
        clock: Gives ``updated_at``.
    """

    def __init__(
        self,
        projection: Projection,
        database: MemoryDatabase | None = None,
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._projection = projection
        self._key = projection.name
        self._building = ""
        self._database = MemoryDatabase() if database is None else database
        self._clock = clock
        with self._database._lock:
            if projection.name not in self._database._stats:
                self._database._stats[projection.name] = Stats(
                    Cursor.start(projection, clock()),
                    {},
                    {granularity: {} for granularity in projection.granularities},
                )

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        return self._projection

    def cursor(self) -> Cursor:
        """Return the stored cursor record: see ``StatsStore.cursor``."""
        return self._stats().cursor

    def commit(self, commit: Commit, /) -> CommitResult:
        """Add the deltas and store the cursor: see ``StatsStore.commit``."""
        with self._database._lock:
            stats = self._stats()
            if stats.cursor != commit.expected:
                raise CursorConflictError(self._projection.name)
            kept = commit.without(self._database._forgotten & commit.skills)
            applied = kept.deltas
            totals = {
                skill: self._sum(
                    stats.totals.get(skill, {}), row, commit.projection.counters, skill
                )
                for skill, row in applied.totals.items()
                if any(row) or skill not in stats.totals
            }
            rollups = {
                each: {
                    key: self._sum(
                        stats.rollups[each].get(key, {}),
                        row,
                        commit.projection.columns,
                        key[1],
                        f"{each.value}.",
                    )
                    for key, row in rows.items()
                }
                for each, rows in applied.rollups.items()
            }
            cursor = kept.cursor(self._clock())
            taught = {recorded.position for recorded in kept.taught}
            left = [recorded for recorded in stats.parked if recorded.position not in taught]
            self._database._stats[self._key] = Stats(
                cursor,
                {**stats.totals, **totals},
                {each: {**rows, **rollups[each]} for each, rows in stats.rollups.items()},
                (*left, *kept.parked),
            )
            return CommitResult(
                cursor=cursor,
                rows=len(totals) + sum(map(len, rollups.values())),
                forgotten=kept.forgotten,
                changed=frozenset(totals).union(
                    *({skill for _, skill in rows} for rows in rollups.values())
                ),
            )

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills, or of all: see ``StatsStore.totals``."""
        stats = self._stats()
        check_readable(stats.cursor, self._projection)
        wanted = stats.totals if skill_ids is None else checked_skill_ids(skill_ids)
        counters = self._projection.counters
        return Totals(
            stats.cursor,
            {
                skill: _filled(counters, stats.totals[skill])
                for skill in wanted
                if skill in stats.totals
            },
        )

    def rollups(
        self,
        skill_id: str,
        granularity: Granularity,
        /,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Rollups:
        """Return the rollups of one skill: see ``StatsStore.rollups``."""
        check_skill_id(skill_id)
        self._projection.check_granularity(granularity)
        stats = self._stats()
        check_readable(stats.cursor, self._projection)
        buckets = buckets_between(since, until, granularity)
        columns = self._projection.columns
        rows = {
            bucket: row
            for (bucket, skill), row in stats.rollups[granularity].items()
            if skill == skill_id and bucket in buckets
        }
        return Rollups(
            stats.cursor,
            {
                start_of(bucket, granularity): _filled(columns, rows[bucket])
                for bucket in sorted(rows)
            },
        )

    def quarantine(self, *, limit: int) -> Quarantine:
        """Return what the table cannot count: see ``StatsStore.quarantine``."""
        check_bounds(limit=limit)
        stats = self._stats()
        return Quarantine(cursor=stats.cursor, events=stats.parked[:limit])

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups before a bucket: see ``RetentionStore.expire``."""
        check_bounds(limit=limit)
        self._projection.check_granularity(granularity)
        with self._database._lock:
            stats = self._stats()
            stored_projection(stats.cursor).check_granularity(granularity)
            known = stats.cursor.expired.get(granularity.value)
            if known is not None and known >= first:
                return Expired(cursor=stats.cursor, rows=0, is_last=True)
            old = sorted(bucket for bucket, _ in stats.rollups[granularity] if bucket < first)
            end = first if len(old) <= limit else max(old[limit], old[0] + 1)
            expired = self._database._stats[self._key] = _expired(
                stats, granularity, end, self._clock()
            )
            for key, built in [] if self._building else list(self._database._stats.items()):
                is_beside = built.cursor.projection == self._projection.name and key != self._key
                if is_beside and granularity in built.rollups:
                    now = self._clock()
                    self._database._stats[key] = _expired(built, granularity, end, now)
            return Expired(
                cursor=expired.cursor,
                rows=len(stats.rollups[granularity]) - len(expired.rollups[granularity]),
                is_last=end == first,
            )

    def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good: see ``StatsStore.forget``."""
        check_skill_id(skill_id)
        with self._database._lock:
            if skill_id in self._database._forgotten:
                return False
            self._database._drop_badges(skill_id)
            now = self._clock()
            self._database._forgotten |= {skill_id}
            for name, stats in self._database._stats.items():
                self._database._stats[name] = _without(stats, skill_id, now)
            self._database._boards = {
                name: _reading.without(boards, skill_id)
                for name, boards in self._database._boards.items()
            }
            return True

    def sums(self) -> Sums:
        """Return what the stored numbers add up to: see ``SumStore.sums``."""
        stats = self._stats()
        controls = dict.fromkeys(stats.cursor.controls, 0)
        for row in stats.totals.values():
            _add(controls, "", row)
        for each, rows in stats.rollups.items():
            for row in rows.values():
                _add(controls, f"{each.value}.", row)
        return Sums(cursor=stats.cursor, controls=controls, parked=events_in(stats.parked))

    def building(self, name: str, /) -> MemoryStatsStore:
        """Return what is built under a name: see ``GenerationStore.building``."""
        check_building(name)
        with self._database._lock:
            key = self._key_of(name)
            if key not in self._database._stats:
                every = [
                    each.cursor
                    for each in self._database._stats.values()
                    if each.cursor.projection == self._projection.name
                ]
                cursor = begin_building(
                    self._serving().cursor,
                    self._projection,
                    name,
                    1 + max(each.generation for each in every),
                    self._clock(),
                )
                self._database._stats[key] = Stats(
                    cursor, {}, {each: {} for each in self._projection.granularities}
                )
        store = copy.copy(self)
        store._key, store._building = key, name
        return store

    def swap(self, name: str, /) -> Cursor:
        """Put what was built in the place of what serves: see ``GenerationStore.swap``."""
        with self._database._lock:
            built = self._built(name)
            cursor = swapped(self._serving().cursor, built.cursor, self._clock())
            self._database._stats[self._projection.name] = attrs.evolve(built, cursor=cursor)
            del self._database._stats[self._key_of(name)]
            return cursor

    def discard(self, name: str, /) -> bool:
        """Drop what is built: see ``GenerationStore.discard``."""
        check_building(name)
        with self._database._lock:
            return self._database._stats.pop(self._key_of(name), None) is not None

    def differences(self, name: str, /, *, limit: int) -> Comparison:
        """Compare the serving numbers with what was built: see ``GenerationStore.differences``."""
        check_bounds(limit=limit)
        with self._database._lock:
            serving, built = self._serving(), self._built(name)
        found = tuple(itertools.islice(_differences(serving, built), limit + 1))
        return Comparison(
            serving=serving.cursor,
            building=built.cursor,
            differences=found[:limit],
            is_complete=len(found) <= limit,
        )

    def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        """Return the rollups of these skills: see ``SeriesStore.rollups_of``."""
        wanted = checked_skill_ids(skill_ids)
        self._projection.check_granularity(over.granularity)
        stats = self._stats()
        check_readable(stats.cursor, self._projection)
        return _reading.rollups_of(stats, self._projection.columns, wanted, over)

    def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        """Return the first skills in an order: see ``RankStore.ranked``."""
        check_bounds(limit=limit)
        order.check(self._projection)
        stats = self._stats()
        check_readable(stats.cursor, self._projection)
        return _reading.ranked(stats, order, limit)

    def publish(self, publication: Publication, /) -> int:
        """Store the boards: see ``BoardStore.publish``."""
        publication.check(self._projection)
        with self._database._lock:
            database, name = self._database, self._projection.name
            boards, version = _reading.published(
                database._boards.get(name, {}), publication, database._forgotten, self._clock()
            )
            database._boards = {**database._boards, name: boards}
            return version

    def board(self, name: str, /, *, version: int | None, after: int, limit: int) -> BoardRead:
        """Return a part of a published board: see ``BoardStore.board``."""
        boards = self._database._boards.get(self._projection.name, {})
        return _reading.part_of(boards, name, version, after, limit, self._clock())

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        """Return those of these skills that are forgotten: see ``StatsStore.forgotten``."""
        return self._database._forgotten.intersection(checked_skill_ids(skill_ids))

    def note_error(self, text: str, /) -> None:
        """Keep what went wrong last: see ``NoteStore.note_error``."""
        note = Note(at=self._clock(), text=storable(text))
        self._database._notes[self._projection.name] = note

    def last_error(self) -> Note | None:
        """Return what went wrong last: see ``NoteStore.last_error``."""
        return self._database._notes.get(self._projection.name)

    def _key_of(self, building: str) -> str:
        return f"{self._projection.name}/{building}"

    def _serving(self) -> Stats:
        return self._database._stats[self._projection.name]

    def _built(self, name: str) -> Stats:
        check_building(name)
        built = self._database._stats.get(self._key_of(name))
        if built is None:
            raise NotBuildingError(self._projection.name, name)
        return built

    def _stats(self) -> Stats:
        stats = self._database._stats.get(self._key)
        if stats is None:
            raise NotBuildingError(self._projection.name, self._building)
        return stats

    def _sum(
        self,
        before: Counters,
        row: tuple[int, ...],
        names: tuple[str, ...],
        skill_id: str,
        prefix: str = "",
    ) -> Counters:
        sums = {name: before.get(name, 0) + amount for name, amount in zip(names, row, strict=True)}
        for name, value in sums.items():
            if not MIN_INTEGER <= value <= MAX_INTEGER:
                raise OutOfRangeError(self._projection.name, skill_id, prefix + name)
        return sums


def _add(sums: dict[str, int], prefix: str, row: Counters) -> None:
    for name, value in row.items():
        sums[prefix + name] = sums.get(prefix + name, 0) + value


def _differences(serving: Stats, built: Stats) -> Iterator[Difference]:
    """Yield each number that differs, totals first."""
    for skill in sorted({*serving.totals, *built.totals}):
        yield from row_differences(
            "", skill, None, built.totals.get(skill), serving.totals.get(skill)
        )
    for each in sorted({*serving.rollups, *built.rollups}, key=lambda each: each.length):
        actual, expected = serving.rollups.get(each, {}), built.rollups.get(each, {})
        for bucket, skill in sorted({*actual, *expected}):
            cell = bucket, skill
            yield from row_differences(
                f"{each.value}.",
                skill,
                start_of(bucket, each),
                expected.get(cell),
                actual.get(cell),
            )


def _filled(names: tuple[str, ...], row: Counters) -> Counters:
    """Return *row* with zeros for what was not counted yet when it was written."""
    return {name: row.get(name, 0) for name in names}


def _expired(stats: Stats, granularity: Granularity, first: int, at: datetime) -> Stats:
    """Return *stats* after the rollups of the buckets before *first* expired."""
    cursor = stats.cursor
    rows = stats.rollups[granularity]
    controls = dict(cursor.controls)
    for (bucket, _), row in rows.items():
        for name, value in row.items() if bucket < first else ():
            controls[f"{granularity.value}.{name}"] -= value
    return attrs.evolve(
        stats,
        cursor=attrs.evolve(
            cursor,
            controls=controls,
            expired={**cursor.expired, granularity.value: first},
            revision=cursor.revision + 1,
            updated_at=at,
        ),
        rollups={
            **stats.rollups,
            granularity: {key: row for key, row in rows.items() if key[0] >= first},
        },
    )


def _without(stats: Stats, skill_id: str, at: datetime) -> Stats:
    """Return *stats* after a skill was forgotten."""
    controls = dict(stats.cursor.controls)
    for name, value in stats.totals.get(skill_id, {}).items():
        controls[name] -= value
    rollups: dict[Granularity, Mapping[tuple[int, str], Counters]] = {}
    for each, rows in stats.rollups.items():
        rollups[each] = {key: row for key, row in rows.items() if key[1] != skill_id}
        for key in rows.keys() - rollups[each].keys():
            for name, value in rows[key].items():
                controls[f"{each.value}.{name}"] -= value
    parked = tuple(recorded for recorded in stats.parked if recorded.event.skill_id != skill_id)
    return Stats(
        attrs.evolve(
            stats.cursor,
            controls=controls,
            parked=stats.cursor.parked - events_in(stats.parked) + events_in(parked),
            revision=stats.cursor.revision + 1,
            updated_at=at,
        ),
        {skill: row for skill, row in stats.totals.items() if skill != skill_id},
        rollups,
        parked,
    )
