"""A toy store for the kit: a folder of JSON files, as an author elsewhere would write it.

It uses public names only. A change is written beside its file and renamed over it: ``os.replace``
is the one step that makes it true, so what must change together lives in one file. A reader opens
the file once and so has one snapshot. A draft that a dead writer left is nobody's: the next
writer begins it anew. The lock is `flock`, which the system lets go of when its holder dies
(Windows has none).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from skillstat_agg import (
    DAY_AHEAD,
    Appended,
    Commit,
    CommitResult,
    Cursor,
    Event,
    Expired,
    Granularity,
    Page,
    Place,
    Position,
    Projection,
    Quarantine,
    RecordedEvent,
    Rollups,
    Totals,
    bucket_of,
    checked_events,
    content_digests,
    start_of,
    unseen_events,
)
from skillstat_agg.errors import (
    CursorConflictError,
    HistoryChangedError,
    InvalidBoundError,
    InvalidEventError,
    OpenTransactionError,
    OutOfRangeError,
    StoreBusyError,
    TableChangedError,
)
from skillstat_agg.testing import Client, Harness, JoinedAppend, Setting, Writers

Clock = Callable[[], datetime]
Content = dict[str, Any]

LOG, STATS = "log.json", "stats.json"


# What a connection is to a database


class Folder:
    """A program's own way into a folder; what may be in the middle of a change.

    Args:
        path: The folder.
        io: Called where something is about to be read, locked, written or renamed.
        sync: Makes a file, or the names in a folder, survive the end of the machine.
    """

    def __init__(
        self,
        path: Path,
        io: Callable[[], None] = lambda: None,
        sync: Callable[[int], object] = os.fsync,
    ) -> None:
        self._path = path
        self._io = io
        self._sync = sync
        self._lock: ExitStack | None = None
        self._draft: Content = {}

    def create(self, name: str, content: Content) -> None:
        """Create a file, unless it is there."""
        if not (self._path / name).exists():
            with self._locked(name):
                if not (self._path / name).exists():
                    self._replace(name, content)

    def load(self, name: str) -> Content:
        """Return the content of a file, as it was at one moment."""
        self._io()
        content: Content = json.loads((self._path / name).read_text("ascii"))
        return content

    @contextmanager
    def changing(self, name: str) -> Iterator[Content]:
        """Give the content of a file to change; the change is there on leaving, or none is."""
        with self._locked(name):
            content = self.load(name)
            yield content
            self._replace(name, content)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self._io()
        handle = os.open(self._path / f"{name}.lock", os.O_RDWR | os.O_CREAT)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreBusyError(f"another program is changing {name}") from error
            yield
        finally:
            os.close(handle)

    def _replace(self, name: str, content: Content) -> None:
        text, draft = json.dumps(content).encode("ascii"), self._path / f"{name}.draft"
        with draft.open("wb", buffering=0) as file:
            for part in (text[: len(text) // 2], text[len(text) // 2 :]):
                self._io()
                file.write(part)
            self._io()
            self._sync(file.fileno())
        self._io()
        os.replace(draft, self._path / name)
        self._io()
        folder = os.open(self._path, os.O_RDONLY)
        try:
            self._sync(folder)
        finally:
            os.close(folder)

    # A transaction of the caller: an append may join it, and nothing else

    @property
    def in_transaction(self) -> bool:
        """Whether `begin` was called, and neither of its ends."""
        return self._lock is not None

    def begin(self) -> None:
        """Begin a change of the log that ends with `commit` or `rollback`."""
        with ExitStack() as stack:
            stack.enter_context(self._locked(LOG))
            self._draft = self.load(LOG)
            self._lock = stack.pop_all()

    def commit(self) -> None:
        """Keep the change."""
        try:
            self._replace(LOG, self._draft)
        finally:
            self.rollback()

    def rollback(self) -> None:
        """Forget the change, and let go of the lock."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def joining(self) -> Iterator[Content]:
        """Give the log to change: within the caller's transaction, or in one of its own."""
        if self.in_transaction:
            yield self._draft
        else:
            with self.changing(LOG) as content:
                yield content

    def refuse_transaction(self, operation: str) -> None:
        """Refuse an operation that must not be inside the caller's transaction."""
        if self.in_transaction:
            raise OpenTransactionError(operation)


# The log


