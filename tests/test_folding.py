"""What a fold does, says and refuses, on both backends."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import attrs
import pytest

from skillstat_agg import (
    CHECKSUM_RANGE,
    RETIRED,
    SKILL_STATS,
    Commit,
    CommitResult,
    Cursor,
    Effect,
    Event,
    Granularity,
    Page,
    Place,
    Position,
    Projection,
    Quarantine,
    Rollups,
    StatsStore,
    TalliedPage,
    Tally,
    Totals,
    Uncountable,
    drain,
    fold_page,
)
from skillstat_agg._pages import countable_part
from skillstat_agg._quarantine import taking_over
from skillstat_agg.backends.memory import MemoryEventStore, MemoryStatsStore
from skillstat_agg.backends.sqlite import SQLiteStatsStore
from skillstat_agg.errors import (
    CursorConflictError,
    HistoryChangedError,
    InvalidBoundError,
    InvalidEventError,
    OutOfRangeError,
    StoreContractError,
    TableChangedError,
    UncountableEventError,
)
from tests.logs import NOON, download
from tests.sites import SITES, Client

in_every_site = pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)

WITH_COMMENTS = Projection(
    "skill_stats",
    {
        **SKILL_STATS.kinds,
        "comment": Effect(counters={"comments": 1}, rollups={"comments": 1}),
    },
)


class Relay:
    """A stats store that hands everything on to another."""

    def __init__(self, stats: StatsStore) -> None:
        self.stats = stats

    @property
    def projection(self) -> Projection:
        return self.stats.projection

    def cursor(self) -> Cursor:
        return self.stats.cursor()

    def commit(self, commit: Commit, /) -> CommitResult:
        return self.stats.commit(commit)

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        return self.stats.totals(skill_ids)

    def rollups(self, skill_id: str, granularity: Granularity, /, **bounds: Any) -> Rollups:
        return self.stats.rollups(skill_id, granularity, **bounds)

    def quarantine(self, *, limit: int) -> Quarantine:
        return self.stats.quarantine(limit=limit)

    def forget(self, skill_id: str, /) -> bool:
        return self.stats.forget(skill_id)

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        return self.stats.forgotten(skill_ids)


def comment(skill_id: str = "a") -> Event:
    return Event(skill_id=skill_id, kind="comment", occurred_at=NOON)


@in_every_site
def test_one_report_for_every_outcome(site_of):
    """A fold says what it folded, wrote and dropped, and between which cursors."""
    with site_of() as site:
        client = site.client()
        before = client.stats.cursor()
        client.events.append([download("a"), download("a"), download("b")])

        report = drain(client.events, client.stats)

        assert (report.events, report.rows, report.conflicts) == (3, 4, 0)
        assert report.dropped == {"forgotten": 0, "expired": 0}
        assert (report.before, report.after) == (before, client.stats.cursor())
        assert report.at_frontier
        assert (
            str(report)
            == "3 events folded, 4 rows written, 0 dropped, 0 conflicts, at the frontier"
        )


@in_every_site
def test_an_idle_drain_writes_nothing(site_of):
    """A hundred drains of a log that is at rest leave every bit as it is."""
    with site_of() as site:
        client = site.client()
        client.events.append([download()])
        drain(client.events, client.stats)
        cursor = client.stats.cursor()

        reports = [drain(client.events, client.stats) for _ in range(100)]

        assert {(report.events, report.rows, report.at_frontier) for report in reports} == {
            (0, 0, True)
        }
        assert client.stats.cursor() == cursor


@in_every_site
def test_an_empty_log_is_at_its_frontier(site_of):
    """There is nothing to fold in an empty log, and that is all there is."""
    with site_of() as site:
        client = site.client()

        report = drain(client.events, client.stats)

        assert (report.events, report.at_frontier, report.after.place) == (0, True, None)


@in_every_site
def test_fold_page_folds_one_page(site_of):
    """One page, one commit, and whether more follows."""
    with site_of() as site:
        client = site.client()
        client.events.append([download()] * 3)

        changed: list[frozenset[str]] = []

        reports = [
            fold_page(client.events, client.stats, page=2, on_commit=changed.append)
            for _ in range(2)
        ]

        first, second = reports
        assert [str(report) for report in reports] == [
            "2 events folded, 2 rows written, 0 dropped, 0 conflicts, more remain",
            "1 events folded, 2 rows written, 0 dropped, 0 conflicts, at the frontier",
        ]
        assert first.before.place is None
        assert (first.after, second.after) == (second.before, client.stats.cursor())
        assert changed == [{"a"}, {"a"}]


@in_every_site
def test_a_net_zero_page_moves_the_cursor_and_gives_a_row(site_of):
    """Events that cancel out are consumed; "unknown" and "zero" do not depend on batches."""
    with site_of() as site:
        client = site.client()
        client.events.append(
            [Event(skill_id="a", kind=kind, occurred_at=NOON) for kind in ("star", "unstar")]
        )

        report = drain(client.events, client.stats)

        assert report.rows == 1
        assert client.stats.cursor().count == 2
        assert set(client.stats.totals()["a"].values()) == {0}
        assert not client.stats.rollups("a", Granularity.DAY)


@in_every_site
def test_on_commit_is_told_the_skills_that_changed(site_of):
    """Each commit hands over the ids whose numbers changed or appeared, and no others."""
    with site_of() as site:
        client = site.client()
        stars = [Event(skill_id="b", kind=kind, occurred_at=NOON) for kind in ("star", "unstar")]
        client.events.append([download("a"), *stars, *stars, download("a")])
        changed: list[frozenset[str]] = []

        drain(client.events, client.stats, page=3, on_commit=changed.append)

        assert changed == [{"a", "b"}, {"a"}]


@in_every_site
@pytest.mark.parametrize("bound", ["page", "max_events", "max_skills"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, "2"])
def test_a_bound_below_one_is_refused(site_of, bound, value):
    """A bound is a whole number of at least 1; anything else is said by name."""
    with site_of() as site:
        client = site.client()

        with pytest.raises(InvalidBoundError) as caught:
            drain(client.events, client.stats, **{bound: value})

        assert str(caught.value) == f"{bound} must be a whole number of at least 1, not {value!r}"
        if bound != "max_events":
            with pytest.raises(InvalidBoundError, match=bound):
                fold_page(client.events, client.stats, **{bound: value})


@in_every_site
@pytest.mark.parametrize("max_events", range(1, 7))
def test_a_bound_on_events_is_never_overshot(site_of, max_events):
    """Pages stay as small as asked for, and the last is cut to what is left of the bound."""
    with site_of() as site:
        client = site.client()
        client.events.append([download()] * 5)
        before = client.stats.cursor()

        report = drain(client.events, client.stats, page=2, max_events=max_events)

        folded = min(max_events, 5)
        assert report.events == client.stats.cursor().count == folded
        assert report.after.revision - before.revision == (folded + 1) // 2
        assert report.at_frontier == (max_events >= 5)


@in_every_site
def test_a_page_cut_by_a_bound_is_not_the_last(site_of):
    """What was cut off the last page is still to come."""
    with site_of() as site:
        client = site.client()
        client.events.append([download("a"), download("b")])

        assert not fold_page(client.events, client.stats, max_skills=1).at_frontier
        assert fold_page(client.events, client.stats, max_skills=1).at_frontier


@in_every_site
def test_a_bound_on_skills_cuts_the_page_at_the_event(site_of):
    """No commit takes more skills than allowed, also where one page holds many."""
    with site_of() as site:
        client = site.client()
        client.events.append([download(skill) for skill in "aabbbcad"])
        changed: list[frozenset[str]] = []

        report = drain(client.events, client.stats, max_skills=2, on_commit=changed.append)

        assert changed == [{"a", "b"}, {"c", "a"}, {"d"}]
        assert report.events == 8
        assert client.stats.totals()["b"]["downloads"] == 3


@in_every_site
@pytest.mark.parametrize("page", [1, 2, 10])
def test_an_uncountable_event_stops_the_drain_behind_what_is_before_it(site_of, page):
    """What stands before is committed; the error names event and position; nothing is passed."""
    with site_of() as site:
        client = site.client()
        client.events.append([download(), download(), comment("b"), download()])

        with pytest.raises(UncountableEventError) as caught:
            drain(client.events, client.stats, page=page)
        with pytest.raises(UncountableEventError):
            drain(client.events, client.stats, page=page)

        bad = client.events.read(None, limit=3).events[2]
        assert (caught.value.skill_id, caught.value.kind) == ("b", "comment")
        assert caught.value.position == str(bad.position)
        assert client.stats.cursor().count == 2
        assert dict(client.stats.totals()) == {
            "a": {"downloads": 2, "stars": 0, "installs_all_time": 0, "installs_current": 0}
        }


@in_every_site
def test_a_table_that_adds_kinds_is_taken_over_in_place(site_of):
    """The newer worker goes on where the older stopped; then the older is refused."""
    with site_of() as site:
        old = site.client()
        old.events.append([download(), comment(), comment()])
        with pytest.raises(UncountableEventError):
            drain(old.events, old.stats)
        new = site.client(WITH_COMMENTS)
        assert new.stats.totals()["a"]["comments"] == 0

        drain(new.events, new.stats)

        assert new.stats.totals()["a"] == {**old.stats.totals()["a"], "comments": 2}
        assert new.stats.rollups("a", Granularity.DAY)[NOON.replace(hour=0)] == {
            "downloads": 1,
            "installs": 0,
            "comments": 2,
        }
        assert new.stats.cursor().controls["day.comments"] == 2
        with pytest.raises(TableChangedError, match="older"):
            drain(old.events, old.stats)


def test_a_cursor_that_is_taken_over_has_been_written_anew():
    """A larger table is a change like any other: a commit in flight does not survive it."""
    cursor = attrs.evolve(
        Cursor.start(SKILL_STATS, NOON),
        controls={**dict.fromkeys(SKILL_STATS.controls, 0), "downloads": 5, "day.downloads": 5},
        revision=7,
    )
    later = NOON + timedelta(hours=1)

    taken = taking_over(cursor, (), WITH_COMMENTS).cursor(later)

    assert taken == attrs.evolve(
        cursor,
        controls={**cursor.controls, "comments": 0, "day.comments": 0},
        revision=8,
        table=WITH_COMMENTS.table,
        updated_at=later,
    )


@in_every_site
def test_a_changed_table_is_refused(site_of):
    """Numbers made by one table are never carried on by another that counts differently."""
    changed = Projection("skill_stats", {**SKILL_STATS.kinds, "star": RETIRED})
    with site_of() as site:
        client = site.client()
        client.events.append([download()])
        drain(client.events, client.stats)
        client.events.append([download()])
        other = attrs.evolve(client, stats=type(client.stats)(*stats_arguments(client, changed)))

        with pytest.raises(TableChangedError) as caught:
            drain(other.events, other.stats)

        assert attrs.astuple(caught.value) == ("skill_stats", "kind 'star' has another effect")
        assert client.stats.cursor().count == 1


def stats_arguments(client: Client, projection: Projection) -> tuple[Any, ...]:
    """Return what makes a stats store of the same place with another table."""
    if isinstance(client.stats, MemoryStatsStore):
        return (projection, client.stats._database)
    assert isinstance(client.stats, SQLiteStatsStore)
    return (client.stats._db, projection)


@in_every_site
def test_numbers_of_an_unlike_table_cannot_be_read(site_of):
    """A counter that means something else is not shown under the old name."""
    unlike = Projection("skill_stats", {"download": Effect(counters={"downloads": 2})})
    hourly = attrs.evolve(SKILL_STATS, granularities=(Granularity.HOUR,))
    with site_of() as site:
        client = site.client()
        for projection, difference in (
            (unlike, "kind 'download' has another effect"),
            (hourly, "the granularities differ"),
        ):
            other = type(client.stats)(*stats_arguments(client, projection))
            with pytest.raises(TableChangedError) as of_totals:
                other.totals()
            with pytest.raises(TableChangedError) as of_rollups:
                other.rollups("a", projection.finest)
            assert attrs.astuple(of_totals.value) == ("skill_stats", difference)
            assert attrs.astuple(of_rollups.value) == ("skill_stats", difference)


def test_a_stored_table_that_is_none_is_refused():
    """A cursor whose table cannot be read is not carried on with a guess."""
    events, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)

    class Damaged(Relay):
        def cursor(self) -> Cursor:
            return attrs.evolve(self.stats.cursor(), table="{}")

    with pytest.raises(TableChangedError) as caught:
        drain(events, Damaged(stats))

    reason = "not the table of a projection: 'name'"
    assert attrs.astuple(caught.value) == ("skill_stats", reason)


@in_every_site
def test_a_single_string_is_not_a_list_of_skills(site_of):
    """Its letters would be looked up one by one, and found to be unknown."""
    with site_of() as site, pytest.raises(InvalidEventError, match="a list of skill ids"):
        site.client().stats.totals("pdf")


@in_every_site
@pytest.mark.parametrize("bound", ["since", "until"])
@pytest.mark.parametrize("bad", [NOON.replace(tzinfo=None), NOON.date(), "2026-03-01"])
def test_a_bound_in_time_has_a_zone(site_of, bound, bad):
    """A naive time would be compared with buckets in UTC."""
    with site_of() as site, pytest.raises(InvalidBoundError, match=f"{bound} must be a datetime"):
        site.client().stats.rollups("a", Granularity.DAY, **{bound: bad})


@in_every_site
def test_a_forgotten_skill_stays_forgotten(site_of):
    """Its numbers go, later events are dropped and counted, and control totals follow."""
    with site_of() as site:
        client = site.client()
        client.events.append([download("a"), download("b")])
        drain(client.events, client.stats)

        assert client.stats.forget("a")
        assert not client.stats.forget("a")
        client.events.append([download("a"), download("b"), download("a")])
        report = drain(client.events, client.stats)

        assert report.dropped == {"forgotten": 2, "expired": 0}
        assert report.events == 3
        assert client.stats.totals().keys() == {"b"}
        assert not client.stats.rollups("a", Granularity.DAY)
        cursor = client.stats.cursor()
        assert (cursor.count, cursor.controls["downloads"]) == (5, 2)
        assert cursor.controls["day.downloads"] == 2


@in_every_site
def test_forgetting_beats_a_commit_in_flight(site_of):
    """A commit that was read before a skill was forgotten does not revive it."""
    with site_of() as site:
        client = site.client()
        client.events.append([download("a")])
        cursor = client.stats.cursor()

        class Late(Relay):
            def commit(self, commit: Commit, /) -> CommitResult:
                self.stats.forget("a")
                return self.stats.commit(commit)

        report = fold_page(client.events, Late(client.stats))

        assert (report.events, report.conflicts, report.at_frontier) == (0, 1, False)
        assert (report.before, report.after) == (cursor, client.stats.cursor())
        assert report.after.revision == cursor.revision + 1
        assert drain(client.events, client.stats).dropped["forgotten"] == 1
        assert not client.stats.totals()


@in_every_site
def test_a_drain_counts_its_lost_races_and_goes_on(site_of, caplog):
    """Whoever loses reads anew from where the winner stands, as often as it takes."""
    caplog.set_level(logging.INFO, logger="skillstat_agg")
    with site_of() as site:
        client, other = site.client(), site.client()
        client.events.append([download()] * 5)
        overtaken = iter([True, True])

        class Slow(Relay):
            def commit(self, commit: Commit, /) -> CommitResult:
                if next(overtaken, False):
                    fold_page(other.events, other.stats, page=1)
                return self.stats.commit(commit)

        report = drain(client.events, Slow(client.stats))

        first, second = (each.position for each in client.events.read(None, limit=2).events)
        assert (report.events, report.conflicts, report.at_frontier) == (3, 2, True)
        assert client.stats.totals()["a"]["downloads"] == 5
        assert [record.message for record in caplog.records] == [
            "skill_stats: Starting aggregation, cursor=none",
            f"skill_stats: Another worker was first; reading again at cursor={first}",
            f"skill_stats: Another worker was first; reading again at cursor={second}",
            "skill_stats: All events processed, done (3 events)",
        ]


@in_every_site
def test_one_database_forgets_for_all_its_projections(site_of):
    """Two projections have cursors of their own, and share what is forgotten."""
    comments = Projection(
        "comments", {"comment": Effect(counters={"comments": 1}), "download": RETIRED}, ()
    )
    with site_of() as site:
        skills, other = site.client(WITH_COMMENTS), site.client(comments)
        skills.events.append([download("a"), comment("a"), comment("b")])
        drain(skills.events, skills.stats)
        drain(other.events, other.stats, page=1)
        assert other.stats.totals()["a"] == {"comments": 1}

        skills.stats.forget("a")

        assert other.stats.totals().keys() == {"b"}
        assert other.stats.cursor().controls == {"comments": 1}
        assert other.stats.cursor().revision == 3 + 1


@in_every_site
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_beyond_64_bits_is_refused_by_name(site_of, sign):
    """What leaves the range stops the fold there, and is cured by a later correction."""
    limit = 2**63 - 1 if sign > 0 else -(2**63)
    with site_of() as site:
        client = site.client()

        def clear(amount: int) -> Event:
            return Event(
                skill_id="a",
                kind="install_clear",
                occurred_at=NOON,
                deltas={"all_time": amount, "current": 0},
            )

        client.events.append([clear(limit), clear(limit), clear(-limit - 1), clear(1)])
        drain(client.events, client.stats)
        assert client.stats.totals()["a"]["installs_all_time"] == limit
        client.events.append([download("b"), clear(sign), download("c")])

        with pytest.raises(OutOfRangeError) as caught:
            drain(client.events, client.stats)

        assert (caught.value.skill_id, caught.value.counter) == ("a", "installs_all_time")
        assert client.stats.cursor().count == 5
        assert client.stats.totals().keys() == {"a", "b"}
        assert caught.value.position == str(client.events.read(None, limit=6).events[5].position)

        client.events.append([clear(-sign)])
        drain(client.events, client.stats)

        assert client.stats.totals().keys() == {"a", "b", "c"}


@in_every_site
def test_a_repeated_commit_conflicts(site_of):
    """A commit whose answer was lost may be sent again: it cannot land twice."""
    with site_of() as site:
        client = site.client()
        client.events.append([download()])
        sent: list[Commit] = []

        class Remembering(Relay):
            def commit(self, commit: Commit, /) -> CommitResult:
                sent.append(commit)
                return self.stats.commit(commit)

        fold_page(client.events, Remembering(client.stats))

        with pytest.raises(CursorConflictError):
            client.stats.commit(sent[0])
        assert client.stats.totals()["a"]["downloads"] == 1


@in_every_site
def test_another_log_under_the_cursor_is_noticed(site_of):
    """A log of another epoch, and one with other history at the place, stop the drain."""
    with site_of() as site, site_of() as elsewhere:
        client, other = site.client(), elsewhere.client()
        client.events.append([download()])
        other.events.append([download()] * 2)
        drain(client.events, client.stats)
        place = client.stats.cursor().place
        assert place is not None

        with pytest.raises(HistoryChangedError, match="epoch"):
            drain(other.events, client.stats)
        for changed in (
            attrs.evolve(place, fingerprint=place.fingerprint ^ 1),
            attrs.evolve(place, position=Position((place.position[0] + 1, *place.position[1:]))),
        ):
            with pytest.raises(HistoryChangedError, match="another event, or none"):
                client.events.read(changed, limit=1)


@in_every_site
def test_hours_and_days_are_kept_side_by_side(site_of):
    """A projection may have both granularities; reads are bounded by time."""
    hourly = Projection(
        "downloads",
        {"download": Effect(counters={"downloads": 1}, rollups={"downloads": 1})},
        (Granularity.DAY, Granularity.HOUR),
    )
    with site_of() as site:
        client = site.client(hourly)
        times = [NOON + timedelta(minutes=30 * step) for step in range(30)]
        client.events.append([download("a", at) for at in times])

        drain(client.events, client.stats, page=7)

        days = client.stats.rollups("a", Granularity.DAY)
        hours = client.stats.rollups("a", Granularity.HOUR)
        some = client.stats.rollups(
            "a",
            Granularity.HOUR,
            since=NOON + timedelta(minutes=59),
            until=NOON + timedelta(hours=2),
        )
        assert [row["downloads"] for row in days.values()] == [24, 6]
        assert [row["downloads"] for row in hours.values()] == [2] * 15
        assert list(some) == [NOON, NOON + timedelta(hours=1)]
        assert list(hours) == sorted(hours)


def test_the_log_says_where_the_original_said_something(caplog):
    """The standard logger tells of begin, pages and end."""
    events, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)
    caplog.set_level(logging.DEBUG, logger="skillstat_agg")

    drain(events, stats)
    events.append([download()] * 4)
    drain(events, stats, max_events=1)
    drain(events, stats, page=2)

    [first] = events.read(None, limit=1).events
    assert [record.message for record in caplog.records] == [
        "skill_stats: Starting aggregation, cursor=none",
        "skill_stats: No events to process, done",
        "skill_stats: Starting aggregation, cursor=none",
        "skill_stats: Fetched 1 events, 1 skills changed",
        "skill_stats: More events remaining after 1 events",
        f"skill_stats: Starting aggregation, cursor={first.position}",
        "skill_stats: Fetched 2 events, 1 skills changed",
        "skill_stats: Fetched 1 events, 1 skills changed",
        "skill_stats: All events processed, done (3 events)",
    ]


class Listed:
    """An event store that returns what it was given."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def append(self, events, /, **options):
        raise NotImplementedError

    def read(self, after, /, *, limit):
        return self.page


