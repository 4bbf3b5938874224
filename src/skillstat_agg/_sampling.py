"""Some skills counted anew; import the name from `skillstat_agg` instead.

`skillstat_agg.aio._sampling` is its twin for asynchronous stores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import attrs

from skillstat_agg._buckets import Granularity, start_of
from skillstat_agg._commits import CHECKSUM_RANGE, Cursor
from skillstat_agg._deltas import Deltas, deltas_of
from skillstat_agg._folding import DEFAULT_PAGE, read_portion
from skillstat_agg._generations import MOST_DIFFERENCES, row_differences
from skillstat_agg._pages import TalliedPage, check_bounds
from skillstat_agg._projections import Projection
from skillstat_agg._quarantine import Uncountable
from skillstat_agg._rebuilding import check_same_log
from skillstat_agg._stores import EventStore, Rollups, StatsStore, Totals
from skillstat_agg._tallies import Cell, DeltaSum, Tally
from skillstat_agg._verifying import CATCH_UPS, VerifyReport, check_own_table, restless, unlike

SAMPLE = "sample"
"""What is counted of some skills is called, where an error has to say it."""


@attrs.define
class Sample:
    """Some skills of a log, and their events tallied: as many as are wanted, and no more.

    A skill belongs to it if the digest of its id is among the smallest that were met. Which
    these are can only grow tighter, so a skill that belongs to it in the end has belonged to it
    since its first event, and nothing of it was left out.

    Attributes:
        size: How many skills.
        seed: What is mixed into the digests.
        tallies: The tally of each skill that belongs to it now.
    """

    size: int
    seed: int
    tallies: dict[str, Tally] = attrs.field(factory=dict)
    _ranks: dict[str, bytes] = attrs.field(factory=dict)

    def add(self, tally: Tally) -> None:
        """Add what belongs to it of a tally of the events that follow."""
        for skill, part in _by_skill(tally, self._chosen(tally)).items():
            known = self.tallies.get(skill)
            self.tallies[skill] = part if known is None else known + part

    def _chosen(self, tally: Tally) -> frozenset[str]:
        """Return the skills of a tally that belong to it, and drop those that do no longer."""
        met = {skill for skill, _, _ in tally.counts}
        for skill in met - self._ranks.keys():
            rank = hashlib.blake2b(f"{self.seed}:{skill}".encode(), digest_size=16).digest()
            if len(self._ranks) < self.size or rank < max(self._ranks.values()):
                self._ranks[skill] = rank
                if len(self._ranks) > self.size:
                    last = max(self._ranks, key=self._ranks.__getitem__)
                    del self._ranks[last]
                    self.tallies.pop(last, None)
        return frozenset(met & self._ranks.keys())

    @property
    def skills(self) -> list[str]:
        """The skills that belong to it, in the order of their ids."""
        return sorted(self.tallies)


def _by_skill(tally: Tally, skills: frozenset[str]) -> dict[str, Tally]:
    """Return the tally of each of these skills."""
    counts: dict[str, dict[Cell, int]] = {skill: {} for skill in skills}
    carried: dict[str, dict[tuple[str, str, int, str], DeltaSum]] = {skill: {} for skill in skills}
    for cell, count in tally.counts.items():
        if cell[0] in skills:
            counts[cell[0]][cell] = count
    for key, part in tally.carried.items():
        if key[0] in skills:
            carried[key[0]][key] = part
    return {skill: Tally(tally.granularity, counts[skill], carried[skill]) for skill in skills}


def verify_sample(
    events: EventStore,
    stats: StatsStore,
    *,
    size: int,
    seed: int = 0,
    page: int = DEFAULT_PAGE,
    limit: int = MOST_DIFFERENCES,
    on_progress: Callable[[int], object] | None = None,
) -> VerifyReport:
    """Count some skills anew, up to the cursor, and compare all their numbers.

    It reads the whole log and writes nothing, so any role that reads can run it, and any stats
    store will do. Every skill of the log is as likely to be taken as any other; another *seed*
    takes others. Numbers of a skill that the log does not have are not found.

    Args:
        events: The log.
        stats: The stats of one projection.
        size: How many skills; all, where there are no more.
        seed: What decides which.
        page: How many events to read at once.
        limit: How many differences to list at most.
        on_progress: Called after each page with the number of events that were read.

    Raises:
        InvalidBoundError: If a bound is below 1.
        TableChangedError: If the numbers were made with another table than that of *stats*.
        HistoryChangedError: If the log is not the one that was folded.
        GenerationBehindError: If workers moved the cursor again and again.
        SkillstatError: As in `drain`.
    """
    check_bounds(size=size, page=page, limit=limit)
    projection, sample = stats.projection, Sample(size, seed)
    cursor = check_same_log(events, stats)
    here = unread(cursor)
    for _ in range(CATCH_UPS):
        check_own_table(cursor, projection)
        here = _scanned(events, projection, sample, here, cursor, page, on_progress)
        totals = stats.totals(sample.skills)
        rollups: list[tuple[str, Granularity, Rollups]] = []
        for skill in sample.skills:
            for granularity in projection.granularities:
                found = stats.rollups(skill, granularity)
                rollups.append((skill, granularity, found))
        # Asked last: what is forgotten by now has no numbers, whatever the log says.
        forgotten = stats.forgotten(sample.skills)
        cursor = stats.cursor()
        if are_of_one_moment(here, cursor, totals, rollups):
            return sampled(projection, sample, here, totals, rollups, forgotten, limit)
    raise restless(cursor, SAMPLE)


def _scanned(
    events: EventStore,
    projection: Projection,
    sample: Sample,
    here: Cursor,
    cursor: Cursor,
    page: int,
    on_progress: Callable[[int], object] | None,
) -> Cursor:
    """Read on up to *cursor*, and return the record of what was read."""
    while cursor.place is not None and here.place != cursor.place:
        portion = read_portion(
            events, here, projection, page, None, Uncountable.PARK, cursor.place.position
        )
        if portion.page.place is None:
            break
        sample.add(portion.page.tally)
        here = read_up_to(here, portion.page)
        if on_progress is not None:
            on_progress(here.count)
    return here


def unread(cursor: Cursor) -> Cursor:
    """Return a record like *cursor* of somebody who has read nothing."""
    return attrs.evolve(cursor, place=None, count=0, checksum=0)


def read_up_to(here: Cursor, page: TalliedPage) -> Cursor:
    """Return the record of somebody who has read a page after *here*."""
    return attrs.evolve(
        here,
        place=page.place,
        count=here.count + page.count,
        checksum=(here.checksum + page.checksum) % CHECKSUM_RANGE,
    )


def are_of_one_moment(
    here: Cursor,
    cursor: Cursor,
    totals: Totals,
    rollups: Iterable[tuple[str, Granularity, Rollups]],
) -> bool:
    """Return whether all numbers were read at one record, and the log up to its place."""
    return (
        here.place == cursor.place
        and totals.cursor == cursor
        and all(found.cursor == cursor for _, _, found in rollups)
    )


def sampled(
    projection: Projection,
    sample: Sample,
    here: Cursor,
    totals: Totals,
    rollups: Sequence[tuple[str, Granularity, Rollups]],
    forgotten: frozenset[str],
    limit: int,
) -> VerifyReport:
    """Return how the numbers of a sample differ from its events."""
    cursor = totals.cursor
    made = {
        skill: deltas_of(projection, tally, cursor.expired)
        for skill, tally in sample.tallies.items()
        if skill not in forgotten
    }
    differences = unlike(
        [
            ("cursor.count", here.count, cursor.count),
            ("cursor.checksum", here.checksum, cursor.checksum),
        ]
    )
    for skill in sample.skills:
        row = made[skill].totals[skill] if skill in made else None
        expected = None if row is None else dict(zip(projection.counters, row, strict=True))
        differences += row_differences("", skill, None, expected, totals.get(skill))
    for skill, granularity, found in rollups:
        wanted = _rollups_of(made[skill], projection, granularity) if skill in made else {}
        for start in sorted({*wanted, *found}):
            differences += row_differences(
                f"{granularity.value}.", skill, start, wanted.get(start), found.get(start)
            )
    return VerifyReport(
        cursor=cursor,
        differences=tuple(differences[:limit]),
        is_complete=len(differences) <= limit,
    )


def _rollups_of(
    deltas: Deltas, projection: Projection, granularity: Granularity
) -> dict[datetime, dict[str, int]]:
    """Return the rollups of one skill by the start of the bucket."""
    return {
        start_of(bucket, granularity): dict(zip(projection.columns, row, strict=True))
        for (bucket, _), row in deltas.rollups[granularity].items()
    }
