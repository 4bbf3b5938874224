"""Commits that compare too little, or do not tell that they lost."""

from __future__ import annotations

import attrs
from typing_extensions import override

from skillstat_agg._commits import Commit, CommitResult, Cursor
from skillstat_agg._events import Place
from skillstat_agg.errors import CursorConflictError
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io


class _Compares(OpenStats):
    """A store that compares as `is_expected` says, and adds to whatever is stored."""

    def commit(self, commit: Commit, /) -> CommitResult:
        with self._database._lock:
            stats = self._stats()
            if not self.is_expected(stats.cursor, commit.expected):
                raise CursorConflictError(self._projection.name)
            self._put(attrs.evolve(stats, cursor=commit.expected))
            return self._apply(commit)

    def is_expected(self, stored: Cursor, expected: Cursor) -> bool:
        return stored == expected


class NoCompare(_Compares):
    """``UPDATE cursors SET ...`` without a word about what must be there."""

    @override
    def is_expected(self, stored: Cursor, expected: Cursor) -> bool:
        return True


class OnlyLargerWins(_Compares):
    """Compares with the new place, where it should with the old: ``WHERE position < :new``."""

    _new: Place | None

    def commit(self, commit: Commit, /) -> CommitResult:
        self._new = commit.place
        return super().commit(commit)

    @override
    def is_expected(self, stored: Cursor, expected: Cursor) -> bool:
        if stored.place is None or self._new is None:
            return True
        return stored.place.position < self._new.position


class ComparesPlace(_Compares):
    """Compares where the cursor stands, and nothing else of the record."""

    def is_expected(self, stored: Cursor, expected: Cursor) -> bool:
        return stored.place == expected.place


class ComparesRevision(_Compares):
    """Compares a version number, and nothing else of the record."""

    def is_expected(self, stored: Cursor, expected: Cursor) -> bool:
        return stored.revision == expected.revision


class ComparesNoRevision(_Compares):
    """Compares what it means to change, but not the number that every change raises."""

    def is_expected(self, stored: Cursor, expected: Cursor) -> bool:
        return attrs.evolve(stored, revision=expected.revision) == expected


class ComparesBefore(_Compares):
    """Compares first, and begins the transaction that writes afterwards."""

    def commit(self, commit: Commit, /) -> CommitResult:
        if self.cursor() != commit.expected:
            raise CursorConflictError(self._projection.name)
        self._io()
        return super().commit(commit)

    @override
    def is_expected(self, stored: Cursor, expected: Cursor) -> bool:
        return True


class SwallowsConflict(OpenStats):
    """Returns from a commit that lost as from one that won."""

    def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return super().commit(commit)
        except CursorConflictError:
            return CommitResult(cursor=self.cursor(), rows=0, forgotten=0, changed=frozenset())


class RetriesOnNewCursor(OpenStats):
    """Meets a conflict by applying the same deltas to the cursor that is there now."""

    def commit(self, commit: Commit, /) -> CommitResult:
        try:
            return super().commit(commit)
        except CursorConflictError:
            return super().commit(attrs.evolve(commit, expected=self.cursor()))


class TakesPlaceForItsOwn(OpenStats):
    """Finds the cursor where it wants it, and takes that for its own earlier try."""

    def commit(self, commit: Commit, /) -> CommitResult:
        stored = self.cursor()
        if stored.place == commit.place:
            return CommitResult(cursor=stored, rows=0, forgotten=0, changed=frozenset())
        return super().commit(commit)


class CachesCursor(OpenStats):
    """Remembers the record that it wrote last, and returns it unread."""

    _cached: Cursor | None = None

    def cursor(self) -> Cursor:
        return super().cursor() if self._cached is None else self._cached

    def commit(self, commit: Commit, /) -> CommitResult:
        result = super().commit(commit)
        self._cached = result.cursor
        return result


