"""Logs that count wrongly what lies after a place, and stats that say wrongly what is forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import attrs

from skillstat_agg._events import Event, Place, RecordedEvent, checked_skill_ids
from skillstat_agg._notes import Note
from skillstat_agg._pages import Backlog, check_bounds
from skillstat_agg._stores import DAY_AHEAD, Appended
from skillstat_agg.backends.memory import MemoryDatabase
from skillstat_agg.testing._harness import Setting
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log, NumberedLog, number
from skillstat_agg.testing.gallery._stats_steps import OpenStats, with_stats


class _Counting(Log):
    """A log that counts by listing what it counts; by itself it keeps every law."""

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        check_bounds(limit=limit)
        with self._database._lock:
            self._check_same_log(after)
            return self._counted(after, limit)

    def _counted(self, after: Place | None, limit: int) -> Backlog:
        rows = self._readable(after)
        ahead, waiting = self._after(rows, after), self._waiting()
        return Backlog(
            events=min(limit, len(ahead)),
            waiting=min(limit, len(waiting)),
            since=next((row.recorded_at for row in [*ahead, *waiting]), None),
            frontier=rows[-1].position if rows else None,
        )

    def _waiting(self) -> list[RecordedEvent]:
        """Return what is committed beyond the frontier."""
        return self._database._visible[self._end_of_prefix() :]


class CountsFromPlace(_Counting):
    """``WHERE position >= ?``: the event on which the cursor stands is counted, too."""

    def _counted(self, after: Place | None, limit: int) -> Backlog:
        backlog = super()._counted(after, limit)
        return attrs.evolve(backlog, events=min(limit, backlog.events + (after is not None)))


class Distance(NumberedLog):
    """Takes the number of the cursor from the number of the last event."""

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        backlog = super().lag(after, limit=limit)
        rows = self._readable(after)
        last = number(rows[-1]) if rows else -1
        return attrs.evolve(backlog, events=min(limit, last - (after.position[1] if after else -1)))


class Watched(MemoryDatabase):
    """A database that remembers the place that was asked about first."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[Place] = []


class CountsFromAnother(_Counting):
    """One place for all who ask: that of whoever asked first."""

    _database: Watched

    def _counted(self, after: Place | None, limit: int) -> Backlog:
        if after is not None and not self._database.first:
            self._database.first.append(after)
        return super()._counted(next(iter(self._database.first), after), limit)


class HidesWaiting(_Counting):
    """Counts what can be read, and nothing else: over a long transaction the lag is nothing."""

    def _waiting(self) -> list[RecordedEvent]:
        return []


class CountsOpenAppends(_Counting):
    """Counts the rows of appends that are still open as waiting: their end is not known."""

    def _waiting(self) -> list[RecordedEvent]:
        pending = [row for each in self._database._open for row in each.events]
        return [*super()._waiting(), *pending]


class CountsAll(_Counting):
    """Counts to the end, whatever the limit."""

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        check_bounds(limit=limit)
        return super().lag(after, limit=len(self._database._visible) + 1)


class AsksNothing(_Counting):
    """Compares positions alone, of whatever log they are."""

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        check_bounds(limit=limit)
        with self._database._lock:
            return self._counted(after, limit)


class AgeOfNewest(_Counting):
    """The time of the last event: the age is that of the newest, and always small."""

    def _counted(self, after: Place | None, limit: int) -> Backlog:
        backlog, rows = super()._counted(after, limit), self._database._visible
        if backlog.since is None:
            return backlog
        return attrs.evolve(backlog, since=rows[-1].recorded_at)


class FrontierOfCounted(_Counting):
    """The frontier is the place of the last event that was counted."""

    def _counted(self, after: Place | None, limit: int) -> Backlog:
        backlog = super()._counted(after, limit)
        counted = self._after(self._readable(after), after)[:limit]
        return attrs.evolve(backlog, frontier=counted[-1].position) if counted else backlog


class CountsThenLooks(_Counting):
    """Counts in one transaction, and asks for the frontier in the next."""

    def __init__(self, database: MemoryDatabase, setting: Setting) -> None:
        super().__init__(database, clock=setting.clock)
        self._io = setting.io

    def append(self, events: Iterable[Event], /, *, max_ahead: timedelta = DAY_AHEAD) -> Appended:
        self._io()
        return super().append(events, max_ahead=max_ahead)

    def lag(self, after: Place | None, /, *, limit: int) -> Backlog:
        self._io()
        backlog = super().lag(after, limit=limit)
        self._io()
        return attrs.evolve(backlog, frontier=super().lag(after, limit=1).frontier)


