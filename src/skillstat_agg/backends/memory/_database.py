"""What a log and stats in memory are stored in."""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Iterable, Mapping

import attrs

from skillstat_agg._badges import Badge, BadgeKind
from skillstat_agg._boards import StoredBoard
from skillstat_agg._buckets import Granularity
from skillstat_agg._commits import Cursor
from skillstat_agg._compacting import Reader
from skillstat_agg._events import Position, RecordedEvent
from skillstat_agg._notes import Note
from skillstat_agg._stores import Counters


@attrs.frozen
class Stats:
    """The stored numbers of one projection: replaced as a whole, so never seen in part."""

    cursor: Cursor
    totals: Mapping[str, Counters]
    rollups: Mapping[Granularity, Mapping[tuple[int, str], Counters]]
    parked: tuple[RecordedEvent, ...] = ()


@attrs.define(eq=False)
class Pending:
    """What an append that is still open has stored: nobody sees it yet."""

    events: list[RecordedEvent] = attrs.field(factory=list)
    digests: dict[str, bytes] = attrs.field(factory=dict)


class MemoryDatabase:
    """Where a log, and the stats of one or several projections, live together.

    Stores are thin objects over it, with a clock of their own each. Forgotten skills belong
    to it, not to a projection.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # The log: what is visible, in the order of positions, and what is not yet.
        self._epoch = uuid.uuid4().hex
        self._last: tuple[int, int] = (0, -1)
        self._visible: list[RecordedEvent] = []
        self._digests: dict[str, bytes] = {}
        self._open: list[Pending] = []
        # Who reads it, and up to where it was made small.
        self._readers: dict[str, Reader] = {}
        self._compacted_to: Position | None = None
        # The stats, by name of the projection; what is built beside them as ``name/building``.
        self._stats: dict[str, Stats] = {}
        self._forgotten: frozenset[str] = frozenset()
        # Published boards, by projection and name; the last version of each is its last.
        self._boards: Mapping[str, Mapping[str, tuple[StoredBoard, ...]]] = {}
        self._notes: dict[str, Note] = {}
        self._badges: Mapping[tuple[str, BadgeKind], Badge] = {}

    def copy(self) -> MemoryDatabase:
        """Return a copy, as a backup would hold it: without the appends that are open."""
        with self._lock:
            twin = copy.copy(self)
            twin._lock = threading.RLock()
            twin._visible = list(self._visible)
            twin._digests = dict(self._digests)
            twin._open = []
            twin._readers = dict(self._readers)
            twin._stats = dict(self._stats)
            twin._notes = dict(self._notes)
            return twin

    def state(self) -> object:
        """Return all that is stored, as a value that is equal while nothing is written."""
        with self._lock:
            visible, stats = tuple(self._visible), dict(self._stats)
            readers = dict(self._readers), self._compacted_to
            log = self._last, visible, dict(self._digests), readers
            kept = self._forgotten, self._boards, dict(self._notes), self._badges
            return log, stats, *kept

    def _drop_badges(self, skill_id: str) -> None:
        """Take all badges of a skill away."""
        self._badges = {key: badge for key, badge in self._badges.items() if key[0] != skill_id}

    def _first_unseen(self) -> Iterable[RecordedEvent]:
        """Return the first event of each append that is open and has one."""
        return [pending.events[0] for pending in self._open if pending.events]