class JsonEventStore:
    """An event store in ``log.json``.

    There is one writer at a time, so positions are given in the order of commits.

    Args:
        folder: Where the file is.
        clock: Gives ``recorded_at``.
    """

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        folder.create(LOG, {"epoch": uuid.uuid4().hex, "last": 0, "events": [], "ids": {}})

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        """Store *events*: see ``EventStore.append``."""
        now = self._clock()
        given = checked_events(events, now=now, max_ahead=max_ahead)
        ids = content_digests(given)
        with self._folder.joining() as log:
            known = {one: bytes.fromhex(log["ids"][one]) for one in ids if one in log["ids"]}
            fresh = unseen_events(given, ids, known)
            # Up to here nothing has changed, and from here on nothing can go wrong.
            for event in fresh:
                log["last"] += 1
                fingerprint = int.from_bytes(os.urandom(4))
                log["events"].append(
                    [log["last"], fingerprint, now.isoformat(), event_to_json(event)]
                )
            log["ids"] |= {one: digest.hex() for one, digest in ids.items()}
            return Appended(new=len(fresh), position=Position([log["last"]]) if given else None)

    def read(self, after: Place | None, /, *, limit: int) -> Page:
        """Return the page after *after*: see ``EventStore.read``."""
        self._folder.refuse_transaction("read")
        if limit < 1:
            raise InvalidBoundError("limit", str(limit))
        log = self._folder.load(LOG)
        rows = log["events"]
        start = _index_after(rows, after, log["epoch"])
        events = tuple(
            RecordedEvent(
                position=Position([number]),
                event=event_from_json(event),
                recorded_at=datetime.fromisoformat(recorded_at),
                fingerprint=fingerprint,
            )
            for number, fingerprint, recorded_at, event in rows[start : start + limit]
        )
        return Page(
            epoch=log["epoch"],
            events=events,
            frontier=Position([rows[-1][0]]) if rows else None,
            is_last=start + len(events) == len(rows),
        )


def _index_after(rows: list[list[Any]], after: Place | None, epoch: str) -> int:
    """Return where to go on, when the log is still the one of that place."""
    if after is None:
        return 0
    index = bisect_right(rows, tuple(after.position), key=lambda row: (row[0],))
    if after.epoch != epoch:
        raise HistoryChangedError(f"this log has epoch {epoch}, the cursor's had {after.epoch}")
    if index == 0 or (*after.position, after.fingerprint) != tuple(rows[index - 1][:2]):
        raise HistoryChangedError(f"another event, or none, stands at {after.position}")
    return index


def event_to_json(event: Event) -> Content:
    """Return an event as plain JSON values."""
    fields = attrs.asdict(event, recurse=False)
    fields["occurred_at"] = event.occurred_at.isoformat()
    fields["deltas"] = None if event.deltas is None else dict(event.deltas)
    return fields


def event_from_json(fields: Content) -> Event:
    """Return the event that `event_to_json` made them from."""
    return Event(**{**fields, "occurred_at": datetime.fromisoformat(fields["occurred_at"])})


# The stats