class ForgottenByNobody(OpenStats):
    """Says of no skill that it is forgotten: a deleted row cannot be found."""

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        return super().forgotten(skill_ids) - self._database._forgotten


class ForgottenAlike(OpenStats):
    """Compares ids without case."""

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        asked = checked_skill_ids(skill_ids)
        gone = {skill.casefold() for skill in self._database._forgotten}
        return frozenset(skill for skill in asked if skill.casefold() in gone)


class FirstHundred(OpenStats):
    """Looks the first hundred of the ids up."""

    def forgotten(self, skill_ids: Iterable[str], /) -> frozenset[str]:
        return super().forgotten(checked_skill_ids(skill_ids)[:100])


class KeepsFirstNote(OpenStats):
    """``INSERT ... ON CONFLICT DO NOTHING``."""

    def note_error(self, text: str, /) -> None:
        if self.last_error() is None:
            super().note_error(text)


class OneNote(OpenStats):
    """One row, for every projection."""

    def last_error(self) -> Note | None:
        notes = self._database._notes.values()
        return max(notes, key=lambda note: note.at, default=None)


class WholeNote(OpenStats):
    """Keeps a text of any length."""

    def note_error(self, text: str, /) -> None:
        super().note_error(text)
        self._database._notes[self._projection.name] = Note(at=self._clock(), text=text)


class NoteInRecord(OpenStats):
    """Keeps the note in the row of the cursor, and so raises its revision."""

    def note_error(self, text: str, /) -> None:
        super().note_error(text)
        stats = self._stats()
        cursor = attrs.evolve(stats.cursor, revision=stats.cursor.revision + 1)
        self._put(attrs.evolve(stats, cursor=cursor))