def pages_that_break_a_law() -> Iterator[tuple[str, str, Page]]:
    """Return law, what is seen of it, and page, made of a good page of three."""
    log = MemoryEventStore(clock=lambda: NOON)
    log.append([download()] * 3)
    good = log.read(None, limit=3)
    one, two, three = good.events
    turned = attrs.evolve(good, events=(two, one, three))
    yield "total_order", f"position {one.position} comes after {two.position}", turned
    twice = attrs.evolve(good, events=(one, two, two))
    yield "total_order", f"position {two.position} comes after {two.position}", twice
    lies_after = f"position {three.position} lies after the frontier"
    too_early = attrs.evolve(good, frontier=two.position)
    yield "stable_prefix", f"{lies_after} {two.position}", too_early
    yield "stable_prefix", f"{lies_after} None", attrs.evolve(good, frontier=None)
    empty = attrs.evolve(good, events=(), is_last=False)
    yield "progress", "an empty page says that more follows", empty
    log.append([download()] * 8)
    yield "progress", "11 events for a limit of 10", log.read(None, limit=11)


@pytest.mark.parametrize(("law", "reason", "page"), list(pages_that_break_a_law()))
def test_a_page_is_checked_not_trusted(law, reason, page):
    """What can be seen of a broken law in a page stops the fold before anything is written."""
    stats = MemoryStatsStore(SKILL_STATS)

    with pytest.raises(StoreContractError) as caught:
        drain(Listed(page), stats, page=10)

    assert attrs.astuple(caught.value) == (law, reason)
    assert stats.cursor().revision == 0


