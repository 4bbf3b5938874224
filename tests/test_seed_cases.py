"""ClawHub's cases: every one is run, or listed with the reason why it is not.

`seed_cases.json` holds facts about ClawHub, as input and outcome. Where ClawHub is wrong,
the right answer stands there too, and is the one that is asked for here.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

from skillstat_agg import (
    DAY_AHEAD,
    DEFAULT_PAGE,
    RETIRED,
    SKILL_STATS,
    Appended,
    Badge,
    BadgeMap,
    Carried,
    Effect,
    Event,
    EventStore,
    Failure,
    FoldReport,
    Granularity,
    Page,
    Place,
    Position,
    Projection,
    PruneStore,
    Reconciliation,
    RetentionStore,
    TalliedPage,
    TallyStore,
    adopt,
    aio,
    bucket_start,
    correctable,
    drain,
    expire,
    plan_prune,
    prune,
    reconcile,
    run_every,
    shown,
)
from skillstat_agg._buckets import bucket_of
from skillstat_agg.errors import StoreBusyError, UncountableEventError
from skillstat_agg.testing._twins import AsyncStats, behind_coroutines
from tests.logs import NOON, download
from tests.sites import SITES, Clock, Site, SQLiteSite
from tests.stepping import run

Facts: TypeAlias = dict[str, Any]
Case: TypeAlias = dict[str, Any]
SiteOf: TypeAlias = Callable[[Clock], AbstractContextManager[Site]]

FILE = json.loads(Path(__file__).with_name("seed_cases.json").read_text(encoding="utf-8"))
CASES: dict[str, Case] = {case["id"]: case for case in FILE["cases"]}

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
EVENT_BATCH = 500

# Opening counts are events too: a kind that carries one delta for each counter.
OPENING = Effect(counters={counter: Carried(counter) for counter in SKILL_STATS.counters})

NOT_RUN = {
    "agg-clear-without-delta": "stated divergence: a clear without deltas is refused, never"
    " passed silently",
    "agg-flag-path-full-batch-reschedules": "stated divergence: there is one path, by cursor;"
    " events are never marked",
    "agg-flag-path-short-batch-does-not": "stated divergence: there is one path, by cursor;"
    " events are never marked",
    "agg-flag-path-empty": "stated divergence: there is one path, by cursor; events are never"
    " marked",
    "agg-install-transition-map": "the service's job: to say which kind a change of its own"
    " rows is",
    "install-first-report": "the service's job: to know whether an install is the first",
    "install-repeat-other-day": "the service's job: to know whether an install is the first",
    "install-more-candidates-than-inspected": "the service's job: to find the skill of a name",
    "install-clear-emits-retractions": "the service's job: to append a retraction for each"
    " install it deletes",
    "install-clear-only-recorded-package-installs": "the service's job: to know what it has"
    " reported",
    "install-package-first": "the service's job: to know what it has reported",
    "install-package-repeat": "the service's job: to know what it has reported",
    "install-package-retry-pending": "the service's job: to know what it has reported",
    "install-package-metric-failure-tolerated": "the service's job: to decide what a failed"
    " append means for its own rows",
    "star-toggle-on": "the service's job: to keep the rows that say who starred what",
    "star-add-idempotent": "the service's job: to keep the rows that say who starred what",
    "star-remove-idempotent": "the service's job: to keep the rows that say who starred what",
    "star-unrecorded-legacy-has-no-retraction": "the service's job: to know what it has reported",
    "lease-busy": "stated divergence: there is no lease; of two workers one commits, and the"
    " other reads again",
    "lease-duration-clamp": "stated divergence: there is no lease; of two workers one commits,"
    " and the other reads again",
    "lease-release-records-error": "stated divergence: no lease is held, so none is released;"
    " `run_every` tells its `on_error` what went wrong",
    "lease-error-text-truncated": "stated divergence: `on_error` gets the error as it is, and"
    " who keeps it decides how much of it",
    "drain-bounds": "stated divergence: a bound is the caller's, never silently another; what"
    " remains behind it is for the next tick",
    "drain-numeric-normalization": "stated divergence: a bound that cannot be one is refused,"
    " never made into another",
    "cron-disable-switch": "the service's job: to start `skillstat run`, or not",
    "window24-complete-hours-only": "a later issue: windows of complete hours, for boards",
    "window24-stale-aggregation-rejected": "a later issue: boards that are too old to publish",
    "hourly-historical-and-live-generations-separate": "stated divergence: what happened before"
    " the switch is events of the same log, and counts in the same rows",
    "hourly-backfill-event-boundary": "stated divergence: history is appended as events with"
    " derived ids, so nothing has to be divided at a position",
    "hourly-backfill-star-boundary": "stated divergence: history is appended as events with"
    " derived ids, so nothing has to be divided at a time",
    "retention-classes": "stated divergence: how long what is kept is the caller's to say",
    "migrate-pre-migration-doc": "stated divergence: a counter is one number, with no copy of it"
    " to keep in step",
    "migrate-preserves-unrelated": "stated divergence: a counter is one number, with no copy of"
    " it to keep in step",
    "backfill-never-lowers": "stated divergence: a correction may lower; who wants a floor puts"
    " it into the source",
    "backfill-published-weeks": "the service's job: to estimate what was never recorded",
    "backfill-pending-installs": "the service's job: to estimate what was never recorded, from"
    " numbers that it reads fresh",
    "backfill-refuses-before-watermark": "stated divergence: what is pending is added, so no"
    " position has to be passed first",
    "score-refresh-resumable": "the service's job: to compute scores",
    "score-refresh-skips-finished-side": "the service's job: to compute scores",
    "pkg-batch-cap": "stated divergence: a bound is the caller's, never silently another, and"
    " nothing starts itself again",
    "cutover-cursor-to-flag-counts-twice": "stated divergence: there is one path, by cursor;"
    " no other can be switched on",
    "prune-requires-token": "stated divergence: dry run is the default on the command line, and"
    " --apply says that it is meant",
    "prune-manual-kick-destructive-needs-token": "stated divergence: dry run is the default on the"
    " command line, and --apply says that it is meant",
    "prune-manual-kick-defaults-to-dry-run": "stated divergence: nothing is scheduled, and how"
    " much is kept has to be said; without --apply it is a dry run here, too",
    "prune-manual-kick-clamps-batch": "stated divergence: a bound is taken as it is given, or"
    " refused; none is changed in silence",
    "prune-retention-clamp": "stated divergence: an age is taken as it is given, or refused; none"
    " is changed in silence",
    "prune-cutoff-lane-max-wins": "stated divergence: there are no lanes; one prune goes from"
    " segment to segment, and any number may run at once",
    "prune-dry-run-samples-one-batch": "stated divergence: a dry run counts all that would be made"
    " small, not a sample",
}

# Facts of cases that are run, in which the outcome is another on purpose.
DIVERGENCES = {
    ("agg-mixed-all-kinds", "cursor"): "the clear without deltas at 10 is refused, so the"
    " cursor stands before it",
    ("agg-exhausted-full-page-needs-second-fetch", "fetches"): "a page says itself whether it"
    " is the last",
    ("agg-skill-limit-stop", "runs.0.exhausted"): "a full commit with nothing behind it is"
    " known to be the last",
    ("agg-skill-limit-stop", "runs.0.continuation_scheduled"): "a full commit with nothing"
    " behind it is known to be the last",
    ("lease-fence-checked-in-write-transaction", "has_more"): "who lost a page has not looked"
    " at what remains, and says that more may",
    ("lease-renewed-by-each-batch", "lease_expires_at"): "there is no lease",
    ("drain-failure-releases-and-retries-smaller", "lease_released"): "there is no lease",
    ("drain-failure-releases-and-retries-smaller", "continuation"): "the next try has the same"
    " bounds: no smaller page cures what may pass",
    ("prune-dry-run-bounded-range", "batch_used"): "a bound is taken as it is given",
    ("prune-dry-run-bounded-range", "range"): "events are made small in the order of the log, from"
    " the last that are small on; the time of recording only ends that",
}


def at_ms(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


class ToldClock:
    """A clock that shows what it was told."""

    def __init__(self) -> None:
        self.now = EPOCH

    def __call__(self) -> datetime:
        return self.now


class WatchedEvents:
    """An event store that remembers what was asked of it, and how much it gave."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.asked: list[tuple[Place | None, int]] = []
        self.fetches: list[int] = []

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        return self.store.append(events, max_ahead=max_ahead)

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        self.asked.append((after, limit))
        page = self.store.read(after, limit=limit)
        self.fetches.append(len(page.events))
        return page