class JsonStatsStore:
    """A stats store in ``stats.json``, beside those of other projections.

    Args:
        folder: Where the file is.
        projection: The projection whose stats these are.
        clock: Gives ``updated_at``.
    """

    def __init__(self, folder: Folder, projection: Projection, clock: Clock) -> None:
        self._folder = folder
        self._projection = projection
        self._clock = clock
        folder.create(STATS, {"forgotten": [], "projections": {}})
        if projection.name not in folder.load(STATS)["projections"]:
            with folder.changing(STATS) as stats:
                cursor = Cursor.start(projection, clock())
                first = {
                    "cursor": cursor_to_json(cursor),
                    "totals": {},
                    "rollups": {},
                    "parked": {},
                }
                stats["projections"].setdefault(projection.name, first)

    @property
    def projection(self) -> Projection:
        """The projection whose stats these are."""
        return self._projection

    def cursor(self) -> Cursor:
        """Return the stored cursor record: see ``StatsStore.cursor``."""
        return cursor_from_json(self._load("cursor")["cursor"])

    def commit(self, commit: Commit, /) -> CommitResult:
        """Add the deltas and store the cursor: see ``StatsStore.commit``."""
        self._folder.refuse_transaction("commit")
        with self._folder.changing(STATS) as stats:
            mine = stats["projections"][self._projection.name]
            if cursor_from_json(mine["cursor"]) != commit.expected:
                raise CursorConflictError(self._projection.name)
            kept = commit.without(commit.skills & set(stats["forgotten"]))
            deltas = kept.deltas
            changed = [
                self._add(mine["totals"], skill, skill, commit.projection.counters, row)
                for skill, row in deltas.totals.items()
                if any(row) or skill not in mine["totals"]
            ]
            for each, rows in deltas.rollups.items():
                for (bucket, skill), row in rows.items():
                    sums = mine["rollups"].setdefault(each.value, {}).setdefault(skill, {})
                    columns = commit.projection.columns
                    changed.append(self._add(sums, str(bucket), skill, columns, row, each))
            taught = {str(one.position) for one in kept.taught}
            for position in taught:
                del mine["parked"][position]
            # A dictionary keeps the order in which its keys were added: that of positions.
            mine["parked"] |= {str(one.position): one.to_json() for one in kept.parked}
            cursor = kept.cursor(self._clock())
            mine["cursor"] = cursor_to_json(cursor)
        return CommitResult(
            cursor=cursor,
            rows=len(changed),
            forgotten=kept.forgotten,
            changed=frozenset(changed),
        )

    def _add(
        self,
        rows: Content,
        key: str,
        skill_id: str,
        names: tuple[str, ...],
        amounts: tuple[int, ...],
        granularity: Granularity | None = None,
    ) -> str:
        """Add to one row, and return whose it is."""
        sums = rows.setdefault(key, {})
        for name, amount in zip(names, amounts, strict=True):
            sums[name] = sums.get(name, 0) + amount
            if not -(2**63) <= sums[name] < 2**63:
                raise OutOfRangeError(
                    self._projection.name, skill_id, control_name(granularity, name)
                )
        return skill_id

    def totals(self, skill_ids: Iterable[str] | None = None, /) -> Totals:
        """Return the totals of these skills, or of all: see ``StatsStore.totals``."""
        if isinstance(skill_ids, str):
            raise InvalidEventError("a list of skill ids is needed, not a single string")
        asked = None if skill_ids is None else [checked_skill(one) for one in skill_ids]
        mine = self._load("totals")
        cursor = readable(cursor_from_json(mine["cursor"]), self._projection)
        found = mine["totals"]
        wanted = found if asked is None else [skill for skill in asked if skill in found]
        counters = self._projection.counters
        return Totals(cursor, {skill: filled(found[skill], counters) for skill in wanted})

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
        checked_skill(skill_id)
        self._projection.check_granularity(granularity)
        for name, at in (("since", since), ("until", until)):
            if at is not None and at.utcoffset() is None:
                raise InvalidBoundError(name, str(at), "a datetime with a time zone")
        mine = self._load("rollups")
        cursor = readable(cursor_from_json(mine["cursor"]), self._projection)
        rows = mine["rollups"].get(granularity.value, {}).get(skill_id, {})
        found = sorted((int(bucket), sums) for bucket, sums in rows.items())
        columns = self._projection.columns
        return Rollups(
            cursor,
            {
                start_of(bucket, granularity): filled(sums, columns)
                for bucket, sums in found
                if (since is None or bucket >= bucket_of(since, granularity))
                and (until is None or start_of(bucket, granularity) < until)
            },
        )

    def quarantine(self, *, limit: int) -> Quarantine:
        """Return what the table cannot count: see ``StatsStore.quarantine``."""
        if limit < 1:
            raise InvalidBoundError("limit", str(limit))
        mine = self._load("quarantine")
        first = list(mine["parked"].values())[:limit]
        return Quarantine(
            cursor=cursor_from_json(mine["cursor"]),
            events=tuple(map(RecordedEvent.from_json, first)),
        )

    def expire(self, granularity: Granularity, first: int, /, *, limit: int) -> Expired:
        """Delete the rollups before a bucket: see ``RetentionStore.expire``."""
        self._folder.refuse_transaction("expire")
        self._projection.check_granularity(granularity)
        if limit < 1:
            raise InvalidBoundError("limit", str(limit))
        cursor = self.cursor()
        if cursor.expired.get(granularity.value, first - 1) >= first:
            return Expired(cursor=cursor, rows=0, is_last=True)
        with self._folder.changing(STATS) as stats:
            mine = stats["projections"][self._projection.name]
            cursor = cursor_from_json(mine["cursor"])
            if cursor.expired.get(granularity.value, first - 1) >= first:
                return Expired(cursor=cursor, rows=0, is_last=True)
            by_skill = mine["rollups"].get(granularity.value, {})
            old = sorted(int(one) for rows in by_skill.values() for one in rows if int(one) < first)
            end = first if len(old) <= limit else max(old[limit], old[0] + 1)
            controls = dict(cursor.controls)
            gone = [one for one in old if one < end]
            for rows in by_skill.values():
                for bucket in {str(one) for one in gone} & rows.keys():
                    for name, value in rows.pop(bucket).items():
                        controls[control_name(granularity, name)] -= value
            cursor = attrs.evolve(
                cursor,
                controls=controls,
                expired={**cursor.expired, granularity.value: end},
                revision=cursor.revision + 1,
                updated_at=self._clock(),
            )
            mine["cursor"] = cursor_to_json(cursor)
        return Expired(cursor=cursor, rows=len(gone), is_last=end == first)

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        """Return those of these skills that are forgotten: see ``StatsStore.forgotten``."""
        self._folder.refuse_transaction("forgotten")
        if isinstance(skill_ids, str):
            raise InvalidEventError("a list of skill ids is needed, not a single string")
        asked = [checked_skill(one) for one in skill_ids]
        return frozenset(self._folder.load(STATS)["forgotten"]).intersection(asked)

    def forget(self, skill_id: str, /) -> bool:
        """Drop a skill for good: see ``StatsStore.forget``."""
        self._folder.refuse_transaction("forget")
        checked_skill(skill_id)
        if skill_id in self._folder.load(STATS)["forgotten"]:
            return False
        with self._folder.changing(STATS) as stats:
            if skill_id in stats["forgotten"]:
                return False
            stats["forgotten"].append(skill_id)
            for one in stats["projections"].values():
                _drop(one, skill_id, self._clock())
            return True

    def _load(self, operation: str) -> Content:
        self._folder.refuse_transaction(operation)
        mine: Content = self._folder.load(STATS)["projections"][self._projection.name]
        return mine