class OwnTally(Listed):
    """An event store with a tally of its own, which returns what it was given."""

    def __init__(self, tallied: TalliedPage) -> None:
        self.tallied = tallied

    def tally(self, after, /, *, limit, granularity):
        return self.tallied


def tallied_pages_that_break_a_law() -> Iterator[tuple[str, str, TalliedPage]]:
    """Return law, what is seen of it, and tallied page, made of a good one of two events."""
    good = TalliedPage(
        tally=Tally.of([download()] * 2, Granularity.DAY),
        count=2,
        checksum=7,
        place=Place("epoch", Position((2,)), 3),
        frontier=Position((2,)),
        is_last=True,
    )
    yield "same_tally", "a tallied page counts 3 events", attrs.evolve(good, count=3)
    yield "same_tally", "a tallied page counts 2 events", attrs.evolve(good, place=None)
    eleven = Tally.of([download()] * 11, Granularity.DAY)
    too_many = attrs.evolve(good, tally=eleven, count=11, records=11)
    yield "progress", "11 events for a limit of 10", too_many
    not_after = attrs.evolve(good, place=Place("epoch", Position((1,)), 3))
    yield "total_order", "a page after 1 ends at 1", not_after
    other_log = attrs.evolve(good, place=Place("other", Position((2,)), 3))
    yield "same_log", "read epoch other after epoch", other_log
    nothing = Tally.empty(Granularity.DAY)
    empty = attrs.evolve(good, tally=nothing, count=0, records=0, place=None)
    yield "progress", "an empty page says that more follows", attrs.evolve(empty, is_last=False)
    too_few = "a tallied page of 3 records counts 2 events"
    yield "same_tally", too_few, attrs.evolve(good, records=3)
    by_hour = attrs.evolve(good, tally=Tally.of([download()] * 2, Granularity.HOUR))
    yield "same_tally", "a tally by hour", by_hour
    lies_after = "position 2 lies after the frontier"
    yield "stable_prefix", f"{lies_after} 1", attrs.evolve(good, frontier=Position((1,)))
    yield "stable_prefix", f"{lies_after} None", attrs.evolve(good, frontier=None)