class WatchedTallies(WatchedEvents):
    """The same for a store with a tally of its own: a proxy must hand it on."""

    def tally(
        self, after: Place | None, /, *, limit: int, granularity: Granularity
    ) -> TalliedPage | None:
        assert isinstance(self.store, TallyStore)
        self.asked.append((after, limit))
        page = self.store.tally(after, limit=limit, granularity=granularity)
        assert page is not None, "every event of these cases can be tallied"
        self.fetches.append(page.count)
        return page


class Bench:
    """A new log and new stats on which a case is played.

    Its clock shows the position that the case gives to an event while that is appended,
    so that the memory backend has ties where the case has them.
    """

    def __init__(self, site_of: SiteOf, stack: ExitStack, projection: Projection) -> None:
        self.clock = ToldClock()
        self.site = stack.enter_context(site_of(self.clock))
        self.projection = projection
        self.client = self.site.client(projection)
        self.positions: dict[int, Position] = {}

    def append(self, events: Sequence[Facts]) -> None:
        """Append the events of a case one by one, each at its time."""
        for facts in events:
            self.clock.now = at_ms(max(facts["pos"], facts.get("at", 0)))
            appended = self.client.events.append([event_of(facts)])
            assert appended.position is not None
            self.positions[facts["pos"]] = appended.position

    def run(self, page: int = DEFAULT_PAGE, max_skills: int | None = None) -> Facts:
        """Drain once, and say what happened in the words of the cases."""
        events, stats = self.client.events, self.client.stats
        watched = (WatchedTallies if isinstance(events, TallyStore) else WatchedEvents)(events)
        changed: list[frozenset[str]] = []
        with logged() as lines:
            report = drain(
                watched, stats, page=page, max_skills=max_skills, on_commit=changed.append
            )
        return {
            "processed": report.events,
            "skills_updated": len(frozenset().union(*changed)),
            "max_groups": max(map(len, changed), default=0),
            "exhausted": report.at_frontier,
            "has_more": not report.at_frontier,
            "continuation_scheduled": not report.at_frontier,
            "apply_called": report.after.revision != report.before.revision,
            "first_fetch": dict(zip(("after", "limit"), watched.asked[0], strict=True)),
            "fetches": watched.fetches,
            "daily_row_writes": report.rows - sum(map(len, changed)),  # beside one row of totals
            "log_suffixes": [self.in_words_of_the_case(line, report) for line in lines],
            **self.numbers(),
        }

    def numbers(self) -> Facts:
        """Return what can be read after a run, in the words of the cases."""
        stats = self.client.stats
        totals = {skill: dict(row) for skill, row in stats.totals().items()}
        days = {skill: self.buckets(skill, Granularity.DAY) for skill in totals}
        cursor = self.cursor()
        return {
            "net_delta": totals,
            "counters": totals,
            "daily": {skill: rows for skill, rows in days.items() if rows},
            "hourly": {skill: self.buckets(skill, Granularity.HOUR) for skill in totals},
            "cursor": cursor,
            "event_consumed": cursor == max(self.positions, default=None),
            **totals.get("A", {}),
        }

    def buckets(self, skill: str, granularity: Granularity) -> dict[str, dict[str, int]]:
        """Return the rollups of a skill by the number of the bucket, as text."""
        if granularity not in self.projection.granularities:
            return {}
        rollups = self.client.stats.rollups(skill, granularity)
        return {str(bucket_of(at, granularity)): dict(row) for at, row in rollups.items()}

    def cursor(self) -> int | None:
        """Return the position that the case gives to the event on which the cursor stands."""
        place = self.client.stats.cursor().place
        known = {position: pos for pos, position in self.positions.items()}
        return None if place is None else known.get(place.position)

    def in_words_of_the_case(self, line: str, report: FoldReport) -> str:
        """Return a log line behind the projection's name, with the position of the case."""
        place = report.before.place
        suffix = line.removeprefix(f"{self.projection.name}: ")
        if place is None:
            return suffix
        return suffix.replace(f"cursor={place.position}", f"cursor={self.cursor()}")


