"""Stats stores that put the wrong skills on a board, or lose a board that was published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from skillstat_agg._boards import BoardRead, Publication
from skillstat_agg._leaderboards import Order, Ranked
from skillstat_agg._pages import check_bounds
from skillstat_agg._ranges import Buckets
from skillstat_agg._series import RollupsOf
from skillstat_agg.backends.memory import _reading
from skillstat_agg.testing.gallery._frame import BrokenStore
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats, with_stats_and_io

_Rows = list[tuple[str, tuple[int, ...]]]


class _Boards(OpenStats):
    """A store that sorts by itself the whole board, which it knows from the right one."""

    def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        check_bounds(limit=limit)
        everything = super().ranked(order, limit=1_000_000)
        rows = self.sorted(order, list(everything.rows))
        return attrs.evolve(everything, rows=tuple(rows[:limit]))

    def sorted(self, _order: Order, rows: _Rows) -> _Rows:
        return rows


class TiesAsTheyCome(_Boards):
    """Sorts by the scores alone: skills that tie stand as they came."""

    def sorted(self, order: Order, rows: _Rows) -> _Rows:
        came = list(self.totals())
        rows.sort(key=lambda row: came.index(row[0]))
        return sorted(rows, key=lambda row: order.scores(row[1]), reverse=True)


class ScoresAsFloats(_Boards):
    """Sorts by floating-point numbers."""

    def sorted(self, order: Order, rows: _Rows) -> _Rows:
        return sorted(
            rows, key=lambda row: ([-float(score) for score in order.scores(row[1])], row[0])
        )


class FirstScoreOnly(_Boards):
    """Sorts by the first score."""

    def sorted(self, order: Order, rows: _Rows) -> _Rows:
        return sorted(rows, key=lambda row: (-order.scores(row[1])[0], row[0]))


class ClampsEachBucket(OpenStats):
    """Sums what each bucket shows."""

    def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        ranked = super().ranked(order, limit=limit)
        if order.over is None:
            return ranked
        sums: dict[str, list[int]] = {}
        for (bucket, skill), row in self._stats().rollups[order.over.granularity].items():
            if bucket in order.over.numbers:
                there = sums.setdefault(skill, [0] * len(order.names))
                for index, name in enumerate(order.names):
                    there[index] += max(0, row.get(name, 0))
        return attrs.evolve(ranked, rows=order.top(list(sums.items()), limit))


class OneBucketMore(OpenStats):
    """Takes the end of a range for its last bucket."""

    def ranked(self, order: Order, /, *, limit: int) -> Ranked:
        return super().ranked(attrs.evolve(order, over=_longer(order.over)), limit=limit)


class NothingComesLast(_Boards):
    """Lists everybody who has a row, also of zeros."""

    def sorted(self, order: Order, rows: _Rows) -> _Rows:
        there = {skill for skill, _ in rows}
        idle: Sequence[str] = sorted(self.totals().keys() - there)
        return [*rows, *((skill, (0,) * len(order.names)) for skill in idle)]


class OneBucketMoreOfEach(OpenStats):
    """Takes the end of a range for its last bucket, and adds what lies there to the one before."""

    def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        found = super().rollups_of(skill_ids, over)
        if not over.numbers:
            return found
        beside = Buckets(over.granularity, over.numbers[-1:])
        longer = super().rollups_of(found.rows, _longer(beside) or beside)
        rows = {
            skill: {**row, over.numbers[-1]: _added(longer.rows.get(skill, {}).values())}
            for skill, row in found.rows.items()
        }
        return attrs.evolve(found, rows=rows)


class FirstThousand(OpenStats):
    """Looks up as many skills as a statement takes, and leaves the others at 0."""

    def rollups_of(self, skill_ids: Iterable[str], over: Buckets, /) -> RollupsOf:
        return super().rollups_of(list(skill_ids)[:1_000], over)


class BoardByBoard(OpenStats):
    """Publishes one board, then the next."""

    def publish(self, publication: Publication, /) -> int:
        publication.check(self._projection)
        database, name = self._database, self._projection.name
        before = database._boards.get(name, {})
        after, version = _reading.published(before, publication, database._forgotten, self._clock())
        for board in publication.boards:
            self._io()
            now = database._boards.get(name, {})
            boards = {**now, board: after[board]}
            database._boards = {**database._boards, name: boards}
        return version


class DrawsVersionFirst(OpenStats):
    """Looks for the next version first, and publishes when it has made the boards."""

    def publish(self, publication: Publication, /) -> int:
        publication.check(self._projection)
        database, name = self._database, self._projection.name
        boards, version = _reading.published(
            database._boards.get(name, {}), publication, database._forgotten, self._clock()
        )
        self._io()
        database._boards = {**database._boards, name: boards}
        return version


class KeepsOneMore(OpenStats):
    """Drops old versions before it adds the new one."""

    def publish(self, publication: Publication, /) -> int:
        return super().publish(attrs.evolve(publication, keep=publication.keep + 1))


class KeepsSkillsOnBoards(OpenStats):
    """Forgets the numbers of a skill, and leaves it on the boards."""

    def forget(self, skill_id: str, /) -> bool:
        boards = self._database._boards
        is_new = super().forget(skill_id)
        self._database._boards = boards
        return is_new


class PagesTheLatest(OpenStats):
    """Returns the latest version, whichever was asked for, as long as that one is kept."""

    def board(self, name: str, /, *, version: int | None, after: int, limit: int) -> BoardRead:
        read = super().board(name, version=version, after=after, limit=limit)
        if version is None or read.board is None:
            return read
        latest = super().board(name, version=None, after=after, limit=limit).board
        assert latest is not None
        return attrs.evolve(read, board=attrs.evolve(read.board, entries=latest.entries))


def _longer(over: Buckets | None) -> Buckets | None:
    if over is None:
        return None
    return Buckets(over.granularity, range(over.numbers.start, over.numbers.stop + 1))


def _added(rows: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*rows, strict=True)))


_NO_REPORT = ("no public report was found",)

STORES = (
    BrokenStore(
        name="ties as they come",
        mistake="The board is sorted by its score alone. Who of those that tie gets the last place"
        " depends on the order in which rows come: one input, six answers.",
        reported=("openclaw/clawhub:convex/lib/leaderboards.ts",),
        row="R19",
        breaks=("board_order",),
        killer="BOARD-01",
        remedy="order by the id last: ORDER BY score DESC, skill_id",
        harness=with_stats(TiesAsTheyCome, boards=True),
    ),
    BrokenStore(
        name="clamps each bucket",
        mistake="The board adds up what each day shows, and no day shows less than 0. What was"
        " taken back on another day counts for ever.",
        reported=("openclaw/clawhub#3419", "openclaw/clawhub:convex/lib/downloadTrend.ts"),
        row="N5",
        breaks=("board_order",),
        killer="BOARD-02",
        remedy="sum the signed rows of the range, then clamp once",
        harness=with_stats(ClampsEachBucket, boards=True),
    ),
    BrokenStore(
        name="one bucket more",
        mistake="The end of the range is taken for its last bucket, as BETWEEN takes it: a week"
        " has eight days.",
        reported=_NO_REPORT,
        row="R19",
        breaks=("whole_range",),
        killer="BOARD-03",
        remedy="name the first and the last bucket of Buckets.numbers, which is half-open",
        harness=with_stats(OneBucketMore, boards=True),
    ),
    BrokenStore(
        name="scores as floats",
        mistake="Scores are floating-point numbers, as they become where SQLite multiplies beyond"
        " 64 bits. Neighbours that differ by one are equal.",
        reported=("SELECT typeof(9223372036854775807 + 1) is real",),
        row="N1",
        breaks=("board_order",),
        killer="BOARD-04",
        remedy="order by exact numbers, where need be in Order.top",
        harness=with_stats(ScoresAsFloats, boards=True),
    ),
    BrokenStore(
        name="who has nothing comes last",
        mistake="Everybody who has a row stands on the board. A row of zeros may be there or not,"
        " which depends on how the log was cut into pages.",
        reported=_NO_REPORT,
        row="R19",
        breaks=("whole_range", "board_order"),
        killer="BOARD-05",
        remedy="leave out skills of which nothing above 0 is shown",
        harness=with_stats(NothingComesLast, boards=True),
    ),
    BrokenStore(
        name="first score only",
        mistake="The second key of the order was forgotten: trending ties on installs, which"
        " should be decided by downloads, are decided by the id.",
        reported=("openclaw/clawhub#3420",),
        row="R19",
        breaks=("board_order",),
        killer="BOARD-06",
        remedy="order by every score of Order.keys, then by the id",
        harness=with_stats(FirstScoreOnly, boards=True),
    ),
    BrokenStore(
        name="board by board",
        mistake="Boards are published one after the other. After a crash in between, the front"
        " page shows boards of unlike ages.",
        reported=("openclaw/clawhub:convex/leaderboards.ts",),
        row="R19",
        breaks=("published_together",),
        killer="BOARD-07",
        remedy="store all boards of a publication in one transaction",
        harness=with_stats_and_io(BoardByBoard, boards=True),
    ),
    BrokenStore(
        name="draws the version first",
        mistake="The next version is looked up before the transaction that stores the boards. Two"
        " publishers at once take the same one, and pages of two boards are mixed up.",
        reported=_NO_REPORT,
        row="R19",
        breaks=("published_together",),
        killer="BOARD-08",
        remedy="lock, then look for the largest version, then store",
        harness=with_stats_and_io(DrawsVersionFirst, boards=True),
    ),
    BrokenStore(
        name="keeps one version more",
        mistake="Old versions are dropped before the new one is added, so that one more than was"
        " asked for is kept.",
        reported=_NO_REPORT,
        row="R19",
        breaks=("published_stays",),
        killer="BOARD-09",
        remedy="count the new version among those that are kept",
        harness=with_stats(KeepsOneMore, boards=True),
    ),
    BrokenStore(
        name="forgotten, and on the board",
        mistake="A skill is forgotten, its numbers go, and the boards that were published go on"
        " to show its name.",
        reported=_NO_REPORT,
        row="R19",
        breaks=("published_stays",),
        killer="BOARD-10",
        remedy="take the skill off every board in the transaction that forgets it",
        harness=with_stats(KeepsSkillsOnBoards, boards=True),
    ),
    BrokenStore(
        name="pages through the latest",
        mistake="The second page is that of the latest version. Who has moved between the pages is"
        " listed twice, or never.",
        reported=_NO_REPORT,
        row="R19",
        breaks=("published_stays",),
        killer="BOARD-11",
        remedy="return the version that was asked for, or none",
        harness=with_stats(PagesTheLatest, boards=True),
    ),
    BrokenStore(
        name="series with one bucket more",
        mistake="The last bucket of a series holds that of the next one as well: today's bar grows"
        " by what tomorrow brings.",
        reported=_NO_REPORT,
        row="R19",
        breaks=("same_rollups",),
        killer="SERIES-01",
        remedy="read exactly the buckets that were asked for",
        harness=with_stats(OneBucketMoreOfEach, boards=True),
    ),
    BrokenStore(
        name="series of the first thousand",
        mistake="A statement takes a thousand parameters. Who asks for more skills is answered with"
        " zeros for the rest, and zeros look like an answer.",
        reported=("openclaw/clawhub@e9f731b5",),
        row="R19",
        breaks=("same_rollups",),
        killer="SERIES-02",
        remedy="look up several hundred at a time, in one snapshot",
        harness=with_stats(FirstThousand, boards=True),
    ),
)