@pytest.mark.parametrize(("law", "reason", "tallied"), list(tallied_pages_that_break_a_law()))
def test_a_tallied_page_is_checked_too(law, reason, tallied):
    """A store's own tally that contradicts itself or the cursor is not committed."""
    stats = MemoryStatsStore(SKILL_STATS)
    first = TalliedPage(
        tally=Tally.of([download()], Granularity.DAY),
        count=1,
        checksum=1,
        place=Place("epoch", Position((1,)), 1),
        frontier=Position((2,)),
        is_last=False,
    )
    fold_page(OwnTally(first), stats)

    with pytest.raises(StoreContractError) as caught:
        fold_page(OwnTally(tallied), stats, page=10)

    assert attrs.astuple(caught.value) == (law, reason)
    assert stats.cursor().count == 1


def test_a_plain_page_of_another_log_is_refused():
    """A store that forgets to compare epochs is found out."""
    log, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)
    log.append([download()] * 2)
    fold_page(log, stats, page=1)
    rest = log.read(stats.cursor().place, limit=1)

    with pytest.raises(StoreContractError) as caught:
        drain(Listed(attrs.evolve(rest, epoch="other")), stats)

    assert attrs.astuple(caught.value) == ("same_log", f"read epoch other after {rest.epoch}")


def test_a_plain_page_begins_after_the_cursor():
    """A store that returns the last folded event again would count it twice."""
    log, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)
    log.append([download()] * 2)
    fold_page(log, stats, page=1)
    again = log.read(None, limit=2)

    with pytest.raises(StoreContractError) as caught:
        drain(Listed(again), stats)

    first = again.events[0].position
    assert attrs.astuple(caught.value) == ("total_order", f"position {first} comes after {first}")
    assert stats.cursor().count == 1