class Lines(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def logged() -> Iterator[list[str]]:
    """Give the messages that the package logs meanwhile."""
    log, lines = logging.getLogger("skillstat_agg"), Lines()
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        yield lines.messages
    finally:
        log.removeHandler(lines)
        log.setLevel(level)


def event_of(facts: Facts) -> Event:
    return Event(
        skill_id=facts.get("skill", "A"),
        kind=facts.get("kind", "download"),
        occurred_at=at_ms(facts["at"] if "at" in facts else facts["pos"]),
        event_id=facts.get("id"),
        deltas=facts.get("delta"),
    )


def table_of(case: Case) -> Projection:
    """Return the default table, with what the case says is retired."""
    retired = case["given"].get("retired_kinds", ["comment", "uncomment"])
    kinds = {**SKILL_STATS.kinds, **dict.fromkeys(retired, RETIRED), "opening": OPENING}
    return Projection(SKILL_STATS.name, kinds)


def bounds_of(case: Case) -> dict[str, int]:
    """Return the bounds that the case gives, as arguments of a drain."""
    limits = case["given"].get("limits", {})
    names = {"batch": "page", "max_skills": "max_skills"}
    return {ours: limits[theirs] for theirs, ours in names.items() if theirs in limits}


def downloads(count: int, skills: int, first: int = 0) -> list[Event]:
    """Return downloads of so many skills in turn."""
    return [download(f"{first + index % skills}", at=EPOCH) for index in range(count)]


NewBench: TypeAlias = Callable[[], Bench]


def fold(case: Case, new_bench: NewBench) -> Facts:
    """Fold the opening counts, then the events, and then what comes later."""
    given, bench = case["given"], new_bench()
    if "start" in given:
        opening = {"pos": 0, "skill": "A", "kind": "opening", "delta": given["start"]}
        bench.append([opening])
        bench.run()
    bench.append(given["events"])
    if "processed_at" in given:
        bench.clock.now = at_ms(given["processed_at"])
    seen = bench.run(**bounds_of(case))
    if "later" in given:
        bench.append(given["later"])
        seen = bench.run(**bounds_of(case))
    return seen


def fold_until_refused(case: Case, new_bench: NewBench) -> Facts:
    """The same for a case that ends with an event which is refused here."""
    bench = new_bench()
    bench.append(case["given"]["events"])
    with pytest.raises(UncountableEventError, match="must carry exactly the deltas"):
        bench.run(**bounds_of(case))
    return bench.numbers()


def fold_nothing(case: Case, new_bench: NewBench) -> Facts:
    """Drain a log that has been folded up to the case's cursor, and holds no more."""
    bench = new_bench()
    bench.append([{"pos": pos} for pos in range(1, (case["given"]["cursor"] or 0) + 1)])
    if case["given"]["cursor"] is not None:
        bench.run()
    return bench.run(page=EVENT_BATCH)


def fold_many(case: Case, new_bench: NewBench) -> Facts:
    """Fold so many downloads of so many skills, and drain once more."""
    given, bench = case["given"], new_bench()
    bench.client.events.append(downloads(given["events_count"], given["skills_count"]))
    runs = [bench.run(**bounds_of(case)) for _ in range(2)]
    return {**runs[0], "downloads": bench.numbers()["counters"]["0"]["downloads"], "runs": runs}


def fold_two_pages_of_skills(case: Case, new_bench: NewBench) -> Facts:
    """Fold a page that nearly reaches the bound on skills, and a page of other skills.

    Once in pages of the case's size, and once with both in a page of ours.
    """
    given, groups = case["given"], []
    first, second = given["first_page_skills"], given["second_page_new_skills"]
    for page in (given["limits"]["batch"], DEFAULT_PAGE):
        bench = new_bench()
        bench.client.events.append(downloads(given["limits"]["batch"], first))
        bench.client.events.append(downloads(second, second, first))
        seen = bench.run(**{**bounds_of(case), "page": page})
        groups.append(seen["max_groups"])
    return {"max_groups": max(groups)}


def fold_each_time(case: Case, new_bench: NewBench) -> Facts:
    """Fold a download at each time, each of a skill of its own, and read its day."""
    bench, times = new_bench(), case["given"]["times"]
    bench.client.events.append([download(str(at), at=at_ms(at)) for at in times])
    bench.run()
    return {"day_key": [int(*bench.buckets(str(at), Granularity.DAY)) for at in times]}


def fold_in_batches(case: Case, new_bench: NewBench) -> Facts:
    """Fold the same events two at a time, and one at a time; return what is shown."""
    stars = []
    for page in (2, 1):
        bench = new_bench()
        bench.append(case["given"]["events"])
        bench.run(page=page)
        stars.append(shown(bench.client.stats.totals()["A"])["stars"])
    return {"stars": stars}


def reveal_late(case: Case, new_bench: NewBench) -> Facts:
    """Hold the first append open while the second is made and a drain runs."""
    bench = new_bench()
    late, early = case["given"]["events"]
    bench.clock.now = at_ms(late["pos"])
    held = bench.client.begin()
    held.append([event_of(late)])
    is_waiting = False
    try:
        bench.append([early])
    except StoreBusyError:
        is_waiting = True  # SQLite has one writer: the second waits for the first
    bench.run()
    held.commit()
    if is_waiting:
        bench.append([early])
    bench.run()
    return bench.numbers()


def overtake(case: Case, new_bench: NewBench) -> Facts:
    """Let a run read three events, another fold all, then the first go on, and a third run."""
    bench = new_bench()
    bench.append(case["given"]["events"])
    other = bench.site.client(bench.projection)
    slow = aio.fold_page(
        behind_coroutines(bench.client.events), AsyncStats(bench.client.stats), page=3
    )
    for _ in range(3):  # up to its commit, the third call of a store
        slow.send(None)

    drain(other.events, other.stats)
    report = run(slow)
    seen = bench.run()

    assert (report.events, report.conflicts) == (0, 1)
    assert seen["processed"] == 0
    return seen


def lose_the_page(case: Case, new_bench: NewBench) -> Facts:
    """Let another worker come first with the page that a run has read."""
    bench = new_bench()
    bench.append([{"pos": 1}])
    other = bench.site.client(bench.projection)
    changed: list[frozenset[str]] = []

    async def note(skills: frozenset[str]) -> None:
        changed.append(skills)

    slow = aio.fold_page(
        behind_coroutines(bench.client.events), AsyncStats(bench.client.stats), on_commit=note
    )
    for _ in range(3):  # up to its commit, the third call of a store
        slow.send(None)
    drain(other.events, other.stats)

    report = run(slow)

    return {
        "processed": report.events,
        "skills_updated": len(changed),
        "has_more": not report.at_frontier,
        "skipped": "lease_lost" if report.conflicts else None,
    }


def commit_at(case: Case, new_bench: NewBench) -> Facts:
    """Fold one event at the time of the case."""
    bench = new_bench()
    bench.append([{"pos": 1}])
    bench.clock.now = at_ms(case["given"]["now"])
    bench.run()
    updated_at = bench.client.stats.cursor().updated_at
    return {
        "last_processed_at": (updated_at - EPOCH) // timedelta(milliseconds=1),
        "lease_expires_at": None,
    }


def fail_once(case: Case, new_bench: NewBench) -> Facts:
    """Let a tick fail before it folds anything, and look at what is to happen next."""
    given, bench, failures = case["given"], new_bench(), list[Failure]()
    bench.append([{"pos": 1}])

    def tick() -> None:
        raise RuntimeError(given["batch_raises"])

    report = run_every(
        timedelta(minutes=15),
        tick,
        wait=lambda _seconds: bool(failures),
        back_off=timedelta(seconds=30),
        retry=(RuntimeError,),
        on_error=failures.append,
        draw=lambda: 1.0,
    )
    [failure] = failures
    return {
        "processed": bench.client.stats.cursor().count,
        "stopped_reason": "error" if report.failures else None,
        "error": f"Error: {failure.error}",
        "lease_released": None,
        "continuation": {
            "delay_ms": failure.pause // timedelta(milliseconds=1),
            "batch": given["requested"]["batch"],
            "max_batches": given["requested"]["max_batches"],
            "retry": failure.in_a_row,
        },
    }


def fold_beside_entities(case: Case, new_bench: NewBench) -> Facts:
    """Fold beside a table of the service that says when each skill was edited."""
    bench = new_bench()
    with ExitStack() as stack:
        db = (
            bench.site.connect()
            if isinstance(bench.site, SQLiteSite)
            else stack.enter_context(closing(sqlite3.connect(":memory:")))
        )
        db.execute("CREATE TABLE skills (id TEXT, updated_at INTEGER)")
        db.executemany("INSERT INTO skills VALUES (?, ?)", case["given"]["updated_at"].items())
        db.commit()
        bench.append(case["given"]["events"])
        bench.clock.now = at_ms(case["given"]["now"])
        bench.run()
        rows = db.execute("SELECT id FROM skills ORDER BY updated_at DESC").fetchall()
    return {"order_by_updated": [skill for (skill,) in rows]}


def retract(case: Case, new_bench: NewBench) -> Facts:
    """Fold a bookmark, and later its retraction, which carries the time of the bookmark."""
    at, bench = at_ms(case["given"]["created_at"]), new_bench()
    hour, sums = bucket_start(at, Granularity.HOUR), []
    for kind in ("star", "unstar"):
        bench.client.events.append([Event(skill_id="A", kind=kind, occurred_at=at)])
        drain(bench.client.events, bench.client.stats)
        rollups = bench.client.stats.rollups("A", Granularity.HOUR)
        assert list(rollups) == [hour]
        sums.append(rollups[hour]["bookmarks"])
        bench.clock.now = NOON
    before, after = sums
    return {"hourly": {"at": case["given"]["created_at"], "bookmarks": after - before}}


def fold_by_the_hour(case: Case, new_bench: NewBench) -> Facts:
    """The same with rollups by the hour."""
    return fold(case, new_bench)


def name_hours(case: Case, new_bench: NewBench) -> Facts:
    """Return the hours of some times; no event is needed for that."""
    starts = [bucket_start(at_ms(at), Granularity.HOUR) for at in case["given"]["times"]]
    return {"hour_start": [(start - EPOCH) // timedelta(milliseconds=1) for start in starts]}


def fold_after_expiry(case: Case, new_bench: NewBench) -> Facts:
    """Let hours expire as the case says, and fold its events then."""
    given, bench = case["given"], new_bench()
    stats = bench.client.stats
    assert isinstance(stats, RetentionStore)
    retention = timedelta(hours=given["retention_hours"])
    expire(stats, Granularity.HOUR, at_ms(given["now"]) - retention)
    bench.append(given["events"])
    return bench.run()


def sum_rows(case: Case, new_bench: NewBench) -> Facts:
    """Fold each row as an event of its own hour, a page each; clamp the sum of all hours."""
    given, bench = case["given"], new_bench()
    pages = given.get("pages") or [[row] for row in given["rows"]]
    for number, page in enumerate(pages):
        for row in page:
            bench.clock.now = at_ms(row["updated_at"])
            amounts = {name: row[name] for name in SUMS.columns}
            at = EPOCH + timedelta(hours=number)
            event = Event(skill_id=row["skill"], kind="row", occurred_at=at, deltas=amounts)
            bench.client.events.append([event], max_ahead=timedelta.max)
        drain(bench.client.events, bench.client.stats)
    stats, totals = bench.client.stats, {}
    updated_at = (stats.cursor().updated_at - EPOCH) // timedelta(milliseconds=1)
    for skill in stats.totals():
        hours = stats.rollups(skill, Granularity.HOUR).values()
        sums = {name: sum(hour[name] for hour in hours) for name in SUMS.columns}
        totals[skill] = {**shown(sums), "updated_at": updated_at}
    return {"totals": totals}


AMOUNTS = {name: Carried(name) for name in ("downloads", "installs", "bookmarks")}
SUMS = Projection("sums", {"row": Effect(counters=AMOUNTS, rollups=AMOUNTS)}, (Granularity.HOUR,))


def stars_of(bench: Bench, source_rows: int) -> Reconciliation:
    """Hold the stars of A against so many rows."""
    client = bench.client
    return reconcile(client.events, client.stats, "stars", lambda: {"A": source_rows}, at=EPOCH)


def reconcile_stars(case: Case, new_bench: NewBench) -> Facts:
    """Take the stars over that there are, and hold them against the rows."""
    given, bench = case["given"], new_bench()
    client = bench.client
    adopt(client.events, client.stats, "old", {"A": {"stars": given["canonical_stars"]}}, at=EPOCH)
    outcome = stars_of(bench, given["source_rows"])
    drain(client.events, client.stats)
    stars = client.stats.totals()["A"]["stars"]
    patched = len(outcome.corrected)
    # There is one number, where the original had two.
    return {
        "scanned": outcome.checked,
        "patched": patched,
        "canonical_stars": stars,
        "legacy_stars": stars,
    }


def reconcile_beside_pending(case: Case, new_bench: NewBench) -> Facts:
    """Hold the stars against rows, of which one has its event still pending."""
    given, bench = case["given"], new_bench()
    client = bench.client
    adopt(client.events, client.stats, "old", {"A": given["start"]}, at=EPOCH)
    drain(client.events, client.stats)
    bench.append(given["pending_events"])
    assert stars_of(bench, given["source_rows"]).is_in_sync
    drain(client.events, client.stats)
    return dict(client.stats.totals()["A"])


def apply_baseline(case: Case, new_bench: NewBench) -> Facts:
    """Lift downloads to a target, beside some that are pending."""
    given, bench = case["given"], new_bench()
    client = bench.client
    if given["stored_downloads"]:
        counts = {"A": {"downloads": given["stored_downloads"]}}
        adopt(client.events, client.stats, "old", counts, at=EPOCH)
        drain(client.events, client.stats)
    client.events.append([download("A", at=EPOCH)] * given.get("pending_downloads", 0))
    outcome = reconcile(
        client.events, client.stats, "downloads", lambda: {"A": given["target"]}, at=EPOCH
    )
    corrected = outcome.corrected.get("A")
    drain(client.events, client.stats)
    return {
        "write": corrected,
        "stored_downloads": given["stored_downloads"] + (corrected or 0),
        "after_pending_applied": client.stats.totals()["A"]["downloads"],
    }


def cut_over(case: Case, new_bench: NewBench) -> Facts:
    """Take over what the flag path has counted, with its rows swept once more, and run."""
    bench = new_bench()
    client = bench.client
    flagged = list(map(event_of, case["given"]["events"]))
    downloads_of = {"A": {"downloads": len(flagged)}}
    days = {("A", EPOCH): {"downloads": len(flagged)}}
    for _ in range(2):
        adopt(client.events, client.stats, "flags", downloads_of, days, at=EPOCH)
        bench.run()
    (day,) = client.stats.rollups("A", Granularity.DAY).values()
    return {
        "downloads": client.stats.totals()["A"]["downloads"],
        "daily": day["downloads"],
    }


def fold_packages(case: Case, new_bench: NewBench) -> Facts:
    """Take over the counts of two packages, and fold events of both."""
    given, bench = case["given"], new_bench()
    client = bench.client
    bench.clock.now = NOON
    items = {facts["item"] for facts in given["events"]}
    start = {name: given["start"][name] for name in ("downloads", "installs")}
    adopt(client.events, client.stats, "old", dict.fromkeys(items, start), at=EPOCH)
    drain(client.events, client.stats)
    client.events.append([package_event(facts) for facts in given["events"]])
    changed: set[str] = set()
    report = drain(client.events, client.stats, on_commit=changed.update)
    totals = client.stats.totals()
    return {
        "processed": report.events,
        "updated": len(changed),
        "counters": {item: {name: totals[item][name] for name in start} for item in items},
        "daily": {item: bench.buckets(item, Granularity.DAY) for item in items},
    }


def fold_into_a_day(case: Case, new_bench: NewBench) -> Facts:
    """Take over the row of a day, and fold events of the day."""
    given, bench = case["given"], new_bench()
    client = bench.client
    day = at_ms(given["events"][0]["at"])
    adopt(client.events, client.stats, "old", {}, {("A", day): given["existing"]}, at=EPOCH)
    drain(client.events, client.stats)
    before = client.stats.rollups("A", Granularity.DAY)
    client.events.append([package_event(facts) for facts in given["events"]])
    drain(client.events, client.stats)
    after = client.stats.rollups("A", Granularity.DAY)
    (row,) = after.values()
    return {"daily": dict(row), "inserted": after.keys() != before.keys()}


def fold_in_two_batches(case: Case, new_bench: NewBench) -> Facts:
    """Fold a retraction, and in another run what it retracts."""
    bench = new_bench()
    client = bench.client
    for batch in case["given"]["batches"]:
        client.events.append([package_event(facts) for facts in batch])
        drain(client.events, client.stats)
    ((day, row),) = bench.buckets("A", Granularity.DAY).items()
    return {"day": int(day), "installs": row["installs"]}


def report_twice(case: Case, new_bench: NewBench) -> Facts:
    """Append the report of one identity on one day so often."""
    given, bench = case["given"], new_bench()
    log = bench.client.events
    identity = f"{given['identity']['kind']}/{given['identity']['hash']}/{given['day_start']}"
    facts = {"kind": "install", "at": given["day_start"]}
    new = [
        log.append([attrs.evolve(package_event(facts), event_id=identity)]).new
        for _ in range(given["reports"])
    ]
    return {"events": len(log.read(None, limit=9).events), "dedupe_rows": sum(new)}


def package_event(facts: Facts) -> Event:
    return Event(
        skill_id=facts.get("item", "A"), kind=facts["kind"], occurred_at=at_ms(facts["at"])
    )


def packages(_case: Case) -> Projection:
    """Return a table of packages: what is cleared is taken off its day."""
    install = {"installs": 1}
    clear = {"installs": -1}
    kinds = {
        "download": Effect(counters={"downloads": 1}, rollups={"downloads": 1}),
        "install": Effect(counters=install, rollups=install),
        "install_clear": Effect(counters=clear, rollups=clear),
    }
    return correctable(Projection("packages", kinds))


def correctable_skills(_case: Case) -> Projection:
    """Return the default table, with corrections."""
    return correctable(SKILL_STATS)


def by_the_hour(case: Case) -> Projection:
    """Return the default table with rollups by hour and by day."""
    return Projection(SKILL_STATS.name, table_of(case).kinds, (Granularity.HOUR, Granularity.DAY))


def plan(case: Case, new_bench: NewBench) -> Facts:
    """Fold as many old events as match, and ask what a prune would do."""
    given, bench = case["given"], new_bench()
    bench.append([{"pos": number + 1} for number in range(given["matching"])])
    bench.run()
    log = pruned_log(bench)
    report = plan_prune(
        log, bench.client.stats, before=at_ms(given["cutoff"]), limit=given["batch"]
    )
    left = len(bench.client.events.read(None, limit=EVENT_BATCH).events)
    return {
        "matched": report.events,
        "deleted": given["matching"] - left,
        "has_more": not report.is_over,
        "batch_used": given["batch"],
        "range": None,
    }


def prune_bounded(case: Case, new_bench: NewBench) -> Facts:
    """Prune what is older than the retention, in so many batches, beside a second projection."""
    given, bench = case["given"], new_bench()
    day = Granularity.DAY.length
    now, size = at_ms(given["now"]), given["each_batch"]["matched"]
    cutoff = now - given["retention_days"] * day
    other = bench.site.client(Projection("other_stats", SKILL_STATS.kinds))
    bench.clock.now = cutoff - day
    bench.client.events.append(downloads(3 * size, 7))
    bench.clock.now = at_ms(given["daily_cursor"])
    bench.client.events.append(downloads(1, 1))
    bench.run()
    drain(other.events, other.stats)
    bench.clock.now = now
    bench.client.events.append(downloads(1, 1))
    bench.run()
    log, stats = pruned_log(bench), (bench.client.stats, other.stats)
    report = prune(log, *stats, before=cutoff, limit=size, max_segments=given["max_batches"])
    return {
        "cutoff": (cutoff - EPOCH) // timedelta(milliseconds=1),
        "matched": report.events,
        "deleted": report.events,
        "continuation": plan_prune(log, *stats, before=cutoff).events > 0,
    }


def prune_nothing(case: Case, new_bench: NewBench) -> Facts:
    """Prune a log whose first event is as young as the bound."""
    given, bench = case["given"], new_bench()
    bench.append([{"pos": given["min"]}])
    bench.run()
    report = prune(pruned_log(bench), bench.client.stats, before=at_ms(given["cutoff"]))
    return {"batches": report.segments, "stopped_reason": "empty" if report.last is None else ""}


def pruned_log(bench: Bench) -> PruneStore:
    """Return the log, as one whose old events can be made small."""
    assert isinstance(bench.client.events, PruneStore)
    return bench.client.events


def set_badges(case: Case, new_bench: NewBench) -> Facts:
    """Set the badges of the case in its order, and read those of its skills."""
    badges = new_bench().client.badges
    for record in case["given"]["records"]:
        badges.set(record["skill"], record["kind"], badge_of(record["by"], record["at"]))
    return {
        "result": [
            [skill, in_words(found)]
            for skill, found in badges.badge_maps(case["given"]["skill_ids"])
        ]
    }


def set_one_badge(case: Case, new_bench: NewBench) -> Facts:
    """Set a badge that the skill has already, given by somebody else, or has not."""
    badges = new_bench().client.badges
    said = re.fullmatch(r"upsert (\w+) by (\w+) at (\d+)", case["when"])
    assert said is not None
    kind, by_user_id, at = said.groups()
    if case["given"]["existing_row"]:
        badges.set("A", kind, badge_of("somebody", 0))
    is_new = badges.set("A", kind, badge_of(by_user_id, int(at)))
    [(_, found)] = badges.badge_maps(["A"])
    return {"inserted": is_new, "projection": in_words(found)}


def badge_of(by_user_id: str, milliseconds: int) -> Badge:
    return Badge(by_user_id=by_user_id, at=at_ms(milliseconds))


def in_words(badges: BadgeMap) -> Facts:
    """Return the badges of a skill in the words of the cases."""
    return {
        kind: {"by": badge.by_user_id, "at": (badge.at - EPOCH) // timedelta(milliseconds=1)}
        for kind, badge in badges.items()
    }


def bookmarks(case: Case) -> Projection:
    """Return a table of bookmarks by hour."""
    kinds = {
        kind: Effect(counters={"bookmarks": step}, rollups={"bookmarks": step})
        for kind, step in (("star", 1), ("unstar", -1))
    }
    return Projection("bookmarks", kinds, (Granularity.HOUR,))


RUN: dict[str, Callable[[Case, NewBench], Facts]] = {
    "agg-kind-download": fold,
    "agg-kind-star": fold,
    "agg-kind-unstar": fold,
    "agg-kind-install_reactivate": fold,
    "agg-kind-install_deactivate": fold,
    "agg-kind-install_clear-1-1": fold,
    "agg-mixed-all-kinds": fold_until_refused,
    "agg-install-applies-to-both-install-counters": fold,
    "agg-retired-kind-star": fold,
    "agg-retired-kind-unstar": fold,
    "agg-retired-kind-comment": fold,
    "agg-retired-kind-advances-cursor": fold,
    "agg-first-run-has-no-cursor": fold_nothing,
    "agg-empty-run": fold_nothing,
    "agg-exhausted-short-page": fold_many,
    "agg-exhausted-full-page-needs-second-fetch": fold_many,
    "agg-skill-limit-stop": fold_many,
    "bucket-day-negative": fold_each_time,
    "bucket-by-occurrence-not-processing": fold,
    "bucket-coalesce-same-day": fold,
    "bucket-daily-only-counts-downloads-and-first-installs": fold,
    "bucket-hour-boundaries": name_hours,
    "bucket-hourly-original-hours": fold_by_the_hour,
    "bucket-hourly-expired-dropped": fold_after_expiry,
    "hourly-sum-seed-and-live": sum_rows,
    "hourly-clamp-only-after-all-pages": sum_rows,
    "star-unstar-retracts-in-original-hour": retract,
    "seed-tie-lost-at-fetch-boundary": fold,
    "seed-tie-lost-across-runs": fold,
    "seed-late-visible-commit-lost": reveal_late,
    "gte-hang-when-ties-fill-a-page": fold,
    "clamp-depends-on-batching-flag-path": fold_in_batches,
    "slow-run-moves-cursor-back": overtake,
    "hot-skill-exceeds-argument-array": fold_many,
    "per-event-daily-writes": fold_many,
    "skill-limit-overshoot": fold_two_pages_of_skills,
    "stats-bump-entity-updated-at": fold_beside_entities,
    "lease-fence-checked-in-write-transaction": lose_the_page,
    "lease-renewed-by-each-batch": commit_at,
    "drain-failure-releases-and-retries-smaller": fail_once,
    "prune-dry-run-bounded-range": plan,
    "prune-cutoff-retention-wins": prune_bounded,
    "prune-empty-lane-window": prune_nothing,
    "recon-in-sync-no-write": reconcile_stars,
    "recon-drift-patches-both": reconcile_stars,
    "recon-must-subtract-pending": reconcile_beside_pending,
    "backfill-pending-download-compensation": apply_baseline,
    "backfill-idempotent": apply_baseline,
    "cutover-flag-to-cursor-counts-twice": cut_over,
    "pkg-aggregate": fold_packages,
    "pkg-daily-row-updated": fold_into_a_day,
    "pkg-negative-daily-clamped-at-insert": fold_in_two_batches,
    "pkg-dedupe-installs": report_twice,
    "badge-bulk-shape": set_badges,
    "badge-duplicate-ids-collapse": set_badges,
    "badge-duplicate-kind-last-wins": set_badges,
    "badge-upsert-keeps-projection-in-sync": set_one_badge,
    "badge-existing-row-still-resyncs-projection": set_one_badge,
}


TABLES: dict[Callable[[Case, NewBench], Facts], Callable[[Case], Projection]] = {
    retract: bookmarks,
    fold_by_the_hour: by_the_hour,
    fold_after_expiry: by_the_hour,
    sum_rows: lambda _case: SUMS,
    **dict.fromkeys(
        (reconcile_stars, reconcile_beside_pending, apply_baseline, cut_over), correctable_skills
    ),
    **dict.fromkeys((fold_packages, fold_into_a_day, fold_in_two_batches, report_twice), packages),
}
"""The tables of those cases that need another than the default one."""


def facts_in(expected: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return each fact with its path; what a run returned is taken apart, the rest is not."""
    for name, value in expected.items():
        if name in ("result", "right") and isinstance(value, dict):
            yield from facts_in(value, path)
        elif name == "runs":
            for index, each in enumerate(value):
                yield from facts_in(each, f"{path}runs.{index}.")
        else:
            yield path + name, value


def test_every_case_is_run_or_listed():
    """No case is both, none is neither, and what diverges is run."""
    assert not RUN.keys() & NOT_RUN.keys()
    assert RUN.keys() | NOT_RUN.keys() == CASES.keys()
    assert len(CASES) == len(FILE["cases"])
    assert {case for case, _ in DIVERGENCES} <= RUN.keys()


@pytest.mark.parametrize("reason", dict.fromkeys([*NOT_RUN.values()]))
def test_a_listed_case_has_a_reason(reason):
    """A case that is not run is the service's, comes later, or differs on purpose."""
    kind, _, why = reason.partition(": ")

    assert kind in {"the service's job", "a later issue", "stated divergence"}
    assert why


@pytest.mark.parametrize("site_of", SITES.values(), ids=SITES)
@pytest.mark.parametrize("case", [CASES[each] for each in RUN], ids=RUN)
def test_a_case_comes_out_as_it_should(site_of, case):
    """Every fact of the case is so here, but for what diverges on purpose."""
    play = RUN[case["id"]]
    table = TABLES.get(play, table_of)
    expected = dict(facts_in(case["expect"]))

    with ExitStack() as stack:
        seen = play(case, lambda: Bench(site_of, stack, table(case)))

    facts = dict(facts_in(seen))
    assert expected
    for name, value in expected.items():
        if (case["id"], name) in DIVERGENCES:
            assert facts[name] != value
        else:
            assert facts[name] == value, name
