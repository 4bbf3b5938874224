"""Ids and kinds that are not kept as they were given."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from unicodedata import normalize

import attrs

from skillstat_agg._events import Event
from skillstat_agg._stores import Appended
from skillstat_agg.backends.memory._database import Pending
from skillstat_agg.testing.gallery._frame import BrokenStore, broken, events_of
from skillstat_agg.testing.gallery._logs import Log, RewritingLog


class CaseFolded(RewritingLog):
    """Ids of skills are stored in lower case."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        return attrs.evolve(event, skill_id=event.skill_id.lower())


class Stripped(RewritingLog):
    """Ids of skills lose the spaces at their ends."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        return attrs.evolve(event, skill_id=event.skill_id.strip() or event.skill_id)


class Normalised(RewritingLog):
    """Ids of skills are stored in one Unicode form."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        return attrs.evolve(event, skill_id=normalize("NFC", event.skill_id))


class Truncated(RewritingLog):
    """Ids of skills are cut to 255 characters."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        return attrs.evolve(event, skill_id=event.skill_id[:255])


class EventIdsFolded(Log):
    """Event ids are compared, and kept, without their case."""

    def _allocate(
        self, pending: Pending, events: Iterable[Event], max_ahead: timedelta
    ) -> Appended:
        return super()._allocate(pending, map(_with_lower_id, events), max_ahead)


def _with_lower_id(event: Event) -> Event:
    if isinstance(event, Event) and event.event_id is not None:
        return attrs.evolve(event, event_id=event.event_id.lower())
    return event


class KindsFolded(RewritingLog):
    """Kinds are stored in lower case."""

    def _rewritten(self, event: Event, now: datetime) -> Event:
        return attrs.evolve(event, kind=event.kind.lower())


OPAQUE = "ids and kinds are opaque: store and compare them byte by byte"

STORES = (
    BrokenStore(
        name="case of ids folded",
        mistake="Stores the ids of skills in lower case, or under a collation that does. Two"
        " skills become one.",
        reported=("no public report was found",),
        row="P1",
        breaks=("exact", "forgotten", "quarantined"),
        killer="IDENT-01",
        remedy=OPAQUE,
        harness=broken(events=events_of(CaseFolded)),
    ),
    BrokenStore(
        name="ids stripped",
        mistake="Cuts spaces off the ids of skills, as a column of fixed width does.",
        reported=("no public report was found",),
        row="P1",
        breaks=("exact", "forgotten", "quarantined"),
        killer="IDENT-01",
        remedy=OPAQUE,
        harness=broken(events=events_of(Stripped)),
    ),
    BrokenStore(
        name="ids normalised",
        mistake="Brings the ids of skills into one Unicode form. What the producer sends and what"
        " it asks for are no longer equal.",
        reported=("no public report was found",),
        row="P1",
        breaks=("exact", "forgotten"),
        killer="IDENT-01",
        remedy=OPAQUE,
        harness=broken(events=events_of(Normalised)),
    ),
    BrokenStore(
        name="ids cut to a length",
        mistake="Keeps 255 characters of an id. Two long ids with one beginning become one.",
        reported=("no public report was found",),
        row="P1",
        breaks=("exact",),
        killer="IDENT-01",
        remedy="take all of 1,000 bytes, or refuse the event",
        harness=broken(events=events_of(Truncated)),
    ),
    BrokenStore(
        name="case of event ids folded",
        mistake="Compares event ids under a collation without case. The second of two facts is"
        " taken for a retry of the first.",
        reported=("no public report was found",),
        row="P16",
        breaks=("append_once", "immutable"),
        killer="IDENT-02",
        remedy=OPAQUE,
        harness=broken(events=events_of(EventIdsFolded)),
    ),
    BrokenStore(
        name="case of kinds folded",
        mistake="Stores kinds in lower case. Two kinds become one, or one that no table knows.",
        reported=("no public report was found",),
        row="P1",
        breaks=("exact", "progress"),
        killer="IDENT-03",
        remedy=OPAQUE,
        harness=broken(events=events_of(KindsFolded)),
    ),
)