def test_checksums_fit_what_databases_store():
    """The largest checksum is the largest whole number of signed 64 bits."""
    assert CHECKSUM_RANGE - 1 == 2**63 - 1


def test_a_plain_page_is_tallied_whole():
    """Counted by the pure fold, a page says what the tally of a store would say."""
    log = MemoryEventStore()
    log.append([download("a"), download("b"), download("a")])
    page = log.read(None, limit=2)
    one, two = page.events

    start = Cursor.start(SKILL_STATS, NOON)
    portion = countable_part(page, start, 2, SKILL_STATS, None, Uncountable.HALT)

    assert portion.fault is None
    assert portion.parked == ()
    assert portion.page == TalliedPage(
        tally=Tally.of([one.event, two.event], Granularity.DAY),
        count=2,
        checksum=one.fingerprint + two.fingerprint,
        place=Place(page.epoch, two.position, two.fingerprint),
        frontier=page.frontier,
        is_last=False,
    )


def test_a_store_that_refuses_without_cause_is_found_out():
    """A conflict although nobody came first would make a drain turn for ever."""
    events, stats = MemoryEventStore(), MemoryStatsStore(SKILL_STATS)
    events.append([download()])

    class Stubborn(Relay):
        def commit(self, commit: Commit, /) -> CommitResult:
            raise CursorConflictError("skill_stats")

    with pytest.raises(StoreContractError) as caught:
        drain(events, Stubborn(stats))

    assert attrs.astuple(caught.value) == (
        "compare_and_set",
        "a commit from the stored cursor was refused",
    )