STORES = (
    BrokenStore(
        name="no compare",
        mistake="A commit adds its deltas and sets the cursor, whatever the cursor is by now:"
        " alone it is right, and of two workers on one page both count it.",
        reported=("n8n-io/n8n#35259", "AxonIQ/AxonFramework#422"),
        row="C1",
        breaks=("compare_and_set", "atomic", "unknown_outcome", "forgotten"),
        killer="FENCE-01",
        remedy="compare the stored record with the one that the page was read from, in the"
        " transaction that writes",
        harness=with_stats(NoCompare),
    ),
    BrokenStore(
        name="only larger wins",
        mistake="A commit is accepted when it moves the cursor forward. A worker with a larger"
        " page then wins over one that has counted the beginning of that page.",
        reported=("no public report was found",),
        row="C1",
        breaks=(
            "compare_and_set",
            "atomic",
            "unknown_outcome",
            "forgotten",
            "expired",
            "quarantined",
        ),
        killer="FENCE-03",
        remedy="compare with the record that the page was read from, for equality",
        harness=with_stats(OnlyLargerWins),
    ),
    BrokenStore(
        name="compares the place only",
        mistake="The position is what moves, so it alone is compared. Whatever else changes the"
        " stats (a forgotten skill, a rebuild) leaves it, and is overwritten.",
        reported=("no public report was found",),
        row="C10",
        breaks=("compare_and_set", "forgotten"),
        killer="FENCE-05",
        remedy="compare the whole record; its revision grows with every change of the stats",
        harness=with_stats(ComparesPlace),
    ),
    BrokenStore(
        name="compares the revision only",
        mistake="A version number stands for the record. After a restore, or in another"
        " generation, the same number belongs to other numbers.",
        reported=("HarperFast/harper#2451",),
        row="C10, L10",
        breaks=("compare_and_set",),
        killer="FENCE-05",
        remedy="compare the whole record",
        harness=with_stats(ComparesRevision),
    ),
    BrokenStore(
        name="compares all but the revision",
        mistake="What did not move the cursor and changed no sum, such as a skill that was"
        " forgotten before it had numbers, passes for nothing.",
        reported=("no public report was found",),
        row="C10",
        breaks=("compare_and_set",),
        killer="FENCE-05",
        remedy="compare the whole record; its revision grows with every change of the stats",
        harness=with_stats(ComparesNoRevision),
    ),
    BrokenStore(
        name="compares before the transaction",
        mistake="The check reads well and is there, but another worker can commit between it"
        " and the write.",
        reported=("mastra-ai/mastra#23118",),
        row="C1, C6",
        breaks=("compare_and_set",),
        killer="FENCE-06",
        remedy="take the write lock first (BEGIN IMMEDIATE, SELECT ... FOR UPDATE), or put the"
        " comparison into the UPDATE and look at the number of rows",
        harness=with_stats_and_io(ComparesBefore),
    ),
    BrokenStore(
        name="swallows the conflict",
        mistake="A commit that lost returns like one that won: the numbers stay right, and the"
        " worker reports, and tells on_commit, what it never did.",
        reported=("no public report was found",),
        row="C1",
        breaks=("compare_and_set", "unknown_outcome"),
        killer="FENCE-03",
        remedy="raise CursorConflictError; drain reads again by itself",
        harness=with_stats(SwallowsConflict),
    ),
    BrokenStore(
        name="retries on the new cursor",
        mistake="A conflict looks like something to try again. But the deltas belong to the"
        " cursor that their page was read from.",
        reported=("apple.github.io/foundationdb/automatic-idempotency.html",),
        row="A4, C1",
        breaks=("compare_and_set", "unknown_outcome", "atomic"),
        killer="FENCE-01",
        remedy="never repeat a commit on another record: raise CursorConflictError, and the page"
        " is read anew",
        harness=with_stats(RetriesOnNewCursor),
    ),
    BrokenStore(
        name="takes the place for its own",
        mistake="A cursor that stands already where the commit wants it is taken for the trace"
        " of an earlier try whose answer was lost. It may be another worker's.",
        reported=("awslabs/amazon-kinesis-client#108",),
        row="A4",
        breaks=("compare_and_set", "unknown_outcome", "expired", "quarantined"),
        killer="FENCE-03",
        remedy="raise CursorConflictError whenever the stored record is not the expected one",
        harness=with_stats(TakesPlaceForItsOwn),
    ),
    BrokenStore(
        name="caches the cursor",
        mistake="A client remembers the record that it wrote, to save a read. It does not see"
        " what others write, and conflicts for ever.",
        reported=("no public report was found",),
        row="C1",
        breaks=(
            "compare_and_set",
            "atomic",
            "unknown_outcome",
            "forgotten",
            "exact",
            "expired",
            "quarantined",
        ),
        killer="FENCE-01",
        remedy="read the stored record each time",
        harness=with_stats(CachesCursor),
    ),
)