STORES = (
    BrokenStore(
        name="counts from the place itself",
        mistake="The lag counts the event on which the cursor stands, so it never comes to zero.",
        reported=("Eventuous/eventuous#554",),
        row="B1",
        breaks=("same_backlog",),
        killer="LAG-01",
        remedy="count what comes after the place",
        harness=broken(events=events_of(CountsFromPlace), counts=True),
    ),
    BrokenStore(
        name="lag by distance",
        mistake="The lag is the number of the last event less that of the cursor. Numbers that"
        " were rolled back are counted as events for ever.",
        reported=("proteanhq/protean#1088",),
        row="R7",
        breaks=("same_backlog",),
        killer="LAG-01",
        remedy="count events, up to a limit",
        harness=broken(events=events_of(Distance), counts=True),
    ),
    BrokenStore(
        name="lag from another cursor",
        mistake="A monitor remembers the cursor, and counts from there for whoever asks.",
        reported=("no public report was found",),
        row="C11",
        breaks=("same_backlog",),
        killer="LAG-06",
        remedy="count from the place that is asked about",
        harness=broken(database=Watched, events=events_of(CountsFromAnother), counts=True),
    ),
    BrokenStore(
        name="lag is nothing over a long transaction",
        mistake="The lag counts what can be read. Behind a transaction that stays open all night"
        " nothing can be, so nothing is amiss, while events pile up.",
        reported=("proteanhq/protean#1088",),
        row="R7",
        breaks=("nothing_hidden",),
        killer="LAG-03",
        remedy="count what is committed beyond the frontier as well, in the same snapshot",
        harness=broken(events=events_of(HidesWaiting), counts=True),
    ),
    BrokenStore(
        name="lag of what may never be",
        mistake="Rows of appends that are still open are counted as waiting, as a reader without"
        " isolation sees them; they may be rolled back.",
        reported=("no public report was found",),
        row="V1",
        breaks=("nothing_hidden",),
        killer="LAG-03",
        remedy="count what is committed",
        harness=broken(events=events_of(CountsOpenAppends), counts=True),
    ),
    BrokenStore(
        name="lag without a bound",
        mistake="The lag is counted to the end, after a long stop many millions of rows with each"
        " look at it.",
        reported=("no public report was found",),
        row="P15",
        breaks=("same_backlog", "nothing_hidden"),
        killer="LAG-01",
        remedy="count at most as many as the limit says",
        harness=broken(events=events_of(CountsAll), counts=True),
    ),
    BrokenStore(
        name="lag in any log",
        mistake="The lag compares positions alone. In a log that was restored from a backup it is"
        " nothing, where a read would be refused.",
        reported=("liquidprojections/LiquidProjections#60",),
        row="L10",
        breaks=("same_backlog",),
        killer="LAG-02",
        remedy="check epoch and fingerprint of the place, as a read does",
        harness=broken(events=events_of(AsksNothing), counts=True),
    ),
    BrokenStore(
        name="age of the newest",
        mistake="The age is that of the last event of the log, which is small as long as somebody"
        " appends, however far behind the projection is.",
        reported=("no public report was found",),
        row="R7",
        breaks=("same_backlog",),
        killer="LAG-01",
        remedy="return the time of the first event after the place",
        harness=broken(events=events_of(AgeOfNewest), counts=True),
    ),
    BrokenStore(
        name="frontier of what was counted",
        mistake="Where counting stops at the limit, the last event that was counted is taken for"
        " the end of the log, and numbers that go up to it for all there are.",
        reported=("no public report was found",),
        row="B3",
        breaks=("same_backlog", "progress"),
        killer="FRESH-07",
        remedy="return the frontier that a read would return, whatever the limit",
        harness=broken(events=events_of(FrontierOfCounted), counts=True),
    ),
    BrokenStore(
        name="counts and then looks",
        mistake="Number and frontier come from two statements, between which others commit.",
        reported=("no public report was found",),
        row="V18",
        breaks=("same_backlog",),
        killer="LAG-04",
        remedy="ask for both in one statement, or one transaction that sees one snapshot",
        harness=broken(events=CountsThenLooks, io=True, counts=True),
    ),
    BrokenStore(
        name="nothing is forgotten",
        mistake="A forgotten skill has no row any more, so none is found: what reads stored plus"
        " pending shows it again, with the events that came after.",
        reported=("mterwill/office-hours-help-queue#34",),
        row="L9",
        breaks=("forgotten",),
        killer="FRESH-03",
        remedy="look into the list of forgotten skills that commits look into",
        harness=with_stats(ForgottenByNobody),
    ),
    BrokenStore(
        name="alike ids are forgotten",
        mistake="The list of forgotten skills is searched without case, and others are found.",
        reported=("dev.mysql.com/doc: Case Sensitivity in String Searches",),
        row="L9",
        breaks=("forgotten",),
        killer="FRESH-04",
        remedy="compare ids byte by byte",
        harness=with_stats(ForgottenAlike),
    ),
    BrokenStore(
        name="the first hundred are looked up",
        mistake="A statement takes so many parameters, and the rest of the ids is left out.",
        reported=("no public report was found",),
        row="L9",
        breaks=("forgotten",),
        killer="FRESH-04",
        remedy="look the ids up in several statements of one transaction",
        harness=with_stats(FirstHundred),
    ),
    BrokenStore(
        name="the first note stays",
        mistake="The row of a note is inserted unless there is one: what went wrong months ago is"
        " shown as the last error.",
        reported=("no public report was found",),
        row="R6",
        breaks=("noted",),
        killer="NOTE-01",
        remedy="replace the row",
        harness=with_stats(KeepsFirstNote),
    ),
    BrokenStore(
        name="one note for all",
        mistake="There is one last error, whichever projection it is of.",
        reported=("no public report was found",),
        row="R6",
        breaks=("noted",),
        killer="NOTE-01",
        remedy="keep one row for each projection",
        harness=with_stats(OneNote),
    ),
    BrokenStore(
        name="notes of any length",
        mistake="The whole text is kept, with the statement and its parameters, megabytes of it.",
        reported=("no public report was found",),
        row="P15",
        breaks=("noted",),
        killer="NOTE-02",
        remedy="cut it at 1,000 characters",
        harness=with_stats(WholeNote),
    ),
    BrokenStore(
        name="note in the cursor record",
        mistake="The error stands in the row of the cursor, so that noting one is a change of the"
        " record: the commit that is under way conflicts.",
        reported=("no public report was found",),
        row="C10",
        breaks=("noted",),
        killer="NOTE-03",
        remedy="keep notes in a table of their own",
        harness=with_stats(NoteInRecord),
    ),
)