def _drop(one: Content, skill_id: str, now: datetime) -> None:
    """Take a skill out of the numbers of one projection, and out of its control totals."""
    cursor = cursor_from_json(one["cursor"])
    controls = dict(cursor.controls)
    for name, value in one["totals"].pop(skill_id, {}).items():
        controls[name] -= value
    for granularity in Granularity:
        by_skill = one["rollups"].get(granularity.value, {})
        for sums in by_skill.pop(skill_id, {}).values():
            for name, value in sums.items():
                controls[control_name(granularity, name)] -= value
    parked = {position: RecordedEvent.from_json(text) for position, text in one["parked"].items()}
    gone = {at: recorded for at, recorded in parked.items() if recorded.event.skill_id == skill_id}
    one["cursor"] = cursor_to_json(
        attrs.evolve(
            cursor,
            controls=controls,
            parked=cursor.parked - sum(recorded.count for recorded in gone.values()),
            revision=cursor.revision + 1,
            updated_at=now,
        )
    )
    one["parked"] = {at: text for at, text in one["parked"].items() if at not in gone}


def control_name(granularity: Granularity | None, name: str) -> str:
    """Return what a counter, or a rollup column of a granularity, is called in the controls."""
    return name if granularity is None else f"{granularity.value}.{name}"


def filled(sums: Mapping[str, int], names: tuple[str, ...]) -> dict[str, int]:
    """Return the sums of these names; what was not counted yet is 0."""
    return {name: sums.get(name, 0) for name in names}


def checked_skill(skill_id: str) -> str:
    """Return *skill_id* when it can be one: an event is what knows."""
    return Event(skill_id=skill_id, kind="any", occurred_at=datetime.now().astimezone()).skill_id


def readable(cursor: Cursor, projection: Projection) -> Cursor:
    """Return *cursor* when numbers that were made with its table can be read with this one."""
    if cursor.table != projection.table:
        stored = Projection.from_table(cursor.table)
        difference = projection.difference_from(stored)
        if difference is not None and stored.difference_from(projection) is not None:
            raise TableChangedError(projection.name, difference)
    return cursor


def cursor_to_json(cursor: Cursor) -> Content:
    """Return a cursor record as plain JSON values."""
    fields = attrs.asdict(cursor)
    fields["updated_at"] = cursor.updated_at.isoformat()
    return fields


def cursor_from_json(fields: Content) -> Cursor:
    """Return the record that `cursor_to_json` made them from."""
    place = fields["place"]
    if place is not None:
        place = Place(place["epoch"], Position(place["position"]), place["fingerprint"])
    updated_at = datetime.fromisoformat(fields["updated_at"])
    return Cursor(**{**fields, "place": place, "updated_at": updated_at})


# The harness


@contextmanager
def _site() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@contextmanager
def _client(path: Path, setting: Setting) -> Iterator[Client]:
    # The kit ends clients, never the machine: nothing has to reach the disk.
    folder = Folder(path, setting.io, sync=lambda _: None)
    events = JsonEventStore(folder, setting.clock)

    def begin() -> JoinedAppend:
        folder.begin()
        return JoinedAppend(folder, events)

    try:
        stats = JsonStatsStore(folder, setting.projection, setting.clock)
        yield Client(events=events, stats=stats, begin=begin)
    finally:
        folder.rollback()


@contextmanager
def _copy(path: Path) -> Iterator[Path]:
    with _site() as there:
        shutil.copytree(path, there, dirs_exist_ok=True)
        yield there


def _raw(path: Path) -> Mapping[str, bytes]:
    return {name: (path / name).read_bytes() for name in (LOG, STATS)}


harness = Harness(
    site=_site,
    client=_client,
    writers=Writers.SERIALISED,
    io=True,
    copy=_copy,
    raw=_raw,
)
